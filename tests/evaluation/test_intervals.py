"""Bootstrap over clusters and paired tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from s2p.evaluation.intervals import bootstrap, bootstrap_mean, bootstrap_ratio, mcnemar, paired_difference


def test_mean_and_missing_values() -> None:
    found = bootstrap_mean([1, 0, np.nan, 1], ["a", "b", "c", "d"])
    assert found.value == pytest.approx(2 / 3)
    assert 0 <= found.low < found.value < found.high <= 1
    assert np.isnan(bootstrap_mean([np.nan], ["a"]).value)
    assert np.isnan(bootstrap_mean([], []).value)
    one = bootstrap_mean([0.5, 1.0], ["a", "a"])
    assert (one.value, one.low, one.high) == (0.75, 0.75, 0.75)  # one cluster: nothing to draw from


def test_interval_has_the_width_of_the_textbook() -> None:
    """200 independent coins: the standard error is √(p(1−p)/n)."""
    hits = np.random.default_rng(1).random(200) < 0.3
    found = bootstrap_mean(hits, [str(k) for k in range(200)], n=4000)
    p = hits.mean()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * (p * (1 - p) / 200) ** 0.5, rel=0.1)


def test_clusters_widen_the_interval() -> None:
    """Ten copies of twenty coins know no more than twenty coins."""
    coins = np.random.default_rng(2).random(20) < 0.5
    hits = np.repeat(coins, 10)
    alone = bootstrap_mean(hits, [str(k) for k in range(200)])
    together = bootstrap_mean(hits, [str(k // 10) for k in range(200)])
    assert together.value == alone.value
    assert together.high - together.low > 2 * (alone.high - alone.low)
    few = bootstrap_mean(coins, [str(k) for k in range(20)])
    assert (together.low, together.high) == pytest.approx((few.low, few.high), abs=0.11)


def test_ratio_is_of_sums() -> None:
    found = bootstrap_ratio([1, 3], [1, 9], ["a", "b"])
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx((1 / 3, 1))
    assert np.isnan(bootstrap_ratio([0, 0], [0, 0], ["a", "b"]).value)


def test_any_statistic_agrees_with_the_mean() -> None:
    x, groups = np.random.default_rng(3).random(30), [str(k % 7) for k in range(30)]
    general = bootstrap(lambda rows: float(x[rows].mean()), groups, n=300)
    special = bootstrap_mean(x, groups, n=300)
    assert (general.value, general.low, general.high) == pytest.approx((special.value, special.low, special.high))
    assert np.isnan(bootstrap(lambda rows: 0.0, []).value)


def test_paired_difference() -> None:
    groups = [str(k) for k in range(40)]
    better = paired_difference(np.ones(40), np.r_[np.zeros(20), np.ones(20)], groups)
    assert better.value == 0.5
    assert 0 < better.low < 0.5 < better.high
    assert better.p == pytest.approx(2 / 1001)
    same = paired_difference(np.ones(40), np.ones(40), groups)
    assert (same.value, same.p) == (0, 1)
    assert np.isnan(paired_difference([np.nan], [1], ["a"]).p)


def test_paired_difference_of_chance_is_uniform() -> None:
    """Under no difference about one test in twenty says p < 0.05."""
    draw = np.random.default_rng(4)
    groups = [str(k) for k in range(60)]
    ps = [paired_difference(draw.normal(size=60), draw.normal(size=60), groups, n=400).p for _ in range(200)]
    assert 0.01 <= np.mean(np.array(ps) < 0.05) <= 0.11


def test_mcnemar_by_hand() -> None:
    """Five sites only the first finds, one only the second: 2·(C(6,0) + C(6,1)) / 2^6."""
    a = np.array([1] * 5 + [0] + [1] * 10 + [0] * 4, bool)
    b = np.array([0] * 5 + [1] + [1] * 10 + [0] * 4, bool)
    test = mcnemar(a, b)
    assert (test.only_first, test.only_second) == (5, 1)
    assert test.p == pytest.approx(2 * 7 / 64) == pytest.approx(2 * binom.cdf(1, 6, 0.5))
    assert mcnemar(a, a).p == 1
    for first, second in ((0, 9), (30, 31), (900, 1100)):
        a, b = np.repeat([True, False], [first, second]), np.repeat([False, True], [first, second])
        assert mcnemar(a, b).p == pytest.approx(binomtest(first, first + second).pvalue)
    assert mcnemar([], []).p == 1
