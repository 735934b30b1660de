"""Ligands on their own, in SDF and MOL files; formats of structures are tested where they are read (``test_reading.py``)."""

from pathlib import Path

import numpy as np
import pytest

from s2p.errors import StructureError
from s2p.structure.arrays import binding_residues
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.reading import read_structure

EXAMPLES = Path(__file__).parents[3] / "data" / "examples"


def test_sdf_ligand_sits_in_its_site():
    coord, element = read_sdf_ligand(EXAMPLES / "1s3v_ligand.sdf")
    assert coord.shape == (27, 3)
    assert coord.dtype == np.float32
    assert len(element) == 27
    assert set(element) == {"C", "N", "O"}
    structure = read_structure(EXAMPLES / "1s3v.pdb.gz")
    nearest = np.linalg.norm(structure.atoms.coord[:, None] - coord[None], axis=-1).min()
    assert 2.2 < nearest < 3.5
    assert len(binding_residues(structure, coord)) == 17


MOLECULE = """water and more
  test

{n}  0  0  0  0  0  0  0  0  0999 V2000
{atoms}M  END
$$$$
"""


def sdf_text(*symbols: str) -> str:
    lines = "".join(f"{k:10.4f}    1.0000    2.0000 {s:<3} 0  0  0  0  0  0  0  0  0  0  0  0\n" for k, s in enumerate(symbols))
    return MOLECULE.format(n=f"{len(symbols):3d}", atoms=lines)


def test_sdf_hydrogens_are_dropped_elements_are_upper_case_and_the_first_molecule_counts(tmp_path):
    path = tmp_path / "two.sdf"
    path.write_text(sdf_text("Cl", "H", "C") + sdf_text("O"))
    coord, element = read_sdf_ligand(path)
    assert element.tolist() == ["CL", "C"]
    assert coord.tolist() == [[0, 1, 2], [2, 1, 2]]


@pytest.mark.parametrize("text", ["", "not a molecule\n", sdf_text("H", "H"), sdf_text("C", "C")[:-60]])
def test_bad_sdf_gives_a_sentence(tmp_path, text):
    path = tmp_path / "bad.sdf"
    path.write_text(text)
    with pytest.raises(StructureError, match=r"bad\.sdf"):
        read_sdf_ligand(path)


def test_missing_sdf_gives_a_sentence(tmp_path):
    with pytest.raises(StructureError, match="no such file"):
        read_sdf_ligand(tmp_path / "none.sdf")
