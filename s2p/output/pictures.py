"""Still picture of the protein with its predicted pockets (matplotlib, no display, no pyplot), and pictures as PNG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2p.io.files import write_bytes
from s2p.output.palette import LIGAND, PROBABILITY, ink, pocket_color, rgb
from s2p.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CA_GAP", "draw_bonds", "facing", "figure_png", "literal", "static_figure", "static_png"]

Rows = NDArray[np.floating]

SLABS = 24
"""Depth steps of the still picture."""
BOND = 1.95
"""Å: atoms closer than this are joined by a line."""
CA_GAP = 4.6
"""Å: CA atoms farther apart than this are not neighbours on the chain."""


def figure_png(figure: Figure, path: str | Path | None = None, *, dpi: float | None = None, description: str = "") -> bytes:
    """PNG of a matplotlib figure, without dates, so that equal figures are equal files.

    Parameters
    ----------
    path
        Also written there, if one is given.
    dpi
        Default: the figure's own.
    description
        Description of the picture, stored in the metadata of the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi or figure.dpi)
    metadata = {"Software": "s2p"}
    if description:
        metadata["Description"] = description.encode("latin-1", "replace").decode("latin-1")  # PNG text is Latin-1
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata=metadata)
    if path is not None:
        write_bytes(Path(path), buffer.getvalue())
    return buffer.getvalue()


def literal(text: str) -> str:
    """Text in which matplotlib does not interpret formulas."""
    return text.replace("$", r"\$")


def static_png(prediction: Prediction, path: str | Path | None = None, *, style: str = "pocket", dpi: int = 150) -> bytes:
    """PNG of :func:`static_figure`; also written to ``path`` if one is given."""
    return figure_png(static_figure(prediction, style=style, dpi=dpi), path)


def static_figure(prediction: Prediction, *, style: str = "pocket", dpi: int = 150) -> Figure:
    """Still picture of the protein with its pockets.

    The best pocket faces the reader. The picture shows the CA trace (nearer parts are darker and wider; with ``style``
    ``probability`` by residue probability), pocket residues and points in the pocket's colour, known ligands, a bar of 10 Å.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    structure, residues = prediction.structure, prediction.structure.residues
    origin = residues.ca_coord.astype(float).mean(axis=0)
    axes3 = facing(prediction, origin)

    def project(x: Any) -> NDArray[np.float64]:
        return np.asarray((np.asarray(x, dtype=float) - origin) @ axes3.T)

    figure = Figure(figsize=(7.2, 5.4), dpi=dpi, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    _draw_trace(ax, prediction, project(residues.ca_coord), style)
    for p in reversed(prediction.pockets):
        color = pocket_color(p.rank)
        if len(p.points):
            x, y, _ = project(p.points).T
            ax.scatter(x, y, s=26, color=color, alpha=0.22, linewidths=0, zorder=4)
        side = np.isin(structure.atoms.residue_index, p.residues) & ~np.isin(structure.atoms.name, ("N", "C", "O"))
        sticks = project(structure.atoms.coord[side])
        draw_bonds(ax, sticks, sticks[:, :2], color, 1.5, zorder=5, edge=2)
        shape = "round,pad=0.2" if p.site == "cryptic" else "circle,pad=0.25"
        box = {"boxstyle": shape, "facecolor": color, "edgecolor": "white"}
        x, y, _ = project(p.center)
        ax.text(x, y, p.label, color=ink(color), weight="bold", size=11, ha="center", va="center", zorder=20, bbox=box)
    for sticks in (project(x.coord) for x in structure.ligands if x.kind == "molecule"):
        draw_bonds(ax, sticks, sticks[:, :2], LIGAND, 2.4, zorder=9, edge=2)
    handles: list[Any] = []
    for p in prediction.pockets[:8]:
        n, remark = len(p.residues), p.remark.replace("copy of pocket", "copy of")
        text = f"pocket {p.rank}: probability {p.probability:.2f}, {n} residue{'s' * (n != 1)}{remark}"
        handles.append(Line2D([], [], marker="o", linestyle="", color=pocket_color(p.rank), markersize=8, label=text))
    if len(prediction.pockets) > 8:
        handles.append(Line2D([], [], linestyle="", label=f"and {len(prediction.pockets) - 8} more"))
    if any(x.kind == "molecule" for x in structure.ligands):
        handles.append(Line2D([], [], color=LIGAND, linewidth=2.5, label="known ligand"))
    trace = ("#8A9299", "darker is nearer") if style == "pocket" else (PROBABILITY[-1], "redder: likelier to bind")
    handles.append(Line2D([], [], color=trace[0], linewidth=4, label=f"protein (CA trace, {trace[1]})"))
    ax.set(aspect="equal", xmargin=0.06, ymargin=0.06)
    ax.set_axis_off()
    bar = AnchoredSizeBar(ax.transData, 10, "10 Å", "lower right", label_top=True, frameon=False, pad=0, size_vertical=0.3)
    bar.set_in_layout(False)  # it may be longer than a small structure
    ax.add_artist(bar)
    ax.set_title(literal(structure.name), size=12, weight="bold", loc="left")
    longest = max(len(str(handle.get_label())) for handle in handles)  # two wide columns would be cut off at both edges
    look: dict[str, Any] = {"ncols": 1 + (longest < 53), "fontsize": 8 + (longest < 43), "frameon": False}
    figure.legend(handles=handles, loc="outside lower center", **look)
    return figure


def facing(prediction: Prediction, origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rows right, up, towards the reader: the best pocket in front, the longest extent of the protein across."""
    ca = prediction.structure.residues.ca_coord.astype(float) - origin
    spread = np.linalg.svd(ca, full_matrices=len(ca) < 3)[2]  # always three axes, but never an (N, N) matrix
    front = spread[2]
    if prediction.pockets:
        towards = prediction.pockets[0].center.astype(float) - origin
        if np.linalg.norm(towards) > 1e-3:
            front = towards / np.linalg.norm(towards)
    extent = np.abs(ca @ spread.T).mean(axis=0) + 1e-6  # never 0, even for atoms on a line through the pocket
    across = spread[np.argmax(np.linalg.norm(spread - np.outer(spread @ front, front), axis=1) * extent)]
    right = across - across @ front * front
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(front, right), front])


def _draw_trace(ax: Axes, prediction: Prediction, ca: NDArray[np.float64], style: str) -> None:
    """CA trace as a smooth ribbon, far parts first, each piece with a white edge so that crossings read as depth."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    residues = prediction.structure.residues
    gap = np.linalg.norm(np.diff(ca, axis=0), axis=1) > CA_GAP
    breaks = np.flatnonzero(gap | (residues.chain[1:] != residues.chain[:-1])) + 1
    pieces, owners = [], []
    for run in np.split(np.arange(len(ca)), breaks):
        curve, nearest = _smooth(ca[run])
        pieces.append(np.stack([curve[:-1], curve[1:]], axis=1))
        owners.append(run[nearest[:-1]])
    if not len(segments := np.concatenate(pieces)):
        return
    depth = np.clip((segments[:, :, 2].mean(axis=1) - ca[:, 2].min()) / max(np.ptp(ca[:, 2]), 1e-6), 0, 1)
    far, near, owner = np.array(rgb("#DDE1E4")), np.array(rgb("#6F7880")), np.concatenate(owners)
    colors, widths = far + (near - far) * depth[:, None], 2.2 + 2.6 * depth
    if style == "probability":  # the palest colour of the palette cannot be seen on white
        colors = LinearSegmentedColormap.from_list("", ("#DDE1E4", *PROBABILITY[1:]))(prediction.probabilities[owner])[:, :3]
    rank = prediction.pocket_of_residue[owner] * (style == "pocket")
    for k in np.flatnonzero(rank).tolist():
        tint = np.array(rgb(pocket_color(int(rank[k]))))
        colors[k] = tint + (1 - tint) * 0.45 * (1 - depth[k])
    # In slabs from far to near: the edges of a slab may hide what is behind it, not their neighbours on the chain.
    slab = np.minimum((depth * SLABS).astype(int), SLABS - 1)
    for level in np.unique(slab).tolist():
        m = slab == level
        lines, z = list(segments[m][:, :, :2]), 2 + level / SLABS
        ax.add_collection(LineCollection(lines, colors="white", linewidths=widths[m] + 2.4, capstyle="butt", zorder=z))
        ax.add_collection(LineCollection(lines, colors=colors[m], linewidths=widths[m], capstyle="round", zorder=z + 0.5 / SLABS))
    ax.update_datalim(segments[:, :, :2].reshape(-1, 2))


def draw_bonds(ax: Axes, coord: Rows, flat: Rows, color: str, width: float, *, zorder: float = 3, edge: float = 0) -> None:
    """Lines between atoms closer than :data:`BOND` in ``coord`` (n, 3) Å, drawn at the positions ``flat`` (n, 2).

    ``width`` is of a line and ``edge`` of the white edge around it, in points.
    """
    from matplotlib.collections import LineCollection
    from scipy.spatial import cKDTree

    bonds = cKDTree(coord).query_pairs(BOND, output_type="ndarray") if len(coord) else np.zeros((0, 2), int)
    lines = list(flat[bonds])
    if edge:
        ax.add_collection(LineCollection(lines, colors="white", linewidths=width + edge, capstyle="butt", zorder=zorder))
    ax.add_collection(LineCollection(lines, colors=color, linewidths=width, capstyle="round", zorder=zorder + 0.1))
    ax.update_datalim(flat)


def _smooth(points: NDArray[np.float64], steps: int = 5) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Curve through ``points`` and the index of the nearest point for each piece."""
    from scipy.interpolate import CubicSpline

    if len(points) < 3:
        return points, np.arange(len(points))
    t = np.linspace(0, len(points) - 1, steps * (len(points) - 1) + 1)
    return CubicSpline(np.arange(len(points)), points)(t), np.floor(t + 0.5).astype(int)
