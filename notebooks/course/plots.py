"""Charts of a prediction and of how predictions fare, each interactive and still (:class:`course.charts.Chart`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course.charts import Chart, Layer
from s2p.errors import S2PError
from s2p.output.palette import HELIX, OUTSIDE, POCKETS, STRAND, pocket_color
from s2p.prediction import Prediction
from s2p.structure.reading import Structure
from s2p.structure.secondary import secondary_structure

__all__ = ["PlotConfig", "calibration", "contact_map", "dcc_curves", "embedding_map", "residue_track"]


@dataclass(frozen=True)
class PlotConfig:
    """Charts of predictions and benchmarks."""

    contact_distance: float = 8.0
    """Residues with CA atoms closer than this (Å) touch: the usual definition of a contact map."""
    contact_separation: int = 3
    """Positions between the two residues of a contact at least; nearer ones always touch."""
    calibration_bins: int = 10
    dcc_max: float = 20.0
    """Å, end of the axis of DCC curves."""
    dcc_cutoffs: tuple[float, ...] = (4.0, 12.0)
    """Å, cutoffs of DCC that are marked; the last is the paper's."""


BINDING = POCKETS[1]
CHAIN_GAP = 3.0
"""Residues of space between chains on an axis of residues."""
LEGEND_POCKETS = 7
"""Pockets named in a legend: as many as there are colours."""


def residue_track(prediction: Prediction) -> Chart:
    """Binding probability along the sequence, with pocket spans, smoothed residues, thresholds and secondary structure."""
    residues, rank = prediction.structure.residues, prediction.pocket_of_residue
    n = len(residues)
    new_chain = np.r_[True, residues.chain[1:] != residues.chain[:-1]]
    x = np.arange(n) + CHAIN_GAP * (np.cumsum(new_chain) - 1)
    colors = [OUTSIDE if r == 0 else pocket_color(r) for r in rank.tolist()]
    hover = [
        f"{i} {name}: {p:.2f}" + (f", pocket {r}" if r else "")
        for i, name, p, r in zip(
            residues.ids(), residues.name.tolist(), prediction.probabilities.tolist(), rank.tolist(), strict=True
        )
    ]
    width = 0.9 if n < 400 else 1.0
    layers = [Layer("bars", x, prediction.probabilities.astype(float), "", colors, hover, size=width)]
    for p in prediction.pockets:
        spans = _runs(rank == p.rank, new_chain)
        if len(spans):
            label = f"pocket {p.rank}" if p.rank <= LEGEND_POCKETS else ""
            layers.append(_strip(x, spans, -0.075, -0.03, label, pocket_color(p.rank)))
    letters = secondary_structure(prediction.structure)
    for letter, label, color in (("a", "helix", HELIX), ("b", "strand", STRAND)):
        spans = _runs(letters == letter, new_chain)
        if len(spans):
            layers.append(_strip(x, spans, -0.17, -0.135, label, color))
    added = prediction.smoothed
    if added.any():
        low = np.full(int(added.sum()), -0.105)
        layers.append(Layer("points", x[added], low, "added by smoothing", "#000000", symbol="triangle", size=3.2))
    # The smoothing threshold is of another probability, the classifier's, and has no place on this axis.
    threshold = prediction.settings.get("threshold")
    if isinstance(threshold, (int, float, np.number)):
        ends, level = np.array([-1.0, x[-1] + 1]), np.full(2, float(threshold))
        layers.append(Layer("line", ends, level, f"threshold {float(threshold):g}", "#000000", dash="dash", size=3.6))
    inside = int((rank > 0).sum())
    best = prediction.pockets[0] if prediction.pockets else None
    alt = f"{inside} of {n} residues lie in {len(prediction.pockets)} pockets"
    if best is not None:
        alt += f"; pocket 1 has {len(best.residues)} residues and probability {best.probability:.2f}"
    return Chart(
        prediction.structure.name,
        "residue number",
        "binding probability",
        tuple(layers),
        "Predicted binding probability of each residue, coloured by pocket (grey: in none). Below: pockets, residues added by "
        "smoothing (triangles), helices and strands (P-SEA).",
        alt + ".",
        x_range=(-1.0, float(x[-1]) + 1),
        y_range=(-0.19, 1.03),
        x_ticks=_residue_ticks(prediction.structure, x, new_chain),
        size=(9.5, 3.0),
    )


def _strip(x: NDArray[np.float64], spans: NDArray[np.int_], low: float, high: float, label: str, color: str) -> Layer:
    edges = np.stack([x[spans[:, 0]] - 0.5, x[spans[:, 1] - 1] + 0.5], axis=1)
    return Layer("boxes", edges, np.tile([low, high], (len(spans), 1)), label, color)


def _runs(mask: NDArray[np.bool_], new_chain: NDArray[np.bool_]) -> NDArray[np.int_]:
    """(K, 2) first and one past the last of the runs of true residues; a run ends with its chain."""
    starts = mask & (new_chain | ~np.r_[False, mask[:-1]])
    ends = mask & np.r_[new_chain[1:] | ~mask[1:], True]
    return np.stack([np.flatnonzero(starts), np.flatnonzero(ends) + 1], axis=1)


def _residue_ticks(
    structure: Structure, x: NDArray[np.float64], new_chain: NDArray[np.bool_], most: int = 24
) -> tuple[list[float], list[str]]:
    """Some ``most`` round residue numbers, apart from each other, and the first residue of each chain with the chain's name."""
    residues = structure.residues
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


def embedding_map(embeddings: ArrayLike, binding: ArrayLike, names: Sequence[str] = ()) -> Chart:
    """Residue embeddings on their first two principal components, coloured by binding.

    Parameters
    ----------
    embeddings
        (N, d), of one or more structures.
    binding
        (N,) bool: true labels or predictions.
    names
        (N,) text shown for each point.

    Raises
    ------
    S2PError
        With fewer than three residues.
    """
    e, y = np.asarray(embeddings, float), np.asarray(binding, bool)
    if len(e) < 3:
        raise S2PError(f"a map of embeddings needs at least three residues, not {len(e)}")
    centred = e - e.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    u = u * np.where(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])] < 0, -1, 1)  # a sign for good
    plane, share = (u * s)[:, :2], s**2 / max(float((s**2).sum()), 1e-12)
    layers = tuple(
        Layer("points", plane[m, 0], plane[m, 1], label, color,
              [names[i] for i in np.flatnonzero(m).tolist()] if len(names) else (), symbol=symbol, size=4)
        for m, label, color, symbol in ((~y, "not binding", OUTSIDE, "circle"), (y, "binding", BINDING, "diamond"))
    )  # fmt: skip
    return Chart(
        "Residue embeddings",
        f"first principal component ({share[0]:.0%} of the variance)",
        f"second principal component ({share[1]:.0%})",
        layers,
        "One point a residue; close points have similar embeddings. Two components hold only the stated share of the variance.",
        f"{int(y.sum())} binding among {len(y)} residues; two components hold {share[:2].sum():.0%} of the variance.",
        size=(6.4, 4.6),
    )


def contact_map(structure: Structure, binding: ArrayLike, config: PlotConfig | None = None) -> Chart:
    """Which residues touch in space (CA atoms closer than 8 Å), and which of these pairs are both binding, (N,) bool."""
    from scipy.spatial import cKDTree

    config, y = config or PlotConfig(), np.asarray(binding, bool)
    pairs = cKDTree(structure.residues.ca_coord).query_pairs(config.contact_distance, output_type="ndarray")
    pairs = pairs[pairs[:, 1] - pairs[:, 0] >= config.contact_separation].reshape(-1, 2)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    both = y[pairs].all(axis=1)
    names = structure.residues.ids()
    layers = tuple(
        Layer("points", pairs[m, 0].astype(float), pairs[m, 1].astype(float), label, color,
              [f"{names[i]} – {names[j]}" for i, j in pairs[m].tolist()], symbol="square", size=size)
        for m, label, color, size in ((~both, "contact", OUTSIDE, 2.0), (both, "both binding", BINDING, 3.0))
    )  # fmt: skip
    new_chain = np.r_[True, structure.residues.chain[1:] != structure.residues.chain[:-1]]
    ticks = _residue_ticks(structure, np.arange(len(names), dtype=float), new_chain, most=12)
    n = len(names)
    return Chart(
        f"Contacts in {structure.name}",
        "residue number",
        "residue number",
        layers,
        f"Pairs of residues with CA atoms closer than {config.contact_distance:g} Å and at least {config.contact_separation} "
        "positions apart. Lines beside the diagonal are helices, lines across it strands.",
        f"{len(pairs) // 2} contacts, {int(both.sum()) // 2} of them between two binding residues.",
        x_range=(-1.0, float(n)),
        y_range=(float(n), -1.0),
        x_ticks=ticks,
        y_ticks=(ticks[0], [text.split("\n")[0] for text in ticks[1]]),
        equal=True,
        size=(6.8, 5.4),
    )


def calibration(probabilities: ArrayLike, labels: ArrayLike, config: PlotConfig | None = None) -> Chart:
    """Predicted probability against how often it came true, in bins of equal width, with 95 % intervals (Wilson)."""
    p, y = np.asarray(probabilities, float), np.asarray(labels, bool)
    if not len(p):
        raise S2PError("a calibration chart needs at least one prediction")
    n_bins = (config or PlotConfig()).calibration_bins
    code = np.minimum((p * n_bins).astype(int), n_bins - 1)
    count = np.bincount(code, minlength=n_bins)
    used = count > 0
    count = count[used]
    mean = np.bincount(code, p, n_bins)[used] / count
    rate = np.bincount(code, y, n_bins)[used] / count
    z2 = 1.959964**2
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (rate * (1 - rate) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    gap = float((count * np.abs(mean - rate)).sum() / count.sum())
    text = [f"predicted {m:.2f}, observed {r:.2f}, n = {k}" for m, r, k in zip(mean, rate, count.tolist(), strict=True)]
    error = (np.minimum(middle - half, rate), np.maximum(middle + half, rate))
    ends = np.array([0.0, 1.0])
    return Chart(
        f"Calibration (mean gap {gap:.3f})",
        "mean predicted probability",
        "observed share of positives",
        (
            Layer("line", ends, ends, "perfect", "#000000", dash="dash", size=3.6),
            Layer("points", mean, rate, "observed, 95 % interval", POCKETS[0], text, error=error),
        ),
        f"Predictions in {n_bins} bins of equal width. Points on the dashed line: probabilities mean what they say; above it "
        "they are too low, below it too high. The mean gap is the expected calibration error.",
        f"Mean gap between predicted and observed share {gap:.3f} over {len(p)} predictions, {y.mean():.1%} of them positive.",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        equal=True,
        size=(6.2, 4.4),
    )


def dcc_curves(distances: Mapping[str, ArrayLike], config: PlotConfig | None = None) -> Chart:
    """Share of true sites whose distance to the nearest predicted centre is below a cutoff, by predictor.

    Parameters
    ----------
    distances
        DCC of each site, (S,) Å, by name of the predictor; infinite where nothing was predicted.
    """
    config = config or PlotConfig()
    grid = np.linspace(0, config.dcc_max, 241)
    layers: list[Layer] = []
    parts = []
    for k, (name, values) in enumerate(distances.items()):
        d = np.sort(np.asarray(values, float))
        if not len(d):
            raise S2PError(f"{name}: no sites, so that there is no curve to draw")
        share = np.searchsorted(d, grid, side="left") / len(d)  # strictly below, as recall is defined
        dash = ("solid", "dash", "dot")[k // len(POCKETS) % 3]
        layers.append(Layer("line", grid, share, name, POCKETS[k % len(POCKETS)], dash=dash, size=7))
        at = ", ".join(f"{(d < c).mean():.0%} below {c:g} Å" for c in config.dcc_cutoffs)
        parts.append(f"{name}: {at}")
    for cutoff in config.dcc_cutoffs:
        layers.append(Layer("line", np.full(2, cutoff), np.array([0.0, 1.0]), "", "#666666", dash="dot", size=3.6))
    return Chart(
        "Sites found, by the distance that counts",
        "cutoff of DCC, centre to centre (Å)",
        "share of sites found",
        tuple(layers),
        "Share of true sites with a predicted centre closer to the ligand's centroid than the cutoff. Dotted: "
        + " and ".join(f"{c:g}" for c in config.dcc_cutoffs)
        + " Å.",
        "; ".join(parts) + ".",
        x_range=(0.0, config.dcc_max),
        y_range=(0.0, 1.0),
    )
