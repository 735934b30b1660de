"""Names of force fields, and the elements that names stand for."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from s2p import read_structure
from s2p.structure.files.names import DUMMY, STANDARD, element_of, standard_names

HISTIDINE = ("N", "CA", "C", "O", "CB", "CG", "ND1", "CD2", "CE1", "NE2")


def translated(residue: str, atoms: tuple[str, ...]) -> tuple[str, list[str]]:
    element = np.array([element_of(atom, residue) for atom in atoms])
    names, atom_names = standard_names(np.array([residue] * len(atoms)), np.array(atoms), element)
    assert len(set(names.tolist())) == 1
    return str(names[0]), atom_names.tolist()


@pytest.mark.parametrize("name", "HSD HSE HSP HID HIE HIP HISA HISB HISH HISD HISE NHIE CHIP hie HIS".split())
def test_histidine_of_force_fields(name: str) -> None:
    assert translated(name, HISTIDINE)[0] == "HIS"


@pytest.mark.parametrize(
    ("name", "atoms", "standard"),
    [
        ("CYX", "N CA C O CB SG HB2", "CYS"),
        ("CYS2", "N CA C O CB SG", "CYS"),
        ("ASH", "N CA C O CB CG OD1 OD2 HD2", "ASP"),
        ("GLUH", "N CA C O CB CG CD OE1 OE2", "GLU"),
        ("LYSH", "N CA C O CB CG CD CE NZ", "LYS"),
        ("ARGN", "N CA C O CB CG CD NE CZ NH1 NH2", "ARG"),
        ("TYM", "N CA C O CB CG CD1 CD2 CE1 CE2 CZ OH", "TYR"),
        ("NALA", "N CA C O CB H1 H2 H3", "ALA"),
        ("CCYX", "N CA C O OXT CB SG", "CYS"),
        ("HI+", "N CA C O CB CG ND1 CD2 CE1 NE2", "HIS"),
        ("TIP3", "OH2 H1 H2", "HOH"),
        ("OPC", "O H1 H2 EPW", "HOH"),
        ("SOL", "OW HW1 HW2 MW", "HOH"),
        ("NMA", "N CH3 HN", "NME"),
        ("NHE", "N HN1 HN2", "NH2"),
        ("SOD", "SOD", "NA"),
        ("Cl-", "Cl-", "CL"),
        ("DA5", "O5' C5' C4' C1' N9", "DA"),
        ("GUA", "O5' C5' C1' O2' N9", "G"),
        ("ADE", "O5' C5' C1' N9", "DA"),
    ],
)
def test_translation(name: str, atoms: str, standard: str) -> None:
    assert translated(name, tuple(atoms.split()))[0] == standard


@pytest.mark.parametrize(
    ("name", "atoms"),
    [
        ("HSE", "N CA C O CB CG OD"),  # homoserine
        ("HIP", "N CA C O CB CG ND1 CD2 CE1 NE2 P O1P O2P O3P"),  # phosphohistidine
        ("CLA", "MG CHA CHB CHC CHD NA"),  # chlorophyll
        ("NHE", "C1 C2 C3 N S O1 O2 O3"),  # a buffer
        ("T3P", "P O1P C1' N1"),
        ("MSE", "N CA C O CB CG SE CE"),
        ("IOD", "I"),
        ("ZN", "ZN"),
    ],
)
def test_other_molecules_keep_their_name(name: str, atoms: str) -> None:
    assert translated(name, tuple(atoms.split())) == (name, atoms.split())


def test_atoms_of_force_fields() -> None:
    assert translated("ILE", ("N", "CA", "C", "OT1", "OT2", "CB", "CG1", "CG2", "CD"))[1] == "N CA C O OXT CB CG1 CG2 CD1".split()
    assert translated("ARG", ("N", "CA", "C", "O1", "O2", "CD"))[1] == ["N", "CA", "C", "O", "OXT", "CD"]
    assert translated("ala", ("n", "ca", "c", "o", "cb")) == ("ALA", ["N", "CA", "C", "O", "CB"])
    assert translated("LIG", ("O1", "O2", "CD"))[1] == ["O1", "O2", "CD"]


@pytest.mark.parametrize(
    ("name", "residue", "column", "aligned", "element"),
    [
        ("CA", "ALA", "", False, "C"),
        ("CA  ", "ALA", "CA", True, "C"),
        ("HG1", "THR", "", False, "H"),
        ("HE2", "HIS", "HE", True, "H"),
        ("1HB", "ALA", "", False, "H"),
        ("HG21", "VAL", "", False, "H"),
        ("D", "ALA", "", False, "D"),
        ("DG1", "THR", "", False, "D"),
        ("CD", "NLYS", "", False, "C"),
        ("CA  ", "CA", "", True, "CA"),
        (" CA ", "CA", "C", True, "CA"),
        ("ZN", "ZN2", "", False, "ZN"),
        ("CLA", "CLA", "", False, "CL"),
        ("CHA", "CLA", "", False, "C"),
        ("K+", "K+", "", False, "K"),
        ("SOD", "SOD", "", False, "NA"),
        ("FE", "HEM", "", False, "FE"),
        ("CL1", "LIG", "", False, "CL"),
        ("CA1", "LIG", "", False, "C"),
        (" CA1", "LIG", "", True, "C"),
        ("CA  ", "LIG", "", True, "CA"),
        ("HG1 ", "LIG", "", True, "H"),
        ("HG1", "LIG", "HG", False, "HG"),
        ("C1", "LIG", "C", True, "C"),
        ("SE", "MSE", "SE", True, "SE"),
        ("SE", "MET", "SE", True, "SE"),
        ("MW", "SOL", "", False, DUMMY),
        ("EPW", "OPC", "", False, DUMMY),
        ("OM", "SWM4", "", False, DUMMY),
        ("LP1", "CYS", "", False, DUMMY),
        ("MNZ1", "LYS", "", False, DUMMY),
        ("O", "DUM", "O", True, DUMMY),
        ("OW", "SOL", "", False, "O"),
        ("N9", "DA5", "", False, "N"),
        ("?", "LIG", "", False, "X"),
    ],
)
def test_elements(name: str, residue: str, column: str, aligned: bool, element: str) -> None:
    assert element_of(name, residue, column, aligned) == element


def test_names_in_small_letters() -> None:
    names, atoms = standard_names(np.array(["ala", "so4", "Gly"]), np.array(["ca", "o1", "n"]), np.array(["C", "O", "N"]))
    assert (names.tolist(), atoms.tolist()) == (["ALA", "SO4", "GLY"], ["CA", "O1", "N"])
    assert standard_names(np.array(["ALA", "so4"]), np.array(["CA", "o1"]), np.array(["C", "O"]))[0].tolist() == ["ALA", "so4"]


def test_standard_names_of_nothing_and_the_twenty() -> None:
    empty = np.array([], dtype=str)
    assert len(standard_names(empty, empty, empty)[0]) == 0
    assert len(STANDARD) == 20


RENAMED = {
    "HIS": ("HSD", "HIE", "HIP", "HISB", "HSP"), "CYS": ("CYX", "CYM", "CYSH", "CYS2"), "ASP": ("ASH", "ASPH", "ASPP"),
    "GLU": ("GLH", "GLUH"), "LYS": ("LYN", "LYSH"), "ARG": ("ARN", "ARGN"), "TYR": ("TYM",), "ALA": ("CALA", "NALA"),
    "HOH": ("SOL", "TIP3", "SPC", "OPC", "WAT", "TIP"),
}  # fmt: skip


def test_names_of_force_fields_give_the_same_structure(tmp_path: Path) -> None:
    lines = gzip.decompress((Path(__file__).parents[3] / "data" / "examples" / "1s3v.pdb.gz").read_bytes()).decode().splitlines()
    lines = [line for line in lines if line[:6] in ("ATOM  ", "HETATM", "TER   ")]
    renamed = []
    for line in lines:
        names = RENAMED.get(line[17:20])
        if names:
            name = names[int(line[22:26]) % len(names)]
            line = f"{line[:17]}{name:>3}{line[20:]}" if len(name) == 3 else line[:17] + name + line[21:]
        elif line[17:20] == "ILE":
            line = line.replace(" CD1 ", " CD  ")
        renamed.append(line[:76])  # no elements
    assert {line[17:21].strip() for line in renamed} >= {"HSD", "ASPP", "LYSH", "NALA"}
    found = []
    for name, text in (("a", lines), ("b", renamed)):
        path = tmp_path / name / "x.pdb"
        path.parent.mkdir()
        path.write_text("\n".join(text))
        found.append(read_structure(path))
    for part in ("atoms", "residues"):
        for key, value in vars(getattr(found[0], part)).items():
            assert value.tolist() == getattr(getattr(found[1], part), key).tolist(), key
    assert [x.id for x in found[0].ligands] == [x.id for x in found[1].ligands]
    assert found[0].notes == found[1].notes
