"""Bonds that are told from coordinates, against those of the dictionary and of files."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from pocketgen_reference import COMPLEXES, complex_of

from benchmarks.recipes.ligand_bonds import perceived_bonds, with_bonds
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.ligand import rdkit_families


def test_perceived_bonds_give_the_dictionarys_chemistry() -> None:
    """Valences of nitrogen and oxygen; which of two equal bonds is drawn double may differ."""
    seen = wrong = 0
    for name, wanted in COMPLEXES.items():
        ligand = complex_of(name)[1]
        if wanted in ("AP5", "1s3v_ligand.sdf"):  # a P–O bond of 1.93 Å; drawn with a saturated carbon in a flat pyrimidine
            continue
        told = perceived_bonds(ligand.coord, ligand.element)
        known = ligand.bonds
        assert known is not None
        assert {tuple(x) for x in told[:, :2].tolist()} == {tuple(x) for x in known[:, :2].tolist()}
        one, other = (np.bincount(b[:, :2].T.ravel(), np.tile(b[:, 2], 2), minlength=len(ligand.coord)) for b in (told, known))
        # Of an acid's oxygens either may be the double one.
        polar = np.isin(ligand.element, ("N", "O"))
        ends = polar & (ligand.element == "O") & (np.bincount(known[:, :2].ravel(), minlength=len(polar)) == 1)
        assert one[ends].sum() == other[ends].sum()
        seen += int((polar & ~ends).sum())
        wrong += int((one != other)[polar & ~ends].sum())
    assert seen > 25
    assert wrong <= 2


def test_benzene_gets_three_double_bonds_and_water_none() -> None:
    angle = np.deg2rad(60 * np.arange(6))
    ring = 1.39 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    bonds = perceived_bonds(ring, np.full(6, "C"))
    assert len(bonds) == 6
    doubles = bonds[bonds[:, 2] == 2, :2]
    assert sorted(doubles.ravel().tolist()) == list(range(6))
    assert perceived_bonds(np.zeros((1, 3)), np.array(["O"])).shape == (0, 3)


def test_bonds_are_added_only_where_they_are_needed_and_missing() -> None:
    ligand = complex_of("6WQA.cif")[1]
    without = replace(ligand, bonds=None)
    assert with_bonds(without, PocketConfig()) is without
    asked = PocketConfig(ligand_features="rdkit")
    assert with_bonds(ligand, asked) is ligand
    assert with_bonds(without, asked).bonds is not None


@pytest.mark.skipif(find_spec("rdkit") is None, reason="needs rdkit, of the extra `design`")
@pytest.mark.parametrize("name", ["1a28.pdb.gz", "6WQA.cif"])
def test_families_are_those_of_known_bonds(name: str) -> None:
    ligand = complex_of(name)[1]
    told = with_bonds(replace(ligand, bonds=None), PocketConfig(ligand_features="rdkit"))
    assert np.array_equal(rdkit_families(told), rdkit_families(ligand))
