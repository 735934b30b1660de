"""Compiled passes over the atoms, and over the surface points, around every surface point.

Points are sorted by the cell of a cubic grid they fall in, z fastest. The cells around a point are then nine runs of
consecutive points, found by bisection, so that empty space costs nothing however far points lie apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2p.io.runtime import numba

__all__ = ["CellList", "among_points", "around_points", "build_cells", "cell_runs", "count_neighbours", "soft_crowd"]


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


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def around_points(
    points: NDArray[np.float64],
    cells: CellList,
    block: NDArray[np.float64],
    channels: NDArray[np.float32],
    top: NDArray[np.float32],
    near: float,
    far: float,
    shells: NDArray[np.float64],
    rays: NDArray[np.float64],
    ray_length: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # pragma: no cover - compiled
    """One pass over the atoms around each point: shape (P, 12), weighted means (P, 2 C), maxima (P, 2)."""
    coord, size = cells.coord, cells.size
    n_shells, n_rays, width = len(shells), len(rays), channels.shape[1]
    form = np.zeros((len(points), n_shells + 5), np.float32)
    mean = np.zeros((len(points), 2 * width), np.float32)
    highest = np.zeros((len(points), 2), np.float32)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    wall = np.empty(n_rays)
    close, wide = np.empty(width, np.float32), np.empty(width, np.float32)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        wall[:] = ray_length
        close[:] = 0
        wide[:] = 0
        sum_near, sum_far = 1e-9, 1e-9
        sx, sy, sz, tx, ty, tz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                d2 = dx * dx + dy * dy + dz * dz
                if d2 > size * size:
                    continue
                d = np.sqrt(d2)
                for k in range(n_shells - 1, -1, -1):
                    if d > shells[k]:
                        break
                    form[p, k] += 1
                tx, ty, tz = tx + dx, ty + dy, tz + dz
                if d <= 6.0:
                    sx, sy, sz = sx + dx, sy + dy, sz + dz
                if d < far:
                    weight = np.float32(1 - d / far)
                    sum_far += 1 - d / far
                    for c in range(width):
                        wide[c] += weight * channels[s, c]
                    highest[p, 1] = max(highest[p, 1], top[s])
                    if d < near:
                        weight = np.float32(1 - d / near)
                        sum_near += 1 - d / near
                        for c in range(width):
                            close[c] += weight * channels[s, c]
                        highest[p, 0] = max(highest[p, 0], top[s])
                if d < ray_length:
                    for k in range(n_rays):
                        along = dx * rays[k, 0] + dy * rays[k, 1] + dz * rays[k, 2]
                        if along > 0 and along < wall[k] and d2 - along * along < block[s]:
                            wall[k] = along
        form[p, n_shells] = np.sqrt(sx * sx + sy * sy + sz * sz) / max(1.0, form[p, 2])
        form[p, n_shells + 1] = np.sqrt(tx * tx + ty * ty + tz * tz) / max(1.0, form[p, n_shells - 1])
        blocked, distance, both = 0, 0.0, 0
        half = n_rays // 2
        for k in range(n_rays):
            if wall[k] < ray_length:
                blocked += 1
                distance += wall[k]
                if k < half and wall[k + half] < ray_length:
                    both += 1
        form[p, n_shells + 2] = blocked / n_rays
        form[p, n_shells + 3] = distance / max(1, blocked)
        form[p, n_shells + 4] = both / half
        for c in range(width):
            mean[p, 2 * c] = close[c] / sum_near
            mean[p, 2 * c + 1] = wide[c] / sum_far
    return form, mean, highest


@numba.njit(cache=True, nogil=True)
def among_points(
    cells: CellList, normals: NDArray[np.float64], values: NDArray[np.float32], shell: float
) -> NDArray[np.float32]:  # pragma: no cover - compiled
    """Number, concavity, agreement, mean values of the points around each point; within ``shell``, then the size of a cell."""
    points, order, size = cells.coord, cells.order, cells.size
    width = 3 + values.shape[1]
    out = np.zeros((len(points), 2 * width), np.float32)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    total = np.empty((2, 5 + values.shape[1]))  # number, lift, normal and values of the points within each distance
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        nx, ny, nz = normals[p, 0], normals[p, 1], normals[p, 2]
        total[:] = 0
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = points[s, 0] - x, points[s, 1] - y, points[s, 2] - z
                d2 = dx * dx + dy * dy + dz * dz
                if d2 > size * size:
                    continue
                lift = (dx * nx + dy * ny + dz * nz) / (np.sqrt(d2) + 1e-6)
                for row in range(0 if d2 <= shell * shell else 1, 2):
                    total[row, 0] += 1
                    total[row, 1] += lift
                    total[row, 2] += normals[s, 0]
                    total[row, 3] += normals[s, 1]
                    total[row, 4] += normals[s, 2]
                    for c in range(values.shape[1]):
                        total[row, 5 + c] += values[s, c]
        for row in range(2):
            n, at = total[row, 0], order[p]
            out[at, row * width] = n / 100
            out[at, row * width + 1] = total[row, 1] / n
            out[at, row * width + 2] = np.sqrt(total[row, 2] ** 2 + total[row, 3] ** 2 + total[row, 4] ** 2) / n
            for c in range(values.shape[1]):
                out[at, row * width + 3 + c] = total[row, 5 + c] / n
    return out


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def soft_crowd(
    points: NDArray[np.float64], cells: CellList, reach: float, softness: float
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """(P, 2): number of atoms within ``reach`` Å of a point, and 1 - length of the mean unit vector to them.

    An atom counts in full up to ``reach - softness`` and not at all from ``reach + softness`` (at most the size of a cell) on.
    """
    coord, out = cells.coord, np.zeros((len(points), 2))
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    limit, slope = reach + softness, 0.5 / softness
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        n, vx, vy, vz = 0.0, 0.0, 0.0, 0.0
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                d2 = dx * dx + dy * dy + dz * dz
                if 0 < d2 < limit * limit:
                    d = np.sqrt(d2)
                    share = min(1.0, (limit - d) * slope)
                    unit = share / d
                    vx, vy, vz, n = vx + unit * dx, vy + unit * dy, vz + unit * dz, n + share
        if n > 0:
            out[p, 0] = n
            out[p, 1] = 1 - np.sqrt(vx * vx + vy * vy + vz * vz) / n
    return out
