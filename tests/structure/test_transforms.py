"""Rigid motions: distances stay, nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from course.structures import moved
from s2p.structure.reading import read_structure
from s2p.structure.transforms import random_rotation, superposition

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"


@pytest.mark.parametrize("column", [0, 2])
@pytest.mark.parametrize("seed", range(5))
def test_rotations_are_proper(seed: int, column: int) -> None:
    q = random_rotation(np.random.default_rng(seed), column)
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(q) == pytest.approx(1.0)


def test_rotations_have_no_favourite_direction() -> None:
    draw = np.random.default_rng(0)
    mean = np.mean([random_rotation(draw) for _ in range(4000)], axis=0)
    assert np.abs(mean).max() < 0.05  # entries have a standard deviation of 0.58, so the mean's is 0.009


def test_a_known_motion() -> None:
    structure = read_structure(EXAMPLES / "4CUP.cif")
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # x becomes y
    there = moved(structure, quarter, np.array([1.0, 2.0, 3.0]))
    x, y, z = structure.atoms.coord[7].tolist()
    np.testing.assert_allclose(there.atoms.coord[7], [1 - y, 2 + x, 3 + z], atol=1e-3)
    np.testing.assert_allclose(structure.atoms.coord[7], [x, y, z])  # the original stays


def test_everything_moves_together() -> None:
    structure = read_structure(EXAMPLES / "4CUP.cif")
    there = moved(structure, random_rotation(np.random.default_rng(3)), np.array([10.0, -40.0, 7.0]))

    def all_points(s):
        return np.concatenate([s.residues.ca_coord, s.atoms.coord[:200], *(x.coord for x in s.ligands)])

    assert len(structure.ligands) > 0
    np.testing.assert_allclose(pdist(all_points(structure)), pdist(all_points(there)), atol=2e-3)
    assert there.residues.ids() == structure.residues.ids() and there.name == structure.name


def test_superposition_is_kabsch() -> None:
    draw = np.random.default_rng(0)
    a = draw.normal(size=(12, 3)) * 5
    b = draw.normal(size=(12, 3)) * 0.3 + a @ random_rotation(draw).T + 4
    rotation, shift, rmsd = superposition(a, b)
    u, _, v = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
    best = (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v).T
    np.testing.assert_allclose(rotation, best, atol=1e-6)
    np.testing.assert_allclose(np.sqrt((((b @ rotation.T + shift) - a) ** 2).sum(1).mean()), rmsd, atol=1e-6)


def test_without_rounding_the_file_precision_stays() -> None:
    structure = read_structure(EXAMPLES / "4CUP.cif")
    q = random_rotation(np.random.default_rng(1))
    there = moved(structure, q, np.zeros(3), None)
    np.testing.assert_array_equal(there.atoms.coord, (structure.atoms.coord.astype(float) @ q.T).astype(np.float32))
