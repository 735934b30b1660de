"""Figures for notebooks: as pictures, and so small that a few can be kept in a committed notebook."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from course.recall_pfi import figure_png
from s2p.output.palette import POCKETS, rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["picture", "small_png"]

BLENDS = 200
"""Colours beside those of the pockets: greys and what lies between hues at their edges."""


def small_png(figure: Figure) -> bytes:
    """The figure as PNG with a palette, a third of the size of true colour; charts look the same, photographs would not."""
    from PIL import Image
    from scipy.spatial import cKDTree

    image = Image.open(io.BytesIO(figure_png(figure))).convert("RGB")
    frequent = (image.quantize(BLENDS).getpalette() or [])[: 3 * BLENDS]
    # A hue of a few points only would be lost among the frequent ones, and a pocket take another's colour.
    kept = [round(255 * part) for color in ("#FFFFFF", *POCKETS) for part in rgb(color)]
    palette = np.array(frequent + kept).reshape(-1, 3)
    colors, code = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_inverse=True)
    nearest = cKDTree(palette).query(colors)[1].astype(np.uint8)
    indexed = Image.frombytes("P", image.size, nearest[code.ravel()].tobytes())
    indexed.putpalette(palette.ravel().tolist())
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def picture(figure: Figure, alt: str) -> Any:
    """The figure as an ``IPython.display.Image``, to be the last expression of a cell; ``alt`` says in words what it shows."""
    from IPython.display import Image

    return Image(small_png(figure), alt=alt)
