"""Pictures of what the surface network does: shells around an atom, votes of surface points and where they land (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from course.surface import extents, flat_view
from s2p.output.palette import CARTOON, LIGAND, OUTSIDE, POCKETS, PROBABILITY
from s2p.output.pictures import draw_bonds
from s2p.surface.graph import Graph

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plane", "Votes", "hats", "shell_figure", "vote_density", "vote_figure"]

CELL = 0.5
"""Å between places at which the density of votes is drawn."""
SLAB = 4.0
"""Å on either side of the plane from which points are drawn."""
ARROWS = 150
"""Votes drawn as arrows, at most, the heaviest ones,"""
LEAST = 0.05
"""of at least this weight."""


def hats(distance: ArrayLike, reach: float, shells: int) -> NDArray[np.float64]:
    """(E, K) how much neighbours at (E,) Å count in each shell: hat functions around 0, reach / K, 2 reach / K ..."""
    place = np.asarray(distance, float)[:, None] * shells / reach
    return np.asarray(np.maximum(1 - np.abs(place - np.arange(shells)), 0.0))


def shell_figure(
    graph: Graph, atom: int, coord: NDArray[np.floating], element: NDArray[np.str_], shells: int, title: str
) -> Figure:
    """The neighbours of an atom, coloured by the shell that they count in most, and the shells as functions of the distance.

    Parameters
    ----------
    graph
        Atoms among themselves.
    coord, element
        (A, 3) Å and (A,) of all atoms.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    own = slice(int(graph.start[atom]), int(graph.start[atom + 1]))
    near, distance = graph.sender[own], graph.distance[own].astype(float)
    figure = Figure(figsize=(8.6, 3.8), dpi=120, facecolor="white", layout="constrained")
    space, curves = figure.subplots(1, 2)
    colors = colormaps["viridis"](np.linspace(0.0, 0.92, shells))
    view = flat_view(coord[near])
    flat = (coord[near].astype(float) - coord[atom]) @ view
    flat *= (distance / np.maximum(np.linalg.norm(flat, axis=1), 1e-9))[:, None]  # the true distance on the page
    most = hats(distance, graph.reach, shells).argmax(axis=1)
    for k in range(1, shells + 1):
        ring = np.linspace(0, 2 * np.pi, 100)
        space.plot(k * graph.reach / shells * np.cos(ring), k * graph.reach / shells * np.sin(ring), color=CARTOON, linewidth=0.6)
    space.scatter(*flat.T, s=70, color=colors[most], edgecolors="white", linewidths=0.6, zorder=3)
    for xy, name in zip(flat, element[near], strict=True):
        space.text(*xy, str(name), size=6, color="white", ha="center", va="center", zorder=4)
    space.scatter([0], [0], s=90, color=POCKETS[1], zorder=4)
    space.set(aspect="equal", xlabel="Å", ylabel="Å")
    grid = np.linspace(0, graph.reach, 241)
    for k, y in enumerate(hats(grid, graph.reach, shells).T):
        curves.plot(grid[y > 0], y[y > 0], color=colors[k], linewidth=1.6)
    curves.plot(distance, np.full(len(distance), -0.05), "|", color="black", markersize=9)
    curves.set(xlabel="distance (Å); ticks: the neighbours", ylabel="how much a neighbour counts", ylim=(-0.12, 1.08))
    for ax in (space, curves):
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, size=11, x=0.01, ha="left")
    return figure


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane through a place that holds the two longest extents of some points, such as the atoms of a ligand."""

    origin: NDArray[np.float64]
    """(3,) Å."""
    axes: NDArray[np.float64]
    """(3, 3) rows: across, up, towards the reader."""

    @classmethod
    def through(cls, points: ArrayLike) -> Plane:
        """That of (n, 3) points, with their mean in the middle."""
        x = np.asarray(points, float)
        return cls(x.mean(axis=0), extents(x))

    def flat(self, coord: ArrayLike) -> NDArray[np.float64]:
        """(n, 3) Å across, up, and in front of the plane."""
        return np.asarray((np.asarray(coord, float) - self.origin) @ self.axes.T)


def vote_density(places: ArrayLike, votes: ArrayLike, weights: ArrayLike, radius: float) -> NDArray[np.float64]:
    """(n,) density at (n, 3) places of (P, 3) votes with (P,) weights: each counts by (1 - d²/radius²)³ within ``radius`` Å."""
    counted = np.asarray(weights, float) > 0
    x, w, at = np.asarray(votes, float)[counted], np.asarray(weights, float)[counted], np.asarray(places, float)
    pairs = cKDTree(at).sparse_distance_matrix(cKDTree(x), radius, output_type="coo_matrix")
    height = w[pairs.col] * (1 - (pairs.data / radius) ** 2) ** 3
    return np.asarray(np.bincount(pairs.row, height, minlength=len(at)), np.float64)


@dataclass(frozen=True, eq=False)
class Votes:
    """Surface points with what they say."""

    points: NDArray[np.floating]
    """(P, 3) Å."""
    centers: NDArray[np.floating]
    """(P, 3) Å: where each votes for."""
    weights: NDArray[np.floating]
    """(P,) from 0 to 1."""
    radius: float
    """Å within which votes add up."""
    candidates: Sequence[NDArray[np.floating]] = field(default=())
    """(3,) Å each, numbered from 1."""


def vote_figure(votes: Votes, plane: Plane, ligand: ArrayLike, *, half: float = 16.0) -> Figure:
    """Votes near a plane as arrows from point to vote, and their density in the plane; ``half``: half the edge, Å.

    ``ligand``: (L, 3) Å, drawn in black for the reader; nothing is made of it but the plane that the caller chose.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    shades = LinearSegmentedColormap.from_list("score", PROBABILITY)
    figure = Figure(figsize=(8.8, 5.0), dpi=120, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    start, end = plane.flat(votes.points), plane.flat(votes.centers)
    near = np.abs(start[:, 2]) < SLAB
    left.scatter(*start[near, :2].T, s=6, color=CARTOON, linewidths=0)
    sure = np.flatnonzero(near & (votes.weights >= LEAST))
    sure = sure[np.argsort(-votes.weights[sure])][:ARROWS]
    style: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.005, "cmap": shades, "clim": (-0.4, 1)}
    left.quiver(*start[sure, :2].T, *(end - start)[sure, :2].T, votes.weights[sure], zorder=3, **style)
    steps = np.arange(-half, half + CELL, CELL)
    x, y = np.meshgrid(steps, steps)
    places = plane.origin + np.stack([x.ravel(), y.ravel()], axis=1) @ plane.axes[:2]
    height = vote_density(places, votes.centers, votes.weights, votes.radius).reshape(x.shape)
    filled = right.contourf(x, y, height, levels=12, cmap=shades)
    figure.colorbar(filled, ax=right, shrink=0.7, label="density of the votes")
    for ax, title in ((left, "votes as arrows"), (right, "density of the votes in the plane")):
        atoms = np.asarray(ligand, float)
        draw_bonds(ax, atoms, plane.flat(atoms)[:, :2], LIGAND, 1.6)
        ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xlabel="Å")
        ax.set_title(title, size=10, loc="left")
        _numbers(ax, [plane.flat(center) for center in votes.candidates], half)
    left.set_ylabel("Å")
    return figure


def _numbers(ax: Axes, centers: Sequence[NDArray[np.float64]], half: float) -> None:
    """Numbers from 1 at the centres that lie in the picture; grey where they are far in front of or behind the plane."""
    for number, (x, y, z) in enumerate(centers, start=1):
        if max(abs(x), abs(y)) < half:
            box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black" if abs(z) < 2 * SLAB else OUTSIDE}
            ax.text(x, y, str(number), size=8, ha="center", va="center", zorder=6, bbox=box)
