"""Sections of the results page for studies of the scored surface (:mod:`benchmarks.studies.run`, ``benchmarks/frame.py``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.recipes.points import PointTrainConfig
from benchmarks.report.page import cell, markdown_table
from benchmarks.report.smoothing import smoothing_section
from benchmarks.report.systems import kalasanty_section, pocketgen_section, vabsnet_section
from benchmarks.studies.point_alternatives import PointStudyConfig
from benchmarks.studies.rows import StudyRow, row_from_json
from s2p.evaluation.intervals import Difference

__all__ = ["STUDY_FILES", "study_sections"]

STUDY_FILES = (
    "points.json",
    "robustness.json",
    "frame.json",
    "smoothing_effect.json",
    "kalasanty.json",
    "vabsnet.json",
    "pocketgen.json",
)
"""What a folder of studies holds, one or more of these."""

COLUMNS = {
    "ap": "AP, points",
    "dca_n": "DCA < 4 Å, N",
    "dca_n_plus": "DCA < 4 Å, N+2",
    "dcc_n": "DCC < 4 Å, N",
    "dcc_n_plus": "DCC < 4 Å, N+2",
    "pfi": "PFI",
    "pockets": "pockets",
}
TITLES = {
    "features": "What the points read",
    "classifiers": "Classifiers on the same points",
    "groupings": "From scored points to pockets",
    "augmentation": "Training on perturbed copies",
    "chains": "Single chain or complex",
    "clusters": "Learning curve: training clusters",
    "side chains": "Side chains at the ligand perturbed",
}
NOTES = {
    "features": "Every variant is trained from the first step on, hard negatives and calibration included.",
    "classifiers": "The same points for all, drawn evenly: no hard negatives.",
    "groupings": "One scorer; every way of making pockets has its own calibrated ranking.",
    "augmentation": "One copy of every training protein with moved side chains and missing ligand-facing atoms. Atoms are missing"
    " only where a ligand is, and a scorer trained on such copies can learn just that: a gain on the perturbed proteins that"
    " crystals do not show is no evidence about apo forms, so the shipped scorer trains on crystals alone.",
    "chains": "Complexes of several chains, N the ligands of all; or the chain at each ligand alone, N those of that chain, over"
    " the same ligands. Where one copy of a ligand is listed, the same site of another chain takes a rank in complexes only.",
    "clusters": "Only the point scorer is trained on fewer clusters, not the language model; pooled over"
    f" {PointStudyConfig.curve_draws} draws of each.",
    "side chains": "Side chains of binding residues shifted, and part of their atoms that touch a ligand left out.",
    "other structure, no ligand at the site": "One chain alone; the ligand put into the other crystal by superposing CA atoms.",
    "other structure, ligand at the site unknown": "One chain alone; the ligand put into the other crystal by superposing CA"
    " atoms. Whether that had a ligand of its own there is not recorded. Of each chain, the structure whose site differs most.",
}


def study_sections(folder: Path) -> list[str]:
    """Markdown of every study in ``folder``."""
    parts = []
    for name in STUDY_FILES:
        path = folder / name
        if path.is_file():
            facts = json.loads(path.read_text(encoding="utf-8"))
            section = SECTIONS.get(name, _studies)
            parts.append(section(facts))
    return parts


def _studies(facts: Mapping[str, Any]) -> str:
    rows = [row_from_json(values) for values in facts["rows"]]
    lines = [
        f"## Scored surface: studies on {facts['dataset']}, {facts['split']}",
        "",
        f"Model `{facts['model']}`. **Δ** is the difference from the first row of a table over the same sites"
        " (of its own predictor, where there are several), with its interval and p over clusters.",
        "",
    ]
    if "training" in facts:
        lines += [_training(facts["training"]), ""]
    for study in dict.fromkeys(row.study for row in rows):
        own = [row for row in rows if row.study == study]
        sizes = sorted({(row.n_proteins, row.n_sites) for row in own})
        counts = "; ".join(f"{proteins} proteins, {sites} sites" for proteins, sites in sizes)
        lines += [f"### {TITLES.get(study, study[:1].upper() + study[1:])}", ""]
        lines += [" ".join(filter(None, [f"{counts}.", NOTES.get(study, "")])), "", *_table(own), ""]
    return "\n".join(lines)


def _training(used: Mapping[str, int]) -> str:
    shipped = PointTrainConfig()
    return (
        f"Scorers learn from at most {used['positives']} points near a ligand and {used['negatives']} far from all of every"
        f" training protein, and average {used['members']} networks; the shipped one from {shipped.positives} and"
        f' {shipped.negatives}, and {shipped.members} networks. "Shipped" in the tables means its other settings.'
    )


def _table(rows: Sequence[StudyRow]) -> list[str]:
    kept = {key: title for key, title in COLUMNS.items() if any(key in row.figures for row in rows)}
    compared = [key for key in ("dca_n", "dcc_n") if any(key in row.differences for row in rows)]
    head = ["variant", *kept.values(), *(f"Δ {COLUMNS[key]}" for key in compared)]
    body = [
        [row.variant, *(cell(row.figures.get(key)) for key in kept), *(_delta(row.differences.get(key)) for key in compared)]
        for row in rows
    ]
    return markdown_table(head, body)


def _frame(facts: Mapping[str, Any]) -> str:
    head = ["pockets", "mean (Å)", "95th percentile (Å)", "largest (Å)", "same rank, mean (Å)", "top 3 unchanged"]
    body = [
        [
            name,
            *(f"{values[key]:.3f}" for key in ("mean_drift", "p95_drift", "max_drift", "mean_drift_same_rank")),
            f"{values['same_top']:.0%}",
        ]
        for name, values in facts["clusters"].items()
    ]
    text = (
        f"{facts['structures']} bundled structures, {facts['motions']} random rotations and translations of each, coordinates"
        " rounded to 0.001 Å: from each of the first three centres to the nearest centre afterwards. `surface` is the scored"
        " surface, the others are the published clusters with the options of `ClusterConfig` (`raw`: as published)."
    )
    return "\n".join(["## When the structure is turned", "", text, "", *markdown_table(head, body), ""])


def _delta(figure: Difference | None) -> str:
    return "–" if figure is None else f"{figure.value:+.3f} ({figure.low:+.2f} to {figure.high:+.2f}), p {figure.p:.2g}"


SECTIONS = {
    "frame.json": _frame,
    "smoothing_effect.json": smoothing_section,
    "kalasanty.json": kalasanty_section,
    "vabsnet.json": vabsnet_section,
    "pocketgen.json": pocketgen_section,
}
"""Files that are not written by :mod:`benchmarks.studies.run`."""
