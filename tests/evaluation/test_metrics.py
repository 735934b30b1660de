"""Pocket measures against hand-computed examples and, where there is one, another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.metrics import (
    Detections,
    best_overlap,
    detections,
    matched_pockets,
    pocket_average_precision,
    radius_of_gyration,
    rank_limits,
    recall,
    share_missed,
    site_to_pocket,
    volume_overlap,
    voxels,
)
from s2p.pockets.hits import dcc, pocket_fragmentation_index, site_center

SITES = [[1, 2, 3, 4], [8, 9], [20]]
POCKETS = [[1], [2], [3, 4, 8]]
SETS = st.lists(st.sets(st.integers(0, 20), min_size=1), max_size=6)


def test_recall_is_strict() -> None:
    assert recall([3.9, 4.0, np.inf], 4.0) == pytest.approx(1 / 3)
    assert np.isnan(recall([], 4.0))


def test_rank_limits() -> None:
    """Quirk 13 of the published baselines: the last pocket of a short list must not be lost."""
    assert rank_limits(2, 10) == {"N": 2, "N+2": 4, "all": 10}
    assert rank_limits(2, 3) == {"N": 2, "N+2": 3, "all": 3}
    assert rank_limits(0, 3) == {"N": 0, "N+2": 2, "all": 3}
    assert list(rank_limits(1, 9, 3)) == list(BenchmarkConfig(extra_ranks=3).ranks) == ["N", "N+3", "all"]


def test_gyration() -> None:
    square = [[0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 2, 0]]
    assert radius_of_gyration(square) == pytest.approx(2**0.5)
    assert radius_of_gyration([[5, 5, 5]]) == 0
    assert np.isnan(radius_of_gyration([]))


def test_without_pockets_or_sites() -> None:
    assert np.isnan(pocket_fragmentation_index(SITES, []))
    assert share_missed(SITES, []) == 1
    assert np.isnan(share_missed([], POCKETS))
    assert np.isnan(pocket_fragmentation_index([], POCKETS))
    assert site_to_pocket([], POCKETS).shape == (0, 3)
    np.testing.assert_array_equal(best_overlap(SITES, []), 0)


def test_one_giant_pocket_is_perfect_by_the_fragmentation_index_alone() -> None:
    """Why the index is never reported alone: recall, merging and the pocket's own overlap tell the two apart."""
    sites = [list(range(5)), list(range(50, 55)), list(range(95, 100))]
    ca = np.column_stack([np.arange(100) * 3.0, np.zeros(100), np.zeros(100)])
    giant, honest = [list(range(100))], [[*range(4)], [*range(51, 55)], [94, *range(95, 98)]]
    assert pocket_fragmentation_index(sites, giant) == pocket_fragmentation_index(sites, honest) == 1
    assert share_missed(sites, giant) == 0
    np.testing.assert_array_equal(best_overlap(sites, giant), 1)
    truth = [site_center(ca[site]) for site in sites]
    assert recall(dcc([site_center(ca[p]) for p in giant], truth), 12.0) == pytest.approx(1 / 3)  # its middle is one by luck
    assert recall(dcc([site_center(ca[p]) for p in honest], truth), 12.0) == 1
    assert pocket_fragmentation_index(giant, sites) == 3
    assert pocket_fragmentation_index(honest, sites) == 1
    assert site_to_pocket(sites, giant).max() == pytest.approx(0.05)


def test_sites_that_share_residues_count_each() -> None:
    """Two ligands in one cleft, one pocket: both are found, nothing is fragmented, and the mirror says 2."""
    sites, pocket = [[1, 2, 3], [3, 4, 5]], [[1, 2, 3, 4, 5]]
    assert pocket_fragmentation_index(sites, pocket) == 1
    assert pocket_fragmentation_index(pocket, sites) == 2
    assert share_missed(sites, pocket) == 0


def test_detections_each_site_once_or_nearest() -> None:
    """Two pockets at site A, none at B; the third pocket is beyond the two that count."""
    true, predicted = [[0, 0, 0], [30, 0, 0]], [[1, 0, 0], [0, 4, 0], [30, 0, 0]]
    strict = detections(predicted, true)
    assert strict == Detections(1, 1, 1)
    nearest = detections(predicted, true, one_to_one=False)
    assert nearest == Detections(2, 0, 1)  # 4 Å is inclusive, unlike recall


def test_detections_at_the_edges() -> None:
    nothing = detections(np.zeros((0, 3)), [[0, 0, 0]])
    assert nothing == Detections(0, 0, 1)
    assert detections([[0, 0, 0]], np.zeros((0, 3))) == Detections(0, 0, 0)  # N is 0: no pocket counts
    # two copies of a ligand at one place are two sites: one pocket finds one of them
    assert detections([[0, 0, 0], [50, 0, 0]], [[0, 0, 0], [0, 0, 0]]) == Detections(1, 1, 1)


def test_matching_takes_each_site_once() -> None:
    overlap = [[0.6, 0.9, 0.0], [0.5, 0.55, 0.2]]
    np.testing.assert_array_equal(matched_pockets(overlap, 0.5), [True, True, False])  # 1st takes A, 2nd the rest
    np.testing.assert_array_equal(matched_pockets(overlap, 0.56), [True, False, False])
    assert matched_pockets(np.zeros((0, 3))).tolist() == [False] * 3
    assert matched_pockets(np.zeros((2, 0))).shape == (0,)


def test_average_precision_of_ranked_pockets_by_hand() -> None:
    """Hits at ranks 1 and 3 of 3, three sites: (1 + 2/3 + 0) / 3."""
    assert pocket_average_precision([True, False, True], 3) == pytest.approx((1 + 2 / 3) / 3)
    assert pocket_average_precision([], 2) == 0
    assert np.isnan(pocket_average_precision([False], 0))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_average_precision_agrees_with_scikit_learn_where_all_sites_are_found(hit: list[bool]) -> None:
    if any(hit):
        assert pocket_average_precision(hit, sum(hit)) == pytest.approx(average_precision_score(hit, -np.arange(len(hit))))


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
def test_voxels_against_brute_force(points: list[tuple[float, float, float]], radius: float) -> None:
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
