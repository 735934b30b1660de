"""Section of the results page for Kalasanty beside Seq2Pocket (:mod:`benchmarks.studies.kalasanty`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.page import markdown_table

__all__ = ["kalasanty_section"]

FIGURES = {
    "dcc < 4 Å, top N": "DCC < 4 Å, N",
    "dcc < 4 Å, top N+2": "DCC < 4 Å, N+2",
    "dca < 4 Å, top N": "DCA < 4 Å, N",
    "dca < 4 Å, top N+2": "DCA < 4 Å, N+2",
    "dvo": "DVO",
    "F1, dcc <= 4 Å": "F1, DCC <= 4 Å",
}
DISTANCES = {"dcc_n": "DCC < 4 Å, N", "dcc_n_plus": "DCC < 4 Å, N+2", "dca_n": "DCA < 4 Å, N", "dca_n_plus": "DCA < 4 Å, N+2"}


def kalasanty_section(facts: Mapping[str, Any]) -> str:
    """Markdown of what :func:`benchmarks.studies.kalasanty.study` found."""
    figures = [
        [f"`{name}`", *(_interval(table[key]) if key in table else "–" for key in FIGURES)]
        for name, table in facts["figures"].items()
    ]
    found = facts["agreement"]["s2p, kalasanty"]
    shared = [
        [DISTANCES[key], *map(str, (x["both"], len(x["only_first"]), len(x["only_second"]), x["neither"])), f"{x['either']:.3f}"]
        for key, x in found.items()
    ]
    differences = [
        [name, *(f"{v:+.3f} ({low:+.3f} to {high:+.3f}), p {p:.2g}" for v, low, high, p in (row[key] for key in DISTANCES))]
        for name, row in facts["differences"].items()
    ]
    counts = f"{facts['n_complexes']} complexes in {facts['n_clusters']} clusters, {facts['n_sites']} sites"
    lines = [
        f"## Kalasanty beside Seq2Pocket: complexes, {facts['split']}",
        "",
        f"{counts}. `kalasanty, one box` drops atoms outside of a single box, as published; `center-ball` is a ball at the mean"
        " of the atoms; `random-surface-points` are drawn evenly; `consensus` merges the pockets of `s2p` and `kalasanty` and"
        " ranks by the mean of their probabilities.",
        "",
        *markdown_table(["predictor", *FIGURES.values()], figures),
        "",
        "Sites that both find, one alone, or neither; **either**: share that a perfect choice between the two would find.",
        "",
        *markdown_table(["found by", "both", "only `s2p`", "only `kalasanty`", "neither", "either"], shared),
        "",
        "Differences of recall over the same sites.",
        "",
        *markdown_table(["", *DISTANCES.values()], differences),
        "",
    ]
    return "\n".join(lines)


def _interval(figure: Sequence[float]) -> str:
    value, low, high = figure
    return f"{value:.3f} ({low:.3f}–{high:.3f})" if value == value else "–"
