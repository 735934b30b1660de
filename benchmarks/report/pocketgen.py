"""Section of the results page for what PocketGen's heads name on every cluster (:mod:`benchmarks.studies.pocketgen`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.page import markdown_table

__all__ = ["pocketgen_section"]

ROWS = {
    "likeliest types, language model and surroundings": "recovery",
    "likeliest types, language model alone": "recovery, language model alone",
    "most frequent residue": "recovery, most frequent residue",
}


def pocketgen_section(facts: Mapping[str, Any]) -> str:
    """Markdown of what :func:`benchmarks.studies.pocketgen.cross_validate` found."""
    parts: Mapping[str, Mapping[str, Any]] = facts["rows"]
    table = [[name, *(_interval(part[key]) for part in parts.values())] for name, key in ROWS.items()]
    gains = [part["gain over the language model"] for part in parts.values()]
    table.append(["gain on the same pockets", *(f"{v:+.3f} ({low:+.3f} to {high:+.3f}), p {p:.2g}" for v, low, high, p in gains)])
    head = ["recovery", *(f"{name}: {part['pockets']} pockets, {part['clusters']} clusters" for name, part in parts.items())]
    lines = [
        "## PocketGen: residues of native pockets named",
        "",
        f"The clusters of all splits, and of LIGYSIS chains, are dealt into {facts['folds']} folds, {facts['proteins']} proteins"
        " in all. The heads that name a fold's residues, and what places its CA atoms, are fitted to the other folds, without"
        " what shares 30 % of its sequence with the fold; the structure network adds nothing here. All residues of"
        " a pocket are masked at once. Means over"
        " pockets, at most four of a cluster. The shipped checkpoint is fitted in the same way without validation and test"
        " clusters; its card has its figures. Of LIGYSIS sites the ligand is not given, only which residues bind.",
        "",
        *markdown_table(head, table),
        "",
    ]
    return "\n".join(lines)


def _interval(figures: Sequence[float]) -> str:
    value, low, high = figures
    return f"{value:.3f} ({low:.3f}–{high:.3f})"
