"""How sure a figure is: bootstrap over clusters of homologous proteins, and paired tests between predictors.

Sites of one protein, and proteins of one family, succeed and fail together. Resampling single sites would make intervals too
narrow, so what is drawn, with replacement, is whole clusters; a protein without relatives is a cluster of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2p.evaluation.config import BenchmarkConfig

__all__ = ["Difference", "McNemar", "Summary", "bootstrap", "bootstrap_mean", "bootstrap_ratio", "mcnemar", "paired_difference"]


@dataclass(frozen=True)
class Summary:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def _draws(groups: Sequence[str], n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of the group of each row, and (n, G) how often each group is drawn."""
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
    numerator: ArrayLike,
    denominator: ArrayLike,
    groups: Sequence[str],
    *,
    n: int = BenchmarkConfig.n_bootstrap,
    seed: int = BenchmarkConfig.seed,
) -> Summary:
    """Sum over sum, say hits over sites, with its interval over clusters; NaN if the denominators sum to 0.

    Parameters
    ----------
    numerator, denominator
        (R,) of sites or proteins.
    groups
        (R,) cluster of each row. Clusters that add 0 to both are drawn too: that they say nothing is part of the uncertainty.
    """
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if not bottom.sum():
        return Summary(float("nan"), float("nan"), float("nan"))
    code, counts = _draws(groups, n, seed)
    size = counts.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (counts @ np.bincount(code, top, size)) / (counts @ np.bincount(code, bottom, size))
    return Summary(float(top.sum() / bottom.sum()), *_interval(spread))


def bootstrap_mean(
    values: ArrayLike,
    groups: Sequence[str],
    *,
    n: int = BenchmarkConfig.n_bootstrap,
    seed: int = BenchmarkConfig.seed,
) -> Summary:
    """Mean of (R,) values, those that are NaN left out, with its interval over clusters; see :func:`bootstrap_ratio`."""
    x = np.asarray(values, np.float64)
    return bootstrap_ratio(np.where(np.isnan(x), 0.0, x), ~np.isnan(x), groups, n=n, seed=seed)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    groups: Sequence[str],
    *,
    n: int = BenchmarkConfig.n_bootstrap,
    seed: int = BenchmarkConfig.seed,
) -> Summary:
    """Any statistic of rows with its interval over clusters.

    Parameters
    ----------
    statistic
        Of row indices, which repeat as often as their cluster was drawn.
    groups
        (R,) cluster of each row.
    """
    if not len(groups):
        return Summary(float("nan"), float("nan"), float("nan"))
    code, counts = _draws(groups, n, seed)
    rows = np.arange(len(code))
    spread = np.array([statistic(np.repeat(rows, count[code])) for count in counts])
    return Summary(float(statistic(rows)), *_interval(spread))


@dataclass(frozen=True)
class Difference:
    """Mean of a paired difference, first less second."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided, from the share of draws on either side of 0; never below 2 / (draws + 1)."""


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[str],
    *,
    n: int = BenchmarkConfig.n_bootstrap,
    seed: int = BenchmarkConfig.seed,
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
    """Sites found by one of two predictors only."""

    only_first: int
    only_second: int
    p: float
    """Exact, two-sided: chance of a split at least as uneven of that many sites by a fair coin; 1 without such sites."""


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Exact McNemar test of two boolean columns (R,), the hits of two predictors on the same sites.

    It takes sites for independent: with several sites a protein or relatives in the set trust :func:`paired_difference` more.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    total = only_first + only_second
    tail = sum(math.comb(total, k) for k in range(min(only_first, only_second) + 1))
    return McNemar(only_first, only_second, min(1.0, float(Fraction(2 * tail, 2**total))))
