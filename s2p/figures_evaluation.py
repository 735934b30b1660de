"""Recall against fragmentation: the picture of a benchmark or a sweep (matplotlib, no display)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from s2p.palette import POCKETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Mark", "dcc_pfi_figure", "figure_png"]

MARKERS = "osD^vP*X<>"


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


def dcc_pfi_figure(marks: Sequence[Mark], recall_label: str = "recall, DCC < 12 Å, top N+2") -> Figure:
    """Recall (up is better) against PFI (1, at the left, is best), with 95 % intervals.

    Neither means much alone: one giant pocket has a PFI of 1, and a pocket on every residue has a recall of 1. Colours are those
    that all colour visions tell apart; shapes and labels say the same again. Marks without a PFI (nothing found) are left out.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 5.4), dpi=130, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    names = list(dict.fromkeys(mark.series for mark in marks))
    for k, name in enumerate(names):
        own = [mark for mark in marks if mark.series == name and np.isfinite([mark.pfi[0], mark.recall[0]]).all()]
        if not own:
            continue
        x, y = np.array([mark.pfi for mark in own]), np.array([mark.recall for mark in own])
        color = POCKETS[k % (len(POCKETS) - 1)]  # the last, yellow, is too pale for thin lines
        marker, line = MARKERS[k % len(MARKERS)], "-" if len(own) > 1 else ""
        ax.plot(x[:, 0], y[:, 0], color=color, marker=marker, linestyle=line, linewidth=1, markersize=7, label=name, zorder=3)
        for axis, spread in (("x", x), ("y", y)):
            sides = np.clip(np.nan_to_num(np.abs(spread[:, 1:] - spread[:, :1]).T), 0, None)
            bars = {"xerr": sides} if axis == "x" else {"yerr": sides}
            ax.errorbar(x[:, 0], y[:, 0], **bars, fmt="none", ecolor=color, alpha=0.3, linewidth=1, zorder=2)
        for mark in own:
            if mark.label != name:
                place, text = (mark.pfi[0], mark.recall[0]), mark.label.replace("$", r"\$")
                ax.annotate(text, place, (5, 4), textcoords="offset points", fontsize=7.5, color="#333333")
    ax.axvline(1, color="#888888", linewidth=0.8, linestyle=":")
    ax.set(xlabel="Pocket Fragmentation Index (pockets per true site, 1 is best)", ylabel=recall_label)
    ax.set_ylim(0, 1.02)
    ax.spines[["top", "right"]].set_visible(False)
    if names:
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def figure_png(figure: Figure) -> bytes:
    """The figure as PNG, without dates, so that equal figures are equal files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": "s2p"})
    return buffer.getvalue()
