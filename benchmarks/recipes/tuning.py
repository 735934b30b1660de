"""Choices made on validation complexes: thresholds, and the probability of a published pocket."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.recipes.data import Site
from s2p.config import ClusterConfig, PredictConfig
from s2p.evaluation.compare import ComplexResult, evaluate_complex, summarise
from s2p.evaluation.config import BenchmarkConfig
from s2p.pockets.calibration import pocket_features
from s2p.pockets.hits import HIT, dca
from s2p.pockets.published import find_clusters
from s2p.predictor import ResidueScores, Seq2Pocket

__all__ = ["SMOOTHING_THRESHOLDS", "THRESHOLDS", "choose", "evaluate", "objective", "pocket_training", "tune"]

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
SMOOTHING_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Scores = Sequence[ResidueScores]


def evaluate(predictor: Seq2Pocket, sites: Sequence[Site], scores: Scores, config: PredictConfig) -> list[ComplexResult]:
    """One result a complex."""
    return [
        evaluate_complex(predictor.pockets(s.structure, r, config), s.ligands, name=s.source.key, cluster=s.source.clusters[0])
        for s, r in zip(sites, scores, strict=True)
    ]


def tune(
    predictor: Seq2Pocket, sites: Sequence[Site], scores: Scores, cluster: ClusterConfig | None = None
) -> list[dict[str, float]]:
    """Pocket figures of every pair of thresholds (smoothing threshold 1: no smoothing), in the published ranking."""
    rows = []
    for threshold in THRESHOLDS:
        for smoothing in (*SMOOTHING_THRESHOLDS, 1.0):
            config = PredictConfig(
                threshold=threshold,
                smoothing_threshold=min(smoothing, 0.99),
                use_smoothing=smoothing < 1,
                ranking="published",
                cluster=cluster or ClusterConfig(),
            )
            table = summarise(evaluate(predictor, sites, scores, config), BenchmarkConfig(n_bootstrap=1))
            rows.append({"threshold": threshold, "smoothing_threshold": smoothing} | {key: s.value for key, s in table.items()})
    return rows


def objective(row: dict[str, float]) -> float:
    """What the thresholds are chosen by: recall at 4 Å (DCA) and 12 Å (DCC) together, top N+2."""
    return row["dca < 4 Å, top N+2"] + row["dcc < 12 Å, top N+2"]


def choose(rows: Sequence[dict[str, float]], tolerance: float = 0.03) -> dict[str, float]:
    """The least fragmented row (PFI) among those as good as the best within ``tolerance``.

    The default is half the standard error of the objective on some hundred sites: less than that is no reason to fragment.
    """
    best = max(map(objective, rows))
    return min((row for row in rows if objective(row) >= best - tolerance), key=lambda row: row["PFI"])


def pocket_training(
    predictor: Seq2Pocket, sites: Sequence[Site], scores: Scores
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Features, hits and weights (every cluster counts the same) of the pockets of validation complexes."""
    names = [s.source.clusters[0] for s in sites]
    rows, hits, weights = [], [], []
    for site, score in zip(sites, scores, strict=True):
        prediction = predictor.pockets(site.structure, score, PredictConfig(ranking="published"))
        clusters = find_clusters(site.structure, prediction.positive, score.probabilities)
        if not clusters:
            continue
        features, _ = pocket_features(site.structure, clusters, score.probabilities, prediction.smoothed)
        # Under the published ranking the pockets come in the order of the clusters.
        hit = dca([p.center for p in prediction.pockets], np.concatenate(site.ligands)) < HIT
        rows.append(features)
        hits.append(hit)
        weights.append(np.full(len(hit), 1 / names.count(site.source.clusters[0])))
    return np.concatenate(rows), np.concatenate(hits), np.concatenate(weights)
