"""Cluster SAS points by mean shift and turn the clusters into ranked pockets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from s2p.config import ClusterConfig
from s2p.structure.cells import CellList, build_cells, cell_runs

__all__ = ["Cluster", "MeanShiftResult", "SASPocketClusterer", "mean_shift", "rank_clusters", "vote"]


@dataclass(frozen=True, eq=False)
class MeanShiftResult:
    """Labels of points and centres of clusters."""

    labels: NDArray[np.int64]
    """(P,) index of the nearest centre."""
    centers: NDArray[np.float64]
    """(K, 3) Å, most populated window first."""


@numba.njit(cache=True, nogil=True)
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


def mean_shift(
    points: NDArray[np.floating],
    bandwidth: float = ClusterConfig.bandwidth,
    max_iterations: int = ClusterConfig.max_iterations,
    *,
    seeding: Literal["bins", "points"] = "bins",
    n_jobs: int = 1,
) -> MeanShiftResult:
    """Flat-kernel mean shift; with binned seeds the labels of scikit-learn's ``MeanShift(bin_seeding=True)``.

    Parameters
    ----------
    points
        (P, 3), Å.
    bandwidth
        Å; radius of the window and edge of the seeding bins.
    max_iterations
        Steps of a seed before it is left where it is.
    seeding
        ``bins``: one seed a bin of the grid through the origin, as published, so that clusters depend on the frame of the
        coordinates a little. ``points``: every point is a seed, slower but free of that.
    n_jobs
        Threads; the result is the same.

    Notes
    -----
    Comaniciu & Meer 2002.
    """
    x = np.ascontiguousarray(points, dtype=np.float64)
    if not len(x):
        return MeanShiftResult(np.zeros(0, np.int64), np.zeros((0, 3)))
    seeds = x if seeding == "points" else _binned(x, bandwidth)
    climbed, counts = _climb_all(seeds, build_cells(x, bandwidth), bandwidth, max_iterations, n_jobs)
    climbed, counts = climbed[counts > 0], counts[counts > 0]
    order = np.lexsort((climbed[:, 2], climbed[:, 1], climbed[:, 0], counts))[::-1]
    # Equal centres have equal counts, so that the copies of a centre follow it and suppression drops them.
    centers = climbed[order]
    centers = np.ascontiguousarray(centers[_suppress(centers, float(bandwidth))])
    return MeanShiftResult(_nearest(x, centers), centers)


def _binned(x: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """Centres of the occupied bins, rounded as scikit-learn does; the points themselves where each has its own bin."""
    bins = np.round(x / bandwidth)
    order = np.lexsort(bins.T[::-1])
    bins = bins[order]
    first = np.r_[True, (bins[1:] != bins[:-1]).any(axis=1)]
    return x if first.all() else (bins[first].astype(np.float32) * bandwidth).astype(np.float64)


MIN_SEEDS = 128
"""Seeds worth a thread: starting threads costs about as much as climbing from a hundred seeds (half a millisecond)."""


def _climb_all(
    seeds: NDArray[np.float64], cells: CellList, bandwidth: float, max_iterations: int, n_jobs: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Seeds climb on their own, so that the kernel, which holds no lock, can take shares of them in threads.

    (numba's own parallel loops would be one more kernel to compile.)
    """

    def climb(part: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        found: tuple[NDArray[np.float64], NDArray[np.int64]] = _climb(
            part, cells.coord, cells.keys, cells.origin, cells.shape, cells.size, float(bandwidth), max_iterations
        )
        return found

    n_jobs = min(n_jobs, len(seeds) // MIN_SEEDS)
    if n_jobs <= 1:
        return climb(seeds)
    with ThreadPoolExecutor(n_jobs) as pool:
        # Four shares a thread even out seeds that climb far.
        parts = list(pool.map(climb, np.array_split(seeds, 4 * n_jobs)))
    return np.concatenate([centers for centers, _ in parts]), np.concatenate([counts for _, counts in parts])


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


class SASPocketClusterer:
    """Mean shift on SAS points, and the vote of the points for their atoms, as an estimator.

    Parameters
    ----------
    bandwidth
        Å.
    max_iterations, seeding, n_jobs
        See :func:`mean_shift`.

    Attributes
    ----------
    labels_ : (P,) int
        Cluster of each point.
    centers_ : (K, 3) float
        Å, most populated window first.
    atoms_, atom_labels_ : (V,) int
        The atoms that own points, ascending, and the cluster of each; only if ``fit`` was told who owns the points.

    Notes
    -----
    scikit-learn's protocol without its base class: importing that takes longer (0.6 s) than predicting a small protein.
    """

    def __init__(
        self,
        *,
        bandwidth: float = ClusterConfig.bandwidth,
        max_iterations: int = ClusterConfig.max_iterations,
        seeding: Literal["bins", "points"] = ClusterConfig.seeding,
        n_jobs: int = 1,
    ) -> None:
        self.bandwidth = bandwidth
        self.max_iterations = max_iterations
        self.seeding = seeding
        self.n_jobs = n_jobs

    def fit(self, points: NDArray[np.floating], atom_of_point: NDArray[np.integer] | None = None) -> SASPocketClusterer:
        """Cluster (P, 3) points in Å; ``atom_of_point`` (P,) names the atom of each."""
        result = mean_shift(points, self.bandwidth, self.max_iterations, seeding=self.seeding, n_jobs=self.n_jobs)
        self.labels_, self.centers_ = result.labels, result.centers
        if atom_of_point is not None:
            self.atoms_, self.atom_labels_ = vote(atom_of_point, result.labels)
        return self

    def fit_predict(self, points: NDArray[np.floating], atom_of_point: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
        """(P,) clusters of the points."""
        return self.fit(points, atom_of_point).labels_

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; ``deep`` is part of the protocol."""
        return {name: getattr(self, name) for name in ("bandwidth", "max_iterations", "seeding", "n_jobs")}

    def set_params(self, **params: Any) -> SASPocketClusterer:
        """Change parameters by name.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"there is no parameter {name!r}; the parameters are {', '.join(self.get_params())}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"SASPocketClusterer({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"


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
