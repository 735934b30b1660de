"""Metrics of pocket predictions: hits and misses, overlaps of residues, and overlaps of volumes on Kalasanty's grid (DVO).
Distances are in Å; those of centres are in :mod:`s2p.pockets.hits`.

Conventions, the same for every function and predictor:

* no prediction: distances are infinite (a miss at any cutoff), overlaps, volumes and F1 are 0;
* no true site: metrics over sites are NaN and are left out of means, but pockets still count as false positives;
* ties go to the better rank;
* sites that share residues, and copies of a ligand, are separate sites: a pocket may find several. Only
  :func:`detections` (``one_to_one``) and :func:`matched_pockets` match a pocket with a single site.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2p.evaluation.config import BenchmarkConfig
from s2p.pockets.hits import site_overlaps

__all__ = [
    "Detections",
    "best_overlap",
    "detections",
    "matched_pockets",
    "pocket_average_precision",
    "radius_of_gyration",
    "rank_limits",
    "recall",
    "share_missed",
    "site_to_pocket",
    "volume_overlap",
    "voxels",
]


def rank_limits(n_sites: int, n_pockets: int, extra: int = BenchmarkConfig.extra_ranks) -> dict[str, int]:
    """How many pockets count as ``N`` (as many as true sites), ``N+k`` (k = ``extra``) and ``all``: never more than there are."""
    return {name: min(n, n_pockets) for name, n in (("N", n_sites), (f"N+{extra}", n_sites + extra), ("all", n_pockets))}


def recall(distances: ArrayLike, cutoff: float) -> float:
    """Share of sites with a distance below ``cutoff`` (strict, as published); NaN without sites."""
    d = np.asarray(distances, float)
    return float((d < cutoff).mean()) if d.size else float("nan")


class Detections(NamedTuple):
    """Numbers of hits and misses of one protein."""

    true_positives: int
    false_positives: int
    false_negatives: int


def detections(
    predicted_centers: ArrayLike, true_centers: ArrayLike, cutoff: float = BenchmarkConfig.strict_hit, *, one_to_one: bool = True
) -> Detections:
    """True positives at DCC <= ``cutoff`` (inclusive, unlike :func:`recall`) of the N best pockets, N the number of sites.

    Parameters
    ----------
    predicted_centers
        (P, 3), all of them, best first; this function takes the first N.
    true_centers
        (S, 3).
    one_to_one
        Going down the ranks, a pocket is matched with the nearest site that is still free; a second pocket at the same
        site is a false positive. Otherwise each pocket is compared with its nearest site, free or not (Kalasanty), a site
        that is nearest to no hit is a false negative, and true positives are counted in pockets.
    """
    t = np.asarray(true_centers, np.float64).reshape(-1, 3)
    p = np.asarray(predicted_centers, np.float64).reshape(-1, 3)[: len(t)]
    distance = np.linalg.norm(t[:, None] - p[None], axis=2)
    if one_to_one:
        hits = int(matched_pockets(-distance, -cutoff).sum())
        return Detections(hits, len(p) - hits, len(t) - hits)
    hit = distance.min(axis=0, initial=np.inf) <= cutoff
    found = np.unique(distance[:, hit].argmin(axis=0)) if hit.any() else ()
    return Detections(int(hit.sum()), int((~hit).sum()), len(t) - len(found))


def share_missed(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> float:
    """Share of the true sites that no pocket touches; NaN without sites."""
    if not len(true_sites):
        return float("nan")
    return float((~(site_overlaps(true_sites, pockets) > 0).any(axis=1)).mean())


def best_overlap(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """For each true site the largest share of its residues in one pocket, (S,); 0 if no pocket touches it."""
    counts = site_overlaps(true_sites, pockets)
    return np.asarray(counts.max(axis=1, initial=0) / np.maximum(_sizes(true_sites), 1))


def site_to_pocket(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """(S, P) intersection over union of the residues of each site and each pocket."""
    shared = site_overlaps(true_sites, pockets)
    either = _sizes(true_sites)[:, None] + _sizes(pockets) - shared
    return np.asarray(shared / np.maximum(either, 1))


def _sizes(sets: Sequence[ArrayLike]) -> NDArray[np.int64]:
    return np.array([len(np.unique(residues)) for residues in sets], np.int64)


def matched_pockets(overlap: ArrayLike, cutoff: float = BenchmarkConfig.iou) -> NDArray[np.bool_]:
    """(P,) which ranked pockets match a separate site; ``overlap`` is from :func:`site_to_pocket`, pockets best first.

    Going down the ranks, a pocket is matched with the free site that it overlaps most, if that is at least ``cutoff``.
    """
    free = np.array(overlap, np.float64)
    matched = np.zeros(free.shape[1], np.bool_)
    for k in range(free.shape[1] if free.shape[0] else 0):
        site = int(np.argmax(free[:, k]))
        if free[site, k] >= cutoff:
            matched[k] = True
            free[site] = -np.inf
    return matched


def pocket_average_precision(matched: ArrayLike, n_sites: int) -> float:
    """Mean over the true sites of the precision at the rank where each is matched, 0 if never; NaN without sites.

    ``matched``: (P,) from :func:`matched_pockets`.
    """
    if not n_sites:
        return float("nan")
    hit = np.asarray(matched, bool)
    return float((hit * np.cumsum(hit) / np.arange(1, len(hit) + 1)).sum() / n_sites)


def radius_of_gyration(coord: ArrayLike) -> float:
    """Root mean square distance of (n, 3) coordinates from their mean, Å, unweighted; NaN for n = 0."""
    x = np.asarray(coord, np.float64).reshape(-1, 3)
    return float(np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())) if len(x) else float("nan")


_HALF = 1 << 20
"""Cells on either side of the origin that can be numbered: two million Å."""


def voxels(
    points: ArrayLike,
    radius: float = BenchmarkConfig.grid_radius,
    origin: ArrayLike = (0.0, 0.0, 0.0),
    spacing: float = BenchmarkConfig.grid,
) -> NDArray[np.int64]:
    """Cells of a cubic grid whose centres lie within ``radius`` Å (inclusive) of (n, 3) points: (V,) numbers, ascending.

    ``origin`` is the centre of a cell: with the protein's centre, results do not depend on the position of the molecule.
    """
    x = (np.asarray(points, np.float64).reshape(-1, 3) - np.asarray(origin, np.float64)) / spacing
    reach = int(np.ceil(radius / spacing))
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    cells = np.rint(x).astype(np.int64)[:, None] + steps[None]
    # Slightly more than the radius, so that rounding of coordinates does not decide about points on the grid.
    inside = np.linalg.norm(cells - x[:, None], axis=2) <= radius / spacing + 1e-9
    i, j, k = (cells[inside] + _HALF).T
    return np.unique((i * 2 * _HALF + j) * 2 * _HALF + k)


def volume_overlap(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Intersection over union of two sets of :func:`voxels`; 0 if one is empty (no prediction), NaN if both are."""
    shared = len(np.intersect1d(true, predicted, assume_unique=True))
    joint = len(true) + len(predicted) - shared
    return shared / joint if joint else float("nan")
