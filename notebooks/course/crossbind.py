"""Pictures of what CrossBind learns: other views, weights of atoms, propensities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from course.charts import Chart, Layer
from course.contrast import top1_retrieval
from s2p.output.palette import CARTOON, LIGAND, OUTSIDE, POCKETS, PROBABILITY
from s2p.output.pictures import facing
from s2p.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "attention_picture",
    "attention_view",
    "propensity_chart",
    "similarity_panels",
]


def similarity_panels(views: Mapping[str, tuple[Tensor, Tensor]], *, shown: int = 60, title: str = "") -> Figure:
    """Cosine similarity of the first residues of one view (down) and of the other (across), a panel for each pair of views.

    Parameters
    ----------
    views
        Label -> (N, d) embeddings of the same residues in two views.
    shown
        Residues, at most.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.1 * len(views), 3.9), dpi=120, facecolor="white", layout="constrained")
    image: Any = None
    for ax, (label, (first, second)) in zip(np.atleast_1d(figure.subplots(1, len(views))), views.items(), strict=True):
        similarity = (F.normalize(first, dim=1) @ F.normalize(second, dim=1).T).detach().cpu().numpy()
        image = ax.imshow(similarity[:shown, :shown], cmap="PuOr_r", vmin=-1, vmax=1)
        ax.set_title(f"{label}: {top1_retrieval(first, second):.0%} of {len(similarity)} found", size=10)
        ax.set_xlabel("residue, second view")
    figure.axes[0].set_ylabel("residue, first view")
    figure.colorbar(image, ax=figure.axes, shrink=0.8, label="cosine similarity")
    figure.suptitle(title, size=10.5, x=0.01, ha="left")
    return figure


def _colour(weights: NDArray[np.floating]) -> tuple[Any, float, float]:
    """Colour map of :data:`~s2p.output.palette.PROBABILITY` and the range that the weights use."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("weight", PROBABILITY), float(weights.min()), float(weights.max())


def attention_picture(prediction: Prediction, coord: NDArray[np.floating], weights: NDArray[np.floating], title: str) -> Figure:
    """Atoms by the weight that the attention gives them, on the CA trace; known nucleic acids and ligands are black.

    Parameters
    ----------
    prediction
        Its best pocket faces the reader.
    coord, weights
        (A, 3) Å and (A,) of the atoms to be shown.
    """
    from matplotlib.figure import Figure

    structure = prediction.structure
    ca = structure.residues.ca_coord.astype(float)
    origin = ca.mean(axis=0)
    axes = facing(prediction, origin)
    colors, low, high = _colour(weights)
    figure = Figure(figsize=(6.6, 4.6), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    for chain in structure.chains:
        flat = (ca[structure.residues.chain == chain] - origin) @ axes.T
        ax.plot(flat[:, 0], flat[:, 1], color=CARTOON, linewidth=2, zorder=1)
    for ligand in structure.ligands:
        if ligand.kind in ("nucleic", "molecule"):
            flat = (ligand.coord.astype(float) - origin) @ axes.T
            ax.scatter(flat[:, 0], flat[:, 1], s=3, color=LIGAND, zorder=2, linewidths=0)
    flat = (np.asarray(coord, float) - origin) @ axes.T
    order = np.argsort(flat[:, 2])  # what is nearer lies on top
    dots = ax.scatter(
        flat[order, 0],
        flat[order, 1],
        c=weights[order],
        cmap=colors,
        vmin=low,
        vmax=high,
        s=26,
        edgecolors=OUTSIDE,
        linewidths=0.4,
        zorder=3,
    )
    figure.colorbar(dots, ax=ax, shrink=0.8, label="attention weight")
    ax.set_aspect("equal")
    ax.set_xlabel("Å")
    ax.set_ylabel("Å")
    ax.set_title(title, size=10.5, loc="left")
    return figure


def attention_view(prediction: Prediction, coord: NDArray[np.floating], weights: NDArray[np.floating], **options: Any) -> Any:
    """The interactive view of a prediction (:func:`s2p.output.view.view`) with a ball for each atom, coloured by its weight."""
    from matplotlib.colors import to_hex

    from s2p.output.view import view

    scene = view(prediction, show="sticks", **options)
    colors, low, high = _colour(weights)
    share = (np.asarray(weights, float) - low) / max(high - low, 1e-9)
    for (x, y, z), value in zip(np.asarray(coord, float).tolist(), share.tolist(), strict=True):
        scene.addSphere({"center": {"x": x, "y": y, "z": z}, "radius": 0.55, "color": to_hex(colors(value))})
    return scene


def propensity_chart(tables: Mapping[str, Mapping[str, float]], *, cutoff: float) -> Chart:
    """log2 ξ of each amino acid, highest first in the first table; the filter moves what lies beyond the cutoff.

    Parameters
    ----------
    tables
        Label -> ξ of each amino acid.
    """
    first = next(iter(tables.values()))
    letters = sorted(first, key=lambda letter: -first[letter])
    x = np.arange(len(letters), dtype=float)
    width = 0.8 / len(tables)
    layers, parts = [], []
    for k, (label, table) in enumerate(tables.items()):
        y = np.log2([table[letter] for letter in letters])
        color = POCKETS[(0, 4, 2)[k % 3]]
        hover = [f"{letter}: ξ = {table[letter]:.2f}" for letter in letters]
        layers.append(Layer("bars", x + (k - (len(tables) - 1) / 2) * width, y, label, color, hover, size=width))
        beyond = [letter for letter, value in zip(letters, y, strict=True) if abs(value) > cutoff]
        parts.append(f"{label}: beyond the cutoff are {', '.join(beyond)}")
    for level in (-cutoff, cutoff):
        layers.append(Layer("line", np.array([-0.6, len(x) - 0.4]), np.full(2, level), "", "#555555", dash="dot", size=5))
    return Chart(
        "Which amino acids are found at nucleic acids",
        "amino acid",
        "log2 propensity",
        tuple(layers),
        "Above 0: more frequent among residues that touch the nucleic acid than among the others. Dotted: the filter's cutoff.",
        "; ".join(parts) + ".",
        x_ticks=(x.tolist(), letters),
        size=(7.6, 3.6),
    )
