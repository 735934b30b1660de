"""Rigid motions: distances stay, nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from s2p.structure.reading import read_structure
from s2p.structure.transforms import dihedral, moved, principal_frame, random_rotation, superposition

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


def test_dihedral_of_known_angles() -> None:
    a, b, c = (np.array([x], float) for x in ((1, 0, 0), (0, 0, 0), (0, 0, 1)))
    for angle in (-170.0, -60.0, 0.5, 90.0, 180.0):
        # Looking along b to c, the far bond is turned clockwise by the angle.
        d = c + np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)), 0.3])
        assert np.rad2deg(dihedral(a, b, c, d)[0]) == pytest.approx(angle)


def test_without_rounding_the_file_precision_stays() -> None:
    structure = read_structure(EXAMPLES / "4CUP.cif")
    q = random_rotation(np.random.default_rng(1))
    there = moved(structure, q, np.zeros(3), None)
    np.testing.assert_array_equal(there.atoms.coord, (structure.atoms.coord.astype(float) @ q.T).astype(np.float32))


# ---------------------------------------------------------------------------------------------- a frame of the molecule's own


def chain(draw: np.random.Generator, n: int) -> np.ndarray:
    """A compact random walk with steps of 3.8 Å."""
    steps = draw.normal(size=(n, 3))
    x = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    return x - x.mean(axis=0)


def copies(x: np.ndarray, order: int) -> np.ndarray:
    """Exact copies around the z axis, 25 Å from it."""
    angles = 2 * np.pi * np.arange(order) / order
    turns = [np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in angles]
    return np.concatenate([(x + np.array([25.0, 0, 0])) @ turn.T for turn in turns])


def same_place(x: np.ndarray, seed: int, decimals: int, atol: float) -> None:
    """In its own frame a molecule looks the same before and after motions and rounding."""
    draw = np.random.default_rng(seed)
    origin, axes = principal_frame(x)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    inside = (x - origin) @ axes
    for _ in range(4):
        y = np.round(x @ random_rotation(draw).T + draw.normal(0, 50, 3), decimals)
        other_origin, other_axes = principal_frame(y)
        np.testing.assert_allclose(inside, (y - other_origin) @ other_axes, atol=atol)


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 300), st.integers(0, 2**32 - 1))
def test_the_principal_frame_moves_with_a_chain(n: int, seed: int) -> None:
    same_place(chain(np.random.default_rng(seed), n), seed, 8, 1e-3)


@pytest.mark.parametrize("order", [2, 3, 4, 6])
def test_the_frame_of_exact_oligomers_does_not_turn_by_rounding(order: int) -> None:
    """Equal spreads and no tails: the order of the residues decides."""
    for seed in range(10):
        same_place(copies(chain(np.random.default_rng(seed), 80), order), seed, 3, 0.05)


def test_the_frame_of_a_round_molecule() -> None:
    """Three equal spreads: the corners of an octahedron, and of a cube."""
    octahedron = 20 * np.concatenate([np.eye(3), -np.eye(3)])
    cube = 20 * np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], float)
    for x in (octahedron, cube):
        same_place(x, 0, 3, 0.05)


def test_the_frame_of_few_points_is_still_a_frame() -> None:
    for n in (1, 2, 3):
        _, axes = principal_frame(np.arange(3.0 * n).reshape(n, 3) ** 2)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
