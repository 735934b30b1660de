"""Recall against fragmentation: the chart of a benchmark or a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from course.charts import LINES, Chart, Layer

__all__ = ["Mark", "dcc_against_pfi"]

SYMBOLS = ("circle", "square", "diamond", "triangle", "triangle-down", "plus", "star")


@dataclass(frozen=True)
class Mark:
    """A predictor, or one value of a swept parameter."""

    series: str
    """Marks of one series share colour and shape and, in their order, a line."""
    label: str
    pfi: tuple[float, float, float]
    """Figure, lower and upper end of its interval."""
    recall: tuple[float, float, float]
    """Likewise."""


def dcc_against_pfi(marks: Sequence[Mark], recall_label: str = "recall, DCC < 12 Å, top N+2") -> Chart:
    """Recall (up is better) against PFI (1, at the left, is best), with 95 % intervals.

    Neither means much alone: one giant pocket has a PFI of 1, and a pocket on every residue has a recall of 1. Colours are those
    that all colour visions tell apart; shapes and labels say the same again. Marks without a PFI (nothing found) are left out.
    """
    layers = [Layer("line", np.ones(2), np.array([0.0, 1.02]), "", "#888888", dash="dot", size=3.2)]
    shown = [mark for mark in marks if np.isfinite([mark.pfi[0], mark.recall[0]]).all()]
    crowded = len({mark.series for mark in marks}) > 6  # the legend alone does not tell them apart at a glance
    for k, name in enumerate(dict.fromkeys(mark.series for mark in marks)):
        own = [mark for mark in shown if mark.series == name]
        if not own:
            continue
        x, y = np.array([mark.pfi for mark in own], float), np.array([mark.recall for mark in own], float)
        color = LINES[k % len(LINES)]
        if len(own) > 1:
            layers.append(Layer("line", x[:, 0], y[:, 0], "", color, size=4))
        hover = [f"{mark.label}: PFI {mark.pfi[0]:.2f}, recall {mark.recall[0]:.2f}" for mark in own]
        text = [mark.label if crowded or mark.label != name else "" for mark in own]
        points = Layer("points", x[:, 0], y[:, 0], name, color, hover, symbol=SYMBOLS[k % len(SYMBOLS)], size=7,
                       x_error=_ends(x), error=_ends(y), text=text if any(text) else ())  # fmt: skip
        layers.append(points)
    return Chart(
        "Recall and fragmentation",
        "Pocket Fragmentation Index (pockets per true site, 1 is best)",
        recall_label,
        tuple(layers),
        "Upper left is best: sites found, each by one pocket. Bars: 95 % intervals by bootstrap over clusters of homologues.",
        "; ".join(f"{mark.label}: PFI {mark.pfi[0]:.2f}, recall {mark.recall[0]:.2f}" for mark in shown) + ".",
        y_range=(0.0, 1.02),
        size=(7.6, 5.4),
    )


def _ends(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the bars through (n, 3) figures with their intervals; no bar where an interval is unknown."""
    figure, low, high = values.T
    return np.fmin(low, figure), np.fmax(high, figure)
