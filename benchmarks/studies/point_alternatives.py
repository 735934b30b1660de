"""What the point scorer is compared with: tree ensembles in place of its perceptrons, other groupings in place of its peaks.

None of it is part of a checkpoint: it is fitted, measured and thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from benchmarks.recipes.point_training import Builder, Grouping
from benchmarks.recipes.points import PointSet, PointTrainConfig
from s2p.config import Checked, Count, Positive
from s2p.pockets.clustering import mean_shift
from s2p.pockets.ranking import PointPocketConfig
from s2p.pockets.scored import Peaks
from s2p.surface.features import feature_names

__all__ = ["EstimatorScorer", "PointStudyConfig", "grouped", "linked", "shifted", "tree_builders"]


@dataclass(frozen=True)
class PointStudyConfig(Checked):
    """What the studies of the point scorer compare; what they do not change is as in the shipped scorer, but smaller."""

    n_components: Count = 4
    """Principal components of the residue embeddings, where they are read."""
    positives: Count = 64
    """Points drawn from a protein, fewer than for the shipped scorer: some thirty scorers are trained."""
    negatives: Count = 192
    members: Count = 1
    """Networks of a scorer."""
    trees: Count = 50
    tree_depth: Count = 20
    """Of the random forest, at most."""
    leaf: Count = 5
    """Points in a leaf of the random forest, at least."""
    boosting_iterations: Count = 200
    group_thresholds: tuple[float, ...] = (0.3, 0.5)
    """Points that score more are grouped by mean shift or single linkage."""
    group_bandwidth: Positive = 9.0
    """Å, of mean shift (the published pockets' bandwidth)."""
    group_linkage: Positive = 3.0
    """Å: points this close are in one group of single linkage."""
    curve_clusters: tuple[int, ...] = (25, 50, 100)
    """Training clusters of the learning curve, beside all."""
    curve_draws: Count = 3
    """Random choices of so many clusters."""


@dataclass(frozen=True, eq=False)
class EstimatorScorer:
    """A scikit-learn classifier of points."""

    estimator: Any
    columns: NDArray[np.int64]
    """(F,) of the features it reads."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(P,) probability that a ligand atom is within reach."""
        chance: NDArray[np.float32] = self.estimator.predict_proba(features[:, self.columns])[:, 1].astype(np.float32)
        return chance


def tree_builders(study: PointStudyConfig | None = None) -> dict[str, Builder[EstimatorScorer]]:
    """Gradient-boosted trees and a random forest, by name, to be fitted as perceptrons are."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    study = study or PointStudyConfig()

    def build(
        make: Any,
        data: PointSet,
        names: tuple[str, ...],
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        weight: NDArray[np.float32],
        training: PointTrainConfig,
    ) -> EstimatorScorer:
        known = feature_names(len(data.encoder.components))
        estimator = make(random_state=training.seed).fit(x, y, sample_weight=weight)
        return EstimatorScorer(estimator, np.array([known.index(name) for name in names]))

    boosting = partial(HistGradientBoostingClassifier, max_iter=study.boosting_iterations, learning_rate=0.05)
    forest = partial(
        RandomForestClassifier, study.trees, max_depth=study.tree_depth, min_samples_leaf=study.leaf, max_features="sqrt"
    )
    return {"gradient-boosted trees": partial(build, boosting), "random forest": partial(build, forest)}


def shifted(threshold: float, bandwidth: float) -> Grouping:
    """Flat mean shift (Å) over the points that score more than ``threshold``, as over the published pockets' points."""
    return partial(grouped, lambda points: mean_shift(points, bandwidth).labels, threshold)


def linked(threshold: float, distance: float) -> Grouping:
    """Single linkage: points that score more than ``threshold`` are joined when closer than ``distance`` Å (P2Rank)."""

    def labels(points: NDArray[np.floating]) -> NDArray[np.int64]:
        pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
        graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
        return np.asarray(connected_components(graph, directed=False)[1], np.int64)

    return partial(grouped, labels, threshold)


def grouped(
    label: Any, threshold: float, points: NDArray[np.floating], scores: NDArray[np.floating], config: PointPocketConfig
) -> Peaks:
    """Groups of points in the form of peaks: a group's height is its sum of powered scores, its centre their weighted mean.

    Points count that score more than ``threshold``, or than half the best where none does.
    """
    kept = np.flatnonzero(scores > min(threshold, float(np.max(scores, initial=0.0)) / 2))
    basin = np.full(len(points), -1, np.int64)
    if not len(kept):
        return Peaks(np.zeros(0), basin, np.zeros((0, 3)))
    labels = label(points[kept])
    score = np.asarray(scores, np.float64)[kept]
    height = np.bincount(labels, score**config.power).astype(np.float64)
    # A label without points (mean shift may leave a centre that is nearest to none) is no group.
    order = np.argsort(-height, kind="stable")[: int((height > 0).sum())]
    number = np.full(len(height), -1, np.int64)
    number[order] = np.arange(len(order))
    basin[kept] = number[labels]
    weight = score**config.center_power
    centers = np.stack([np.bincount(basin[kept], weight * points[kept, axis]) for axis in range(3)], axis=1)
    totals = np.bincount(basin[kept], weight)
    return Peaks(height[order], basin, centers / totals[:, None])
