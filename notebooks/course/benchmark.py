"""Pictures of a benchmark beside recall and fragmentation: intervals side by side, and a gallery of single cases."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from s2p.evaluation.cases import Truth
from s2p.evaluation.intervals import Summary
from s2p.output.palette import OUTSIDE, POCKETS
from s2p.output.pictures import static_png
from s2p.prediction import Prediction
from s2p.structure.reading import Ligand

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gallery_figure", "interval_figure", "with_ligands"]


def interval_figure(figures: Mapping[str, Mapping[str, Summary]]) -> Figure:
    """A panel for each figure, a row for each predictor: value and 95 % interval.

    Parameters
    ----------
    figures
        Name of the figure, with its unit -> predictor -> value. All have the same predictors; a value that is NaN leaves its
        row empty.
    """
    from matplotlib.figure import Figure

    names = list(next(iter(figures.values())))
    size = (1.9 + 2.15 * len(figures), 1.1 + 0.32 * len(names))
    figure = Figure(figsize=size, dpi=90, facecolor="white", layout="constrained")
    axes = figure.subplots(1, len(figures), squeeze=False, sharey=True)[0]
    for ax, (label, column) in zip(axes, figures.items(), strict=True):
        for k, name in enumerate(names):
            found = column[name]
            if math.isfinite(found.value):
                color = POCKETS[0] if k == 0 else OUTSIDE
                ax.plot([found.low, found.high], [k, k], color=color, linewidth=2.4, solid_capstyle="butt", zorder=2)
                ax.plot([found.value], [k], marker="o", markersize=7, color=color, zorder=3)
        ax.set_xlabel(label, fontsize=8.5)
        ax.tick_params(labelsize=8)
        ax.grid(axis="x", color="#E4E6E8", linewidth=0.8, zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names, fontsize=8.5)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def with_ligands(prediction: Prediction, truth: Truth) -> Prediction:
    """The prediction on the structure with its true ligands put back, for pictures: a predictor sees none.

    Elements are not part of a truth; all atoms of the ligands are written as carbon.
    """
    ligands = []
    for number, (name, coord) in enumerate(zip(truth.names, truth.ligands, strict=True), 1):
        carbon = np.full(len(coord), "C")
        ligands.append(Ligand(name.split()[0][:3].upper(), "", number, "", coord.astype(np.float32), carbon, carbon))
    return replace(prediction, structure=replace(prediction.structure, ligands=tuple(ligands)))


def gallery_figure(predictions: Sequence[Prediction], titles: Sequence[str], *, columns: int = 2) -> Figure:
    """Still pictures (:func:`s2p.output.pictures.static_png`) in a grid, each under its title."""
    from matplotlib.figure import Figure
    from PIL import Image

    rows = math.ceil(len(predictions) / columns)
    figure = Figure(figsize=(4.6 * columns, 4.3 * rows), dpi=90, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, prediction, title in zip(axes, predictions, titles, strict=False):
        ax.imshow(np.asarray(Image.open(io.BytesIO(static_png(prediction, dpi=90)))))
        ax.set_title(title, size=10, loc="left")
    return figure
