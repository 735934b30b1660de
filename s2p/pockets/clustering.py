"""Cluster SAS points by mean shift, and let the points vote for their atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from s2p.config import ClusterConfig
from s2p.io.runtime import numba
from s2p.surface.kernels import CellList, build_cells, cell_runs

__all__ = ["MeanShiftResult", "mean_shift", "vote"]


@dataclass(frozen=True, eq=False)
class MeanShiftResult:
    """Labels of points and centres of clusters."""

    labels: NDArray[np.int64]
    """(P,) index of the nearest centre."""
    centers: NDArray[np.float64]
    """(K, 3) Å, most populated window first."""


@numba.njit(cache=True, nogil=True)
def _ascend(
    seeds: NDArray[np.float64], cells: CellList, bandwidth: float, max_iterations: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:  # pragma: no cover - compiled
    """Move every seed to the mean of the points within the bandwidth until it converges; centres and window sizes."""
    coord, centers = cells.coord, np.empty((len(seeds), 3))
    counts = np.zeros(len(seeds), np.int64)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    stop = 1e-3 * bandwidth
    limit = bandwidth * bandwidth
    for k in range(len(seeds)):
        x, y, z = seeds[k, 0], seeds[k, 1], seeds[k, 2]
        done = 0
        while True:
            sx, sy, sz, n = 0.0, 0.0, 0.0, 0
            for run in range(cell_runs(x, y, z, cells, starts, ends)):
                for s in range(starts[run], ends[run]):
                    dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                    if dx * dx + dy * dy + dz * dz <= limit:
                        sx += coord[s, 0]
                        sy += coord[s, 1]
                        sz += coord[s, 2]
                        n += 1
            counts[k] = n
            if n == 0:
                break
            nx, ny, nz = sx / n, sy / n, sz / n
            moved = np.sqrt((nx - x) ** 2 + (ny - y) ** 2 + (nz - z) ** 2)
            x, y, z = nx, ny, nz
            if moved <= stop or done == max_iterations:
                break
            done += 1
        centers[k, 0], centers[k, 1], centers[k, 2] = x, y, z
    return centers, counts


def _apart(centers: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """The centres without an earlier kept centre within the bandwidth (<=)."""
    kept = []
    while len(centers):
        kept.append(centers[0])
        centers = centers[((centers - centers[0]) ** 2).sum(axis=1) > bandwidth * bandwidth]
    return np.array(kept).reshape(-1, 3)


def mean_shift(
    points: NDArray[np.floating],
    bandwidth: float = ClusterConfig.bandwidth,
    max_iterations: int = ClusterConfig.max_iterations,
    *,
    seeding: Literal["bins", "points"] = "bins",
) -> MeanShiftResult:
    """Flat-kernel mean shift; with binned seeds the labels of scikit-learn's ``MeanShift(bin_seeding=True)``.

    Parameters
    ----------
    points
        (P, 3), Å.
    bandwidth
        Å; radius of the window and edge of the seeding bins.
    max_iterations
        Largest number of steps of a seed.
    seeding
        ``bins``: one seed per bin of the grid through the origin, as published, so that clusters depend slightly on the frame of
        the coordinates. ``points``: every point is a seed, which is slower but does not depend on the frame's origin.

    Notes
    -----
    Comaniciu & Meer 2002.
    """
    x = np.ascontiguousarray(points, dtype=np.float64)
    if not len(x):
        return MeanShiftResult(np.zeros(0, np.int64), np.zeros((0, 3)))
    seeds = x if seeding == "points" else _binned(x, bandwidth)
    climbed, counts = _ascend(seeds, build_cells(x, bandwidth), float(bandwidth), max_iterations)
    climbed, counts = climbed[counts > 0], counts[counts > 0]
    order = np.lexsort((climbed[:, 2], climbed[:, 1], climbed[:, 0], counts))[::-1]
    # Equal centres have equal counts, so that the copies of a centre follow it and are dropped.
    centers = _apart(climbed[order], float(bandwidth))
    nearest = [cdist(part, centers, "sqeuclidean").argmin(axis=1) for part in np.array_split(x, 1 + len(x) // 4096)]
    return MeanShiftResult(np.concatenate(nearest), centers)


def _binned(x: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """Centres of the occupied bins, rounded as scikit-learn does; the points themselves if each has its own bin."""
    bins = np.round(x / bandwidth)
    order = np.lexsort(bins.T[::-1])
    bins = bins[order]
    first = np.r_[True, (bins[1:] != bins[:-1]).any(axis=1)]
    return x if first.all() else (bins[first].astype(np.float32) * bandwidth).astype(np.float64)


def vote(member: NDArray[np.integer], labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups that occur, ascending, and the majority label of each; ties go to the lowest label.

    ``member`` (P,) is the group of each voter, ``labels`` (P,) its vote, >= 0.
    """
    if not len(member):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    width = int(labels.max()) + 1
    ballots, count = np.unique(member.astype(np.int64) * width + labels, return_counts=True)
    group, label = ballots // width, ballots % width
    order = np.lexsort((label, -count, group))
    first = np.r_[True, np.diff(group[order]) != 0]
    return group[order][first], label[order][first]
