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
from s2p.output.palette import CARTOON, ELEMENTS, LIGAND, OUTSIDE, pocket_color
from s2p.output.pictures import BOND, CA_GAP, draw_bonds
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Beside", "beside", "look", "motion_picture", "site_axes", "site_picture", "sticks_picture"]

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


def _trace(ax: Axes, ca: NDArray[np.float64], flat: NDArray[np.float64], shown: NDArray[np.bool_]) -> None:
    """The chain as lines between CA atoms that follow each other: ``ca`` (N, 3) Å, drawn at ``flat`` (N, 2)."""
    for i in np.flatnonzero(shown[1:] & shown[:-1] & (np.linalg.norm(np.diff(ca, axis=0), axis=1) < CA_GAP)):
        ax.plot(*flat[i : i + 2].T, color=CARTOON, linewidth=3, zorder=1, solid_capstyle="round")


def _frame(ax: Axes, reach: float, title: str) -> None:
    """Title, limits and a bar of 10 Å."""
    ax.set_title(title, loc="left", fontsize=11)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    ax.plot([-reach + 2, -reach + 12], [-reach + 2] * 2, color="black", linewidth=2)
    ax.text(-reach + 7, -reach + 2.6, "10 Å", ha="center", va="bottom", fontsize=9)


def _panel(ax: Axes, prediction: Prediction, site: NDArray[np.int64], axes3: NDArray[np.float64], title: str) -> None:
    structure, ca = prediction.structure, prediction.structure.residues.ca_coord.astype(float)
    center = ca[site].mean(axis=0)
    reach = float(np.linalg.norm(ca[site] - center, axis=1).max()) + MARGIN

    def flat(x: ArrayLike) -> NDArray[np.float64]:
        return np.asarray((np.asarray(x, float) - center) @ axes3[:2].T)

    inside = np.linalg.norm(ca - center, axis=1) < reach
    _trace(ax, ca, flat(ca), inside)
    for p in reversed(prediction.pockets):
        points = p.points[np.linalg.norm(p.points - center, axis=1) < reach] if len(p.points) else p.points
        if len(points):
            ax.scatter(
                flat(points)[:, 0], flat(points)[:, 1], s=16, color=pocket_color(p.rank), alpha=0.25, linewidths=0, zorder=2
            )
    for ligand in structure.ligands:
        if ligand.kind == "molecule" and (np.linalg.norm(ligand.coord - center, axis=1) < reach).any():
            draw_bonds(ax, ligand.coord, flat(ligand.coord), LIGAND, 2.4, zorder=3, edge=2)
    rank, true = prediction.pocket_of_residue, np.isin(np.arange(len(ca)), site)
    for marker, chosen in (("o", prediction.positive & ~prediction.smoothed), ("^", prediction.smoothed)):
        rows = np.flatnonzero(chosen & inside)
        colors = [pocket_color(int(r)) if r else OUTSIDE for r in rank[rows]]
        edges = ["black" if true[i] else "white" for i in rows]
        ax.scatter(
            flat(ca[rows])[:, 0], flat(ca[rows])[:, 1], s=62, c=colors, marker=marker, edgecolors=edges, linewidths=1.4, zorder=5
        )
    missing = np.flatnonzero(true & ~prediction.positive)
    ax.scatter(
        flat(ca[missing])[:, 0], flat(ca[missing])[:, 1], s=62, facecolors="none", edgecolors="black", linewidths=1.4, zorder=4
    )
    _frame(ax, reach, title)


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
    figure = Figure(figsize=(4.6 * len(panels), 4.9), dpi=120, layout="constrained")
    for ax, (title, prediction) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        turn = site_axes(prediction.structure, rows) if axes3 is None else np.asarray(axes3, float)
        _panel(ax, prediction, rows, turn, title)
    return Picture(figure, alt)


def _half_bonds(ax: Axes, coord: NDArray[np.float64], element: NDArray[np.str_], carbon: str, zorder: float) -> None:
    """Bonds, each half in the colour of its atom, far ones first; ``coord`` (n, 3) is turned so that z is towards the reader."""
    from matplotlib.collections import LineCollection

    pairs = cKDTree(coord).query_pairs(BOND, output_type="ndarray") if len(coord) else np.zeros((0, 2), int)
    pairs = pairs[np.argsort(coord[pairs][:, :, 2].mean(axis=1))]
    ends = coord[pairs][:, :, :2]
    halves = np.stack([ends, np.broadcast_to(ends.mean(axis=1, keepdims=True), ends.shape)], axis=2).reshape(-1, 2, 2)
    colors = [ELEMENTS.get(str(e), carbon) for e in element[pairs].ravel()]
    ax.add_collection(LineCollection(list(halves), colors="white", linewidths=5.5, zorder=zorder))
    ax.add_collection(LineCollection(list(halves), colors=colors, linewidths=3, capstyle="round", zorder=zorder + 0.1))


def sticks_picture(
    prediction: Prediction, residues: ArrayLike, title: str, alt: str, *, axes3: ArrayLike, named: ArrayLike = ()
) -> Picture:
    """Residues as sticks around a site, with the ligand and the chain: the still picture of a view with such representations.

    Parameters
    ----------
    prediction
        Carbon atoms have the colour of their residue's pocket (in none: grey), other atoms that of their element; carbon atoms
        of ligands are black. Pale dots are the surface points of the pockets that hold one of the residues.
    residues
        Indices of those drawn with their side chains; the picture is zoomed on them.
    title, alt
        Above the picture; the finding in words.
    axes3
        (3, 3) rows right, up and towards the reader, for instance of :func:`site_axes`.
    named
        Indices of residues that get their name and number written beside them.
    """
    from matplotlib.figure import Figure

    structure, rows, turn = prediction.structure, np.asarray(residues, np.int64), np.asarray(axes3, float)
    atoms, ca, rank = structure.atoms, structure.residues.ca_coord.astype(float), prediction.pocket_of_residue
    center = ca[rows].mean(axis=0)
    reach = float(np.linalg.norm(ca[rows] - center, axis=1).max()) + MARGIN / 2

    def turned(x: ArrayLike) -> NDArray[np.float64]:
        return np.asarray((np.asarray(x, float) - center) @ turn.T)

    figure = Figure(figsize=(4.9, 5.1), dpi=120, layout="constrained")
    ax = figure.add_subplot()
    _trace(ax, ca, turned(ca)[:, :2], np.linalg.norm(ca - center, axis=1) < reach + MARGIN)
    for p in (p for p in prediction.pockets if np.isin(rows, p.residues).any() and len(p.points)):
        x, y, _ = turned(p.points).T
        ax.scatter(x, y, s=16, color=pocket_color(p.rank), alpha=0.2, linewidths=0, zorder=2)
    for r in np.unique(rank[rows]).tolist():
        own = np.isin(atoms.residue_index, rows[rank[rows] == r]) & ~np.isin(atoms.name, ("N", "C", "O"))
        _half_bonds(ax, turned(atoms.coord[own]), atoms.element[own], pocket_color(r) if r else OUTSIDE, 3)
    for ligand in (x for x in structure.ligands if x.kind == "molecule"):
        _half_bonds(ax, turned(ligand.coord), np.char.upper(ligand.element.astype(str)), LIGAND, 4)
    for i in np.asarray(named, np.int64).tolist():
        x, y, _ = turned(atoms.coord[atoms.residue_index == i][-1])
        text = f"{structure.residues.name[i].title()} {structure.residues.ids()[i].replace(':', '')}"
        ax.text(x, y, text, fontsize=9, zorder=6, bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1})
    _frame(ax, reach, title)
    return Picture(figure, alt)


def motion_picture(frames: Mapping[str, ArrayLike], alt: str, *, axes3: ArrayLike) -> Picture:
    """CA traces of one chain, label -> (N, 3) Å, laid over one another from blue to red, seen along the last row of ``axes3``."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.9, 5.1), dpi=120, layout="constrained")
    ax = figure.add_subplot()
    places = [np.asarray(ca, float) for ca in frames.values()]
    center = np.concatenate(places).mean(axis=0)
    for ca, label, shade in zip(places, frames, np.linspace(0, 1, len(places)), strict=True):
        gaps = np.flatnonzero(np.linalg.norm(np.diff(ca, axis=0), axis=1) > 2 * CA_GAP) + 1
        flat = np.insert((ca - center) @ np.asarray(axes3, float)[:2].T, gaps, np.nan, axis=0)
        ax.plot(*flat.T, color=colormaps["coolwarm"](shade), linewidth=1.8, label=label)
    ax.set(aspect="equal", xticks=[], yticks=[])
    figure.legend(loc="outside lower center", ncols=len(frames), frameon=False, fontsize=9)
    return Picture(figure, alt)


def look(view: Any, axes3: ArrayLike, selection: str = "*", zoom: float = 0.0) -> None:
    """Turn an ``nglview.NGLWidget`` as a still picture with the same ``axes3`` is, and centre on a selection of NGL's language.

    With a ``zoom`` between 0 and 1 the camera comes nearer by that share of the way.
    """
    right, up, front = np.asarray(axes3, float)
    view.camera = "orthographic"
    turn = Rotation.from_matrix(np.stack([-right, up, -front]))  # NGL's camera looks along +z
    view.control.rotate(turn.as_quat().tolist())
    view.center(selection)
    if zoom:
        view.control.zoom(zoom)
    view.layout.width = view.layout.height = "430px"


@dataclass(frozen=True, eq=False)
class Beside:
    """A 3D view and a still picture next to each other, to be the last expression of a cell.

    The view is of py3Dmol, or an ``nglview.NGLWidget``; without one (``None``) the still picture stands alone.
    """

    scene: Any
    picture: Picture

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        png, alt = self.picture.png(), self.picture.alt
        data: dict[str, Any] = {"text/plain": alt, "image/png": png}
        about = {"image/png": {"alt": alt}}
        image = f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{html.escape(alt)}" width="430">'
        if hasattr(self.scene, "_repr_html_"):
            style = "display:flex;flex-wrap:wrap;align-items:center"
            data["text/html"] = f'<div style="{style}">{self.scene._repr_html_()}{image}</div>'
        elif self.scene is not None:
            from ipywidgets import HTML, HBox

            row = HBox([self.scene, HTML(image)])  # Colab's ipywidgets 7 has no _repr_mimebundle_
            data["application/vnd.jupyter.widget-view+json"] = {"version_major": 2, "version_minor": 0, "model_id": row.model_id}
        return data, about


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
