"""A small picture of a prediction as SVG: no browser, no plotting library, a millisecond."""

from __future__ import annotations

import html

import numpy as np

from s2p.output.palette import OUTSIDE, ink, pocket_color
from s2p.output.pictures import CA_GAP, facing
from s2p.prediction import Prediction, n_pockets

__all__ = ["thumbnail"]

WIDTH, HEIGHT, MARGIN = 240, 180, 14
MAX_POINTS = 600
"""Largest number of CA atoms drawn; for larger structures every second, third …"""
NUMBERED = 5
"""Number of pockets that get a number."""


def thumbnail(prediction: Prediction) -> str:
    """CA trace, coloured by pocket, with the numbers of the best pockets; the best one faces the reader."""
    residues = prediction.structure.residues
    origin = residues.ca_coord.astype(float).mean(axis=0)
    axes = facing(prediction, origin)
    step = -(-len(residues) // MAX_POINTS)
    rows = np.arange(0, len(residues), step)
    flat = ((residues.ca_coord[rows].astype(float) - origin) @ axes.T)[:, :2] * (1, -1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = float(np.min((np.array([WIDTH, HEIGHT]) - 2 * MARGIN) / np.maximum(high - low, 1.0)))
    shift = np.array([WIDTH, HEIGHT]) / 2 - scale * (low + high) / 2
    xy = flat * scale + shift
    apart = np.linalg.norm(np.diff(residues.ca_coord[rows], axis=0), axis=1) > CA_GAP * step
    cut = np.r_[True, apart | (residues.chain[rows][1:] != residues.chain[rows][:-1])]
    steps = [f"{'M' if c else 'L'}{x:.0f} {y:.0f}" for c, (x, y) in zip(cut.tolist(), xy.tolist(), strict=True)]
    parts = [f"<path d='{''.join(steps)}' fill='none' stroke='{OUTSIDE}' stroke-width='2' stroke-linejoin='round'/>"]
    rank = prediction.pocket_of_residue[rows]
    for r in np.unique(rank[rank > 0]).tolist():
        dots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in xy[rank == r].tolist())
        parts.append(f"<path d='{dots}' stroke='{pocket_color(r)}' stroke-width='5' stroke-linecap='round'/>")
    for p in reversed(prediction.pockets[:NUMBERED]):
        x, y = ((p.center.astype(float) - origin) @ axes.T)[:2] * (1, -1) * scale + shift
        color = pocket_color(p.rank)
        parts.append(
            f"<circle cx='{x:.0f}' cy='{y:.0f}' r='9' fill='{color}'/><text x='{x:.0f}' y='{y + 4:.0f}' fill='{ink(color)}' "
            f"font-family='sans-serif' font-size='12' text-anchor='middle'>{p.rank}</text>"
        )
    best = f"{prediction.pockets[0].probability:.2f}" if prediction.pockets else ""
    label = html.escape(f"{prediction.structure.name}: {n_pockets(len(prediction.pockets))}")
    return (
        f"<svg class='thumbnail' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{label}' data-residues='{len(residues)}' "
        f"data-best='{best}' xmlns='http://www.w3.org/2000/svg'>{''.join(parts)}</svg>"
    )
