"""Sections of the results page for the studies of Kalasanty, Vabs-Net, PocketGen and other designers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report.page import interval, markdown_table

__all__ = ["designers_section", "kalasanty_section", "pocketgen_section", "vabsnet_section"]

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
        f"## Kalasanty compared with Seq2Pocket: complexes, {facts['split']}",
        "",
        f"{counts}. `kalasanty, one box` ignores atoms outside a single box, as published; `center-ball` is a ball at the mean"
        " position of the atoms; `random-surface-points` are drawn uniformly; `consensus` merges the pockets of `s2p` and"
        " `kalasanty` and ranks them by the mean of their probabilities.",
        "",
        *markdown_table(["predictor", *KALASANTY_FIGURES.values()], figures),
        "",
        "Number of sites that are found by both, by one only, or by neither; **either** is the share of sites that a perfect"
        " choice between the two would find.",
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
        "## Vabs-Net: contribution of its parts",
        "",
        f"Residues of {chains} LIGYSIS validation chains below 30 % identity to training, and of the validation complexes. Every"
        f" network is trained separately, for as many steps as {training['epochs']} epochs of all structures have, on windows of"
        f" {training['max_residues']} residues. This is less than for the shipped network, so that all of them could be trained"
        " in the time available. **Δ** is the mean difference in AUPRC of a chain to the first row, with its interval and p."
        " All values are those of the network alone, without the stack.",
        "",
        *markdown_table(head, rows),
        "",
    ]
    return "\n".join(lines)


POCKETGEN_ROWS = {
    "most likely types, language model and surroundings": "recovery",
    "most likely types, language model alone": "recovery, language model alone",
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
        "## PocketGen: recovery of the residues of native pockets",
        "",
        f"The clusters of all splits, and of LIGYSIS chains, are divided into {facts['folds']} folds with {facts['proteins']}"
        " proteins in all. The heads that predict the residue types of a fold, and the network that places its CA atoms, are"
        " fitted to the other folds, without proteins that share 30 % of their sequence with the fold; the structure network is"
        " not used here. All residues of a pocket are masked at once. Values are means over pockets, at most four of a cluster."
        " The shipped checkpoint is fitted in the same way without validation and test clusters; its card has its values. For"
        " LIGYSIS sites the ligand is not given, only which residues bind.",
        "",
        *markdown_table(head, table),
        "",
    ]
    return "\n".join(lines)


def designers_section(facts: Mapping[str, Any]) -> str:
    """Markdown of what :mod:`benchmarks.studies.designers` found."""
    parts = {name: part for name, part in facts.items() if isinstance(part, Mapping) and "designers" in part}
    head, body = ["recovery of native types", "split", "value", "minus PocketGen as shipped, same pockets"], []
    for split, part in parts.items():
        for name, row in part["designers"].items():
            value, low, high, p = row["difference"]
            gain = f"{value:+.3f} ({low:+.3f} to {high:+.3f}), p {p:.2g}" if value or low or high else "–"
            body.append([name, f"{split}: {part['pockets']} pockets", interval(row["recovery"]), gain])
    shapes = [
        [name, *(interval(part["geometry"][column][name]) for part in parts.values() for column in part["geometry"])]
        for name in next(iter(next(iter(parts.values()))["geometry"].values()))
    ]
    titles = [f"{split}, {column}" for split, part in parts.items() for column in part["geometry"]]
    lines = [
        "## Designers: recovery of the residues of native pockets",
        "",
        "`python -m benchmarks.studies.designers`: the likeliest types, one pocket of each cluster, with intervals over clusters."
        " PocketGen does not know the native backbone of the pocket. ProteinMPNN and LigandMPNN read it, and it tells much about"
        " the types; so they solve an easier task. Their authors trained them on the PDB, which may contain these proteins.",
        "",
        *markdown_table(head, body),
        "",
        "Geometry of LigandMPNN's designs, whose backbone is the native one, and of the native pockets:",
        "",
        *markdown_table(["", *titles], shapes),
        "",
    ]
    return "\n".join(lines)
