"""AutoDock Vina asked for scores: what it is given, what is made of its answers, and what is said where it is missing."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pocketgen_reference import RECORD, complex_of, vina_says

from s2p.errors import S2PError
from s2p.models.pocketgen import docking as pocketgen_docking
from s2p.models.pocketgen import ligand as pocketgen_ligand
from s2p.models.pocketgen.atoms import RESIDUES, SLOT_MASK, SLOTS
from s2p.models.pocketgen.design import Design
from s2p.models.pocketgen.docking import (
    METALS,
    ReceptorAtoms,
    check_vina,
    ligand_pdbqt,
    receptor_atoms,
    receptor_pdbqt,
    vina_score,
)
from s2p.structure.reading import Ligand

NEEDS_MEEKO = pytest.mark.skipif(find_spec("meeko") is None or find_spec("rdkit") is None, reason="needs the extra `design`")
SAYS = json.loads(RECORD.read_text())["vina"]
SMALL = ReceptorAtoms(np.eye(3), np.array(["N", "C", "ZN"]), np.array([True, False, True]), np.zeros(3, bool))


def parsed(text: str) -> list[tuple[str, str, np.ndarray]]:
    """Name, type and place of each line, by the columns of the format."""
    return [
        (line[12:16].strip(), line[77:79].strip(), np.array([float(line[a : a + 8]) for a in (30, 38, 46)]))
        for line in text.splitlines()
    ]


def test_who_gives_and_takes_in_a_protein() -> None:
    structure, _, pocket = complex_of("1a28.pdb.gz")
    receptor = receptor_atoms(structure, pocket, reach=1e9)
    names = structure.atoms.name
    owner = structure.residues.name[structure.atoms.residue_index]
    assert len(receptor.coord) == len(names)
    roles = {
        ("PRO", "N"): (False, False),
        ("ALA", "N"): (True, False),
        ("ALA", "O"): (False, True),
        ("HIS", "NE2"): (True, False),
        ("HIS", "ND1"): (False, True),
        ("SER", "OG"): (True, True),
        ("ASN", "OD1"): (False, True),
        ("ASN", "ND2"): (True, False),
        ("LYS", "NZ"): (True, False),
        ("MET", "SD"): (False, False),
        ("LEU", "CD1"): (False, False),
    }
    for (residue, atom), expected in roles.items():
        own = (owner == residue) & (names == atom)
        assert own.any()
        assert set(zip(receptor.donor[own].tolist(), receptor.acceptor[own].tolist(), strict=True)) == {expected}, (residue, atom)


@pytest.mark.parametrize("name", RESIDUES)
def test_donors_of_side_chains_are_those_with_a_hydrogen_in_the_dictionary(name: str) -> None:
    from biotite.structure.info import residue

    structure, _, pocket = complex_of("4CUP.cif")
    design = Design(np.array([1 + RESIDUES.index(name)]), np.eye(20)[:1], np.full((1, 14, 3), 500.0), pocket.ligand)
    assert len(pocket.pocket) == 1
    protein = receptor_atoms(structure, pocket, design, reach=1e9)
    own = np.flatnonzero((protein.coord == 500).all(axis=1))
    slots = SLOTS[name]
    assert len(own) == len(slots)
    known = residue(name)
    atoms, element = known.atom_name, known.element
    bonded = {(str(atoms[i]), str(element[j])) for a, b, _ in known.bonds.as_array() for i, j in ((a, b), (b, a))}
    # The dictionary draws acids with their proton, and histidine with both.
    loses = {"ASP": "OD2", "GLU": "OE2", "HIS": "ND1"}.get(name)
    for k in range(4, len(slots)):
        gives = slots[k][0] in "NO" and (slots[k], "H") in bonded and slots[k] != loses
        assert protein.donor[own[k]] == gives, slots[k]


def test_a_design_takes_the_natives_place() -> None:
    structure, _, pocket = complex_of("4CUP.cif")
    own = pocket.types[pocket.pocket]
    native = Design(own, np.eye(20)[own - 1], pocket.coord[pocket.pocket].astype(float), pocket.ligand)
    assert pocket.present[pocket.pocket].sum() == SLOT_MASK[own].sum()
    before, after = (receptor_atoms(structure, pocket, d) for d in (None, native))
    rows = [
        sorted(zip(x.coord.round(3).tolist(), x.element.tolist(), x.donor.tolist(), x.acceptor.tolist(), strict=True))
        for x in (before, after)
    ]
    assert rows[0] == rows[1]
    glycines = Design(np.full(len(own), 1 + RESIDUES.index("GLY")), np.eye(20)[own - 1], native.coord, pocket.ligand)
    bare = receptor_atoms(structure, pocket, glycines, reach=1e9)
    lost = sum(len(SLOTS[RESIDUES[k - 1]]) - 4 for k in own.tolist())
    assert len(bare.coord) == len(receptor_atoms(structure, pocket, reach=1e9).coord) - lost


def test_metals_stay_and_other_ligands_do_not() -> None:
    structure, _, pocket = complex_of("4CUP.cif")
    place = pocket.ligand.mean(axis=0, keepdims=True) + 4.0
    zinc = Ligand("ZN", "Z", 1, "", place, np.array(["ZN"]), np.array(["ZN"]), "ion")
    water = replace(zinc, name="SO4", element=np.array(["S"]))
    before = receptor_atoms(structure, pocket)
    after = receptor_atoms(replace(structure, ligands=(zinc, water)), pocket)
    assert (after.element == "ZN").sum() == 1
    assert after.donor[after.element == "ZN"].all()
    assert len(after.coord) == len(before.coord) + 1


def test_receptor_has_a_hydrogen_for_each_donor() -> None:
    structure, _, pocket = complex_of("1a28.pdb.gz")
    receptor = receptor_atoms(structure, pocket)
    rows = parsed(receptor_pdbqt(receptor))
    heavy = [row for row in rows if row[1] != "HD"]
    assert [kind for _, kind, _ in heavy] == [
        {"N": "NA" if a else "N", "O": "OA", "S": "SA"}.get(e, e)
        for e, a in zip(receptor.element.tolist(), receptor.acceptor.tolist(), strict=True)
    ]
    assert np.allclose([x for *_, x in heavy], receptor.coord, atol=6e-4)
    assert len(rows) - len(heavy) == receptor.donor.sum()
    before = rows[0]
    for row in rows:
        if row[1] == "HD":
            assert np.linalg.norm(row[2] - before[2]) == pytest.approx(1, abs=2e-3)
            # Nearer to its own than the 1.23 Å at which Vina would bond it to another nitrogen or carbon.
            nearest = np.sort(np.linalg.norm(receptor.coord - row[2], axis=1))
            assert nearest[1] > 1.24
        else:
            before = row


def test_metals_have_no_hydrogen() -> None:
    rows = parsed(receptor_pdbqt(SMALL))
    assert [kind for _, kind, _ in rows] == ["N", "HD", "C", "Zn"]
    assert "ZN" in METALS


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pocketgen_docking.shutil, "which", lambda name: None)
    monkeypatch.setattr(pocketgen_docking, "find_spec", lambda name: None)
    with pytest.raises(S2PError, match="AutoDock Vina is not installed; install the program"):
        check_vina()
    monkeypatch.setattr(pocketgen_docking, "find_spec", lambda name: object())
    monkeypatch.setattr(pocketgen_ligand, "find_spec", lambda name: None if name == "meeko" else object())
    with pytest.raises(S2PError, match=r"needs the package meeko, which is not installed; pip install 's2p-pockets\[design\]'"):
        check_vina()
    monkeypatch.setattr(pocketgen_ligand, "find_spec", lambda name: object())
    assert check_vina() == "package"
    monkeypatch.setattr(pocketgen_docking.shutil, "which", lambda name: "/somewhere/vina")
    assert check_vina() == "program"


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for the program is a shell script")
def test_the_programs_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script in the program's place notes how it is called."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    script, note = tmp_path / "vina", tmp_path / "note"
    answer = "Estimated Free Energy of Binding   : -9.070 (kcal/mol) [=(1)+(2)+(3)+(4)]"
    script.write_text(f"#!/bin/sh\necho \"$@\" > {note}\necho '{answer}'\n")
    script.chmod(0o755)
    assert vina_score(SMALL, "ATOM", engine="program") == -9.07
    assert "--local_only" in note.read_text() and "--seed 1" in note.read_text()
    folder = Path(note.read_text().split()[1]).parent
    assert not folder.exists()
    assert vina_score(SMALL, "ATOM", relax=False, engine="program") == -9.07
    assert "--score_only" in note.read_text() and "--out" not in note.read_text()
    script.write_text("#!/bin/sh\necho 'PDBQT parsing error' >&2\nexit 1\n")
    with pytest.raises(S2PError, match=r"AutoDock Vina failed \(exit status 1\): PDBQT parsing error"):
        vina_score(SMALL, "ATOM", engine="program")
    script.write_text("#!/bin/sh\necho nothing\n")
    with pytest.raises(S2PError, match="AutoDock Vina failed"):
        vina_score(SMALL, "ATOM", engine="program")
    script.unlink()
    if shutil.which("vina") is None:
        with pytest.raises(S2PError, match="could not be run"):
            vina_score(SMALL, "ATOM", engine="program")


@NEEDS_MEEKO
def test_ligand_as_meeko_writes_it() -> None:
    _, ligand, _ = complex_of("1a28.pdb.gz")
    text = ligand_pdbqt(ligand)
    assert "TORSDOF 1" in text
    rows = parsed("\n".join(line for line in text.splitlines() if line.startswith("ATOM")))
    assert sorted(kind for _, kind, _ in rows) == sorted(["C"] * 21 + ["OA"] * 2)
    places = np.array([x for *_, x in rows])
    assert np.linalg.norm(places[:, None] - ligand.coord[None], axis=-1).min(axis=1).max() < 1e-3


@pytest.mark.skipif(find_spec("vina") is None or find_spec("meeko") is None, reason="needs the extra `design`")
def test_package_and_program_agree() -> None:
    structure, ligand, pocket = complex_of("4CUP.cif")
    receptor, text = receptor_atoms(structure, pocket), ligand_pdbqt(ligand)
    says = SAYS["4CUP.cif"]
    assert vina_score(receptor, text, relax=False, engine="package") == pytest.approx(says["score_only"], abs=0.03)
    assert vina_score(receptor, text, engine="package") == pytest.approx(says["local_only"], abs=0.2)
    with pytest.raises(S2PError, match="AutoDock Vina failed"):
        vina_score(receptor, "nonsense", engine="package")


@pytest.mark.skipif(
    shutil.which("vina") is None or find_spec("meeko") is None or find_spec("rdkit") is None,
    reason="needs the program vina and the extra `design`; the record stands in",
)
def test_the_record_is_what_the_program_says() -> None:
    now = vina_says("4CUP.cif")
    assert now["score_only"] == pytest.approx(SAYS["4CUP.cif"]["score_only"], abs=0.03)
    assert now["local_only"] == pytest.approx(SAYS["4CUP.cif"]["local_only"], abs=0.2)
    assert now["local_only"] < now["score_only"]
