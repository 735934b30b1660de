"""Tables of a benchmark run: metrics of every predictor with intervals, paired comparisons, and failures."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import Summary, bootstrap, mcnemar, paired_difference, recall_name, site_hits, summarise
from s2p.evaluation.residues import auprc_trapezoid, average_precision, matthews, roc_auc
from s2p.evaluation.runner import Record, Run
from s2p.io.files import write_bytes, write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cost", "Pair", "cost", "pairs", "predictor_figures", "write_tables"]

N_RESIDUE_BOOTSTRAP = 100
"""Bootstrap draws for residue metrics; each one sorts all residues."""


@dataclass(frozen=True)
class Cost:
    """Time and memory of predictions."""

    seconds: float
    """Median over proteins, without the first of each process if there are others."""
    seconds_95: float
    """95th percentile."""
    peak_mb: float
    """Largest."""
    n_failed: int
    n_proteins: int


def cost(records: Sequence[Record]) -> Cost:
    """Time and memory of the successful predictions, and the number of failed ones (without unreadable cases)."""
    usable = [r.protein for r in records if r.protein.status != "unreadable"]
    done = [p for p in usable if p.status == "ok"]
    warm = [p.seconds for p in done if not p.first] or [p.seconds for p in done] or [float("nan")]
    peak = max((p.peak_mb for p in done), default=float("nan"))
    return Cost(float(np.median(warm)), float(np.percentile(warm, 95)), peak, len(usable) - len(done), len(usable))


def predictor_figures(records: Sequence[Record], config: BenchmarkConfig | None = None) -> dict[str, Summary]:
    """Metrics of pockets (:func:`s2p.evaluation.intervals.summarise`), if there are sites, and of residues, pooled over
    proteins.

    Residue metrics need scores: if the predictor failed on a protein, all its residues get score 0. They are absent for a
    predictor that gives all residues the same score.
    """
    config = config or BenchmarkConfig()
    usable = [r for r in records if r.protein.status != "unreadable"]
    table = summarise(usable, config) if any(r.sites for r in usable) else {}
    labels = [_mask(r.labels) for r in usable]
    scores = [np.array(r.scores) if r.scores else np.zeros(len(r.labels)) for r in usable]
    positive = [_mask(r.positive) if r.positive else np.zeros(len(r.labels), bool) for r in usable]
    if not usable or np.ptp(np.concatenate(scores)) == 0:
        return table
    clusters = [r.protein.cluster for r in usable]
    draws = min(config.n_bootstrap, N_RESIDUE_BOOTSTRAP)
    for name, measure, values in (
        ("residue AUPRC (trapezoid)", auprc_trapezoid, scores),
        ("residue average precision", average_precision, scores),
        ("residue AUC", roc_auc, scores),
        ("residue MCC", matthews, positive),
    ):

        def pooled(rows: NDArray[np.int64], measure=measure, values=values) -> float:  # type: ignore[no-untyped-def]
            return float(measure(np.concatenate([labels[k] for k in rows]), np.concatenate([values[k] for k in rows])))

        table[name] = bootstrap(pooled, clusters, n=draws, seed=config.seed)
    if not any(r.sites for r in usable):
        for name, measure, values in (("AUPRC", auprc_trapezoid, scores), ("MCC", matthews, positive)):
            own = np.array([measure(y, x) for y, x in zip(labels, values, strict=True)])
            mean = bootstrap(lambda rows, own=own: float(np.nanmean(own[rows])), clusters, n=config.n_bootstrap, seed=config.seed)  # type: ignore[misc]
            table[f"residue {name}, mean of proteins"] = mean
    return table


def _mask(bits: str) -> NDArray[np.bool_]:
    return np.asarray(np.frombuffer(bits.encode(), np.uint8) == ord("1"))


@dataclass(frozen=True)
class Pair:
    """Two predictors on the same sites."""

    first: str
    second: str
    measure: str
    n_sites: int
    """Of proteins, for a measure of residues."""
    difference: float
    """Recall of the first minus that of the second; or AUPRC of residues, if there are no sites."""
    low: float
    high: float
    p: float
    """By bootstrap over clusters."""
    only_first: int
    """Number of sites found by the first only; of proteins for which its AUPRC is higher."""
    only_second: int
    mcnemar_p: float


def pairs(run: Run) -> list[Pair]:
    """Comparison of every pair of predictors by recall, over the sites on which both were run; without sites by residues."""
    found, config = [], run.config
    _, plus, _ = config.ranks
    for a, b in combinations(run.records, 2):
        rows_a, rows_b = ({(s.protein, s.site): s for r in run.records[x] for s in r.sites} for x in (a, b))
        shared = [key for key in rows_a if key in rows_b]
        if not shared:
            found += _residue_pair(a, b, run)
            continue
        groups = [rows_a[key].cluster for key in shared]
        strict, loose = config.strict_hit, config.loose_hit
        for measure, cutoff in (("dca", strict), ("dcc", strict), ("dcc", loose), ("dcc CA", loose)):
            name, column = recall_name(measure, cutoff, plus), f"{measure.lower().replace(' ', '_')}_n_plus"
            x, y = (site_hits([rows[key] for key in shared], column, cutoff) for rows in (rows_a, rows_b))
            if np.isnan(x).all():  # sites with known residues only have no ligand to measure from
                continue
            d = paired_difference(x, y, groups, n=config.n_bootstrap, seed=config.seed)
            found.append(Pair(a, b, name, int((~np.isnan(x)).sum()), *astuple(d), *astuple(mcnemar(x == 1, y == 1))))
    return found


def _residue_pair(first: str, second: str, run: Run) -> list[Pair]:
    """Difference of the AUPRC over all residues; nothing if no residue is labelled."""
    one, other = ({r.protein.protein: r for r in run.records[x] if r.scores and "1" in r.labels} for x in (first, second))
    if not (shared := [key for key in one if key in other]):
        return []
    labels, *scores = (
        [_mask(one[key].labels) for key in shared],
        *([np.array(x[key].scores) for key in shared] for x in (one, other)),
    )

    def areas(chosen: Iterable[int]) -> list[float]:
        y = np.concatenate([labels[k] for k in chosen])
        return [auprc_trapezoid(y, np.concatenate([side[k] for k in chosen])) for side in scores]

    config, groups, nan = run.config, [one[key].protein.cluster for key in shared], float("nan")
    draws = min(config.n_bootstrap, N_RESIDUE_BOOTSTRAP)
    d = bootstrap(lambda rows: float(-np.diff(areas(rows))[0]), groups, n=draws, seed=config.seed)
    wins = np.sign([np.diff(areas([k]))[0] for k in range(len(shared))])
    found = len(shared), d.value, d.low, d.high, nan, int((wins < 0).sum()), int((wins > 0).sum()), nan
    return [Pair(first, second, "residue AUPRC (trapezoid)", *found)]


def write_tables(run: Run) -> dict[str, dict[str, Summary]]:
    """Write the tables of a run into its folder and return the metrics by predictor."""
    import pandas as pd

    every = [r for found in run.records.values() for r in found]
    _write(run, "sites", pd.DataFrame([asdict(site) for r in every for site in r.sites]), columnar=True)
    _write(run, "proteins", pd.DataFrame([asdict(r.protein) for r in every]), columnar=True)
    figures = {name: predictor_figures(found, run.config) for name, found in run.records.items()}
    rows = [
        {"predictor": name, "figure": key, "value": s.value, "low": s.low, "high": s.high}
        for name, table in figures.items()
        for key, s in table.items()
    ]
    for name, found in run.records.items():
        rows += [{"predictor": name, "figure": key, "value": value} for key, value in asdict(cost(found)).items()]
        seen = run.training(name)
        trained = len(seen.trained_on) if seen.trained_on or not seen.unknown else float("nan")
        rows.append({"predictor": name, "figure": "proteins with relatives in training", "value": trained})
    _write(run, "summary", pd.DataFrame(rows))
    _write(run, "paired", pd.DataFrame([asdict(pair) for pair in pairs(run)], columns=list(Pair.__dataclass_fields__)))
    lost = [asdict(r.protein) for r in every if r.protein.status != "ok"]
    columns = ["predictor", "protein", "status", "message", "n_sites", "seconds"]
    _write(run, "failures", pd.DataFrame(lost, columns=columns))
    return figures


def _write(run: Run, name: str, table: pd.DataFrame, columnar: bool = False) -> None:
    write_text(run.folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    if columnar and importlib.util.find_spec("pyarrow") is not None:
        write_bytes(run.folder / f"{name}.parquet", table.to_parquet(index=False))
