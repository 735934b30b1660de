"""Evolutionary and structural numbers of residues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes.crossbind_features import backbone_angles, residue_features
from s2p.structure.reading import Structure, read_structure


@pytest.fixture(scope="module")
def ubiquitin(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")


def test_residue_features(ubiquitin: Structure) -> None:
    table = residue_features(ubiquitin)
    assert table.shape == (76, 54)
    assert table[:, :45].min() >= -1 and table[:, 44].max() <= 1
    np.testing.assert_array_equal(table[:, 45:].sum(axis=1), 1)
    np.testing.assert_allclose(table[1:-1, 40] ** 2 + table[1:-1, 42] ** 2, 1, atol=1e-5)
    assert (table[0, [40, 42]] == 0).all() and (table[-1, [41, 43]] == 0).all()
    helix = slice(22, 34)  # of ubiquitin, residues 23 to 34
    assert table[helix, 45].mean() > 0.8


def test_backbone_angles_against_gemmi(examples: Path, ubiquitin: Structure) -> None:
    import gemmi

    read = gemmi.read_structure(str(examples / "1ubi.pdb.gz"))
    read.setup_entities()
    residues: list[gemmi.Residue | None] = [None, *read[0]["A"].get_polymer(), None]
    expected = np.array([gemmi.calculate_phi_psi(*residues[k : k + 3]) for k in range(len(residues) - 2)])
    difference = np.angle(np.exp(1j * (backbone_angles(ubiquitin) - expected)))
    assert np.array_equal(np.isnan(expected), np.isnan(backbone_angles(ubiquitin)))
    assert np.nanmax(np.abs(difference)) < 1e-4
