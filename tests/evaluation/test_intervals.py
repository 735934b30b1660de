"""Figures over a data set by hand, bootstrap over clusters, and paired tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import (
    bootstrap,
    bootstrap_mean,
    bootstrap_ratio,
    mcnemar,
    paired_difference,
    site_hits,
    summarise,
)
from s2p.evaluation.rows import ComplexResult, ProteinRow, SiteRow

FEW = BenchmarkConfig(n_bootstrap=20)


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
        assert mcnemar(a, b).p == pytest.approx(min(1, 2 * binom.cdf(first, first + second, 0.5)))
    assert mcnemar([], []).p == 1


FAR = (np.inf,) * 9
NEAR = (1.0,) * 9


def site(protein: str, distances: tuple[float, ...] = NEAR, **changes: Any) -> SiteRow:
    row = SiteRow("p", protein, protein, 0, "LIG", 20, 12, "large", *distances, 1, 1, 0.5, 0.4, 0.3, 6.0, 7.0)
    return replace(row, **changes)


def protein(name: str, **changes: Any) -> ProteinRow:
    return replace(ProteinRow("p", name, name, 1, 100, 1, 2, 1, 1, 1, 0, 0, 1, 0, 0, 1.0, 0.5, 0.4, 0.3), **changes)


def results(sites: list[SiteRow], proteins: list[ProteinRow]) -> list[ComplexResult]:
    return [ComplexResult(own, tuple(row for row in sites if row.protein == own.protein)) for own in proteins]


def test_figures_by_hand() -> None:
    """A: found, two pockets on it. B: missed by a failed prediction. C: 5 Å off, small, and its pocket merges two sites."""
    sites = [
        site("A", pockets_touching=2),
        site("B", FAR, pockets_touching=0, best_rank=0, best_overlap=0.0, dvo=0.0, gyration_pocket=np.nan),
        site("C", (5.0,) * 9, size="small", n_residues=8, best_overlap=1.0),
    ]
    proteins = [
        protein("A", pockets_on_sites=2, touches=2),
        protein("B", n_pockets=0, pockets_on_sites=0, touches=0, tp=0, fn=1, ap=0.0, iou=0.0),
        protein("C", pockets_on_sites=1, touches=2, tp=0, fp=1, fn=1),
    ]
    table = {key: figure.value for key, figure in summarise(results(sites, proteins), FEW).items()}
    for key, value in {
        "dcc < 4 Å, top N": 1 / 3,
        "dcc < 12 Å, top N+2": 2 / 3,
        "dca < 4 Å, top all": 1 / 3,
        "dcc < 12 Å, top N+2, small sites": 1,
        "dcc < 12 Å, top N+2, large sites": 1 / 2,
        "PFI": 1.5,  # B is not in it
        "merging": 4 / 3,
        "sites missed": 1 / 3,
        "best residue overlap": 0.5,
        "best residue overlap, sites touched": 0.75,
        "dvo": 0.2,
        "dvo, sites with dcc < 4 Å": 0.3,
        "radius of gyration, pocket": 7.0,
        "F1, dcc <= 4 Å": 2 / 5,
        "precision, dcc <= 4 Å": 1 / 2,
        "recall, dcc <= 4 Å": 1 / 3,
        "AP, IoU >= 0.5": 2 / 3,
        "IoU": 0.2,
        "pockets per protein": 4 / 3,
    }.items():
        assert table[key] == pytest.approx(value), key


def test_hits_are_strict_and_know_missing_distances() -> None:
    rows = [site("A", dcc_n=3.999), site("A", dcc_n=4.0), site("A", dcc_n=np.inf), site("A", dcc_n=np.nan)]
    np.testing.assert_array_equal(site_hits(rows, "dcc_n", 4.0), [1, 0, 0, np.nan])


def test_sites_without_residues_and_proteins_without_sites_leave_the_means() -> None:
    sites = [site("A"), site("B", n_residues=0, pockets_touching=0, best_overlap=np.nan, dcc_ca_n=np.nan)]
    proteins = [protein("A"), protein("B"), protein("C", n_sites=0, ap=np.nan, iou=0.0)]
    table = summarise(results(sites, proteins), FEW)
    assert table["sites missed"].value == 0
    assert table["dcc CA < 4 Å, top N"].value == 1
    assert table["IoU"].value == pytest.approx(0.3)
    assert np.isnan(summarise([], FEW)["PFI"].value)


def test_the_names_of_figures_say_the_distances_ranks_and_overlaps_that_were_asked_for() -> None:
    config = BenchmarkConfig(extra_ranks=3, strict_hit=5, loose_hit=10, iou=0.3, n_bootstrap=20)
    sites = [site("A", dcc_n=4.5, dca_n_plus=4.5), site("B", FAR, dcc_n_plus=9.0)]
    table = summarise(results(sites, [protein("A"), protein("B")]), config)
    assert table["dcc < 5 Å, top N"].value == table["dca < 5 Å, top N+3"].value == table["dvo, sites with dcc < 5 Å"].value / 0.6
    assert table["dcc < 10 Å, top N+3"].value == table["dcc < 10 Å, top N+3, large sites"].value == 1
    assert {"dcc CA < 5 Å, top all", "F1, dcc <= 5 Å", "recall, dcc <= 5 Å", "AP, IoU >= 0.3"} <= set(table)
    assert not [name for name in table if "4 Å" in name or "12 Å" in name or "N+2" in name or "0.5" in name]
