"""Words beside the points of a chart that do not lie on each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from s2p.output.pictures import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["write_beside"]

FAR = 9.0
"""Distance of a label from its point, in points of the page, from which a line joins the two."""
MARK = 3.0
"""Half the width of a mark that no label should cover, likewise."""


def write_beside(ax: Axes, labels: Sequence[tuple[float, float, str]], marks: NDArray[np.float64]) -> None:
    """Write a text beside each point, in the order given.

    A label takes the first free place: up right of its point, then around it, then farther away with a thin line to the point. A
    place is free if it lies inside the axes and on no earlier label and no mark; if none is, the place with the least on it.

    Parameters
    ----------
    ax
        With its final limits.
    labels
        x, y and text.
    marks
        (n, 2) centres of the marks of the chart.
    """
    figure = cast("Figure", ax.figure)
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5, "color": "#333333", "zorder": 5}
    notes = [ax.annotate(literal(text), (x, y), (5, 4), **style) for x, y, text in labels]
    figure.draw_without_rendering()  # settles the layout, and with it the size of a unit
    unit = figure.dpi / 72
    marks = ax.transData.transform(marks) / unit
    frame = np.array(ax.get_window_extent().padded(6).extents) / unit
    taken = np.concatenate([marks - MARK, marks + MARK], axis=1)
    for note in notes:
        box = np.array(note.get_window_extent().extents) / unit
        (x, y), (width, height) = ax.transData.transform(note.xy) / unit, box[2:] - box[:2]
        best, least = (5.0, 4.0), np.inf
        for dx, dy in _places(width, height):
            place = np.array([x + dx, y + dy, x + dx + width, y + dy + height])
            out = np.maximum(frame[:2] - place[:2], 0).sum() + np.maximum(place[2:] - frame[2:], 0).sum()
            covered = _shared(place, taken) + out * height
            if covered < least - 1e-6:
                best, least = (dx, dy), covered
            if covered == 0:
                break
        note.set_position(best)
        taken = np.concatenate([taken, [[x + best[0], y + best[1], x + best[0] + width, y + best[1] + height]]])
        end = np.clip((0.0, 0.0), best, np.add(best, (width, height)))
        if np.linalg.norm(end) > FAR:
            line: dict[str, Any] = {"arrowstyle": "-", "color": "#777777", "linewidth": 0.6, "shrinkA": 0, "shrinkB": MARK}
            ax.annotate("", note.xy, tuple(end), textcoords="offset points", arrowprops=line, zorder=4)


def _places(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Lower left corners of a label, in points of the page from its mark, the preferred first."""
    for away in (0.0, 10.0, 20.0, 32.0, 46.0):
        for up in (4.0 + away, -4.0 - away - height):
            yield from ((right, up) for right in (5.0, -5.0 - width, -width / 2, 5.0 + away, -5.0 - away - width))
        yield from ((5.0 + away, -height / 2), (-5.0 - away - width, -height / 2))


def _shared(place: NDArray[np.float64], taken: NDArray[np.float64]) -> float:
    """Area of a box (x0, y0, x1, y1) that (n, 4) other boxes cover."""
    edges = np.minimum(place[2:], taken[:, 2:]) - np.maximum(place[:2], taken[:, :2])
    return float(np.prod(np.maximum(edges, 0), axis=1).sum())
