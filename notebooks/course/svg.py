"""Marks of the course's drawings as SVG text: one ground, one typeface, Okabe & Ito's colours, coordinates in pixels."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLUE", "DARK", "GREEN", "LINE", "ORANGE", "RED", "Place", "arrow", "circle", "document", "line", "rect", "text"]

Place = Sequence[float] | NDArray[np.float64]
"""x and y."""
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
DARK, LINE = "#222222", "#7A858C"
HEAD = 9.0
"""Length of an arrow's head."""


def document(alt: str, width: int, height: int, parts: Iterable[str]) -> str:
    """A whole SVG file on a white ground; ``alt`` is its title, which screen readers read."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" font-family="Helvetica, Arial, sans-serif" text-anchor="middle">\n<title>{html.escape(alt)}</title>',
            f'<rect width="{width}" height="{height}" fill="#FFFFFF"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, words: str, size: float = 16, color: str = DARK, anchor: str = "middle", bold: bool = False) -> str:
    """Words on the base line ``y``; ``anchor`` is ``start``, ``middle`` or ``end``."""
    more = ("" if anchor == "middle" else f' text-anchor="{anchor}"') + (' font-weight="bold"' if bold else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{color}"{more}>{html.escape(words, quote=False)}</text>'


def line(points: Iterable[Place], color: str = DARK, width: float = 2, dash: str = "") -> str:
    """A line through places."""
    places = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="M{places}" fill="none" stroke="{color}" stroke-width="{width:g}" stroke-linejoin="round"{more}/>'


def arrow(start: Place, end: Place, color: str = DARK, width: float = 2, short: float = 0.0) -> str:
    """A straight arrow; both of its ends are cut by ``short``."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    along = (b - a) / np.linalg.norm(b - a)
    a, b = a + short * along, b - short * along
    base, side = b - HEAD * along, HEAD * 0.45 * np.array([-along[1], along[0]])
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in (b, base + side, base - side))
    return line([a, base], color, width) + f'<polygon points="{head}" fill="{color}"/>'


def circle(
    place: Place, r: float, fill: str = "none", color: str = "none", width: float = 2, dash: str = "", opacity: float = 1.0
) -> str:
    """A disc, a ring or both, around a place."""
    x, y = place
    ring = "" if color == "none" else f' stroke="{color}" stroke-width="{width:g}"'
    more = (f' stroke-dasharray="{dash}"' if dash else "") + (f' fill-opacity="{opacity:g}"' if opacity < 1 else "")
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" fill="{fill}"{ring}{more}/>'


def rect(
    x: float, y: float, width: float, height: float, fill: str = "none", color: str = "none", stroke: float = 2, corner: float = 0
) -> str:
    """A box; ``x`` and ``y`` are its upper left corner."""
    ring = "" if color == "none" else f' stroke="{color}" stroke-width="{stroke:g}"'
    more = f' rx="{corner:g}"' if corner else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{ring}{more}/>'
