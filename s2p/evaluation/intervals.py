"""Metrics of a predictor and their uncertainty: bootstrap over clusters of homologous proteins, and paired tests.

Predictions for sites of one protein, and for proteins of one family, are correlated. Resampling single sites would make intervals
too narrow, so whole clusters are drawn with replacement; a protein without relatives is its own cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.rows import ComplexResult, ProteinRow, SiteRow

__all__ = [
    "Difference",
    "McNemar",
    "Summary",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_ratio",
    "mcnemar",
    "paired_difference",
    "recall_name",
    "site_hits",
    "summarise",
]


DRAWS, SEED = BenchmarkConfig.n_bootstrap, BenchmarkConfig.seed


@dataclass(frozen=True)
class Summary:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


UNKNOWN = Summary(float("nan"), float("nan"), float("nan"))


def _draws(groups: Sequence[str], n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of the group of each row, and (n, G) the number of times that each group is drawn."""
    names, code = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    size = len(names)
    picks = np.random.default_rng(seed).integers(0, size, (n, size))
    counts = np.zeros((n, size), np.int64)
    np.add.at(counts, (np.arange(n)[:, None], picks), 1)
    return code.astype(np.int64), counts


def _interval(spread: NDArray[np.float64]) -> tuple[float, float]:
    usable = spread[np.isfinite(spread)]
    if not len(usable):
        return float("nan"), float("nan")
    low, high = np.percentile(usable, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_ratio(
    numerator: ArrayLike, denominator: ArrayLike, groups: Sequence[str], *, n: int = DRAWS, seed: int = SEED
) -> Summary:
    """Ratio of the sums of two (R,) columns, e.g. hits over sites, with its interval over clusters; NaN if the second is 0.

    ``groups``: (R,) cluster of each row. Clusters that add 0 to both sums are drawn too, because their lack of information is
    part of the uncertainty.
    """
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if not bottom.sum():
        return UNKNOWN
    code, counts = _draws(groups, n, seed)
    size = counts.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (counts @ np.bincount(code, top, size)) / (counts @ np.bincount(code, bottom, size))
    return Summary(float(top.sum() / bottom.sum()), *_interval(spread))


def bootstrap_mean(values: ArrayLike, groups: Sequence[str], *, n: int = DRAWS, seed: int = SEED) -> Summary:
    """Mean of (R,) values without NaN, with its interval over clusters; see :func:`bootstrap_ratio`."""
    x = np.asarray(values, np.float64)
    return bootstrap_ratio(np.where(np.isnan(x), 0.0, x), ~np.isnan(x), groups, n=n, seed=seed)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], groups: Sequence[str], *, n: int = DRAWS, seed: int = SEED
) -> Summary:
    """A statistic of row indices with its interval over clusters; indices are repeated as often as their cluster is drawn."""
    if not len(groups):
        return UNKNOWN
    code, counts = _draws(groups, n, seed)
    rows = np.arange(len(code))
    spread = np.array([statistic(np.repeat(rows, count[code])) for count in counts])
    return Summary(float(statistic(rows)), *_interval(spread))


@dataclass(frozen=True)
class Difference(Summary):
    """Mean of a paired difference, first minus second."""

    p: float
    """Two-sided, from the share of draws on either side of 0; never below 2 / (draws + 1)."""


def paired_difference(
    first: ArrayLike, second: ArrayLike, groups: Sequence[str], *, n: int = DRAWS, seed: int = SEED
) -> Difference:
    """Mean of ``first - second`` over the same rows, with a bootstrap over clusters.

    Parameters
    ----------
    first, second
        (R,) values of two predictors for the same sites or proteins; rows with a NaN in either are left out.
    groups
        (R,) cluster of each row.

    Returns
    -------
    Two equal columns give a difference of 0 with p 1. Draws of exactly 0 count on both sides.
    """
    delta = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean = bootstrap_mean(delta, groups, n=n, seed=seed)
    kept = ~np.isnan(delta)
    if not kept.any():
        return Difference(mean.value, mean.low, mean.high, float("nan"))
    code, counts = _draws(groups, n, seed)
    sums = counts @ np.bincount(code, np.where(kept, delta, 0.0), counts.shape[1])
    side = min(int((sums <= 0).sum()), int((sums >= 0).sum()))
    return Difference(mean.value, mean.low, mean.high, min(1.0, 2 * (side + 1) / (n + 1)))


@dataclass(frozen=True)
class McNemar:
    """Numbers of sites found by only one of two predictors."""

    only_first: int
    only_second: int
    p: float
    """Exact, two-sided: probability of a split at least as uneven by a fair coin; 1 without such sites."""


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Exact McNemar test of two boolean columns (R,), the hits of two predictors on the same sites.

    It assumes independent sites: with several sites per protein, or relatives in the set, prefer :func:`paired_difference`.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    total = only_first + only_second
    return McNemar(only_first, only_second, float(binomtest(only_first, total).pvalue) if total else 1.0)


def site_hits(sites: Sequence[SiteRow], column: str, cutoff: float) -> NDArray[np.float64]:
    """(S,) 1 if the distance in ``column`` is below ``cutoff`` (strict), else 0; NaN if there is no distance."""
    distance = np.array([getattr(row, column) for row in sites], np.float64)
    return np.where(np.isnan(distance), np.nan, distance < cutoff)


def recall_name(measure: str, cutoff: float, rank: str) -> str:
    """Name of a recall in tables: ``dca``, ``dcc`` or ``dcc CA`` below ``cutoff`` Å by the top ``rank`` pockets (``N``, ``N+2``,
    ``all``; :attr:`BenchmarkConfig.ranks`)."""
    return f"{measure} < {cutoff:g} Å, top {rank}"


def summarise(results: Sequence[ComplexResult], config: BenchmarkConfig | None = None) -> dict[str, Summary]:
    """All metrics of one predictor with 95 % intervals over clusters.

    Parameters
    ----------
    config
        That of the results: distances, ranks and overlaps are in the names; ranks and overlaps were fixed in the run.

    Returns
    -------
    Values by name. ``dcc``: from the ligand's centroid; ``dcc CA``: from the mean CA of the site's residues, as published;
    ``dca``: from the ligand's closest atom. PFI and merging are pooled over sites and pockets, as published, F1 over proteins;
    coverage, Dice, IoU and AP are means over proteins that have sites.
    """
    import pandas as pd

    config = config or BenchmarkConfig()
    sites = [row for result in results for row in result.sites]
    site = pd.DataFrame(sites, columns=list(SiteRow.__dataclass_fields__))
    protein = pd.DataFrame([result.protein for result in results], columns=list(ProteinRow.__dataclass_fields__))

    def mean(rows: pd.DataFrame, values: ArrayLike, where: ArrayLike = True) -> Summary:
        return bootstrap_mean(np.where(where, values, np.nan), rows.cluster, n=config.n_bootstrap, seed=config.seed)

    def ratio(top: ArrayLike, bottom: ArrayLike) -> Summary:
        return bootstrap_ratio(top, bottom, protein.cluster, n=config.n_bootstrap, seed=config.seed)

    strict, loose, (_, plus, _) = config.strict_hit, config.loose_hit, config.ranks
    table = {}
    for rank, end in config.ranks.items():
        for measure, cutoff in product(("dcc", "dcc CA", "dca"), (strict, loose)):
            column = f"{measure.lower().replace(' ', '_')}_{end}"
            table[recall_name(measure, cutoff, rank)] = mean(site, site_hits(sites, column, cutoff))
    for size in ("small", "large"):
        hits = site_hits(sites, "dcc_n_plus", loose)
        table[f"{recall_name('dcc', loose, plus)}, {size} sites"] = mean(site, hits, site["size"] == size)
    known, touched = site.n_residues > 0, site.pockets_touching > 0
    table["PFI"] = mean(site, site.pockets_touching, known & touched)
    table["merging"] = ratio(protein.touches, protein.pockets_on_sites)
    table["sites missed"] = mean(site, ~touched, known)
    table["best residue overlap"] = mean(site, site.best_overlap)
    table["best residue overlap, sites touched"] = mean(site, site.best_overlap, touched)
    table["dvo"] = mean(site, site.dvo)
    table[f"dvo, sites with dcc < {strict:g} Å"] = mean(site, site.dvo, site.dcc_n < strict)
    table["radius of gyration, site"] = mean(site, site.gyration)
    table["radius of gyration, pocket"] = mean(site, site.gyration_pocket)
    at, twice = f"dcc <= {strict:g} Å", 2 * protein.tp
    table[f"F1, {at}"] = ratio(twice, twice + protein.fp + protein.fn)
    table[f"precision, {at}"] = ratio(protein.tp, protein.tp + protein.fp)
    table[f"recall, {at}"] = ratio(protein.tp, protein.tp + protein.fn)
    twice = 2 * protein.tp_nearest
    table[f"F1, {at}, nearest site"] = ratio(twice, twice + protein.fp_nearest + protein.fn_nearest)
    for name, column in ((f"AP, IoU >= {config.iou:g}", "ap"), ("coverage", "coverage"), ("Dice", "dice"), ("IoU", "iou")):
        table[name] = mean(protein, protein[column], protein.n_sites > 0)
    table["pockets per protein"] = mean(protein, protein.n_pockets)
    return table
