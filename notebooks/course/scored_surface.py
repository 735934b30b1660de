"""Pictures of scored surface points: still ones from chosen sides (matplotlib, no display), and one to turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course.record import small_png
from course.surface import draw_ligand, extents
from s2p.output.palette import CARTOON, OUTSIDE, PROBABILITY
from s2p.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SurfacePanel", "looking_from", "scored_panels", "scored_view"]

FAINT = 0.1
"""Points that score less are specks in still pictures: the good ones lie in clefts, and all others would hide them."""
SPECKS = 3000
"""Specks in a still picture, at most twice as many: more make it grey and large."""
SHADES = 8
"""Steps of colour in the view to turn."""


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


def scored_panels(panels: Sequence[SurfacePanel], *, columns: int = 2, label: str = "score of a surface point") -> Figure:
    """Surfaces side by side at one scale: pale (0) to dark red (1), large where high, near points over far ones."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure

    shades = LinearSegmentedColormap.from_list("score", PROBABILITY)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.9 * columns, 3.5 * rows + 0.5), dpi=85, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    flat = [(p.points - p.points.mean(axis=0)) @ looking_from(p.points, p.towards).T for p in panels]
    reach = max(float(np.abs(xyz[:, :2]).max()) for xyz in flat) + 2
    for ax in axes:
        ax.set_axis_off()
    for ax, panel, xyz in zip(axes, panels, flat, strict=False):
        _draw(ax, panel, xyz, shades)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.set_title(panel.title, size=9.5, loc="left")
        low = -reach + 1
        ax.plot([low, low + 10], [low, low], color="black", linewidth=1.5)
        ax.text(low + 11, low, "10 Å", size=7.5, va="center")
    bar = ScalarMappable(Normalize(0, 1), shades)
    figure.colorbar(bar, ax=axes.tolist(), orientation="horizontal", shrink=0.45, aspect=32, label=label)
    return figure


def _draw(ax: Axes, panel: SurfacePanel, xyz: NDArray[np.float64], shades: Any) -> None:
    score = np.asarray(panel.scores, float)
    low = score < FAINT
    specks = xyz[low, :2][:: 1 + int(low.sum()) // SPECKS]
    ax.scatter(specks[:, 0], specks[:, 1], s=2.5, color=CARTOON, linewidths=0)
    order = np.flatnonzero(~low)[np.argsort(xyz[~low, 2])]
    style = {"s": 14 + 30 * score[order], "color": shades(score[order]), "edgecolors": OUTSIDE, "linewidths": 0.4}
    ax.scatter(xyz[order, 0], xyz[order, 1], **style)
    turn, middle = looking_from(panel.points, panel.towards)[:2], panel.points.mean(axis=0)
    if panel.ligand is not None:
        draw_ligand(ax, (np.asarray(panel.ligand, float) - middle) @ turn.T, panel.ligand)
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
