"""Pictures of a benchmark (matplotlib, no display): how true sites and predicted pockets share residues, intervals side by side,
and a gallery of single cases.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from s2p.evaluation.cases import Truth
from s2p.evaluation.intervals import Summary
from s2p.output.palette import LIGAND, OUTSIDE, POCKETS, pocket_color
from s2p.output.pictures import static_png
from s2p.pockets.hits import pocket_fragmentation_index
from s2p.prediction import Prediction
from s2p.structure.reading import Ligand

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "fragment_counts",
    "gallery_figure",
    "interval_figure",
    "merging_index",
    "site_strips",
    "slice_figure",
    "with_ligands",
]

SHADES = ("#E6E8EA", POCKETS[0], POCKETS[4], POCKETS[1], "#7A3400")
"""Of sites in 0, 1, 2, 3 and more pockets: pale for missed, blue for whole, ever darker reds for pieces."""


def merging_index(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> float:
    """The mirror of the PFI: true sites per predicted pocket, over the pockets that touch at least one; 1 is perfect.

    NaN if no pocket touches a site. Sites that share residues (two ligands in one cleft) raise it for any predictor.
    """
    return pocket_fragmentation_index(pockets, true_sites)


def site_strips(
    true_sites: Mapping[str, ArrayLike],
    pockets: Mapping[str, ArrayLike],
    title: str = "",
    *,
    ticks: tuple[Sequence[float], Sequence[str]] | None = None,
) -> Figure:
    """Residues along the sequence, one row a site (black) or pocket (its colour); what stands under a site shares residues.

    Parameters
    ----------
    true_sites, pockets
        Residue indices under the name of each.
    ticks
        Positions and texts of the residue axis; default the indices.
    """
    from matplotlib.figure import Figure

    rows = [(name, x, LIGAND) for name, x in true_sites.items()]
    ranks = {name: int(name.split()[-1]) if name.split()[-1].isdecimal() else k for k, name in enumerate(pockets, 1)}
    rows += [(name, x, pocket_color(ranks[name])) for name, x in pockets.items()]  # as in pictures of the structure
    figure = Figure(figsize=(8.6, 0.9 + 0.27 * len(rows)), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    inside = np.unique(np.concatenate([np.zeros(0, int), *(np.asarray(x, int) for x in true_sites.values())]))
    ax.bar(inside, len(rows), width=1.0, bottom=-0.5, color="#F0E9DA", linewidth=0, zorder=0)
    for k, (_, residues, color) in enumerate(rows):
        x = np.asarray(residues, float)
        ax.bar(x, np.full(len(x), 0.7), width=0.9, bottom=k - 0.35, color=color, linewidth=0, zorder=2)
    ax.axhline(len(true_sites) - 0.5, color="#888888", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=8.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("residue (shaded: in a true site)")
    if ticks is not None:
        ax.set_xticks(list(ticks[0]), list(ticks[1]))
    ax.set_title(title, size=10.5, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def fragment_counts(counts: Mapping[str, ArrayLike], title: str = "") -> Figure:
    """Share of the true sites that 0, 1, 2, 3 or more pockets touch, a bar for each predictor, with its PFI.

    Parameters
    ----------
    counts
        Under the predictor's name (S,) how many pockets touch each site.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 1.2 + 0.36 * len(counts)), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    names = ("missed", "whole, in 1 pocket", "2", "3", "4 or more")
    for k, row in enumerate(counts.values()):
        n = np.asarray(row, int)
        share = np.bincount(np.minimum(n, 4), minlength=5) / max(len(n), 1)
        left = np.r_[0, np.cumsum(share)[:-1]]
        for part in range(5):
            label = names[part] if not k else None
            ax.barh(k, share[part], left=left[part], color=SHADES[part], edgecolor="white", linewidth=0.8, label=label)
        touched = n[n > 0]
        ax.text(1.01, k, f"PFI {touched.mean():.2f}" if len(touched) else "PFI –", va="center", size=8.5)
    ax.set_yticks(range(len(counts)), list(counts), fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="share of the true sites", xlim=(0, 1))
    ax.set_title(title, size=10.5, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=5)
    return figure


def slice_figure(recalls: Mapping[str, tuple[float, float]], label: str, names: tuple[str, str]) -> Figure:
    """Two figures for each predictor, joined by a line.

    Parameters
    ----------
    recalls
        Under the predictor's name the figure before and after.
    label, names
        Of the axis, and of the two figures.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 1.3 + 0.34 * len(recalls)), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    x = np.array(list(recalls.values()), float).reshape(-1, 2)
    y = np.arange(len(recalls))
    ax.hlines(y, x.min(axis=1), x.max(axis=1), color=OUTSIDE, linewidth=2, zorder=1)
    ax.scatter(x[:, 0], y, s=52, marker="D", color=POCKETS[1], zorder=2, label=names[0])
    ax.scatter(x[:, 1], y, s=52, color=POCKETS[0], zorder=3, label=names[1])
    ax.set_yticks(y, list(recalls), fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(-0.02, 1.02))
    ax.grid(axis="x", color="#E4E6E8", linewidth=0.8, zorder=0)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=8.5, frameon=False, loc="outside lower center", ncols=2)
    return figure


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
    figure = Figure(figsize=size, dpi=120, facecolor="white", layout="constrained")
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
    figure = Figure(figsize=(4.6 * columns, 4.3 * rows), dpi=120, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, prediction, title in zip(axes, predictions, titles, strict=False):
        ax.imshow(np.asarray(Image.open(io.BytesIO(static_png(prediction, dpi=120)))))
        ax.set_title(title, size=10, loc="left")
    return figure
