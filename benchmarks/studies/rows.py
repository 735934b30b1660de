"""Rows of a study: a variant, its figures with intervals over clusters, and its difference from the variant it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import Difference, Summary, bootstrap_mean, paired_difference, recall_name, site_hits, summarise
from s2p.evaluation.rows import ComplexResult
from s2p.io.files import csv_text

__all__ = ["FIGURES", "Outcome", "StudyRow", "outcome_row", "row_from_json", "row_to_json", "rows_csv"]

FIGURES = ("dca_n", "dca_n_plus", "dcc_n", "dcc_n_plus", "pfi", "pockets")
"""Columns of a study: recalls below :attr:`BenchmarkConfig.strict_hit`, PFI, and pockets per protein."""
COMPARED = ("dca_n", "dcc_n")
"""Columns of which a difference is given."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a variant did on all proteins of a study."""

    study: str
    variant: str
    results: Sequence[ComplexResult]
    precision: NDArray[np.float64] | None = None
    """(proteins,) average precision over points, where points were scored."""


@dataclass(frozen=True)
class StudyRow:
    """A variant with its figures."""

    study: str
    variant: str
    n_proteins: int
    n_sites: int
    figures: Mapping[str, Summary]
    """``ap`` (mean over proteins of the average precision over points, if there is one) and the columns of :data:`FIGURES`."""
    differences: Mapping[str, Difference]
    """Of the columns in :data:`COMPARED`, from the variant that this one changes, over the same sites; empty for that one."""
    hits: Mapping[str, tuple[bool, ...]]
    """Of the columns in :data:`COMPARED`, for every site."""


def outcome_row(found: Outcome, first: StudyRow | None = None, config: BenchmarkConfig | None = None) -> StudyRow:
    """Figures of an outcome, and differences from the ``first`` variant where that has the same sites."""
    config = config or BenchmarkConfig()
    table = summarise(found.results, config)
    names = {f"{m}_{end}": recall_name(m, config.strict_hit, rank) for m in ("dca", "dcc") for rank, end in config.ranks.items()}
    names |= {"pfi": "PFI", "pockets": "pockets per protein"}
    figures = {key: table[names[key]] for key in FIGURES}
    if found.precision is not None:
        groups = [result.protein.cluster for result in found.results]
        figures["ap"] = bootstrap_mean(found.precision, groups, n=config.n_bootstrap, seed=config.seed)
    sites = [row for result in found.results for row in result.sites]
    hits = {key: tuple(bool(x) for x in site_hits(sites, key, config.strict_hit)) for key in COMPARED}
    groups = [row.cluster for row in sites]
    differences = {}
    if first is not None:
        differences = {
            key: paired_difference(hits[key], first.hits[key], groups, n=config.n_bootstrap, seed=config.seed) for key in COMPARED
        }
    proteins = len({result.protein.protein for result in found.results})
    return StudyRow(found.study, found.variant, proteins, len({(r.protein, r.site) for r in sites}), figures, differences, hits)


def row_to_json(row: StudyRow) -> dict[str, Any]:
    """Ready for JSON; hits as a string of 0 and 1 for each column."""
    return {
        "study": row.study,
        "variant": row.variant,
        "n_proteins": row.n_proteins,
        "n_sites": row.n_sites,
        "figures": {key: [round(x, 5) for x in (s.value, s.low, s.high)] for key, s in row.figures.items()},
        "differences": {key: [round(x, 5) for x in (d.value, d.low, d.high, d.p)] for key, d in row.differences.items()},
        "hits": {key: "".join("01"[x] for x in column) for key, column in row.hits.items()},
    }


def row_from_json(values: Mapping[str, Any]) -> StudyRow:
    """The inverse of :func:`row_to_json`."""
    return StudyRow(
        values["study"],
        values["variant"],
        values["n_proteins"],
        values["n_sites"],
        {key: Summary(*three) for key, three in values["figures"].items()},
        {key: Difference(*four) for key, four in values["differences"].items()},
        {key: tuple(x == "1" for x in text) for key, text in values["hits"].items()},
    )


def rows_csv(rows: Iterable[StudyRow]) -> str:
    """The rows as CSV: a column for each figure and its limits."""
    names = ("ap", *FIGURES)
    head = ["study", "variant", "n_proteins", "n_sites"]
    head += [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    head += [f"{name}_difference{end}" for name in COMPARED for end in ("", "_low", "_high", "_p")]
    table = []
    for row in rows:
        cells: list[Any] = [row.study, row.variant, row.n_proteins, row.n_sites]
        for name in names:
            s = row.figures.get(name)
            cells += ["", "", ""] if s is None else [round(x, 4) for x in (s.value, s.low, s.high)]
        for name in COMPARED:
            d = row.differences.get(name)
            cells += ["", "", "", ""] if d is None else [round(x, 4) for x in (d.value, d.low, d.high, d.p)]
        table.append(cells)
    return csv_text(table, head)
