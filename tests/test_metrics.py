"""Measures against hand-computed examples."""

from __future__ import annotations

import numpy as np
import pytest

from s2p.metrics import (
    average_precision,
    best_mcc_threshold,
    best_overlap,
    dca,
    dcc,
    matthews,
    pocket_fragmentation_index,
    recall,
)


def test_average_precision_by_hand() -> None:
    """Ranking + - +: points (recall, precision) (1, 2/3) (.5, .5) (.5, 1) (0, 1); trapezoids .5·(2/3+.5)/2 + .5·1."""
    assert average_precision([1, 0, 1], [0.9, 0.5, 0.4]) == pytest.approx(0.5 * (2 / 3 + 0.5) / 2 + 0.5)
    assert np.isnan(average_precision([0, 0], [0.1, 0.2]))


def test_matthews_by_hand() -> None:
    assert matthews([1, 1, 0, 0], [1, 0, 0, 0]) == pytest.approx((1 * 2 - 0) / (1 * 2 * 2 * 3) ** 0.5)
    assert matthews([1, 0], [1, 0]) == 1
    assert matthews([1, 1], [1, 1]) == 0


def test_best_threshold_separates() -> None:
    threshold, mcc = best_mcc_threshold([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.9])
    assert mcc == 1
    assert 0.3 <= threshold < 0.6


def test_dcc_and_dca() -> None:
    predicted = [[0, 0, 0], [10, 0, 0]]
    np.testing.assert_allclose(dcc(predicted, [[0, 3, 4], [10, 0, 1]]), [5, 1])
    assert np.isinf(dcc(np.zeros((0, 3)), [[0, 0, 0]])).all()
    np.testing.assert_allclose(dca(predicted, [[0, 0, 2], [9, 0, 0]]), [2, 1])


def test_recall_is_strict() -> None:
    assert recall([3.9, 4.0, np.inf], 4.0) == pytest.approx(1 / 3)
    assert np.isnan(recall([], 4.0))


def test_fragmentation_index() -> None:
    """Site A is touched by three pockets, site B by one, site C by none: (3 + 1) / 2."""
    sites = [[1, 2, 3, 4], [8, 9], [20]]
    pockets = [[1], [2], [3, 4, 8]]
    assert pocket_fragmentation_index(sites, pockets) == 2
    np.testing.assert_allclose(best_overlap(sites, pockets), [0.5, 0.5, 0])
    assert np.isnan(pocket_fragmentation_index(sites, []))


def test_one_giant_pocket_is_perfect_by_the_index_alone() -> None:
    """Why the index is never reported without the distance of centres."""
    sites = [list(range(5)), list(range(50, 55))]
    assert pocket_fragmentation_index(sites, [list(range(100))]) == 1
