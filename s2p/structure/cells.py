"""Who is near whom: a sorted cell list, in time that does not grow with the cloud, and the residues that touch a ligand.

Points are sorted by the cell of a cubic grid they fall in, z fastest. The cells around a point are then nine runs of
consecutive points, found by bisection, so that empty space costs nothing however far points lie apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from s2p.config import LabelConfig
from s2p.io.runtime import numba
from s2p.structure.arrays import Atoms, Structure

__all__ = ["CellList", "binding_residues", "build_cells", "cell_runs", "count_neighbours"]


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
def _count(points: NDArray[np.float64], cells: CellList) -> NDArray[np.int64]:  # pragma: no cover - compiled
    coord, size = cells.coord, cells.size
    counts = np.zeros(len(points), np.int64)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                if dx * dx + dy * dy + dz * dz <= size * size:
                    counts[p] += 1
    return counts


def count_neighbours(points: NDArray[np.floating], coord: NDArray[np.floating], radius: float) -> NDArray[np.int64]:
    """(P,) number of the (n, 3) ``coord`` within ``radius`` Å (<=) of each of the (P, 3) ``points``."""
    counts: NDArray[np.int64] = _count(np.ascontiguousarray(points, dtype=np.float64), build_cells(coord, radius))
    return counts


def binding_residues(
    structure: Structure | Atoms, ligand_coord: ArrayLike, cutoff: float = LabelConfig.cutoff
) -> NDArray[np.int32]:
    """Residues with a heavy atom within ``cutoff`` of a ligand heavy atom.

    Parameters
    ----------
    structure
        Or its ``atoms``.
    ligand_coord
        (L, 3) heavy-atom coordinates, Å.
    cutoff
        Å, inclusive.

    Returns
    -------
    (K,) int32
        0-based residue indices, ascending.
    """
    atoms = structure.atoms if isinstance(structure, Structure) else structure
    ligand = np.asarray(ligand_coord, dtype=np.float64).reshape(-1, 3)
    if not len(ligand) or not len(atoms):
        return np.empty(0, dtype=np.int32)
    distance, _ = cKDTree(ligand).query(atoms.coord.astype(np.float64), distance_upper_bound=np.nextafter(cutoff, np.inf))
    return np.unique(atoms.residue_index[distance <= cutoff]).astype(np.int32)
