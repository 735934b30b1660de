"""One drawing for each idea that words alone explain badly, as SVG files beside the notebooks.

What can be computed is computed: paths by mean shift, counts by the package, voxels and density from a bundled structure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from course.network_drawings import contrast, fusion, low_rank, messages, spans, tracks, voxels
from course.svg import DARK, circle, document, line, rect, text
from s2p.output.palette import POCKETS, ink
from s2p.pockets.hits import pocket_fragmentation_index, site_overlaps

__all__ = ["DRAWINGS", "FOLDER", "Drawing", "climb", "drawing_svg"]

FOLDER = Path(__file__).resolve().parents[1] / "drawings"
"""Where the drawings are kept: GitHub shows files, and runs no code."""
WIDTH = 720
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Drawing:
    """A drawing and where it is shown."""

    notebook: str
    """Number of the notebook."""
    height: int
    """Pixels."""
    alt: str
    """The drawing in words."""
    parts: Callable[[], list[str]]
    """Its marks."""


def drawing_svg(name: str) -> str:
    """A drawing of :data:`DRAWINGS` as an SVG document, 720 pixels wide."""
    drawing = DRAWINGS[name]
    return document(drawing.alt, WIDTH, drawing.height, drawing.parts())


def climb(place: Points, points: Points, radius: float) -> Points:
    """(S, 2) places of a window of this radius that moves to the mean of the points inside, until it rests."""
    path = [place]
    while True:
        inside = np.linalg.norm(points - path[-1], axis=1) <= radius
        path.append(points[inside].mean(axis=0))
        if np.linalg.norm(path[-1] - path[-2]) < 1e-3 * radius:
            return np.array(path)


def _badge(x: float, y: float, k: int) -> list[str]:
    """The number of a pocket, counted from 0, in its colour."""
    return [circle((x, y), 14, POCKETS[k], "#FFFFFF", 2), text(x, y + 6, str(k + 1), 17, ink(POCKETS[k]), bold=True)]


BANDWIDTH = 72.0
"""Pixels, in the drawing of mean shift."""


def surface_toy() -> tuple[Points, Points]:
    """(P, 2) surface points of two sites, pixels, and (3, 2) starts of mean shift."""
    rng = np.random.default_rng(12)
    sites = (((150, 150), 44, 75), ((355, 175), 36, 45))
    points = [np.array(center) + rng.normal(0, spread, (n, 2)) for center, spread, n in sites]
    return np.concatenate(points), np.array([[84.0, 80.0], [210.0, 262.0], [398.0, 262.0]])


def _mean_shift() -> list[str]:
    points, starts = surface_toy()
    paths = [climb(start, points, BANDWIDTH) for start in starts]
    peaks = np.array([paths[0][-1], paths[2][-1]])
    nearest = np.linalg.norm(points[:, None] - peaks, axis=2).argmin(axis=1)
    parts = [circle(starts[0], BANDWIDTH, color=DARK, width=1.5, dash="5 4")]
    parts += [circle(peak, BANDWIDTH, color=POCKETS[k], width=3) for k, peak in enumerate(peaks)]
    for (x, y), k in zip(points, nearest, strict=True):
        parts.append(circle((x, y), 3.6, POCKETS[k]) if k == 0 else rect(x - 3.2, y - 3.2, 6.4, 6.4, POCKETS[k]))
    for path in paths:
        parts.append(line(path, DARK, 2.2))
        long = np.linalg.norm(np.diff(path, axis=0), axis=1)[1:] > 4  # the last steps are too short to be drawn
        parts += [circle(place, 4.5, DARK, "#FFFFFF", 1) for place in path[1:-1][long]]
        parts.append(circle(path[0], 7, "#FFFFFF", DARK, 2.5))
    for k, (x, y) in enumerate(peaks):
        parts.append(circle((x, y), 7, DARK, "#FFFFFF", 2))
        parts += _badge(x + 0.7 * BANDWIDTH, y - 0.7 * BANDWIDTH, k)
    glyphs = (
        circle((480, 62), 13, "#FFFFFF", DARK, 1.5, "4 3") + circle((480, 62), 5, "#FFFFFF", DARK, 2),
        line([(468, 116), (494, 140)], DARK, 2.2) + circle((468, 116), 4.5, DARK) + circle((481, 128), 4.5, DARK),
        circle((480, 194), 7, DARK) + line([(468, 178), (480, 194), (492, 178)], DARK, 2.2),
        circle((474, 260), 5, POCKETS[0]) + rect(483, 255.5, 9, 9, POCKETS[1]),
    )
    notes = (
        ("A window starts anywhere.", "Its radius is the bandwidth."),
        ("It moves to the mean of", "the points in it, repeatedly."),
        ("Two starts, one peak:", "one pocket."),
        ("Each point belongs to", "the nearest peak."),
    )
    for k, (glyph, words) in enumerate(zip(glyphs, notes, strict=True)):
        parts.append(glyph)
        parts += [text(506, 58 + 66 * k + 20 * row, note, 16, anchor="start") for row, note in enumerate(words)]
    return parts


SITES = {"A": (150, 112, 118, 66), "B": (398, 112, 66, 60), "C": (594, 112, 62, 56)}
"""Centre and half axes of the true sites in the drawing of the PFI, pixels."""
CALLS = ((62, 122, 44), (152, 78, 34), (236, 140, 40), (428, 124, 54), (506, 246, 34))
"""Centre and radius of the pockets, pixels."""


def fragments() -> tuple[Points, list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """(R, 2) residues in the drawing of the PFI, pixels, and the residues of each site and of each pocket."""
    rows = [(12 + 20 * i + 10 * (j % 2), 20 + 18 * j) for j in range(16) for i in range(36)]
    x = np.array(rows, float)
    sites = [np.flatnonzero((((x - (a, b)) / (c, d)) ** 2).sum(axis=1) <= 1) for a, b, c, d in SITES.values()]
    pockets = [np.flatnonzero(np.linalg.norm(x - (a, b), axis=1) <= r) for a, b, r in CALLS]
    return x, sites, pockets


def _fragmentation() -> list[str]:
    x, sites, pockets = fragments()
    touched = (site_overlaps(sites, pockets) > 0).sum(axis=1)
    index = pocket_fragmentation_index(sites, pockets)
    parts = [circle((a, b), r + 6, POCKETS[k], opacity=0.28) for k, (a, b, r) in enumerate(CALLS)]
    for a, b, c, d in SITES.values():
        parts.append(f'<ellipse cx="{a}" cy="{b}" rx="{c + 7}" ry="{d + 7}" fill="none" stroke="{DARK}" stroke-width="3"/>')
    in_site = np.unique(np.concatenate(sites))
    parts += [circle(x[i], 4, "#FFFFFF", DARK, 1.5) for i in in_site]
    for k, members in enumerate(pockets):
        parts += [circle(x[i], 4.6, POCKETS[k], DARK if i in in_site else "none", 1.5) for i in members]
    for k, (a, b, _) in enumerate(CALLS):
        parts += _badge(a, b, k)
    for name, (a, b, _, d), n in zip(SITES, SITES.values(), touched.tolist(), strict=True):
        parts.append(text(a, b - d - 16, f"site {name}", 17, bold=True))
        parts.append(text(a, b + d + 32, "missed: not counted" if not n else f"{n} pocket{'s' * (n > 1)}", 17))
    counted = [str(n) for n in touched.tolist() if n]
    parts.append(text(554, 242, "touches no site:", 16, anchor="start"))
    parts.append(text(554, 263, "not counted", 16, anchor="start"))
    parts += [circle((30, 294), 4, "#FFFFFF", DARK, 1.5), text(42, 299, "residue of a site", 16, anchor="start")]
    parts += [circle((186, 294), 4.6, POCKETS[0]), text(198, 299, "of a pocket", 16, anchor="start")]
    parts += [circle((304, 294), 4.6, POCKETS[0], DARK, 1.5), text(316, 299, "of both: they touch", 16, anchor="start")]
    return [*parts, text(226, 254, f"PFI = ({' + '.join(counted)}) / {len(counted)} = {index:g}", 24, bold=True)]


DRAWINGS = {
    "mean_shift": Drawing(
        "05",
        310,
        "Mean shift in two dimensions: from three starts a window moves to the mean of the surface points inside, again and "
        "again, to where points are densest. Two starts reach the same peak and make one pocket; the third makes another.",
        _mean_shift,
    ),
    "fragmentation": Drawing(
        "06",
        320,
        "What the pocket fragmentation index counts: three pockets share residues with site A, one with site B, none with "
        "site C, which is missed and not counted; a fifth pocket touches no site and is not counted. PFI = (3 + 1) / 2 = 2.",
        _fragmentation,
    ),
    "voxels": Drawing(
        "10",
        254,
        "Kalasanty in a layer of adenylate kinase: atoms are put on a grid of voxels of 2 Å, a U-Net reads it, and gives "
        "each voxel a density between 0 and 1. Voxels of 0.7 or more, outlined, are a pocket; it lies between the atoms.",
        voxels,
    ),
    "spans": Drawing(
        "12",
        314,
        "A chain folded into two strands. Left: single residues are hidden, and the neighbours along the chain give them away. "
        "Right: a span of five is hidden; its inner residues have no visible chain neighbour, only the strand opposite.",
        spans,
    ),
    "messages": Drawing(
        "09",
        306,
        "Three steps at a cleft. 1: an atom receives messages from the atoms within 6 Å, kept apart by distance. 2: a surface "
        "point reads the atoms within 8 Å in the same way. 3: every point votes for a centre, and the votes crowd in the cleft.",
        messages,
    ),
    "low_rank": Drawing(
        "03",
        300,
        "LoRA: x passes the frozen matrix W of 320 × 320 numbers and, beside it, two thin matrices: A makes 8 numbers of 320, "
        "B makes 320 of 8. Their result is scaled by α / r and added. Only A and B are trained, 5 % as many numbers.",
        low_rank,
    ),
    "fusion": Drawing(
        "11",
        240,
        "CrossBind: a sparse U-Net and attention on atoms turn the atoms of a residue into a vector, a language model turns the "
        "sequence into one of the same length. They are added with weights λ and 1 − λ; a head says whether the residue binds.",
        fusion,
    ),
    "tracks": Drawing(
        "12",
        290,
        "A chain folded into four strands, and the residues that a message from one of them reaches in one and two layers of "
        "Vabs-Net: only close ones with the atom track alone, most of the chain with the residue track as well.",
        tracks,
    ),
    "contrast": Drawing(
        "11",
        300,
        "A chain of five residues in two views, the second turned and bent, goes through one encoder. Of all pairs of a residue "
        "of view 1 and one of view 2, the five of a residue with itself should be similar, all others different.",
        contrast,
    ),
}
"""File name without ``.svg`` -> drawing."""


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in DRAWINGS:
        (FOLDER / f"{name}.svg").write_text(drawing_svg(name), encoding="utf-8")
