"""Sections of the results page for the studies in a folder (``benchmarks/studies``, ``benchmarks/frame.py``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report.page import markdown_table
from benchmarks.report.smoothing import smoothing_section
from benchmarks.report.systems import designers_section, kalasanty_section, pocketgen_section, vabsnet_section

__all__ = ["STUDY_FILES", "study_sections"]

STUDY_FILES = (
    "frame.json",
    "smoothing_effect.json",
    "kalasanty.json",
    "vabsnet.json",
    "pocketgen.json",
    "designers.json",
)
"""Files in a folder of studies, one or more of them."""


def study_sections(folder: Path) -> list[str]:
    """Markdown of every study in ``folder``."""
    parts = []
    for name in STUDY_FILES:
        path = folder / name
        if path.is_file():
            facts = json.loads(path.read_text(encoding="utf-8"))
            parts.append(SECTIONS[name](facts))
    return parts


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
        " rounded to 0.001 Å. The distance is from each of the first three pocket centres to the nearest centre after the motion."
        " `surface` is the surface network; the other rows are the published clusters with the options of `ClusterConfig`"
        " (`raw`: as published)."
    )
    return "\n".join(["## When the structure is rotated", "", text, "", *markdown_table(head, body), ""])


SECTIONS = {
    "frame.json": _frame,
    "smoothing_effect.json": smoothing_section,
    "kalasanty.json": kalasanty_section,
    "vabsnet.json": vabsnet_section,
    "pocketgen.json": pocketgen_section,
    "designers.json": designers_section,
}
