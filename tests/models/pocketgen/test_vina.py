"""The stand-in of Vina's score: its terms by hand, its atoms, and the program's own figures."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from pocketgen_reference import COMPLEXES, RECORD, complex_of, vina_says

from s2p.models.pocketgen.atoms import RESIDUES, SLOTS, slot_mask
from s2p.models.pocketgen.data import LigandAtoms
from s2p.models.pocketgen.design import Design
from s2p.models.pocketgen.ligand import dictionary_bonds
from s2p.models.pocketgen.vina import VinaAtoms, ligand_atoms, receptor_atoms, standin_score
from s2p.structure.reading import Ligand

SAYS = json.loads(RECORD.read_text())["vina"]


def atoms(*rows: tuple[str, float], donor: bool = False, acceptor: bool = False) -> VinaAtoms:
    """Atoms on the x axis."""
    n = len(rows)
    x = np.array([(place, 0.0, 0.0) for _, place in rows])
    return VinaAtoms(x, np.array([element for element, _ in rows]), np.full(n, donor), np.full(n, acceptor))


def test_terms_by_hand() -> None:
    carbon = atoms(("C", 0.0))
    # Surfaces touch: gauss1 is 1, the hydrophobic term is full, gauss2 has exp(-(3/2)^2).
    touching = -0.0356 - 0.00516 * np.exp(-2.25) - 0.0351
    assert standin_score(carbon, atoms(("C", 3.8)), 0) == pytest.approx(touching)
    assert standin_score(carbon, atoms(("C", 3.8)), 2) == pytest.approx(touching / (1 + 2 * 0.0585))
    # 1 Å between surfaces: half of the hydrophobic term.
    apart = -0.0356 * np.exp(-4) - 0.00516 * np.exp(-1) - 0.0351 / 2
    assert standin_score(carbon, atoms(("C", 4.8)), 0) == pytest.approx(apart)
    assert standin_score(carbon, atoms(("C", 8.01)), 0) == 0
    # A hydrogen bond of 3.15 Å: surfaces 0.35 Å into each other, half of the term.
    bond = -0.0356 * np.exp(-0.49) - 0.00516 * np.exp(-((3.35 / 2) ** 2)) + 0.840 * 0.35**2 - 0.587 / 2
    giver, taker = atoms(("N", 0.0), donor=True), atoms(("O", 3.15), acceptor=True)
    assert standin_score(giver, taker, 0) == pytest.approx(bond)
    assert standin_score(atoms(("N", 0.0), acceptor=True), atoms(("O", 3.15), donor=True), 0) == pytest.approx(bond)
    assert standin_score(giver, atoms(("O", 3.15), donor=True), 0) == pytest.approx(bond + 0.587 / 2)


def test_pairs_add_up() -> None:
    """Against a loop over pairs that was written without the arrays."""
    draw = np.random.default_rng(0)
    groups = []
    for n in (40, 12):
        element = draw.choice(["C", "N", "O", "S", "CL"], n)
        groups.append(VinaAtoms(draw.normal(0, 4, (n, 3)), element, draw.random(n) < 0.3, draw.random(n) < 0.3))
    receptor, ligand = groups
    total = 0.0
    for i, x in enumerate(receptor.coord):
        for j, y in enumerate(ligand.coord):
            r = float(np.linalg.norm(x - y))
            gap = r - receptor.radius[i] - ligand.radius[j]
            if r < 8:
                total += -0.0356 * np.exp(-((gap / 0.5) ** 2)) - 0.00516 * np.exp(-(((gap - 3) / 2) ** 2))
                total += 0.840 * gap**2 if gap < 0 else 0
                if receptor.hydrophobic[i] and ligand.hydrophobic[j]:
                    total -= 0.0351 * (1 if gap < 0.5 else 0 if gap > 1.5 else 1.5 - gap)
                if (receptor.donor[i] and ligand.acceptor[j]) or (receptor.acceptor[i] and ligand.donor[j]):
                    total -= 0.587 * (1 if gap < -0.7 else 0 if gap > 0 else -gap / 0.7)
    assert standin_score(receptor, ligand, 3) == pytest.approx(total / (1 + 3 * 0.0585))


def test_carbons_beside_other_elements_are_not_hydrophobic() -> None:
    chain = atoms(("C", 0.0), ("C", 1.5), ("O", 2.9), ("C", 10.0), ("CL", 11.7), ("S", 20.0))
    assert chain.hydrophobic.tolist() == [True, False, False, False, True, False]


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
def test_side_chains_are_typed_like_ligands_of_the_dictionary(name: str) -> None:
    from biotite.structure.info import residue

    known, slots = residue(name), list(SLOTS[name])
    rows = [known.atom_name.tolist().index(atom) for atom in slots]
    ligand = LigandAtoms(known.coord[rows], known.element[rows], dictionary_bonds(name, slots))
    told, _ = ligand_atoms(ligand)
    structure, _, pocket = complex_of("4CUP.cif")
    design = Design(np.array([1 + RESIDUES.index(name)]), np.eye(20)[:1], np.full((1, 14, 3), 500.0), pocket.ligand)
    assert len(pocket.pocket) == 1
    protein = receptor_atoms(structure, pocket, design, reach=1e9)
    own = np.flatnonzero((protein.coord == 500).all(axis=1))
    assert len(own) == len(slots)
    for k in range(4, len(slots)):
        assert protein.donor[own[k]] == told.donor[k], slots[k]
        if slots[k] != "NH2":  # drawn with the double bond of arginine, whose charge all its nitrogens share
            assert protein.acceptor[own[k]] == told.acceptor[k], slots[k]


def test_a_design_takes_the_natives_place() -> None:
    structure, ligand, pocket = complex_of("4CUP.cif")
    own = pocket.types[pocket.pocket]
    native = Design(own, np.eye(20)[own - 1], pocket.coord[pocket.pocket].astype(float), pocket.ligand)
    assert pocket.present[pocket.pocket].sum() == slot_mask()[own].sum()
    molecule, n = ligand_atoms(ligand)
    scores = [standin_score(receptor_atoms(structure, pocket, d), molecule, n) for d in (None, native)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)
    glycines = Design(np.full(len(own), 1 + RESIDUES.index("GLY")), np.eye(20)[own - 1], native.coord, pocket.ligand)
    bare = receptor_atoms(structure, pocket, glycines, reach=1e9)
    lost = sum(len(SLOTS[RESIDUES[k - 1]]) - 4 for k in own.tolist())
    assert len(bare.coord) == len(receptor_atoms(structure, pocket, reach=1e9).coord) - lost
    assert standin_score(bare, molecule, n) > scores[0]


def test_metals_stay_and_other_ligands_do_not() -> None:
    from dataclasses import replace

    structure, _, pocket = complex_of("4CUP.cif")
    place = pocket.ligand.mean(axis=0, keepdims=True) + 4.0
    zinc = Ligand("ZN", "Z", 1, "", place, np.array(["ZN"]), np.array(["ZN"]), "ion")
    water = replace(zinc, name="SO4", element=np.array(["S"]))
    before = receptor_atoms(structure, pocket)
    after = receptor_atoms(replace(structure, ligands=(zinc, water)), pocket)
    assert (after.element == "ZN").sum() == 1
    assert after.donor[after.element == "ZN"].all()
    assert len(after.coord) == len(before.coord) + 1


def test_roles_of_a_ligands_atoms() -> None:
    # N-(4-pyridyl)acetamide without hydrogens: an amide's nitrogen gives, the pyridine's takes.
    ring = [(4 + k, 4 + (k + 1) % 6, 2 if k % 2 else 1) for k in range(6)]
    bonds = [(0, 1, 1), (1, 2, 2), (1, 3, 1), (3, 4, 1), *((min(b[:2]), max(b[:2]), b[2]) for b in ring)]
    element = np.array("C C O N C C C N C C".split())
    x = np.random.default_rng(0).normal(0, 5, (10, 3)).astype(np.float32)
    found, _ = ligand_atoms(LigandAtoms(x, element, np.array(bonds)))
    assert np.flatnonzero(found.donor).tolist() == [3]
    assert np.flatnonzero(found.acceptor).tolist() == [2, 7]


@pytest.mark.parametrize("name", COMPLEXES)
def test_stand_in_agrees_with_the_program(name: str) -> None:
    structure, ligand, pocket = complex_of(name)
    molecule, n = ligand_atoms(ligand)
    score = standin_score(receptor_atoms(structure, pocket), molecule, n)
    # Rotors differ: Vina does not see a P–O bond of 1.93 Å; a pyrimidine is drawn with a saturated carbon.
    close = {"1ake.cif.gz": 0.05, "1s3v.pdb.gz": 0.025}.get(name, 0.003)
    assert score == pytest.approx(SAYS[name]["score_only"], rel=close, abs=0.01)


@pytest.mark.skipif(
    shutil.which("vina") is None or find_spec("meeko") is None or find_spec("rdkit") is None,
    reason="needs the program vina and the extra `design`; the record stands in",
)
def test_the_record_is_what_the_program_says() -> None:
    now = vina_says("4CUP.cif")
    assert now["score_only"] == pytest.approx(SAYS["4CUP.cif"]["score_only"], abs=0.03)
    assert now["local_only"] == pytest.approx(SAYS["4CUP.cif"]["local_only"], abs=0.2)
    assert now["local_only"] < now["score_only"]
