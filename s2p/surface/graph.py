"""Graphs of neighbours and sums over them, the only geometric input of the surface network.

A graph is a list of atoms (or points) around each receiver, with distances and directions. A sum over it is weighted by distance
in overlapping shells, so that it is continuous in the coordinates when a neighbour enters or leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2p.io.runtime import numba
from s2p.surface.kernels import CellList, build_cells, cell_runs

__all__ = ["Graph", "neighbours", "shell_sums"]


@dataclass(frozen=True, eq=False)
class Graph:
    """The senders within ``reach`` Å of each of R receivers, E in all."""

    start: NDArray[np.int64]
    """(R + 1,) start of the senders of each receiver in the arrays below."""
    sender: NDArray[np.int32]
    """(E,) index."""
    distance: NDArray[np.float32]
    """(E,) Å."""
    direction: NDArray[np.float32]
    """(E, 3) unit vectors from receiver to sender, in the coordinates that were given; 0 for a sender at the same place."""
    reach: float


@numba.njit(cache=True, nogil=True)
def _neighbours(
    points: NDArray[np.float64], cells: CellList, itself: bool
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:  # pragma: no cover - compiled
    coord, order, size = cells.coord, cells.order, cells.size
    start = np.zeros(len(points) + 1, np.int64)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        count = 0
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                count += dx * dx + dy * dy + dz * dz < size * size and (itself or order[s] != p)
        start[p + 1] = start[p] + count
    sender = np.empty(start[-1], np.int32)
    distance, direction = np.empty(start[-1], np.float32), np.zeros((start[-1], 3), np.float32)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        e = start[p]
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                d2 = dx * dx + dy * dy + dz * dz
                if d2 < size * size and (itself or order[s] != p):
                    d = np.sqrt(d2)
                    sender[e], distance[e] = order[s], d
                    if d > 1e-6:
                        direction[e, 0], direction[e, 1], direction[e, 2] = dx / d, dy / d, dz / d
                    e += 1
    return start, sender, distance, direction


def neighbours(points: NDArray[np.floating], others: NDArray[np.floating] | None, reach: float) -> Graph:
    """The ``others`` (S, 3) Å nearer than ``reach`` Å to each of the ``points`` (R, 3); without others, among themselves."""
    around = np.ascontiguousarray(points, np.float64)
    if not len(around) or (others is not None and not len(others)):
        none = np.zeros(0, np.float32)
        return Graph(np.zeros(len(around) + 1, np.int64), np.zeros(0, np.int32), none, np.zeros((0, 3), np.float32), reach)
    cells = build_cells(around if others is None else others, reach)
    return Graph(*_neighbours(around, cells, others is not None), reach)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sums(
    start: NDArray[np.int64],
    sender: NDArray[np.int32],
    distance: NDArray[np.float32],
    scale: np.float32,
    direction: NDArray[np.float32],
    values: NDArray[np.float32],
    vectors: NDArray[np.float32],
    shells: int,
    first: int,
    last: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # pragma: no cover - compiled
    width, tips = values.shape[1], vectors.shape[1]
    out = np.zeros((last - first, shells, width), np.float32)
    turned = np.zeros((last - first, shells, 3, tips), np.float32)
    for r in range(last - first):
        for e in range(start[first + r], start[first + r + 1]):
            place = distance[e] * scale
            k = min(int(place), shells - 1)  # rounding may bring the last one to the reach
            high = place - np.float32(k)
            low = np.float32(1) - high
            s = sender[e]
            for c in range(width):
                out[r, k, c] += low * values[s, c]
            for a in range(3):
                share = low * direction[e, a]
                for c in range(tips):
                    turned[r, k, a, c] += share * vectors[s, c]
            if k + 1 < shells:
                for c in range(width):
                    out[r, k + 1, c] += high * values[s, c]
                for a in range(3):
                    share = high * direction[e, a]
                    for c in range(tips):
                        turned[r, k + 1, a, c] += share * vectors[s, c]
    return out, turned


def shell_sums(
    graph: Graph, values: NDArray[np.float32], vectors: NDArray[np.float32], shells: int, rows: slice | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sums of the senders' values by distance, and of their vectors by distance and direction.

    Parameters
    ----------
    values, vectors
        (S, C) and (S, V) of the senders; the latter are multiplied by the directions.
    shells
        K hat functions of the distance, centred on 0, reach / K, 2 reach / K ... and 0 at the reach.
    rows
        Receivers to be computed; default: all.

    Returns
    -------
    (R, K, C) and (R, K, 3, V)
    """
    scalar, vector = np.ascontiguousarray(values, np.float32), np.ascontiguousarray(vectors, np.float32)
    first, last, _ = (rows or slice(None)).indices(len(graph.start) - 1)
    scale = np.float32(shells / graph.reach)
    return _sums(graph.start, graph.sender, graph.distance, scale, graph.direction, scalar, vector, shells, first, last)
