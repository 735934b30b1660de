"""Charts that the course's notebooks draw more than once: curves, histograms, and residues in space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course.charts import Chart, Layer
from s2p.output.palette import CARTOON, LIGAND, POCKETS
from s2p.output.pictures import facing
from s2p.prediction import Prediction

__all__ = ["curves", "histograms", "residues_in_space"]

DASHES = ("solid", "dash", "dot")
SYMBOLS = ("circle", "square", "triangle", "diamond")
GAP = 4.6
"""Å: CA atoms farther apart than this are not neighbours on the chain."""


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
        layers.append(Layer("line", np.full(2, mark[1]), np.array([low, high]), mark[0], "#555555", dash="dot", size=5))
        parts.append(f"{mark[0]} at {mark[1]:.3g}")
    return Chart(
        title, x_label, y_label, tuple(layers), title, "; ".join(parts) + ".", y_range=y_range, size=(7.6, 3.6)
    )  # fmt: skip


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
    breaks = np.flatnonzero(np.linalg.norm(np.diff(ca, axis=0), axis=1) > GAP) + 1
    trace = np.insert(flat, breaks, np.nan, axis=0)
    layers = [Layer("line", trace[:, 0], trace[:, 1], "protein (CA trace)", CARTOON, size=7)]
    for k, (label, rows) in enumerate(groups.items()):
        color, symbol = POCKETS[(0, 2, 1, 3, 4)[k % 5]], SYMBOLS[k % len(SYMBOLS)]
        names = structure.residues.ids()
        hover = [names[i] for i in rows.tolist()]
        layers.append(
            Layer("points", flat[rows, 0], flat[rows, 1], f"{label} ({len(rows)})", color, hover, symbol=symbol, size=7)
        )
    atoms = [(ligand.coord - origin) @ axes.T for ligand in structure.ligands if ligand.kind == "molecule"]
    if atoms:
        ligand = np.concatenate(atoms)
        layers.append(Layer("points", ligand[:, 0], ligand[:, 1], "ligand atoms", LIGAND, size=2.5))
    alt = ", ".join(f"{len(rows)} {label}" for label, rows in groups.items()) + "."
    return Chart(title, "Å", "Å", tuple(layers), title, alt, equal=True, size=(7.6, 4.6))
