"""From scored surface points to pockets: peaks of a smoothed score, the points that lead up to each, and their features.

A pocket is where scores pile up. Every point climbs to the highest point near it until it stands on a peak (quick shift: Vedaldi
& Soatto 2008); the points that end on one peak are its basin. Nothing depends on the frame of the coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.io.runtime import numba
from s2p.pockets.ranking import PocketModel, PointPocketConfig, PointScorer, originals, places, ranked
from s2p.prediction import Pocket
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import Structure
from s2p.surface.features import PointConfig, point_features, protein_points
from s2p.surface.kernels import CellList, build_cells, cell_runs
from s2p.surface.points import SurfacePoints, swept_volume
from s2p.surface.surroundings import Surroundings, assemblies

__all__ = ["Peaks", "candidates", "find_point_pockets", "peak_features", "peaks", "pockets_of_points", "score_points"]

POCKET_FEATURES = (
    "log_height",  # smoothed score at the peak
    "log_relative_height",  # less that of the highest peak
    "log_lead",  # less that of the highest peak that is no copy of this one
    "rank",  # by height among the sites that are no copies of each other, 10 at most
    "top_score",
    "top_ten_score",  # mean of the ten highest scores
    "log_strong_points",  # that score above 0.5
    "log_score_sum",  # of squared scores
    "log_points",  # of the surface, identical chains counted once
    "probability",  # mean over the points' owners, weighted by squared score: what the language model says
    "top_probability",
)
"""What the calibrated model of pockets reads, computed for each group of touching chains by itself."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks of the smoothed score, highest first, and the basin of every point."""

    height: NDArray[np.float64]
    """(K,) smoothed score."""
    basin: NDArray[np.int64]
    """(P,) index of the peak a point leads up to, -1 for points that score too low to count."""
    center: NDArray[np.float64]
    """(K, 3) score-weighted means of the points around the peaks, Å."""


@numba.njit(cache=True, nogil=True)
def _smoothed(cells: CellList, weights: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """(P,) Gaussian sum of the weights around each of the points, cut at the size of a cell; all in cell order."""
    points, size = cells.coord, cells.size
    out = np.zeros(len(points))
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        total = 0.0
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = points[s, 0] - x, points[s, 1] - y, points[s, 2] - z
                d2 = dx * dx + dy * dy + dz * dz
                if d2 <= size * size:
                    total += weights[s] * np.exp(-0.5 * d2 / (sigma * sigma))
        out[p] = total
    return out


@numba.njit(cache=True, nogil=True)
def _uphill(cells: CellList, height: NDArray[np.float64]) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """(P,) peak that each point climbs to by steps of at most a cell; all in cell order."""
    points, size = cells.coord, cells.size
    parent = np.arange(len(points))
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        best = p
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = points[s, 0] - x, points[s, 1] - y, points[s, 2] - z
                if dx * dx + dy * dy + dz * dz <= size * size and height[s] > height[best]:
                    best = s
        parent[p] = best
    for p in np.argsort(-height, kind="mergesort"):  # higher points are done before those below
        parent[p] = parent[parent[p]]
    return parent


def _merged(root: NDArray[np.int64], height: NDArray[np.float64], pairs: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Join basins whose pass is higher than ``share`` of the lower peak; the higher peak stays."""
    root, passes = root.copy(), height[pairs].min(axis=1)
    for k in np.argsort(-passes, kind="stable").tolist():
        a, b = root[pairs[k]].tolist()
        if a != b and passes[k] > share * min(height[a], height[b]):
            low, high = (a, b) if height[a] < height[b] else (b, a)
            root[root == low] = high
    return root


def peaks(points: NDArray[np.floating], scores: NDArray[np.floating], config: PointPocketConfig | None = None) -> Peaks:
    """Peaks of the score, smoothed by a Gaussian, among surface points: (P, 3) Å, and the (P,) probability of each."""
    config = config or PointPocketConfig()
    kept = np.flatnonzero(scores > min(config.floor, float(np.max(scores, initial=0.0)) / 2))
    basin = np.full(len(points), -1, np.int64)
    if not len(kept):
        return Peaks(np.zeros(0), basin, np.zeros((0, 3)))
    cells = build_cells(points[kept], max(3 * config.sigma, config.reach))
    own = kept[cells.order]
    score = np.asarray(scores, np.float64)[own]
    height = _smoothed(cells, score**config.power, config.sigma)
    narrow = build_cells(cells.coord, config.reach)
    order = narrow.order
    height, score, own = height[order], score[order], own[order]
    root = _uphill(narrow, height)
    pairs = cKDTree(narrow.coord).query_pairs(config.touch, output_type="ndarray")
    pairs = pairs[root[pairs[:, 0]] != root[pairs[:, 1]]]
    root = _merged(root, height, pairs[np.lexsort(pairs.T[::-1])], config.merge)
    tops = np.unique(root)
    tops = tops[np.argsort(-height[tops], kind="stable")]
    number = np.full(len(root), -1)
    number[tops] = np.arange(len(tops))
    basin[own] = number[root]
    centers = narrow.coord[tops]
    weight = score**config.center_power
    for k in range(len(tops)):
        for _ in range(2):  # the peak lies on the wall; the mean around it moves into the hollow, and once more around that
            near = ((narrow.coord - centers[k]) ** 2).sum(axis=1) <= config.gather**2
            if near.any():
                centers[k] = weight[near] @ narrow.coord[near] / weight[near].sum()
    return Peaks(height[tops], basin, centers)


def peak_features(
    found: Peaks,
    scores: NDArray[np.float32],
    probability: NDArray[np.float32],
    original: Sequence[int] | None = None,
    distinct: float = 1.0,
) -> NDArray[np.float64]:
    """(K, F) of the peaks of one assembly in the order of :data:`POCKET_FEATURES`.

    Parameters
    ----------
    scores, probability
        (P,) score of each point, and the binding probability of the residue that owns it.
    original
        Index of the peak that each is a symmetric copy of, its own for the others (default: all); copies do not compete.
    distinct
        Share of the residues that are left where those of identical chains count once.
    """
    site = np.arange(len(found.height)) if original is None else np.array(original, np.int64)
    rows = []
    for k, height in enumerate(found.height.tolist()):
        own = found.basin == k
        score = np.sort(scores[own])
        squared = scores[own].astype(np.float64) ** 2
        others = found.height[np.unique(site[site != site[k]])]
        rows.append(
            [
                np.log(height + 1e-6),
                np.log((height + 1e-6) / (found.height[0] + 1e-6)),
                np.log((height + 1e-3) / (others.max(initial=0.0) + 1e-3)),
                min((others > height).sum(), 10),
                score[-1],
                score[-10:].mean(),
                np.log1p((score > 0.5).sum()),
                np.log(squared.sum() + 1e-6),
                np.log(len(scores) * distinct),
                squared @ probability[own] / squared.sum(),
                probability[own].max(),
            ]
        )
    return np.array(rows, np.float64).reshape(-1, len(POCKET_FEATURES))


def candidates(
    found: Peaks,
    structure: Structure,
    cloud: SurfacePoints,
    scores: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    config: PointPocketConfig,
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.int32]], list[int], NDArray[np.float64]]:
    """Peaks of one assembly as pockets: (P,) points and the residues of each, its original, and (K, F) features.

    ``found`` is of the points of ``cloud`` and their (P,) ``scores``; ``probabilities`` (N,) are those of the residues.
    """
    basins = [found.basin == k for k in range(len(found.height))]
    points = [basin & (scores >= config.member * scores[basin].max()) for basin in basins]
    residues = [binding_residues(structure, cloud.coord[own], config.residue_cutoff) for own in points]
    place = places(structure)
    original = originals(place, residues)
    probability = probabilities[structure.atoms.residue_index[cloud.atom]]
    features = peak_features(found, scores, probability, original, len(np.unique(place)) / len(place))
    return points, residues, original, features


def score_points(
    scorer: PointScorer, part: Surroundings, probabilities: NDArray[np.float32], embeddings: NDArray[np.float32]
) -> tuple[SurfacePoints, NDArray[np.float32]]:
    """Surface points of one assembly, and the (P,) chance of each that a ligand atom is there.

    ``probabilities`` (N,) and ``embeddings`` (N, d) are those of its residues, as in :func:`find_point_pockets`.
    """
    cloud = protein_points(part, scorer.points)
    features = point_features(part, cloud, scorer.encoder, probabilities, embeddings, scorer.points)
    return cloud, scorer.scores(features)


def find_point_pockets(
    scorer: PointScorer,
    structure: Structure,
    probabilities: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    positive: NDArray[np.bool_] | None = None,
    parts: Sequence[Surroundings] | None = None,
) -> tuple[Pocket, ...]:
    """Pockets of a structure from its scored surface, most probable first.

    Parameters
    ----------
    probabilities, embeddings
        (N,) and (N, d) of the residues, from the language model alone: what the scorer was trained on.
    positive
        (N,) residues that the sequence model and the smoothing predict; those that own points around a pocket join it.
    parts
        :func:`~s2p.surface.surroundings.assemblies` of the structure, where they have been made.

    Notes
    -----
    Score and probability are both the calibrated chance that a ligand atom lies within 4 Å of the centre. They are made for each
    assembly of chains in contact as if there were no other. Pockets less likely than ``scorer.pockets.min_probability`` are left
    out, but for the first of an assembly.
    """
    found = []
    for part in assemblies(structure, parts):
        p, chosen = probabilities[part.residues], None if positive is None else positive[part.residues]
        cloud, scores = score_points(scorer, part, p, embeddings[part.residues])
        tops = peaks(cloud.coord, scores, scorer.pockets)
        model, config, probe = scorer.pocket_model, scorer.pockets, scorer.points.probe_radius
        found += pockets_of_points(tops, part, cloud, scores, p, chosen, model, config, probe)
    return ranked(structure, found)


def pockets_of_points(
    found: Peaks,
    part: Surroundings,
    cloud: SurfacePoints,
    scores: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    positive: NDArray[np.bool_] | None,
    model: PocketModel,
    config: PointPocketConfig,
    probe_radius: float = PointConfig.probe_radius,
) -> list[Pocket]:
    """Pockets of one assembly, not ranked yet: the last step of :func:`find_point_pockets`, whose parameters it shares.

    ``found`` is of the points of ``cloud`` and their (P,) ``scores``; residues and atoms of the pockets are those of the file.
    """
    owner = part.structure.atoms.residue_index[cloud.atom]
    members, residues, _, features = candidates(found, part.structure, cloud, scores, probabilities, config)
    chance = model.probability(features)
    pockets = []
    for k, p in enumerate(chance.tolist()):
        if p < config.min_probability and k != np.argmax(chance):
            continue
        points, bound = cloud.coord[members[k]], residues[k]
        if positive is not None:
            joined = np.unique(owner[found.basin == k])
            bound = np.union1d(bound, joined[positive[joined]])
        volume, center = swept_volume(part.inside(points), probe_radius), found.center[k].astype(np.float32)
        atoms = part.atoms[np.unique(cloud.atom[members[k]])]
        pockets.append(Pocket(0, p, p, part.residues[bound], atoms, points.astype(np.float32), center, volume))
    return pockets
