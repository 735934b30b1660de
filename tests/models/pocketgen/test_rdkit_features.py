"""RDKit's feature families of ligands, and how far our rules agree with them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pocketgen_reference import COMPLEXES, RECORD, complex_of, rdkit_says

from s2p.errors import S2PError
from s2p.models.pocketgen import rdkit_features as pocketgen_rdkit
from s2p.models.pocketgen.atoms import N_LIGAND_FEATURES, ligand_features
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, make_pocket, pocket_residues
from s2p.models.pocketgen.rdkit_features import FAMILIES, rdkit_families, rdkit_molecule

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
def test_bonds_are_perceived_where_there_are_coordinates_only() -> None:
    for name in ("1a28.pdb.gz", "6WQA.cif"):
        ligand = complex_of(name)[1]
        assert np.array_equal(rdkit_families(LigandAtoms(ligand.coord, ligand.element)), rdkit_families(ligand))


def test_without_rdkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pocketgen_rdkit, "find_spec", lambda name: None)
    structure, ligand, _ = complex_of("4CUP.cif")
    config = PocketConfig(ligand_features="rdkit")
    with pytest.raises(S2PError, match=r"needs the package rdkit, which is not installed; pip install 's2p\[design\]'"):
        make_pocket(structure, ligand, np.array([1, 2]), config=config)


def test_the_record_names_its_command() -> None:
    record = json.loads(RECORD.read_text())
    assert record["made_by"] == f"python tests/{Path('pocketgen_reference.py')}"
    assert set(record["vina"]) == set(record["rdkit"]) == set(COMPLEXES)
