"""Bonds of ligands, known and perceived, and what follows of them: charges, hydrogens, rotatable bonds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pocketgen_reference import COMPLEXES, complex_of

from s2p.models.pocketgen.bonds import perceived_bonds
from s2p.models.pocketgen.data import LigandAtoms
from s2p.models.pocketgen.ligand import AROMATIC, bond_table, charges, dictionary_bonds, hydrogens, rotors, sdf_ligand


def drawn(elements: str, *bonds: tuple[int, int, int]) -> LigandAtoms:
    """A molecule of which only the bonds matter."""
    names = elements.split()
    return LigandAtoms(np.arange(3.0 * len(names)).reshape(-1, 3).astype(np.float32), np.array(names), np.array(bonds))


ACETIC_ACID = drawn("C C O O", (0, 1, 1), (1, 2, 2), (1, 3, 1))
ETHYLAMINE = drawn("C C N", (0, 1, 1), (1, 2, 1))
NITROMETHANE = drawn("C N O O", (0, 1, 1), (1, 2, 2), (1, 3, 1))
PYRROLE_AS_AROMATIC = drawn("N C C C C", *((k, (k + 1) % 5, AROMATIC) for k in range(5)))
PYRIDINE = drawn("N C C C C C", (0, 1, 2), (1, 2, 1), (2, 3, 2), (3, 4, 1), (4, 5, 2), (0, 5, 1))


@pytest.mark.parametrize(
    ("ligand", "charge", "protons"),
    [
        (ACETIC_ACID, [0, 0, 0, -1], [3, 0, 0, 0]),
        (ETHYLAMINE, [0, 0, 1], [3, 2, 3]),
        (NITROMETHANE, [0, 1, 0, -1], [3, 0, 0, 0]),
        (PYRIDINE, [0] * 6, [0, 1, 1, 1, 1, 1]),
        (drawn("C N C C C", (0, 1, 1), (1, 2, 1), (1, 3, 1), (1, 4, 1)), [0, 1, 0, 0, 0], [3, 0, 3, 3, 3]),
        (drawn("C P O O O", (0, 1, 1), (1, 2, 2), (1, 3, 1), (1, 4, 1)), [0, 0, 0, -1, -1], [3, 0, 0, 0, 0]),
        (drawn("C C N", (0, 1, 1), (1, 2, 3)), [0, 0, 0], [3, 0, 0]),
        (drawn("C F", (0, 1, 1)), [0, 0], [3, 0]),
    ],
)
def test_charges_and_hydrogens_of_small_molecules(ligand: LigandAtoms, charge: list[int], protons: list[int]) -> None:
    bonds = bond_table(ligand)
    found = charges(ligand, bonds)
    assert found.tolist() == charge
    assert hydrogens(ligand, bonds, found).tolist() == protons


def test_as_drawn_acids_and_amines_are_neutral_but_nitro_groups_are_not() -> None:
    for ligand, acid in ((ACETIC_ACID, 3), (ETHYLAMINE, 2)):
        bonds = bond_table(ligand)
        charge = charges(ligand, bonds, ionised=False)
        assert not charge.any()
        assert hydrogens(ligand, bonds, charge)[acid] == (1 if ligand is ACETIC_ACID else 2)
    assert charges(NITROMETHANE, bond_table(NITROMETHANE), ionised=False).tolist() == [0, 1, 0, -1]


def test_aromatic_bonds_count_one_and_a_half() -> None:
    bonds = bond_table(PYRROLE_AS_AROMATIC)
    assert hydrogens(PYRROLE_AS_AROMATIC, bonds, np.zeros(5, int)).tolist() == [0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("ligand", "expected"),
    [
        (drawn("C C C C", (0, 1, 1), (1, 2, 1), (2, 3, 1)), 1.0),  # butane: methyl groups do not count
        (drawn("C C O", (0, 1, 1), (1, 2, 1)), 0.5),  # ethanol: of the hydroxyl one end
        (drawn("C C N O", (0, 1, 1), (1, 2, 1), (1, 3, 2)), 0.0),  # acetamide
        (drawn("C C N C O", (0, 1, 1), (1, 2, 1), (2, 3, 1), (1, 4, 2)), 0.0),  # N-methylacetamide
        (drawn("C C C C C C", (0, 1, 1), (1, 2, 1), (2, 3, 3), (3, 4, 1), (4, 5, 1)), 1.0),  # hexyne: the triple bond turns
        (drawn("C C C C", (0, 1, 1), (1, 2, 2), (2, 3, 1)), 0.0),
        (drawn("C C C C C C", *((k, (k + 1) % 6, 1) for k in range(6))), 0.0),  # a ring
        (ACETIC_ACID, 0.0),  # the carboxylate's oxygens have no hydrogen to turn
    ],
)
def test_rotors(ligand: LigandAtoms, expected: float) -> None:
    bonds = bond_table(ligand)
    assert rotors(ligand, bonds, hydrogens(ligand, bonds, charges(ligand, bonds))) == expected


def test_perceived_bonds_give_the_dictionarys_chemistry() -> None:
    """Hydrogens and charges of nitrogen and oxygen; which of two equal bonds is drawn double may differ."""
    seen = wrong = 0
    for name, wanted in COMPLEXES.items():
        ligand = complex_of(name)[1]
        if wanted in ("AP5", "1s3v_ligand.sdf"):  # a P–O bond of 1.93 Å; drawn with a saturated carbon in a flat pyrimidine
            continue
        told = perceived_bonds(ligand.coord, ligand.element)
        known = bond_table(ligand)
        assert {tuple(x) for x in told[:, :2].tolist()} == {tuple(x) for x in known[:, :2].tolist()}
        polar = np.isin(ligand.element, ("N", "O"))
        one, other = (hydrogens(ligand, b, charges(ligand, b)) for b in (told, known))
        seen += int(polar.sum())
        wrong += int((one != other)[polar].sum())
        assert charges(ligand, told).sum() == charges(ligand, known).sum()
    assert seen > 40
    assert wrong <= 2


def test_benzene_gets_three_double_bonds_and_water_none() -> None:
    angle = np.deg2rad(60 * np.arange(6))
    ring = 1.39 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    bonds = perceived_bonds(ring, np.full(6, "C"))
    assert len(bonds) == 6
    doubles = bonds[bonds[:, 2] == 2, :2]
    assert sorted(doubles.ravel().tolist()) == list(range(6))
    assert perceived_bonds(np.zeros((1, 3)), np.array(["O"])).shape == (0, 3)


def test_bonds_of_the_dictionary_are_of_heavy_atoms_by_name() -> None:
    bonds = dictionary_bonds("ACT", ["C", "O", "OXT", "CH3"])
    assert bonds is not None
    assert {tuple(x) for x in bonds[:, :2].tolist()} == {(0, 1), (0, 2), (0, 3)}
    assert sorted(bonds[:, 2].tolist()) == [1, 1, 2]
    assert dictionary_bonds("ACT", ["C", "O", "nothing"]) is None
    assert dictionary_bonds("ACT", ["C", "C"]) is None
    assert dictionary_bonds("no such residue", ["C"]) is None


def test_bonds_of_a_file(examples: Path) -> None:
    ligand = sdf_ligand(examples / "1ia1_ligand.sdf")
    assert ligand.bonds is not None
    assert len(ligand.bonds) == 21
    assert ligand.bonds.max() < 19
    without = replace(ligand, bonds=None)
    assert np.array_equal(bond_table(without), perceived_bonds(ligand.coord, ligand.element))
