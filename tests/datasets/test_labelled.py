"""Complexes and LIGYSIS folders on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s2p.datasets.labelled import LabelledChain, read_complexes
from s2p.errors import S2PError
from s2p.structure.reading import read_structure


def make_complexes(folder: Path, examples: Path) -> Path:
    place = folder / "set" / "one"
    place.mkdir(parents=True)
    import gemmi

    parsed = gemmi.read_structure(str(examples / "4CUP.cif"))
    parsed.write_pdb(str(place / "protein.pdb"))
    ligand = next(x for x in read_structure(examples / "4CUP.cif").ligands if x.name == "ZYB")
    lines = [
        f"HETATM{k:5d} {name:<4s} ZYB A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2s}\n"
        for k, (name, element, (x, y, z)) in enumerate(
            zip(ligand.atom_name, ligand.element, ligand.coord.tolist(), strict=True), 1
        )
    ]
    (place / "ligand_00.pdb").write_text("".join(lines) + "END\n")
    (folder / "index.csv").write_text("dataset,id,status,flag\nset,one,OK,\nset,two,OK,exclude\nset,three,SKIP,\n")
    (folder / "chain_clusters.csv").write_text("chain,cluster30,cluster90\nset|one|A,k,k\nset|two|A,k,k\n")
    return folder


def test_complexes_are_read_and_excluded_ones_left_out(tmp_path: Path, examples: Path) -> None:
    found = read_complexes(make_complexes(tmp_path, examples))
    assert [x.key for x in found] == ["set/one"]
    assert found[0].clusters == ("k",)
    ligand = next(x for x in read_structure(examples / "4CUP.cif").ligands if x.name == "ZYB")
    np.testing.assert_allclose(found[0].ligand_coords()[0], ligand.coord, atol=1e-3)
    assert len(found[0].read().residues) == 115


def test_a_folder_of_another_layout_gives_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(S2PError, match="is not a folder of complexes"):
        read_complexes(tmp_path)


def test_a_chain_has_a_label_for_every_letter() -> None:
    with pytest.raises(S2PError, match="x: 3 letters but 2 labels"):
        LabelledChain("x", "ACD", np.zeros(2, np.uint8))
