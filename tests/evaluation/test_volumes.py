"""Volume overlap on a grid, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.evaluation.volumes import volume_overlap, voxels


def test_a_point_on_the_grid_fills_its_cell_and_six_neighbours() -> None:
    assert len(voxels([[0, 0, 0]], 2.0)) == 7
    assert len(voxels([[0, 0, 0]], 1.9)) == 1
    assert len(voxels([[0, 0, 0]], 2.0, spacing=1.0)) == 33  # Kalasanty's ball on its 1 Å grid
    assert len(voxels(np.zeros((0, 3)), 2.0)) == 0


def test_overlap_by_hand() -> None:
    """Balls of seven cells around neighbouring grid points share the two centres: 2 of 12."""
    a, b = voxels([[0, 0, 0]], 2.0), voxels([[2, 0, 0]], 2.0)
    assert volume_overlap(a, b) == pytest.approx(2 / 12)
    assert volume_overlap(a, a) == 1
    assert volume_overlap(a, voxels([[40, 0, 0]], 2.0)) == 0
    empty = voxels([], 2.0)
    assert volume_overlap(a, empty) == volume_overlap(empty, a) == 0
    assert np.isnan(volume_overlap(empty, empty))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*[st.floats(-30, 30)] * 3), min_size=1, max_size=5), st.floats(0.5, 4))
def test_against_brute_force(points: list[tuple[float, float, float]], radius: float) -> None:
    axis = np.arange(-20, 21) * 2.0
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    near = (np.linalg.norm(grid[:, None] - np.array(points)[None], axis=2) <= radius + 2e-9).any(axis=1)
    assert len(voxels(points, radius)) == near.sum()


def test_moving_points_and_origin_together_changes_nothing() -> None:
    draw = np.random.default_rng(0)
    x, y, shift = draw.normal(0, 5, (20, 3)), draw.normal(1, 5, (20, 3)), np.array([1.3, -200.7, 55.1])
    before = volume_overlap(voxels(x), voxels(y))
    assert 0 < before < 1
    assert volume_overlap(voxels(x + shift, origin=shift), voxels(y + shift, origin=shift)) == before
