"""A prediction along the sequence: what its picture holds, for every library that draws it, and the still picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2p.output.palette import HELIX, OUTSIDE, STRAND, pocket_color
from s2p.output.pictures import literal
from s2p.prediction import Prediction
from s2p.structure.reading import Structure
from s2p.structure.secondary import secondary_structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CAPTION", "Strip", "Track", "residue_ticks", "sequence_track", "track_figure"]

CAPTION = (
    "Predicted binding probability of each residue, coloured by pocket (grey: in none). Below: pockets, residues added by "
    "smoothing (triangles), helices and strands (P-SEA)."
)
CHAIN_GAP = 3.0
"""Residues of space between chains on the axis."""
LEGEND_POCKETS = 7
"""Pockets named in the legend: as many as there are colours."""
POCKET_STRIP, SMOOTHED_HEIGHT, STRUCTURE_STRIP = (-0.075, -0.03), -0.105, (-0.17, -0.135)
"""Where the marks below the bars lie, in units of the probability axis."""


@dataclass(frozen=True, eq=False)
class Strip:
    """Boxes below the bars that belong together: the residues of a pocket, all helices, or all strands."""

    edges: NDArray[np.float64]
    """(K, 2) left and right end of each box on the axis of residues."""
    low: float
    high: float
    label: str
    """In the legend; not there if empty."""
    color: str


@dataclass(frozen=True, eq=False)
class Track:
    """What a picture of a prediction along the sequence holds."""

    x: NDArray[np.float64]
    """(N,) position of each residue on the axis."""
    colors: list[str]
    """(N,) of the residue's pocket, or grey."""
    strips: tuple[Strip, ...]
    ticks: tuple[list[float], list[str]]
    """Positions and texts of :func:`residue_ticks`."""
    threshold: float | None
    """Of the residue probability. The smoothing threshold is of another probability, the classifier's, and has no place here."""
    alt: str
    """The finding in words, for those who do not see the picture."""


def sequence_track(prediction: Prediction) -> Track:
    """Positions, colours and strips of the residues of ``prediction``, with a gap between chains."""
    residues, rank = prediction.structure.residues, prediction.pocket_of_residue
    new_chain = _chain_starts(prediction.structure)
    x = np.arange(len(residues)) + CHAIN_GAP * (np.cumsum(new_chain) - 1)
    strips = []
    for p in prediction.pockets:
        label = f"pocket {p.rank}" if p.rank <= LEGEND_POCKETS else ""
        strips.append(Strip(_runs(x, rank == p.rank, new_chain), *POCKET_STRIP, label, pocket_color(p.rank)))
    letters = secondary_structure(prediction.structure)
    for letter, label, color in (("a", "helix", HELIX), ("b", "strand", STRAND)):
        strips.append(Strip(_runs(x, letters == letter, new_chain), *STRUCTURE_STRIP, label, color))
    alt = f"{int((rank > 0).sum())} of {len(residues)} residues lie in {len(prediction.pockets)} pockets"
    if prediction.pockets:
        best = prediction.pockets[0]
        alt += f"; pocket 1 has {len(best.residues)} residues and probability {best.probability:.2f}"
    return Track(
        x,
        [OUTSIDE if r == 0 else pocket_color(r) for r in rank.tolist()],
        tuple(strip for strip in strips if len(strip.edges)),
        residue_ticks(prediction.structure, x),
        prediction.settings.get("threshold"),
        alt + ".",
    )


def residue_ticks(structure: Structure, x: NDArray[np.float64], most: int = 24) -> tuple[list[float], list[str]]:
    """Ticks of an axis of residues: about ``most`` round residue numbers, and the first residue of each chain with its name.

    Parameters
    ----------
    x
        (N,) position of each residue on the axis.
    """
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
    """Still picture of the binding probability along the sequence; :data:`CAPTION` says how to read it."""
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    track = sequence_track(prediction)
    figure = Figure(figsize=(9.5, 3.0), dpi=dpi, facecolor="white", layout="constrained")
    ax = figure.add_subplot()

    def boxes(edges: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], color: str | list[str]) -> None:
        left, right = edges.T
        corners = np.stack([np.stack(c, axis=1) for c in ((left, low), (right, low), (right, high), (left, high))], axis=1)
        # One collection instead of a patch a box: thousands of residues are drawn in a moment.
        ax.add_collection(PolyCollection(list(corners), facecolors=color, linewidths=0))

    half = 0.45 if len(track.x) < 400 else 0.5
    bars = np.stack([track.x - half, track.x + half], axis=1)
    boxes(bars, np.zeros(len(bars)), prediction.probabilities.astype(float), track.colors)
    for strip in track.strips:
        k = len(strip.edges)
        boxes(strip.edges, np.full(k, strip.low), np.full(k, strip.high), strip.color)
        if strip.label:
            ax.scatter([], [], marker="s", s=50, color=strip.color, label=strip.label)
    if prediction.smoothed.any():
        added = track.x[prediction.smoothed]
        ax.scatter(added, np.full(len(added), SMOOTHED_HEIGHT), marker="^", s=10, color="black", linewidths=0,
                   label="added by smoothing")  # fmt: skip
    ends = (-1.0, float(track.x[-1]) + 1)
    if track.threshold is not None:
        ax.plot(ends, [track.threshold] * 2, "--", color="black", linewidth=0.9, label=f"threshold {track.threshold:g}")
    ax.set(xlim=ends, ylim=(-0.19, 1.03), xlabel="residue number", ylabel="binding probability")
    ax.set_xticks(track.ticks[0], [literal(text) for text in track.ticks[1]], fontsize=8)
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
