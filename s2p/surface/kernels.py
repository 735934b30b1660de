"""Compiled search for the points around a point, and the density of weighted points.

Points are sorted by their cell in a cubic grid, z fastest. The cells around a point are then nine runs of
consecutive points, found by bisection, so that empty space costs nothing, even if points are far apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2p.io.runtime import numba

__all__ = ["CellList", "build_cells", "cell_runs", "climbed", "count_neighbours", "highest"]


class CellList(NamedTuple):
    """Points in cell order; compiled functions take it whole."""

    coord: NDArray[np.float64]  # (n, 3) sorted by cell.
    order: NDArray[np.int64]  # (n,) index of each sorted point in the input.
    keys: NDArray[np.int64]  # (n,) cell number of each sorted point, ascending.
    origin: NDArray[np.float64]  # (3,) corner of the grid, Å.
    shape: NDArray[np.int64]  # (3,) cells along each axis, with an empty margin of one.
    size: float  # Edge of a cell, Å: the largest distance at which neighbours are found.


def build_cells(coord: NDArray[np.floating], size: float) -> CellList:
    """Sort (n, 3) points into cells with edges of ``size`` Å; n >= 1, coordinates finite and below 1e6 Å."""
    points = np.ascontiguousarray(coord, dtype=np.float64)
    origin = points.min(axis=0) - size
    cell = ((points - origin) / size).astype(np.int64)
    shape = cell.max(axis=0) + 2
    keys = (cell[:, 0] * shape[1] + cell[:, 1]) * shape[2] + cell[:, 2]
    order = np.argsort(keys, kind="stable")
    return CellList(points[order], order, keys[order], origin, shape, float(size))


@numba.njit(cache=True, inline="never")
def cell_runs(
    x: float, y: float, z: float, cells: CellList, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> int:  # pragma: no cover - compiled
    """Fill (9,) starts and ends of the runs of sorted points in the 27 cells around a position; count of runs."""
    keys, origin, shape, size = cells.keys, cells.origin, cells.shape, cells.size
    cx = int(np.floor((x - origin[0]) / size))
    cy = int(np.floor((y - origin[1]) / size))
    cz = int(np.floor((z - origin[2]) / size))
    n = 0
    z_low, z_high = max(cz - 1, 0), min(cz + 1, int(shape[2]) - 1)
    if z_low > z_high:
        return 0
    for ix in range(max(cx - 1, 0), min(cx + 2, int(shape[0]))):
        for iy in range(max(cy - 1, 0), min(cy + 2, int(shape[1]))):
            row = (ix * int(shape[1]) + iy) * int(shape[2])
            start = np.searchsorted(keys, row + z_low)
            end = np.searchsorted(keys, row + z_high, side="right")
            if end > start:
                starts[n], ends[n] = start, end
                n += 1
    return n


@numba.njit(cache=True)
def count_neighbours(points: NDArray[np.float64], cells: CellList) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """(P,) number of sorted points within the size of a cell of each of (P, 3) ``points``; a tree takes twice as long."""
    coord, size, counts = cells.coord, cells.size, np.zeros(len(points), np.int64)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                counts[p] += dx * dx + dy * dy + dz * dz <= size * size
    return counts


@numba.njit(cache=True, nogil=True)
def climbed(
    places: NDArray[np.float64], cells: CellList, weights: NDArray[np.float64]
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """(K, 4) of (K, 3) places: density of the weights within the size of a cell, and where mean shift moves the place."""
    coord, size = cells.coord, cells.size
    out = np.zeros((len(places), 4))
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(places)):
        x, y, z = places[p, 0], places[p, 1], places[p, 2]
        density = total = sx = sy = sz = 0.0
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                left = 1 - (dx * dx + dy * dy + dz * dz) / (size * size)
                if left > 0:
                    w = weights[s] * left * left  # the derivative of the kernel, which mean shift weighs by
                    density, total = density + w * left, total + w
                    sx, sy, sz = sx + w * dx, sy + w * dy, sz + w * dz
        if total > 0:
            x, y, z = x + sx / total, y + sy / total, z + sz / total
        out[p, 0], out[p, 1], out[p, 2], out[p, 3] = density, x, y, z
    return out


@numba.njit(cache=True, nogil=True)
def highest(cells: CellList, height: NDArray[np.float64]) -> NDArray[np.bool_]:  # pragma: no cover - compiled
    """(V,) whether a vote is higher than every other within the size of a cell; all in cell order."""
    coord, size = cells.coord, cells.size
    out = np.ones(len(coord), np.bool_)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(coord)):
        x, y, z = coord[p, 0], coord[p, 1], coord[p, 2]
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                if dx * dx + dy * dy + dz * dz <= size * size and height[s] > height[p]:
                    out[p] = False
                    break
            if not out[p]:
                break
    return out
