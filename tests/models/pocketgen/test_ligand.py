"""Bonds of ligands, and what RDKit makes of them: molecules, charges, feature families."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pocketgen_reference import COMPLEXES, RECORD, complex_of, rdkit_says

from s2p.errors import S2PError
from s2p.models.pocketgen import ligand as pocketgen_ligand
from s2p.models.pocketgen.atoms import N_LIGAND_FEATURES, ligand_features
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, make_pocket, pocket_residues
from s2p.models.pocketgen.ligand import (
    AROMATIC,
    FAMILIES,
    dictionary_bonds,
    rdkit_families,
    rdkit_molecule,
    sdf_ligand,
)

SAYS = json.loads(RECORD.read_text())["rdkit"]
NEEDS_RDKIT = pytest.mark.skipif(find_spec("rdkit") is None, reason="needs rdkit, of the extra `design`")
AGREEMENT = {
    "Acceptor": 0.92,
    "Donor": 0.88,
    "Aromatic": 0.94,
    "Hydrophobe": 0.73,
    "LumpedHydrophobe": 0.82,
    "NegIonizable": 0.94,
    "PosIonizable": 0.92,
    "ZnBinder": 0.87,
}
"""Shares of the record's 294 atoms that rules and RDKit agree on, measured, rounded down."""


def drawn(elements: str, *bonds: tuple[int, int, int]) -> LigandAtoms:
    """A molecule of which only the bonds matter."""
    names = elements.split()
    return LigandAtoms(np.arange(3.0 * len(names)).reshape(-1, 3).astype(np.float32), np.array(names), np.array(bonds))


def smiles_of(molecule: Any) -> str:
    """As RDKit writes it."""
    from rdkit.Chem import MolToSmiles

    return str(MolToSmiles(molecule))


ACETIC_ACID = drawn("C C O O", (0, 1, 1), (1, 2, 2), (1, 3, 1))
ETHYLAMINE = drawn("C C N", (0, 1, 1), (1, 2, 1))
NITROMETHANE = drawn("C N O O", (0, 1, 1), (1, 2, 2), (1, 3, 1))
PYRIDINE_AS_AROMATIC = drawn("N C C C C C", *((k, (k + 1) % 6, AROMATIC) for k in range(6)))
PYRIDINE = drawn("N C C C C C", (0, 1, 2), (1, 2, 1), (2, 3, 2), (3, 4, 1), (4, 5, 2), (0, 5, 1))


@NEEDS_RDKIT
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
    atoms = list(rdkit_molecule(ligand, ionised=True).GetAtoms())
    assert [atom.GetFormalCharge() for atom in atoms] == charge
    assert [atom.GetTotalNumHs() for atom in atoms] == protons


@NEEDS_RDKIT
def test_as_drawn_acids_and_amines_are_neutral_but_nitro_groups_are_not() -> None:
    for ligand, smiles in ((ACETIC_ACID, "CC(=O)O"), (ETHYLAMINE, "CCN"), (NITROMETHANE, "C[N+](=O)[O-]")):
        assert smiles_of(rdkit_molecule(ligand)) == smiles


@NEEDS_RDKIT
def test_aromatic_bonds_of_a_file() -> None:
    assert smiles_of(rdkit_molecule(PYRIDINE_AS_AROMATIC, ionised=True)) == "c1ccncc1"


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


def test_rules_against_the_record() -> None:
    told, ruled = [], []
    for name in COMPLEXES:
        ligand = complex_of(name)[1]
        table = np.zeros((len(ligand.coord), len(FAMILIES)), bool)
        for k, family in enumerate(FAMILIES):
            table[SAYS[name][family], k] = True
        told.append(table)
        ruled.append(ligand_features(ligand.coord, ligand.element)[:, -len(FAMILIES) :] > 0)
    share = (np.concatenate(told) == np.concatenate(ruled)).mean(axis=0)
    for k, family in enumerate(FAMILIES):
        assert AGREEMENT[family] <= share[k] < AGREEMENT[family] + 0.02, family


@NEEDS_RDKIT
@pytest.mark.parametrize("name", COMPLEXES)
def test_the_record_is_what_rdkit_says(name: str) -> None:
    assert rdkit_says(name) == SAYS[name]


@NEEDS_RDKIT
def test_a_pocket_has_the_families_it_is_asked_for() -> None:
    structure, ligand, pocket = complex_of("6WQA.cif")
    config = PocketConfig(ligand_features="rdkit")
    other = make_pocket(structure, ligand, pocket_residues(structure, ligand.coord, config), config=config)
    assert pocket.features.shape == other.features.shape == (25, N_LIGAND_FEATURES)
    assert np.array_equal(pocket.features[:, :-8], other.features[:, :-8])
    assert np.array_equal(other.features[:, -8:] > 0, rdkit_families(ligand))
    assert not np.array_equal(pocket.features, other.features)


@NEEDS_RDKIT
def test_molecules() -> None:
    from rdkit import Chem

    x = np.zeros((4, 3), np.float32)
    acid = LigandAtoms(x, np.array(["C", "C", "O", "O"]), np.array([(0, 1, 1), (1, 2, 2), (1, 3, 1)]))
    assert Chem.MolToSmiles(rdkit_molecule(acid)) == "CC(=O)O"
    assert Chem.MolToSmiles(rdkit_molecule(acid, ionised=True)) == "CC(=O)[O-]"
    assert rdkit_families(acid)[:, FAMILIES.index("NegIonizable")].tolist() == [False, True, True, True]
    wrong = LigandAtoms(np.zeros((6, 3), np.float32), np.array(["C"] * 6), np.array([(0, k, 1) for k in range(1, 6)]))
    with pytest.raises(S2PError, match="RDKit finds no molecule"):
        rdkit_molecule(wrong)


@NEEDS_RDKIT
def test_bonds_are_not_guessed() -> None:
    ligand = complex_of("6WQA.cif")[1]
    with pytest.raises(S2PError, match="the bonds of the ligand are not known.* give the ligand as an SDF or MOL file"):
        rdkit_molecule(replace(ligand, bonds=None))


def test_without_rdkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pocketgen_ligand, "find_spec", lambda name: None)
    structure, ligand, _ = complex_of("4CUP.cif")
    config = PocketConfig(ligand_features="rdkit")
    with pytest.raises(S2PError, match=r"needs the package rdkit, which is not installed; pip install 's2p-pockets\[design\]'"):
        make_pocket(structure, ligand, np.array([1, 2]), config=config)


def test_the_record_names_its_command() -> None:
    record = json.loads(RECORD.read_text())
    assert record["made_by"] == f"python tests/{Path('pocketgen_reference.py')}"
    assert set(record["vina"]) == set(record["rdkit"]) == set(COMPLEXES)
