"""A prediction along the sequence: the elements of a picture, and the still picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2p.output.palette import HELIX, OUTSIDE, STRAND, pocket_color
from s2p.output.pictures import literal
from s2p.prediction import Prediction, n_pockets
from s2p.structure.reading import Structure
from s2p.structure.secondary import secondary_structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CAPTION", "SMOOTHED_HEIGHT", "in_words", "residue_axis", "residue_ticks", "strips", "track_figure"]

CAPTION = (
    "Predicted binding probability of each residue, coloured by pocket (grey: in none). Below: pockets, residues added by "
    "smoothing (triangles), helices and strands (P-SEA)."
)
CHAIN_GAP = 3.0
"""Gap between chains on the axis, in residues."""
LEGEND_POCKETS = 7
"""Pockets named in the legend; more would hide the track."""
POCKET_STRIP, SMOOTHED_HEIGHT, STRUCTURE_STRIP = (-0.075, -0.03), -0.105, (-0.17, -0.135)
"""Positions of the marks below the bars, in units of the probability axis."""


def residue_axis(structure: Structure) -> NDArray[np.float64]:
    """(N,) position of each residue along the sequence, with a gap between chains."""
    return np.arange(len(structure.residues)) + CHAIN_GAP * (np.cumsum(_chain_starts(structure)) - 1)


def strips(prediction: Prediction) -> list[tuple[NDArray[np.float64], tuple[float, float], str, str]]:
    """Boxes below the bars for each pocket, all helices and all strands, if there are any.

    (K, 2) left and right end of each box along :func:`residue_axis`; lower and upper end of all; label, maybe empty; colour.
    """
    new_chain, x = _chain_starts(prediction.structure), residue_axis(prediction.structure)
    rank, letters = prediction.pocket_of_residue, secondary_structure(prediction.structure)
    found = []
    for p in prediction.pockets:
        label = f"pocket {p.rank}" if p.rank <= LEGEND_POCKETS else ""
        found.append((_runs(x, rank == p.rank, new_chain), POCKET_STRIP, label, pocket_color(p.rank)))
    for letter, label, color in (("a", "helix", HELIX), ("b", "strand", STRAND)):
        found.append((_runs(x, letters == letter, new_chain), STRUCTURE_STRIP, label, color))
    return [strip for strip in found if len(strip[0])]


def in_words(prediction: Prediction) -> str:
    """The result in words, for readers who do not see the picture."""
    rank = prediction.pocket_of_residue
    text = f"{int((rank > 0).sum())} of {len(rank)} residues lie in {n_pockets(len(prediction.pockets))}"
    for best in prediction.pockets[:1]:
        text += f"; pocket 1 has {len(best.residues)} residues and probability {best.probability:.2f}"
    return text + "."


def residue_ticks(structure: Structure, x: NDArray[np.float64], most: int = 24) -> tuple[list[float], list[str]]:
    """Ticks of an axis where residues are at ``x``, (N,): about ``most`` round numbers, and the first residue of each chain."""
    residues, new_chain = structure.residues, _chain_starts(structure)
    n = len(residues)
    every = next((k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n / k <= most), 1000)
    at: list[int] = []
    for i in range(n):
        apart = not at or x[i] - x[at[-1]] > 0.8 * n / most
        if new_chain[i] and not apart and not new_chain[at[-1]]:
            at.pop()  # a round number just before the chain's first
        if new_chain[i] or (residues.number[i] % every == 0 and apart):
            at.append(i)
    text = [
        f"{residues.number[i]}{residues.insertion_code[i]}" + (f"\nchain {residues.chain[i]}" if new_chain[i] else "") for i in at
    ]
    return x[at].tolist(), text


def track_figure(prediction: Prediction, *, dpi: int = 120) -> Figure:
    """Still picture of the binding probability along the sequence; :data:`CAPTION` explains it."""
    from matplotlib.figure import Figure

    x, threshold = residue_axis(prediction.structure), prediction.settings.get("threshold")
    colors = [pocket_color(r) if r else OUTSIDE for r in prediction.pocket_of_residue.tolist()]
    ends = (-1.0, float(x[-1]) + 1)
    figure = Figure(figsize=(9.5, 3.0), dpi=dpi, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    # Lines are fast for thousands of residues; each bar would be a separate patch.
    ax.vlines(x, 0, prediction.probabilities.astype(float), colors, linewidth=500 / (ends[1] - ends[0]))
    for edges, (low, high), label, color in strips(prediction):
        spans = [(left, right - left) for left, right in edges.tolist()]
        ax.broken_barh(spans, (low, high - low), color=color, linewidth=0, label=label)
    if prediction.cryptic is not None:
        ax.step(x, prediction.cryptic.astype(float), where="mid", color="black", linewidth=0.9, label="cryptic site")
    if prediction.smoothed.any():
        added = x[prediction.smoothed]
        ax.scatter(added, np.full(len(added), SMOOTHED_HEIGHT), marker="^", s=10, color="black", linewidths=0,
                   label="added by smoothing")  # fmt: skip
    if threshold is not None:
        ax.plot(ends, [threshold] * 2, "--", color="black", linewidth=0.9, label=f"threshold {threshold:g}")
    ax.set(xlim=ends, ylim=(-0.19, 1.03), xlabel="residue number", ylabel="binding probability")
    at, text = residue_ticks(prediction.structure, x)
    ax.set_xticks(at, [literal(tick) for tick in text], fontsize=8)
    ax.set_title(literal(prediction.structure.name), loc="left", size=11)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _chain_starts(structure: Structure) -> NDArray[np.bool_]:
    """(N,) whether a residue is the first of its chain."""
    chain = structure.residues.chain
    return np.concatenate([[True], chain[1:] != chain[:-1]])


def _runs(x: NDArray[np.float64], mask: NDArray[np.bool_], new_chain: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(K, 2) ends on the axis of the runs of true residues; a run ends with its chain."""
    first = np.flatnonzero(mask & (new_chain | ~np.r_[False, mask[:-1]]))
    last = np.flatnonzero(mask & np.r_[new_chain[1:] | ~mask[1:], True])
    return np.stack([x[first] - 0.5, x[last] + 0.5], axis=1)
