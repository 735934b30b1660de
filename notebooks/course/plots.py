"""Charts of predictions and their quality, and charts of several notebooks: curves, histograms, residues in space.

Each is interactive and still (:class:`course.charts.Chart`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course.charts import Chart, Layer
from s2p.config import Checked, Count, Natural, Positive
from s2p.errors import S2PError
from s2p.output.palette import CARTOON, LIGAND, OUTSIDE, POCKETS, pocket_color
from s2p.output.pictures import CA_GAP, facing
from s2p.output.track import CAPTION, SMOOTHED_HEIGHT, in_words, residue_axis, residue_ticks, strips
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

__all__ = [
    "PlotConfig",
    "calibration",
    "contact_map",
    "curves",
    "dcc_curves",
    "embedding_map",
    "histograms",
    "residue_track",
    "residues_in_space",
]


@dataclass(frozen=True)
class PlotConfig(Checked):
    """Charts of predictions and benchmarks."""

    contact_distance: Positive = 8.0
    """Residues with CA atoms closer than this (Å) touch: the usual definition of a contact map."""
    contact_separation: Natural = 3
    """Positions between the two residues of a contact at least; nearer ones always touch."""
    calibration_bins: Count = 10
    dcc_max: Positive = 20.0
    """Å, end of the axis of DCC curves."""
    dcc_cutoffs: tuple[float, ...] = (4.0, 12.0)
    """Å, cutoffs of DCC that are marked; the last is the paper's."""


BINDING = POCKETS[1]
DASHES = ("solid", "dash", "dot")
SYMBOLS = ("circle", "square", "triangle", "diamond")


def residue_track(prediction: Prediction) -> Chart:
    """Binding probability along the sequence, with pocket spans, smoothed residues, thresholds and secondary structure."""
    residues, rank = prediction.structure.residues, prediction.pocket_of_residue.tolist()
    x, threshold = residue_axis(prediction.structure), prediction.settings.get("threshold")
    hover = [
        f"{i} {name}: {p:.2f}" + (f", pocket {r}" if r else "")
        for i, name, p, r in zip(
            residues.ids(),
            residues.name.tolist(),
            prediction.probabilities.tolist(),
            rank,
            strict=True,
        )
    ]
    width = 0.9 if len(residues) < 400 else 1.0
    colors = [pocket_color(r) if r else OUTSIDE for r in rank]
    layers = [Layer("bars", x, prediction.probabilities.astype(float), "", colors, hover, size=width)]
    for edges, ends, label, color in strips(prediction):
        layers.append(Layer("boxes", edges, np.tile(ends, (len(edges), 1)), label, color))
    added = x[prediction.smoothed]
    if len(added):
        low = np.full(len(added), SMOOTHED_HEIGHT)
        layers.append(Layer("points", added, low, "added by smoothing", "#000000", symbol="triangle", size=3.2))
    ends = (-1.0, float(x[-1]) + 1)
    if threshold is not None:
        level = np.full(2, threshold)
        layers.append(Layer("line", np.array(ends), level, f"threshold {threshold:g}", "#000000", dash="dash", size=3.6))
    return Chart(
        prediction.structure.name,
        "residue number",
        "binding probability",
        tuple(layers),
        CAPTION,
        in_words(prediction),
        x_range=ends,
        y_range=(-0.19, 1.03),
        x_ticks=residue_ticks(prediction.structure, x),
        size=(9.5, 3.0),
    )


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
        "Each point is a residue; close points have similar embeddings. Two components show only a part of the variance.",
        f"{int(y.sum())} binding among {len(y)} residues; two components contain {share[:2].sum():.0%} of the variance.",
        size=(6.4, 4.6),
    )


def contact_map(structure: Structure, binding: ArrayLike, config: PlotConfig | None = None) -> Chart:
    """Residues that touch in space (CA atoms closer than 8 Å), and the pairs of two ``binding`` residues, (N,) bool."""
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
    ticks = residue_ticks(structure, np.arange(len(names), dtype=float), most=12)
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
    """Predicted probability and observed frequency, in bins of equal width, with 95 % intervals (Wilson)."""
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
        f"Predictions in {n_bins} bins of equal width. On the dashed line, probabilities equal frequencies; above it "
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
        dash = ("solid", "dash", "dot")[k // 7 % 3]
        layers.append(Layer("line", grid, share, name, POCKETS[k % len(POCKETS)], dash=dash, size=7))
        at = ", ".join(f"{(d < c).mean():.0%} below {c:g} Å" for c in config.dcc_cutoffs)
        parts.append(f"{name}: {at}")
    for cutoff in config.dcc_cutoffs:
        layers.append(Layer("line", np.full(2, cutoff), np.array([0.0, 1.0]), "", "#666666", dash="dot", size=3.6))
    return Chart(
        "Sites found, by the cutoff of the distance",
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


def curves(
    x: ArrayLike,
    ys: Mapping[str, ArrayLike],
    *,
    title: str,
    x_label: str,
    y_label: str,
    levels: Mapping[str, float] | None = None,
    mark: tuple[str, float] | None = None,
    points: bool = True,
    y_range: tuple[float, float] | None = None,
) -> Chart:
    """Lines over one x, told apart by colour and by mark or dash.

    Parameters
    ----------
    x
        (n,).
    ys
        Label -> (m,) values at the first m of ``x``, m <= n; NaN where there is none.
    levels
        Label -> value: black horizontal lines, for comparison.
    mark
        Label and x of a vertical line.
    points
        Mark the values.
    """
    at = np.asarray(x, float)
    layers, parts = [], []
    values = [np.asarray(y, float) for y in ys.values()]
    for k, (label, y) in enumerate(zip(ys, values, strict=True)):
        color, here = POCKETS[k % len(POCKETS)], at[: len(y)]
        dash = "solid" if points else DASHES[k % len(DASHES)]
        layers.append(Layer("line", here, y, label, color, dash=dash, size=8))
        if points:
            layers.append(Layer("points", here, y, "", color, symbol=SYMBOLS[k % len(SYMBOLS)], size=5))
        known = y[np.isfinite(y)]
        if len(known):
            parts.append(f"{label} from {known[0]:.3g} to {known[-1]:.3g}")
    for k, (label, level) in enumerate((levels or {}).items()):
        ends = np.array([at.min(), at.max()])
        layers.append(Layer("line", ends, np.full(2, level), label, "#000000", dash=DASHES[1 + k % 2], size=5))
        parts.append(f"{label} {level:.3g}")
    if mark is not None:
        every = np.concatenate([*values, list((levels or {}).values())])
        low, high = y_range or (float(np.nanmin(every)), float(np.nanmax(every)))
        dash = "solid" if len(levels or {}) > 1 else "dot"  # the second level is dotted
        layers.append(Layer("line", np.full(2, mark[1]), np.array([low, high]), mark[0], "#555555", dash=dash, size=5))
        parts.append(f"{mark[0]} at {mark[1]:.3g}")
    return Chart(title, x_label, y_label, tuple(layers), title, "; ".join(parts) + ".", y_range=y_range, size=(7.6, 3.6))


def histograms(groups: Mapping[str, ArrayLike], *, title: str, x_label: str, span: tuple[float, float], bins: int = 25) -> Chart:
    """Outlines of the histograms of several groups, each as shares of its own group.

    Parameters
    ----------
    groups
        Label -> (n,) values; those outside ``span`` count in the outer bins.
    """
    edges = np.linspace(*span, bins + 1)
    layers, parts = [], []
    for k, (label, group) in enumerate(groups.items()):
        values = np.clip(np.asarray(group, float), *span)
        share = np.histogram(values, edges)[0] / max(len(values), 1)
        # A step lasts until the next x, so the last bin needs its far edge too.
        y = np.r_[share, share[-1:]]
        dash = DASHES[k // 2 % len(DASHES)]
        layers.append(Layer("steps", edges, y, label, POCKETS[(0, 1, 5, 4, 2, 3)[k % 6]], dash=dash, size=8))
        parts.append(f"{label}: median {np.median(values):.2f}" if len(values) else f"{label}: none")
    return Chart(title, x_label, "share of the group", tuple(layers), title, "; ".join(parts) + ".", size=(7.6, 3.4))


def residues_in_space(prediction: Prediction, groups: Mapping[str, NDArray[np.integer]], *, title: str) -> Chart:
    """Groups of residues on the CA trace, seen as in :func:`s2p.output.pictures.static_figure`: a flat picture, in Å.

    Parameters
    ----------
    prediction
        Its best pocket faces the reader.
    groups
        Label -> residue indices; what is named later lies on top.
    """
    structure = prediction.structure
    ca = structure.residues.ca_coord.astype(float)
    origin = ca.mean(axis=0)
    axes = facing(prediction, origin)[:2]
    flat = (ca - origin) @ axes.T
    breaks = np.flatnonzero(np.linalg.norm(np.diff(ca, axis=0), axis=1) > CA_GAP) + 1
    trace = np.insert(flat, breaks, np.nan, axis=0)
    layers = [Layer("line", trace[:, 0], trace[:, 1], "protein (CA trace)", CARTOON, size=7)]
    for k, (label, rows) in enumerate(groups.items()):
        color, symbol = POCKETS[(0, 2, 1, 3, 4)[k % 5]], SYMBOLS[k % len(SYMBOLS)]
        names = structure.residues.ids()
        hover = [names[i] for i in rows.tolist()]
        layers.append(
            Layer("points", flat[rows, 0], flat[rows, 1], f"{label} ({len(rows)})", color, hover, symbol=symbol, size=7)
        )
    for kind, label, color in (("nucleic", "nucleic acid", OUTSIDE), ("molecule", "ligand atoms", LIGAND)):
        atoms = [(ligand.coord - origin) @ axes.T for ligand in structure.ligands if ligand.kind == kind]
        if atoms:
            known = np.concatenate(atoms)
            layers.append(Layer("points", known[:, 0], known[:, 1], label, color, size=2.5))
    alt = ", ".join(f"{len(rows)} {label}" for label, rows in groups.items()) + "."
    return Chart(title, "Å", "Å", tuple(layers), title, alt, equal=True, size=(7.6, 4.6))
