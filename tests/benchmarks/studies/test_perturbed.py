"""Moved atoms: which move, how far, and what stays; and the study on toy complexes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_complexes import write_complexes

from benchmarks.studies import perturbed
from benchmarks.studies.perturbed import BACKBONE, cut_side_chains, differences, main, noisy, turned
from s2p.evaluation.runner import read_lines
from s2p.structure.arrays import Structure
from s2p.structure.reading import read_structure


@pytest.fixture(scope="module")
def ubiquitin(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")


def test_noise_has_its_width_and_the_ca_atoms_of_the_residues_follow(ubiquitin: Structure) -> None:
    found = noisy(ubiquitin, np.random.default_rng(0), sd=0.5)
    moved = found.atoms.coord - ubiquitin.atoms.coord
    assert moved.std(axis=0) == pytest.approx([0.5] * 3, rel=0.1)
    np.testing.assert_array_equal(found.residues.ca_coord, found.atoms.coord[found.atoms.name == "CA"])
    assert (ubiquitin.residues.ca_coord != found.residues.ca_coord).all()


def test_a_residue_without_ca_keeps_its_first_atom_as_its_place(ubiquitin: Structure) -> None:
    rows = np.flatnonzero((ubiquitin.atoms.name != "CA") | (ubiquitin.atoms.residue_index != 3))
    lacking = ubiquitin.part(np.arange(len(ubiquitin.residues)), rows)
    found = noisy(lacking, np.random.default_rng(0), sd=0.0)
    np.testing.assert_array_equal(found.residues.ca_coord[3], lacking.atoms.coord[lacking.atoms.residue_index == 3][0])


def test_side_chains_turn_about_their_bond(ubiquitin: Structure) -> None:
    found, atoms = turned(ubiquitin, np.random.default_rng(0), most=30.0), ubiquitin.atoms
    moved = np.linalg.norm(found.atoms.coord - atoms.coord, axis=1) > 1e-3
    proline = (ubiquitin.residues.name == "PRO")[atoms.residue_index]
    assert not moved[np.isin(atoms.name, BACKBONE) | proline].any()
    assert moved[~np.isin(atoms.name, BACKBONE) & ~proline].mean() > 0.9
    for k in np.unique(atoms.residue_index[moved])[:10]:  # distances within a side chain, and to CA and CB, are those of before
        own = np.flatnonzero((atoms.residue_index == k) & ~np.isin(atoms.name, ("N", "C", "O", "OXT")))
        before, after = (np.linalg.norm(x[own][:, None] - x[own], axis=-1) for x in (atoms.coord, found.atoms.coord))
        np.testing.assert_allclose(after, before, atol=1e-3)


def test_cut_side_chains_end_at_cb_and_no_residue_is_lost(ubiquitin: Structure) -> None:
    found = cut_side_chains(ubiquitin, np.random.default_rng(0))
    assert set(found.atoms.name) <= set(BACKBONE) and found.sequence() == ubiquitin.sequence()
    odd = np.where(ubiquitin.atoms.residue_index == 5, "Q1", ubiquitin.atoms.name)
    strange = replace(ubiquitin, atoms=replace(ubiquitin.atoms, name=odd))
    kept = cut_side_chains(strange, np.random.default_rng(0)).atoms.residue_index
    assert (kept == 5).sum() == (ubiquitin.atoms.residue_index == 5).sum()


def test_the_study_writes_records_and_differences_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_complexes(tmp_path / "complexes")
    rows = ["set,id,split,clusters30", "toy,c00,validation,x0", "toy,c11,validation2,x1", "toy,c01,train,x2"]
    (tmp_path / "surface.csv").write_text("\n".join([*rows, ""]))
    monkeypatch.setattr(perturbed, "PLAN", dict.fromkeys(perturbed.PLAN, ("crystal", "noise 0.5 Å")))
    arguments = [str(tmp_path), "--table", str(tmp_path / "surface.csv"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--limit", "1"]) == 0
    assert json.loads((tmp_path / "out" / "perturbed.json").read_text())["complexes"] == 1
    assert main(arguments) == 0
    table = json.loads((tmp_path / "out" / "perturbed.json").read_text())
    assert [table[key] for key in ("complexes", "sites", "clusters")] == [2, 3, 2]
    assert "less crystal" not in table["s2p"]["crystal"]
    value, less = (table["s2p"]["noise 0.5 Å"][key] for key in ("value", "less crystal"))
    assert value.keys() == less.keys()
    for name, (change, _, _) in less.items():
        assert change == pytest.approx(value[name][0] - table["s2p"]["crystal"]["value"][name][0], abs=0.002) or name == "PFI"
    files = sorted((tmp_path / "out").glob("*.jsonl"))
    assert len(files) == 4 and all(len(read_lines(path)) == 2 for path in files)
    crystal, moved = (read_lines(path) for path in files if "published" not in path.name)
    assert crystal[0].labels == moved[0].labels  # the truth is the crystal's
    assert all(d.value == d.low == d.high == 0 for d in differences(crystal, crystal).values() if d.value == d.value)
    capsys.readouterr()
    files[0].write_text(files[0].read_text().splitlines(keepends=True)[0])
    assert main(arguments) == 0
    assert "".join(capsys.readouterr()).count("done") == 1
    assert json.loads((tmp_path / "out" / "perturbed.json").read_text()) == table
