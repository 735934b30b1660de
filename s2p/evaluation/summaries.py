"""Figures of a predictor over a data set, from the rows of its sites and proteins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import Summary, bootstrap_mean, bootstrap_ratio
from s2p.evaluation.rows import ProteinRow, SiteRow

__all__ = ["site_hits", "summary_table"]

KEPT = {"N": "n", "N+2": "n_plus", "all": "all"}
"""Names of the rules for how many pockets count, and the ends of their columns."""


def site_hits(sites: Sequence[SiteRow], column: str, cutoff: float) -> NDArray[np.float64]:
    """(S,) 1 where the distance in ``column`` is below ``cutoff`` (strict), else 0; NaN where there is no such distance."""
    distance = np.array([getattr(row, column) for row in sites], np.float64)
    return np.where(np.isnan(distance), np.nan, distance < cutoff)


def summary_table(
    sites: Sequence[SiteRow],
    proteins: Sequence[ProteinRow],
    *,
    n_bootstrap: int = BenchmarkConfig.n_bootstrap,
    seed: int = BenchmarkConfig.seed,
) -> dict[str, Summary]:
    """Every figure of one predictor with its 95 % interval over clusters.

    Returns
    -------
    Figures by name. ``dcc``: from the ligand's centroid; ``dcc CA``: from the mean CA of the site's residues, as published;
    ``dca``: from the ligand's closest atom. PFI and merging are pooled over sites and pockets, as published, F1 over proteins;
    coverage, Dice, IoU and AP are means over proteins that have sites.
    """
    of_site, of_protein = [row.cluster for row in sites], [row.cluster for row in proteins]

    def mean(values: Sequence[float] | NDArray[np.float64], groups: Sequence[str] = of_site) -> Summary:
        return bootstrap_mean(values, groups, n=n_bootstrap, seed=seed)

    def ratio(top: Callable[[ProteinRow], float], bottom: Callable[[ProteinRow], float]) -> Summary:
        pairs = [(top(row), bottom(row)) for row in proteins]
        return bootstrap_ratio([a for a, _ in pairs], [b for _, b in pairs], of_protein, n=n_bootstrap, seed=seed)

    strict, loose = BenchmarkConfig.strict_hit, BenchmarkConfig.loose_hit
    table = {}
    for kept, end in KEPT.items():
        for measure, column, cutoff in (
            ("dcc", "dcc", strict),
            ("dcc", "dcc", loose),
            ("dcc CA", "dcc_ca", strict),
            ("dcc CA", "dcc_ca", loose),
            ("dca", "dca", strict),
        ):
            table[f"{measure} < {cutoff:g} Å, top {kept}"] = mean(site_hits(sites, f"{column}_{end}", cutoff))
    hits = site_hits(sites, "dcc_n_plus", loose)
    for size in ("small", "large"):
        own = np.array([row.size == size for row in sites], bool)
        table[f"dcc < {loose:g} Å, top N+2, {size} sites"] = mean(np.where(own, hits, np.nan))
    touching = [float(row.pockets_touching) if row.n_residues else np.nan for row in sites]
    table["PFI"] = mean([x if x > 0 else np.nan for x in touching])
    table["merging"] = ratio(lambda row: row.touches, lambda row: row.pockets_on_sites)
    table["sites missed"] = mean([np.nan if np.isnan(x) else float(x == 0) for x in touching])
    table["best residue overlap"] = mean([row.best_overlap for row in sites])
    table["best residue overlap, sites touched"] = mean([row.best_overlap if row.pockets_touching else np.nan for row in sites])
    table["dvo"] = mean([row.dvo for row in sites])
    table["dvo, sites with dcc < 4 Å"] = mean([row.dvo if row.dcc_n < strict else np.nan for row in sites])
    table["radius of gyration, site"] = mean([row.gyration for row in sites])
    table["radius of gyration, pocket"] = mean([row.gyration_pocket for row in sites])
    table["F1, dcc <= 4 Å"] = ratio(lambda row: 2 * row.tp, lambda row: 2 * row.tp + row.fp + row.fn)
    table["precision, dcc <= 4 Å"] = ratio(lambda row: row.tp, lambda row: row.tp + row.fp)
    table["recall, dcc <= 4 Å"] = ratio(lambda row: row.tp, lambda row: row.tp + row.fn)
    table["F1, dcc <= 4 Å, nearest site"] = ratio(
        lambda row: 2 * row.tp_nearest, lambda row: 2 * row.tp_nearest + row.fp_nearest + row.fn_nearest
    )
    for name, column in (("AP, IoU >= 0.5", "ap"), ("coverage", "coverage"), ("Dice", "dice"), ("IoU", "iou")):
        values = [getattr(row, column) if row.n_sites else np.nan for row in proteins]
        table[name] = mean(values, of_protein)
    table["pockets per protein"] = mean([float(row.n_pockets) for row in proteins], of_protein)
    return table
