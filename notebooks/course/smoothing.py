"""What smoothing does to predictions as a whole: residues found, pockets per site, sites missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course.structures import binding_flags
from s2p.config import PredictConfig
from s2p.datasets.labelled import KnownSites
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.metrics import recall
from s2p.pockets.hits import dcc, site_center, site_overlaps
from s2p.predictor import ResidueScores, Seq2Pocket

__all__ = ["SmoothingEffect", "smoothing_effect"]


@dataclass(frozen=True)
class SmoothingEffect:
    """Figures of one setting, pooled over structures."""

    added: int
    """Residues that smoothing added."""
    recall: float
    """Share of the binding residues that is predicted."""
    precision: float
    """Share of the predicted residues that binds; NaN where nothing is predicted."""
    pockets: int
    pfi: float
    """Predicted pockets per true site, over the sites that one touches
    (:func:`s2p.pockets.hits.pocket_fragmentation_index`)."""
    missed: float
    """Share of the true sites that no pocket touches."""
    dcc_recall: float
    """Share of the true sites with a pocket centre closer than 12 Å to the mean of the site's CA atoms, all pockets counted."""


def smoothing_effect(
    predictor: Seq2Pocket, items: Sequence[KnownSites], scores: Sequence[ResidueScores], config: PredictConfig
) -> SmoothingEffect:
    """Predict pockets with ``config`` from ``scores`` (one of each of ``items``), and hold them against the known sites."""
    added, pockets = 0, 0
    labels, positive, touching, distances = [], [], [], []
    for item, score in zip(items, scores, strict=True):
        prediction = predictor.pockets(item.structure, score, config)
        ca = item.structure.residues.ca_coord
        added += int(prediction.smoothed.sum())
        pockets += len(prediction.pockets)
        labels.append(binding_flags(item))
        positive.append(prediction.positive)
        touching.append((site_overlaps(item.sites, [p.residues for p in prediction.pockets]) > 0).sum(axis=1))
        if item.sites:
            distances.append(dcc([p.center for p in prediction.pockets], [site_center(ca[site]) for site in item.sites]))
    y, predicted, count = np.concatenate(labels), np.concatenate(positive), np.concatenate(touching)
    hits = int((y & predicted).sum())
    found = count[count > 0]
    return SmoothingEffect(
        added,
        float(hits / y.sum()) if y.any() else float("nan"),
        float(hits / predicted.sum()) if predicted.any() else float("nan"),
        pockets,
        float(found.mean()) if len(found) else float("nan"),
        float((count == 0).mean()) if len(count) else float("nan"),
        recall(np.concatenate(distances) if distances else [], BenchmarkConfig.loose_hit),
    )
