"""Pictures of surface points, of how they are clustered and of how they are scored: still ones, in which the points lie flat as
seen from one side (matplotlib, no display), and one to turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course.charts import LINES, small_png
from s2p.output.palette import CARTOON, LIGAND, OUTSIDE, POCKETS, PROBABILITY, pocket_color
from s2p.output.pictures import draw_bonds
from s2p.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "SurfacePanel",
    "cluster_panels",
    "exposure_figure",
    "extents",
    "flat_view",
    "looking_from",
    "mean_shift_figure",
    "scored_panels",
    "scored_view",
    "spread_figure",
]

EXPOSED, BURIED = POCKETS[1], "#BFC5CA"
NUMBERED = 9
"""Clusters that get a number in a picture; more would hide the points."""
FAINT = 0.1
"""Points that score less are specks in still pictures: the good ones lie in clefts, and all others would hide them."""
SPECKS = 3000
"""Specks in a still picture, at most twice as many: more make it grey and large."""
SHADES = 8
"""Steps of colour in the view to turn."""


def flat_view(points: ArrayLike) -> NDArray[np.float64]:
    """(3, 2) directions to look at (P, 3) points from: those in which the cloud is longest and second longest.

    ``points @ flat_view(points)`` are positions on the page, in Å; distances on the page are never longer than in space.
    """
    x = np.asarray(points, float)
    axes = extents(x)[:2]
    # A sign for good: the largest entry of a direction is positive.
    return np.asarray((axes * np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]).T)


def extents(points: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) rows: the directions in which (P, 3) points are longest, second longest and shortest."""
    x = np.asarray(points, float)
    x = x - x.mean(axis=0)
    return np.asarray(np.linalg.eigh(x.T @ x)[1].T[::-1])


def exposure_figure(
    points: Sequence[NDArray[np.floating]], exposed: Sequence[NDArray[np.bool_]], names: Sequence[str], title: str
) -> Figure:
    """The sphere points of the atoms of a residue, in space and counted.

    Parameters
    ----------
    points
        Of each atom (n, 3) Å.
    exposed
        Of each atom (n,).
    names
        Of the atoms.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), dpi=120, facecolor="white", layout="constrained")
    space = figure.add_subplot(1, 2, 1, projection="3d")
    every, free = np.concatenate(points), np.concatenate(exposed)
    for mask, color, size, label in ((~free, BURIED, 3, "buried"), (free, EXPOSED, 16, "exposed")):
        space.scatter(*every[mask].T, s=size, color=color, depthshade=False, linewidths=0, label=f"{label} ({mask.sum()})")
    space.set_box_aspect(np.ptp(every, axis=0), zoom=1.1)
    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.set_major_locator(_ticks(5.0))
        axis.set_tick_params(labelsize=7, pad=-2)
    space.legend(fontsize=8, frameon=False, loc="upper left")
    bars = figure.add_subplot(1, 2, 2)
    count = [int(mask.sum()) for mask in exposed]
    bars.barh(np.arange(len(names)), [len(mask) for mask in exposed], color=BURIED)
    bars.barh(np.arange(len(names)), count, color=EXPOSED)
    for k, n in enumerate(count):
        bars.text(len(exposed[k]) + 0.7, k, str(n), va="center", size=8)
    bars.set_yticks(np.arange(len(names)), names, fontsize=8)
    bars.invert_yaxis()
    bars.set(xlabel="points on the atom's sphere, exposed in colour", xlim=(0, 1.12 * max(map(len, exposed))))
    bars.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title} (axes in Å)", size=11, x=0.01, ha="left")
    return figure


def _ticks(step: float) -> object:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(step)


def mean_shift_figure(
    points: NDArray[np.floating],
    paths: Sequence[NDArray[np.floating]],
    kept: NDArray[np.floating],
    bandwidth: float,
) -> Figure:
    """How seeds climb: points, the path of each seed (circle to dot), and the kept centres with their windows.

    Parameters
    ----------
    points
        (P, 3) Å.
    paths
        One (steps, 3) Å a seed, from where it starts to where it rests.
    kept
        (K, 3) Å; the circle around each has the bandwidth (Å) as its radius.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(7.6, 4.6), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    view, middle = flat_view(points), points.mean(axis=0)
    _dots(ax, (points - middle) @ view, s=9, color=BURIED, linewidths=0, label="surface points")
    for k, path in enumerate(paths):
        line = (path - middle) @ view
        ax.plot(*line.T, color=POCKETS[0], linewidth=1, zorder=3, label="path of a seed" if not k else None)
        _dots(ax, line[:1], s=26, facecolors="white", edgecolors=POCKETS[0], zorder=4, label="starts" if not k else None)
        _dots(ax, line[-1:], s=12, color=POCKETS[0], zorder=4, label="rests" if not k else None)
    for k, center in enumerate((kept - middle) @ view):
        style = {"fill": False, "edgecolor": POCKETS[1], "linestyle": "--", "linewidth": 1.1}
        ax.add_patch(Circle((float(center[0]), float(center[1])), bandwidth, zorder=2, **style))
        _dots(ax, center[None], marker="*", s=170, color=POCKETS[1], zorder=5, label="kept centre and window" if not k else None)
    ax.margins(0.12)
    _page(ax)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def cluster_panels(
    points: NDArray[np.floating],
    labellings: Mapping[str, NDArray[np.integer]],
    ligand: ArrayLike | None = None,
    *,
    columns: int = 3,
    size: float = 9.0,
) -> Figure:
    """The same points once for each clustering, from one side; cluster 0 is blue as pocket 1 is everywhere.

    Parameters
    ----------
    points
        (P, 3) Å.
    labellings
        Under a title each (P,) cluster of the points from 0; -1 is none.
    ligand
        (L, 3) Å, drawn in black on top.
    columns, size
        Panels side by side; size of a point.
    """
    from matplotlib.figure import Figure

    view = flat_view(points)
    flat = np.asarray(points) @ view
    wide, high = np.ptp(flat, axis=0) + 1e-9
    rows = -(-len(labellings) // columns)
    page = min(9.0, 5.5 * columns)
    width = page / columns
    figure = Figure(
        figsize=(page, rows * (width * max(high / wide, 0.35) + 0.55)), dpi=120, facecolor="white", layout="constrained"
    )
    for k, (title, labels) in enumerate(labellings.items()):
        ax = figure.add_subplot(rows, columns, k + 1)
        colors = [OUTSIDE if label < 0 else pocket_color(label + 1) for label in labels.tolist()]
        _dots(ax, flat, s=size, c=colors, linewidths=0)
        if ligand is not None:
            draw_bonds(ax, np.asarray(ligand, float), np.asarray(ligand, float) @ view, LIGAND, 1.6)
        for label in range(min(int(labels.max(initial=-1)) + 1, NUMBERED)):
            if not (labels == label).any():
                continue
            x, y = flat[labels == label].mean(axis=0)
            box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": pocket_color(label + 1), "alpha": 0.9}
            ax.text(x, y, str(label + 1), size=7, ha="center", va="center", zorder=4, bbox=box)
        ax.set_title(title, size=9.5, loc="left")
        ax.set_axis_off()
        ax.set_aspect("equal")
        if not k:
            _bar(ax)
    return figure


def spread_figure(values: Mapping[str, ArrayLike], label: str, title: str) -> Figure:
    """Every value as a dot, one row a name, with the mean as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 0.9 + 0.6 * len(values)), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    for k, (_, row) in enumerate(values.items()):
        x = np.asarray(row, float)
        up = 0.22 * np.sin(2.4 * np.arange(len(x)))  # apart, and the same at every run
        ax.scatter(x, k + up, s=20, color=LINES[k % len(LINES)], alpha=0.75, linewidths=0)
        ax.plot([x.mean()] * 2, [k - 0.34, k + 0.34], color="black", linewidth=1.6)
    ax.set_yticks(range(len(values)), list(values), fontsize=9)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.set_title(title, size=10.5, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    return figure


@dataclass(frozen=True, eq=False)
class SurfacePanel:
    """One side of a scored surface."""

    title: str
    points: NDArray[np.floating]
    """(P, 3) Å."""
    scores: NDArray[np.floating]
    """(P,) from 0 to 1."""
    towards: NDArray[np.floating]
    """(3,) Å: the place that faces the reader, such as the middle of a ligand."""
    ligand: NDArray[np.floating] | None = None
    """(L, 3) Å, heavy atoms, drawn in black on top of everything."""
    centers: Sequence[NDArray[np.floating]] = field(default=())
    """(3,) Å each: numbered from 1."""


def looking_from(points: ArrayLike, towards: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) rows right, up and towards the reader, who looks at the points from the side of ``towards``."""
    x = np.asarray(points, float)
    middle = x.mean(axis=0)
    front = np.asarray(towards, float) - middle
    spread = extents(x)
    length = float(np.linalg.norm(front))
    front = front / length if length > 1e-3 else spread[2]
    right = max((axis - axis @ front * front for axis in spread), key=lambda axis: float(np.linalg.norm((x - middle) @ axis)))
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(front, right), front])


def scored_panels(panels: Sequence[SurfacePanel], *, columns: int = 2, label: str = "ligandability of a surface point") -> Figure:
    """Surfaces side by side at one scale: pale (0) to dark red (1), large where high, near points over far ones."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure

    shades = LinearSegmentedColormap.from_list("score", PROBABILITY)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.9 * columns, 3.5 * rows + 0.5), dpi=120, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    flat = [(p.points - p.points.mean(axis=0)) @ looking_from(p.points, p.towards).T for p in panels]
    reach = max(float(np.abs(xyz[:, :2]).max()) for xyz in flat) + 2
    for ax in axes:
        ax.set_axis_off()
    for ax, panel, xyz in zip(axes, panels, flat, strict=False):
        _draw_scores(ax, panel, xyz, shades)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.set_title(panel.title, size=9.5, loc="left")
        low = -reach + 1
        ax.plot([low, low + 10], [low, low], color="black", linewidth=1.5)
        ax.text(low + 11, low, "10 Å", size=7.5, va="center")
    bar = ScalarMappable(Normalize(0, 1), shades)
    figure.colorbar(bar, ax=axes.tolist(), orientation="horizontal", shrink=0.45, aspect=32, label=label)
    return figure


def _draw_scores(ax: Axes, panel: SurfacePanel, xyz: NDArray[np.float64], shades: Any) -> None:
    score = np.asarray(panel.scores, float)
    low = score < FAINT
    specks = xyz[low, :2][:: 1 + int(low.sum()) // SPECKS]
    ax.scatter(specks[:, 0], specks[:, 1], s=2.5, color=CARTOON, linewidths=0)
    order = np.flatnonzero(~low)[np.argsort(xyz[~low, 2])]
    style = {"s": 14 + 30 * score[order], "color": shades(score[order]), "edgecolors": OUTSIDE, "linewidths": 0.4}
    ax.scatter(xyz[order, 0], xyz[order, 1], **style)
    turn, middle = looking_from(panel.points, panel.towards)[:2], panel.points.mean(axis=0)
    if panel.ligand is not None:
        atoms = np.asarray(panel.ligand, float)
        draw_bonds(ax, atoms, (atoms - middle) @ turn.T, LIGAND, 1.6)
    for number, center in enumerate(panel.centers, start=1):
        x, y = turn @ (np.asarray(center, float) - middle)
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black"}
        ax.text(x, y, str(number), size=8, ha="center", va="center", zorder=4, bbox=box)


def scored_view(prediction: Prediction, points: NDArray[np.floating], scores: NDArray[np.floating], still: Figure) -> Any:
    """The prediction to turn (:func:`s2p.output.view.view`), with every surface point in the colour of its score.

    Parameters
    ----------
    points, scores
        (P, 3) Å and (P,) from 0 to 1.
    still
        What is shown where no script runs.
    """
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    shades = LinearSegmentedColormap.from_list("score", PROBABILITY)
    scene = prediction.view(show="sticks")
    step = np.minimum((np.asarray(scores, float) * SHADES).astype(int), SHADES - 1)
    for k in np.unique(step).tolist():
        lines = [f"X {x:.2f} {y:.2f} {z:.2f}" for x, y, z in np.asarray(points, float)[step == k].tolist()]
        scene.addModel("\n".join([str(len(lines)), "", *lines]), "xyz")
        radius = 0.5 if k else 0.15  # low scores small, so that one sees between them
        scene.setStyle({"model": -1}, {"sphere": {"radius": radius, "color": to_hex(shades((k + 0.5) / SHADES))}})
    scene._repr_png_ = lambda: small_png(still)
    return scene


def _dots(ax: Axes, xy: NDArray[np.float64], **style: Any) -> None:
    ax.scatter(xy[:, 0], xy[:, 1], **style)


def _page(ax: Axes) -> None:
    ax.set_aspect("equal")
    ax.set(xlabel="Å, along the longest extent of the points", ylabel="Å")
    ax.spines[["top", "right"]].set_visible(False)


def _bar(ax: Axes) -> None:
    """10 Å below the points on the left."""
    x, y = ax.get_xlim()[0], ax.get_ylim()[0]
    ax.plot([x, x + 10], [y, y], color="black", linewidth=1.5)
    ax.text(x + 11, y, "10 Å", size=7.5, va="center")
