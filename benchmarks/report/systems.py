"""Sections of the results page for the studies of Kalasanty, Vabs-Net and PocketGen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report.page import interval, markdown_table

__all__ = ["kalasanty_section", "pocketgen_section", "vabsnet_section"]

KALASANTY_FIGURES = {
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
        [f"`{name}`", *(interval(table[key]) if key in table else "–" for key in KALASANTY_FIGURES)]
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
        *markdown_table(["predictor", *KALASANTY_FIGURES.values()], figures),
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


def vabsnet_section(facts: Mapping[str, Any]) -> str:
    """Markdown of what :func:`benchmarks.studies.vabsnet.study` found."""
    rows = []
    for name, row in facts["rows"].items():
        residues = row["ligysis validation"]
        low, high = residues["auprc_95"]
        value, below, above, p = row["difference of the chains' auprc"]
        rows.append(
            [
                name,
                f"{row['structures']}",
                f"{residues['auprc']:.3f} ({low:.3f}–{high:.3f})",
                f"{residues['auc']:.3f}",
                f"{residues['mcc']:.3f}",
                "–" if value == below == above == 0 else f"{value:+.3f} ({below:+.3f} to {above:+.3f}), p {p:.2g}",
                f"{row['validation complexes, auprc']:.3f}",
            ]
        )
    training = facts["training"]
    chains = next(iter(facts["rows"].values()))["ligysis validation"]["chains"]
    head = ["network", "structures", "AUPRC, residues", "AUC", "MCC", "Δ AUPRC of a chain", "AUPRC, complexes"]
    lines = [
        "## Vabs-Net: what its parts are worth",
        "",
        f"Residues of {chains} LIGYSIS validation chains below 30 % identity to training, and of the validation complexes. Every"
        f" network is trained anew for as many steps as {training['epochs']} epochs of all structures take, on windows of"
        f" {training['max_residues']} residues: less than what is shipped, so that there was time for all. **Δ** is the mean"
        " difference of the chains' own AUPRC to the first row, with its interval and p. The network alone, without the stack.",
        "",
        *markdown_table(head, rows),
        "",
    ]
    return "\n".join(lines)


POCKETGEN_ROWS = {
    "likeliest types, language model and surroundings": "recovery",
    "likeliest types, language model alone": "recovery, language model alone",
    "most frequent residue": "recovery, most frequent residue",
}


def pocketgen_section(facts: Mapping[str, Any]) -> str:
    """Markdown of what :func:`benchmarks.studies.pocketgen.cross_validate` found."""
    parts: Mapping[str, Mapping[str, Any]] = facts["rows"]
    table = [[name, *(interval(part[key]) for part in parts.values())] for name, key in POCKETGEN_ROWS.items()]
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
