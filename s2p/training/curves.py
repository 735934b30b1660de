"""Learning curves of trainings (matplotlib, no display, no pyplot)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s2p.output.palette import POCKETS
from s2p.output.pictures import figure_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from s2p.training.loop import EpochLog, StepLog

__all__ = ["learning_curves"]

WINDOW = 50
"""Steps that the loss is averaged over, at most."""
MARKERS = "osD^v"


def learning_curves(
    epochs: Sequence[EpochLog], steps: Sequence[StepLog], path: str | Path, *, kept: EpochLog | None = None
) -> Figure:
    """Training loss by step and validation AUPRC by epoch, one above the other, and as a PNG at ``path``.

    Epochs in which only the head learns are shaded; the epoch that is kept, by default the best (the later of two), is marked.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.0), dpi=120, facecolor="white", layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    if steps:
        per_epoch = Counter(s.epoch for s in steps)
        x = [s.epoch + (s.step + 1) / per_epoch[s.epoch] for s in steps]
        loss = [s.loss for s in steps]
        upper.plot(x, loss, color=POCKETS[5], linewidth=0.6, alpha=0.6, label="one step")
        window = max(1, min(WINDOW, len(loss) // 4))
        mean = np.convolve(loss, np.ones(window) / window, mode="valid")
        upper.plot(x[window - 1 :], mean, color=POCKETS[0], linewidth=1.6, label=f"mean of {window} steps")
    ends = [entry.epoch + 1 for entry in epochs]
    upper.plot(ends, [e.train_loss for e in epochs], "o", color=POCKETS[1], markersize=5, label="mean of the epoch")
    lower.plot(ends, [e.validation_auprc for e in epochs], "-o", color=POCKETS[0], label="validation")
    for k, head in enumerate(epochs[0].auprc_by_head, start=1):
        style = {"color": POCKETS[k % len(POCKETS)], "marker": MARKERS[k % len(MARKERS)], "linestyle": ":"}
        lower.plot(ends, [e.auprc_by_head[head] for e in epochs], label=f"{head} sites", **style)
    best = kept or max(epochs, key=lambda e: (e.validation_auprc, e.epoch))
    lower.axvline(best.epoch + 1, color="black", linewidth=0.9, linestyle="--", label=f"kept: {best.validation_auprc:.3f}")
    frozen = [entry.epoch for entry in epochs if entry.phase == "head"]
    for axes in (upper, lower):
        if frozen:
            axes.axvspan(min(frozen), max(frozen) + 1, color="#EEEEEE", zorder=0, linewidth=0, label="backbone frozen")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    upper.set_ylabel("training loss")
    lower.set(xlabel="epoch", ylabel="AUPRC")
    figure_png(figure, path)
    return figure
