"""Residue measures against hand-computed examples and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from s2p.evaluation.residues import (
    auprc_trapezoid,
    average_precision,
    best_mcc_threshold,
    f1,
    matthews,
    overlap_figures,
    roc_auc,
)


def test_two_areas_under_the_precision_recall_curve() -> None:
    """Ranking + - +: points (recall, precision) (1, 2/3) (.5, .5) (.5, 1) (0, 1)."""
    labels, scores = [1, 0, 1], [0.9, 0.5, 0.4]
    assert auprc_trapezoid(labels, scores) == pytest.approx(0.5 * (2 / 3 + 0.5) / 2 + 0.5)
    assert average_precision(labels, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert np.isnan(auprc_trapezoid([0, 0], [0.1, 0.2]))
    assert np.isnan(average_precision([0, 0], [0.1, 0.2]))


def test_why_the_trapezoid_is_not_trusted_with_ties() -> None:
    """Equal scores say nothing: one in four is the precision, but the line to (0, 1) promises more."""
    assert average_precision([1, 0, 0, 0], [0.5] * 4) == 0.25
    assert auprc_trapezoid([1, 0, 0, 0], [0.5] * 4) == pytest.approx((1 + 0.25) / 2)


def test_auc_by_hand() -> None:
    """Pairs (+, -): 0.9 > 0.5, 0.9 > 0.4, 0.4 < 0.5, 0.4 = 0.4 is a half."""
    assert roc_auc([1, 0, 1, 0], [0.9, 0.5, 0.4, 0.4]) == pytest.approx(2.5 / 4)
    assert np.isnan(roc_auc([1, 1], [0.1, 0.2]))


def test_matthews_by_hand() -> None:
    assert matthews([1, 1, 0, 0], [1, 0, 0, 0]) == pytest.approx((1 * 2 - 0) / (1 * 2 * 2 * 3) ** 0.5)
    assert matthews([1, 0], [1, 0]) == 1
    assert matthews([1, 1], [1, 1]) == 0


def test_f1_by_hand() -> None:
    """One hit, one false alarm, one miss, one rest: F1 is 1/2."""
    assert f1([1, 1, 0, 0], [1, 0, 1, 0]) == 0.5
    assert np.isnan(f1([0, 0], [0, 0]))


def test_best_threshold_separates() -> None:
    threshold, mcc = best_mcc_threshold([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.9])
    assert mcc == 1
    assert 0.3 <= threshold < 0.6


def test_sets_by_hand() -> None:
    assert overlap_figures([1, 2, 3, 4, 4], [5, 3, 4]) == pytest.approx((1 / 2, 4 / 7, 2 / 5))
    assert overlap_figures([1], []) == (0, 0, 0)
    assert np.isnan(overlap_figures([], [])).all()
    np.testing.assert_array_equal(overlap_figures([], [1]), (np.nan, 0, 0))


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_against_scikit_learn(rows: list[tuple[bool, int, bool]]) -> None:
    y, s, p = (np.array(column) for column in zip(*rows, strict=True))
    assert matthews(y, p) == pytest.approx(metrics.matthews_corrcoef(y, p), abs=1e-12)
    if (y | p).any():
        assert f1(y, p) == pytest.approx(metrics.f1_score(y, p, zero_division=0))
    if y.any():
        assert average_precision(y, s) == pytest.approx(metrics.average_precision_score(y, s))
    if y.any() and not y.all():
        assert roc_auc(y, s) == pytest.approx(metrics.roc_auc_score(y, s))
