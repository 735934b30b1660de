"""Cluster SAS points by mean shift and turn the clusters into ranked pockets."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from s2p.cells import build_cells, cell_runs

__all__ = ["Cluster", "MeanShiftResult", "mean_shift", "rank_clusters", "vote"]


@dataclass(frozen=True, eq=False)
class MeanShiftResult:
    """Labels of points and centres of clusters."""

    labels: NDArray[np.int64]
    """(P,) index of the nearest centre."""
    centers: NDArray[np.float64]
    """(K, 3) Å, most populated window first."""


@numba.njit(cache=True)
def _climb(
    seeds: NDArray[np.float64],
    coord: NDArray[np.float64],
    keys: NDArray[np.int64],
    origin: NDArray[np.float64],
    shape: NDArray[np.int64],
    size: float,
    bandwidth: float,
    max_iterations: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:  # pragma: no cover - compiled
    """Move every seed to the mean of the points within the bandwidth until it rests; centres and window sizes."""
    centers = np.empty((len(seeds), 3))
    counts = np.zeros(len(seeds), np.int64)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    stop = 1e-3 * bandwidth
    limit = bandwidth * bandwidth
    for k in range(len(seeds)):
        x, y, z = seeds[k, 0], seeds[k, 1], seeds[k, 2]
        done = 0
        while True:
            sx, sy, sz, n = 0.0, 0.0, 0.0, 0
            for run in range(cell_runs(x, y, z, keys, origin, shape, size, starts, ends)):
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


@numba.njit(cache=True)
def _suppress(centers: NDArray[np.float64], bandwidth: float) -> NDArray[np.bool_]:  # pragma: no cover - compiled
    """Mask of the centres that no earlier kept centre has within the bandwidth (<=)."""
    keep = np.ones(len(centers), np.bool_)
    limit = bandwidth * bandwidth
    for i in range(len(centers)):
        if keep[i]:
            for j in range(i + 1, len(centers)):
                dx, dy, dz = centers[j, 0] - centers[i, 0], centers[j, 1] - centers[i, 1], centers[j, 2] - centers[i, 2]
                if dx * dx + dy * dy + dz * dz <= limit:
                    keep[j] = False
    return keep


@numba.njit(cache=True)
def _nearest(points: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.int64]:  # pragma: no cover - compiled
    labels = np.empty(len(points), np.int64)
    for p in range(len(points)):
        best, label = np.inf, 0
        for c in range(len(centers)):
            dx, dy, dz = points[p, 0] - centers[c, 0], points[p, 1] - centers[c, 1], points[p, 2] - centers[c, 2]
            d2 = dx * dx + dy * dy + dz * dz
            if d2 < best:
                best, label = d2, c
        labels[p] = label
    return labels


def mean_shift(points: NDArray[np.floating], bandwidth: float = 9.0, max_iterations: int = 300) -> MeanShiftResult:
    """Flat-kernel mean shift from binned seeds; the labels of scikit-learn's ``MeanShift(bin_seeding=True)``.

    Parameters
    ----------
    points
        (P, 3), Å.
    bandwidth
        Å; radius of the window and edge of the seeding bins.

    Notes
    -----
    Comaniciu & Meer 2002. Seeds are anchored at the origin of the coordinates, so clusters depend on the frame a little.
    """
    x = np.ascontiguousarray(points, dtype=np.float64)
    if not len(x):
        return MeanShiftResult(np.zeros(0, np.int64), np.zeros((0, 3)))
    bins = np.unique(np.round(x / bandwidth), axis=0)
    seeds = x if len(bins) == len(x) else (bins.astype(np.float32) * bandwidth).astype(np.float64)
    cells = build_cells(x, bandwidth)
    climbed, counts = _climb(
        seeds, cells.coord, cells.keys, cells.origin, cells.shape, cells.size, float(bandwidth), max_iterations
    )
    climbed, counts = climbed[counts > 0], counts[counts > 0]
    climbed, first = np.unique(climbed, axis=0, return_index=True)
    counts = counts[first]
    order = np.lexsort((climbed[:, 2], climbed[:, 1], climbed[:, 0], counts))[::-1]
    centers = climbed[order]
    centers = np.ascontiguousarray(centers[_suppress(centers, float(bandwidth))])
    return MeanShiftResult(_nearest(x, centers), centers)


def vote(member: NDArray[np.integer], labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Majority label of each group; ties go to the lowest label.

    Parameters
    ----------
    member
        (P,) group of each voter.
    labels
        (P,) its vote, >= 0.

    Returns
    -------
    The groups that occur, ascending, and the label of each.
    """
    if not len(member):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    width = int(labels.max()) + 1
    ballots, count = np.unique(member.astype(np.int64) * width + labels, return_counts=True)
    group, label = ballots // width, ballots % width
    order = np.lexsort((label, -count, group))
    first = np.r_[True, np.diff(group[order]) != 0]
    return group[order][first], label[order][first]


@dataclass(frozen=True, eq=False)
class Cluster:
    """A pocket before it has a probability and a volume."""

    score: float
    """Mean residue probability over the atoms (published score)."""
    residues: NDArray[np.int32]
    atoms: NDArray[np.int32]
    points: NDArray[np.float64]
    """(P, 3), Å."""
    center: NDArray[np.float64]
    """(3,) mean of the atoms, Å."""


def rank_clusters(
    points: NDArray[np.float64],
    labels: NDArray[np.int64],
    atoms: NDArray[np.int64],
    atom_labels: NDArray[np.int64],
    coord: NDArray[np.float32],
    residue_of_atom: NDArray[np.int32],
    probabilities: NDArray[np.float32],
) -> list[Cluster]:
    """Atoms vote for their residue; clusters are scored and sorted, best first.

    Parameters
    ----------
    points, labels
        (P, 3) Å and (P,): the cloud and its mean-shift labels.
    atoms, atom_labels
        (V,): the atoms with points and the majority label of each (see :func:`vote`).
    coord, residue_of_atom
        (A, 3) Å and (A,) of all atoms.
    probabilities
        (N,) of the residues.

    Notes
    -----
    Score: mean over the cluster's atoms of the residue's probability, so that residues count by atoms. Ties in rank:
    more atoms, then the lower label. Clusters without a residue are dropped (the published code keeps them).
    """
    residues, residue_labels = vote(residue_of_atom[atoms], atom_labels)
    found: list[tuple[float, int, int, Cluster]] = []
    # One pass per pocket, of which there are tens at most.
    for label in np.unique(residue_labels).tolist():
        own = atoms[atom_labels == label]
        score = float(np.mean(probabilities[residue_of_atom[own]], dtype=np.float64))
        cluster = Cluster(
            score,
            residues[residue_labels == label].astype(np.int32),
            own.astype(np.int32),
            points[labels == label],
            coord[own].mean(axis=0, dtype=np.float64),
        )
        found.append((-score, -len(own), label, cluster))
    return [cluster for *_, cluster in sorted(found, key=lambda entry: entry[:3])]
