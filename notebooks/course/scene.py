"""A binding site close up: drawn flat, and in 3D with the flat picture beside it in the same orientation."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from course.charts import Picture
from s2p.output.files import scores_order
from s2p.output.palette import CARTOON, LIGAND, OUTSIDE, pocket_color
from s2p.output.pictures import CA_GAP, draw_bonds
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Beside", "beside", "site_axes", "site_picture"]

MARGIN = 9.0
"""Å around the CA atoms of a site that a picture shows."""


def site_axes(structure: Structure, site: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) rows right, up and towards the reader, so that residues ``site`` face the reader and lie as wide as they can."""
    ca = structure.residues.ca_coord.astype(float)
    at = ca[np.asarray(site)]
    front = at.mean(axis=0) - ca.mean(axis=0)
    front = front / np.linalg.norm(front) if np.linalg.norm(front) > 1e-3 else np.array([0.0, 0.0, 1.0])
    spread = at - at.mean(axis=0)
    spread = spread - np.outer(spread @ front, front)
    right = np.linalg.svd(np.concatenate([spread, np.eye(3) * 1e-6]))[2][0]
    right = right - right @ front * front
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(front, right), front])


def _panel(ax: Axes, prediction: Prediction, site: NDArray[np.int64], axes3: NDArray[np.float64], title: str) -> None:
    structure, ca = prediction.structure, prediction.structure.residues.ca_coord.astype(float)
    center = ca[site].mean(axis=0)
    reach = float(np.linalg.norm(ca[site] - center, axis=1).max()) + MARGIN

    def flat(x: ArrayLike) -> NDArray[np.float64]:
        return np.asarray((np.asarray(x, float) - center) @ axes3[:2].T)

    inside = np.linalg.norm(ca - center, axis=1) < reach
    step = inside[1:] & inside[:-1] & (np.linalg.norm(np.diff(ca, axis=0), axis=1) < CA_GAP)
    for i in np.flatnonzero(step):
        ax.plot(*flat(ca[i : i + 2]).T, color=CARTOON, linewidth=3, zorder=1, solid_capstyle="round")
    for p in reversed(prediction.pockets):
        points = p.points[np.linalg.norm(p.points - center, axis=1) < reach] if len(p.points) else p.points
        if len(points):
            ax.scatter(*flat(points).T, s=16, color=pocket_color(p.rank), alpha=0.25, linewidths=0, zorder=2)
    for ligand in structure.ligands:
        if ligand.kind == "molecule" and (np.linalg.norm(ligand.coord - center, axis=1) < reach).any():
            draw_bonds(ax, ligand.coord, flat(ligand.coord), LIGAND, 2.4, zorder=3, edge=2)
    rank, true = prediction.pocket_of_residue, np.isin(np.arange(len(ca)), site)
    for marker, chosen in (("o", prediction.positive & ~prediction.smoothed), ("^", prediction.smoothed)):
        rows = np.flatnonzero(chosen & inside)
        colors = [pocket_color(int(r)) if r else OUTSIDE for r in rank[rows]]
        edges = ["black" if true[i] else "white" for i in rows]
        ax.scatter(*flat(ca[rows]).T, s=62, c=colors, marker=marker, edgecolors=edges, linewidths=1.4, zorder=5)
    missing = np.flatnonzero(true & ~prediction.positive)
    ax.scatter(*flat(ca[missing]).T, s=62, facecolors="none", edgecolors="black", linewidths=1.4, zorder=4)
    ax.set_title(title, loc="left", fontsize=11)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    ax.plot([-reach + 2, -reach + 12], [-reach + 2] * 2, color="black", linewidth=2)
    ax.text(-reach + 7, -reach + 2.6, "10 Å", ha="center", va="bottom", fontsize=9)


def site_picture(panels: Mapping[str, Prediction], site: ArrayLike, alt: str, *, axes3: ArrayLike | None = None) -> Picture:
    """Predictions of one structure around a site, side by side, seen from the same side.

    Parameters
    ----------
    panels
        Title -> prediction. Circles are CA atoms of predicted residues and triangles of those that smoothing added, both in
        the colour of their pocket (grey: in none); a black edge marks residues of the site, and an empty circle those that are
        not predicted. Small dots are surface points of the pockets, black lines the ligand.
    site
        Indices of the residues of the site.
    alt
        The finding in words.
    axes3
        (3, 3) rows right, up and towards the reader; default :func:`site_axes`.
    """
    from matplotlib.figure import Figure

    rows = np.asarray(site, np.int64)
    figure = Figure(figsize=(4.6 * len(panels), 4.9), dpi=110, layout="constrained")
    for ax, (title, prediction) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        turn = site_axes(prediction.structure, rows) if axes3 is None else np.asarray(axes3, float)
        _panel(ax, prediction, rows, turn, title)
    return Picture(figure, alt)


@dataclass(frozen=True, eq=False)
class Beside:
    """A 3D view and a still picture next to each other, to be the last expression of a cell."""

    scene: Any
    picture: Picture

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        png, alt = self.picture.png(), self.picture.alt
        image = f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{html.escape(alt)}" width="430">'
        page = f'<div style="display:flex;flex-wrap:wrap;align-items:center">{self.scene._repr_html_()}{image}</div>'
        return {"text/plain": alt, "text/html": page, "image/png": png}, {"image/png": {"alt": alt}}


def beside(prediction: Prediction, site: Sequence[int] | NDArray[np.integer], title: str, alt: str) -> Beside:
    """The prediction around residues ``site`` in 3D, and beside it the still picture in the same orientation."""
    rows, structure = np.asarray(site, np.int64), prediction.structure
    axes3 = site_axes(structure, rows)
    scene = prediction.view(width=430, height=430)
    ca = structure.residues.ca_coord
    reach = float(np.linalg.norm(ca[rows] - ca[rows].mean(axis=0), axis=1).max())
    around = cKDTree(ca).query_ball_point(ca[rows].mean(axis=0), reach)
    chosen = np.flatnonzero(np.isin(scores_order(structure), around)).tolist()
    scene.setView([0, 0, 0, 0, *Rotation.from_matrix(axes3).as_quat().tolist()]).zoomTo({"index": chosen})
    return Beside(scene, site_picture({title: prediction}, rows, alt, axes3=axes3))
