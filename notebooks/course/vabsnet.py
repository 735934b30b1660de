"""Pictures of Vabs-Net's two graphs (matplotlib without a display, and py3Dmol)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2p.models.vabsnet.graph import BilevelGraph
from s2p.output.palette import CARTOON, OUTSIDE, POCKETS
from s2p.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["graph_picture", "graph_view"]

ATOMS, RESIDUES = POCKETS[0], POCKETS[1]
MARGIN = 3.0
"""Å shown around the nodes that are linked."""


def graph_picture(graph: BilevelGraph, residue: int, title: str = "") -> Figure:
    """The neighbours of one residue's CA atom in the atom graph (left) and in the residue graph (right), seen flat.

    Parameters
    ----------
    residue
        Index of the residue.
    """
    from matplotlib.figure import Figure

    nodes = graph.nodes
    traces = nodes.coord[nodes.ca]
    origin = traces[residue]
    linked = traces[graph.residue_neighbours[residue]] - origin
    axes = np.linalg.svd(linked - linked.mean(axis=0), full_matrices=False)[2][:2]  # the plane they spread in most
    figure = Figure(figsize=(9.0, 4.3), dpi=120, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    panels: tuple[tuple[Any, NDArray[np.floating], NDArray[np.int64], int, str, str], ...] = (
        (left, nodes.coord, graph.atom_neighbours, int(nodes.ca[residue]), ATOMS, "atoms"),
        (right, traces, graph.residue_neighbours, residue, RESIDUES, "CA atoms"),
    )
    for ax, coord, neighbours, node, color, name in panels:
        flat = (coord - origin) @ axes.T
        near = neighbours[node]
        reach = float(np.abs(flat[near]).max()) + MARGIN
        depth = np.linalg.norm(coord - origin, axis=1) < 2 * reach
        ax.plot(*flat[depth].T, "o", color=CARTOON, markersize=3.5, label=name)
        for other in near[near != node].tolist():
            ax.plot(*flat[[node, other]].T, "-", color=color, linewidth=1.1)
        ax.plot(*flat[near].T, "o", color=color, markersize=5.5, label=f"its {len(near)} nearest")
        ax.plot(*flat[node], "*", color="black", markersize=13, label="the CA atom")
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="Å", ylabel="Å", title=f"graph of {name}")
        ax.legend(fontsize=7.5, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.13), columnspacing=1)
    figure.suptitle(title or "One node and its neighbours in both graphs", size=10.5, x=0.01, ha="left")
    return figure


def graph_view(prediction: Prediction, graph: BilevelGraph, residue: int, **options: Any) -> Any:
    """The interactive view of a prediction (:func:`s2p.output.view.view`) with one residue's edges in both graphs.

    Parameters
    ----------
    graph
        Of the prediction's structure; its nodes are centred, the picture is not.
    residue
        Index of the residue.
    """
    from s2p.output.view import view

    coord = prediction.structure.atoms.coord.astype(float)
    ca = graph.nodes.ca
    scene = view(prediction, show="sticks", **options)
    edges = [(ca[residue], other, ATOMS, 0.10) for other in graph.atom_neighbours[ca[residue]]]
    edges += [(ca[residue], ca[other], RESIDUES, 0.16) for other in graph.residue_neighbours[residue]]
    for start, end, color, radius in edges:
        if start != end:
            ends = [dict(zip("xyz", coord[k].tolist(), strict=True)) for k in (start, end)]
            scene.addCylinder({"start": ends[0], "end": ends[1], "radius": radius, "color": color})
    scene.addSphere({"center": dict(zip("xyz", coord[ca[residue]].tolist(), strict=True)), "radius": 0.7, "color": OUTSIDE})
    return scene
