"""Training of the point scorer: perceptrons, hard negatives, calibration of pockets.

Residue probabilities and embeddings come from outside, and must be *out of fold*: scores that a language model gives its own
training proteins are over-confident, and a scorer trained on them would trust them too much.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.linear_model import LogisticRegression
from torch import nn

from benchmarks.recipes.points import (
    PointExample,
    PointSet,
    PointTrainConfig,
    PreparedPoints,
    ResidueArrays,
    point_set,
    prepare_points,
)
from course.surface import families
from s2p.errors import S2PError
from s2p.evaluation.config import BenchmarkConfig
from s2p.io.runtime import progress_bar
from s2p.pockets.ranking import CLIP, PocketModel, PointPocketConfig, PointScorer
from s2p.pockets.scored import Peaks, candidates, peaks
from s2p.surface.features import PointConfig, feature_names

__all__ = [
    "Builder",
    "Grouping",
    "Network",
    "build_perceptrons",
    "calibrate",
    "fit_pocket_model",
    "fit_points",
    "train_network",
    "train_point_scorer",
]

Grouping = Callable[[NDArray[np.floating], NDArray[np.floating], PointPocketConfig], Peaks]
"""A way from (P, 3) points and their (P,) scores to candidates of pockets; :func:`~s2p.pockets.scored.peaks` is ours."""


@dataclass(frozen=True, eq=False)
class Network:
    """Standardisation and layers of M perceptrons, as in :class:`~s2p.pockets.ranking.PointScorer`."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]


def train_network(
    x: NDArray[np.float32], y: NDArray[np.float32], weight: NDArray[np.float32], config: PointTrainConfig
) -> Network:
    """Fit on (n, F) features, (n,) labels 0/1 and (n,) weights: cross-entropy, AdamW, one cycle of the learning rate.

    Each member starts from its own seed and sees the samples in its own order.
    """
    mean, scale = x.mean(axis=0), x.std(axis=0) + np.float32(1e-6)
    inputs = torch.from_numpy(np.clip((x - mean) / scale, -CLIP, CLIP))
    labels, weights = torch.from_numpy(y), torch.from_numpy(weight / weight.mean())
    layers = [_member(inputs, labels, weights, config, config.seed + k) for k in range(config.members)]
    stacked = [np.stack([member[k] for member in layers]) for k in range(len(layers[0]))]
    return Network(mean, scale, tuple(stacked[0::2]), tuple(b[:, None] for b in stacked[1::2]))


def _member(
    inputs: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, config: PointTrainConfig, seed: int
) -> list[NDArray[np.float32]]:
    """Weight (inputs, outputs) and bias of each layer in turn."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = (inputs.shape[1], config.width, config.width // 2, 1)
        linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        net = nn.Sequential(
            linear[0], nn.SiLU(), nn.Dropout(config.dropout), linear[1], nn.SiLU(), nn.Dropout(config.dropout), linear[2]
        )
        optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        batches = -(-len(inputs) // config.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, config.lr, total_steps=config.epochs * batches + 1, pct_start=0.1
        )
        for _ in range(config.epochs):
            for rows in torch.randperm(len(inputs), generator=generator).split(config.batch_size):
                logits = net(inputs[rows]).squeeze(1)
                loss = F.binary_cross_entropy_with_logits(logits, labels[rows], weight=weights[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return [part.detach().numpy().copy() for layer in linear for part in (layer.weight.T, layer.bias)]


PREPARED = PocketModel((0.0,), (1.0,), (0.0,), 0.0)
"""Stands in until the pockets of the training proteins are known."""
HIT = BenchmarkConfig.strict_hit
"""Å: a pocket is right when a ligand atom is closer than this to its centre."""


class Scores(Protocol):
    """Anything that scores points."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(P,) of (P, F) features with all columns of :func:`~s2p.surface.features.feature_names`."""
        ...


S = TypeVar("S", bound=Scores)
Builder = Callable[
    [PointSet, tuple[str, ...], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], PointTrainConfig], S
]
"""From the set, the names of the F features that are read, (n, F) of them, (n,) labels and (n,) weights to a trained scorer."""


def _sample(
    prepared: Sequence[PreparedPoints],
    weights: Sequence[float],
    columns: NDArray[np.int64],
    training: PointTrainConfig,
    rng: np.random.Generator,
    first_round: Mapping[str, NDArray[np.float32]] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Features, labels and weights of drawn points; with first-round scores, half the negatives are drawn in their proportion."""
    x, y, w = [], [], []
    for item, weight in zip(prepared, weights, strict=True):
        positive, negative = np.flatnonzero(item.labels == 1), np.flatnonzero(item.labels == 0)
        positive = rng.permutation(positive)[: training.positives]
        n = min(training.negatives, len(negative))
        # A perturbed copy has other points than the protein that was scored: its negatives are drawn evenly.
        hard = None if first_round is None or item.perturbed else first_round[item.example.key]
        if hard is None or not n:
            negative = rng.permutation(negative)[:n]
        else:
            chance = hard[negative].astype(float)
            chance = 0.5 / len(negative) + 0.5 * chance / max(float(chance.sum()), 1e-9)
            negative = rng.choice(negative, n, p=chance / chance.sum())
        rows = np.concatenate([positive, negative])
        x.append(item.features[rows][:, columns])
        y.append(np.repeat(np.array([1, 0], np.float32), [len(positive), len(negative)]))
        w.append(np.full(len(rows), weight, np.float32))
    return np.concatenate(x), np.concatenate(y), np.concatenate(w)


def build_perceptrons(
    data: PointSet,
    names: tuple[str, ...],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32],
    training: PointTrainConfig,
) -> PointScorer:
    """The :data:`Builder` of the shipped scorer; pockets are not calibrated yet."""
    net = train_network(x, y, weight, training)
    return PointScorer(data.encoder, names, net.mean, net.scale, net.weights, net.biases, PREPARED, data.points)


def _build(
    data: PointSet,
    prepared: Sequence[PreparedPoints],
    builder: Builder[S],
    training: PointTrainConfig,
    seed: int,
    first_round: Mapping[str, NDArray[np.float32]] | None,
) -> S:
    names = np.array(feature_names(len(data.encoder.components)))
    columns = np.flatnonzero(np.isin(families(names.tolist()), training.families))
    sizes = Counter(item.example.cluster for item in prepared)
    weights = [sizes[item.example.cluster] ** -0.5 for item in prepared]
    x, y, w = _sample(prepared, weights, columns, training, np.random.default_rng(seed), first_round)
    return builder(data, tuple(names[columns].tolist()), x, y, w, training)


def fit_pocket_model(
    features: NDArray[np.float64], hit: NDArray[np.bool_], weight: NDArray[np.float64], c: float = 1.0
) -> PocketModel:
    """Fit on (K, F) pockets of validation structures; ``hit`` (K,) says whether a ligand is there, ``weight`` (K,) counts."""
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    fitted = LogisticRegression(C=c, max_iter=2000).fit((features - mean) / scale, hit, sample_weight=weight)
    return PocketModel(tuple(mean.tolist()), tuple(scale.tolist()), tuple(fitted.coef_[0].tolist()), float(fitted.intercept_[0]))


def _pocket_rows(
    item: PreparedPoints, scores: NDArray[np.float32], config: PointPocketConfig, group: Grouping
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features and hits of a protein's peaks.

    A copy of a site that holds a ligand is a hit, too: files often give the ligand of one subunit. Peaks on other known sites are
    left out: nobody knows whether they are wrong.
    """
    found = group(item.cloud.coord, scores, config)
    structure, cloud = item.example.structure, item.cloud
    _, _, original, features = candidates(found, structure, cloud, scores, item.residue_probability, config)
    if not len(found.height):
        return features, np.zeros(0, bool)
    distance, _ = cKDTree(np.concatenate(item.example.ligands)).query(found.center)
    hit = np.isin(original, np.array(original)[distance < HIT])
    known = np.array([np.mean(item.labels[found.basin == k] == -1) > 0.5 for k in range(len(hit))])
    kept = hit | ~known
    return features[kept], hit[kept]


def _pocket_model(
    prepared: Sequence[PreparedPoints], scores: Sequence[NDArray[np.float32]], config: PointPocketConfig, group: Grouping = peaks
) -> PocketModel:
    sizes = Counter(item.example.cluster for item in prepared)
    rows, hits, weights = [], [], []
    for item, score in zip(prepared, scores, strict=True):
        features, hit = _pocket_rows(item, score, config, group)
        rows.append(features)
        hits.append(hit)
        weights.append(np.full(len(hit), 1 / sizes[item.example.cluster]))
    y = np.concatenate(hits)
    if y.all() or not y.any():
        raise S2PError("pockets cannot be calibrated: all of them, or none, are right; give more proteins with ligands")
    return fit_pocket_model(np.concatenate(rows), y, np.concatenate(weights), c=0.3)


def calibrate(scorer: PointScorer, examples: Sequence[PointExample], scores: ResidueArrays) -> PointScorer:
    """The scorer with its model of pockets fitted on other proteins, such as those of the validation clusters."""
    training = PointTrainConfig()
    prepared = [prepare_points(e, e.structure, scorer.encoder, scores[e.key], scorer.points, training) for e in examples]
    model = _pocket_model(prepared, [scorer.scores(item.features) for item in prepared], scorer.pockets)
    return replace(scorer, pocket_model=model)


def fit_points(
    data: PointSet,
    builder: Builder[S],
    *,
    pockets: PointPocketConfig | None = None,
    training: PointTrainConfig | None = None,
    groupings: Sequence[Grouping] = (peaks,),
    quiet: bool = False,
) -> tuple[S, list[PocketModel]]:
    """A scorer of points, and for each way of making pockets from them its calibrated model of pockets.

    Notes
    -----
    First round: scorers by cross-validation over clusters score every protein unseen. Second round: the same with negatives
    drawn where the first was wrong; the pockets of proteins scored unseen give the calibrated model of pockets. The scorer
    that is returned is trained on everything.

    Raises
    ------
    S2PError
        If there are fewer clusters than folds.
    """
    pockets, training = pockets or PointPocketConfig(), training or PointTrainConfig()
    names = {item.example.cluster for item in data.originals}
    clusters = sorted(names, key=lambda c: hashlib.sha256(c.encode()).hexdigest())
    if len(clusters) < training.folds:
        raise S2PError(f"{len(clusters)} clusters are too few for {training.folds} folds; give more training proteins")
    fold = {c: k % training.folds for k, c in enumerate(clusters)}
    everything = (*data.originals, *data.copies)
    unseen: dict[str, NDArray[np.float32]] | None = None
    for number in range(1 + training.hard_negatives):
        found: dict[str, NDArray[np.float32]] = {}
        for k in progress_bar(range(training.folds), f"round {number + 1}", quiet):
            inside = [item for item in everything if fold[item.example.cluster] != k]
            part = _build(data, inside, builder, replace(training, members=1), training.seed + k, unseen)
            found |= {i.example.key: part.scores(i.features) for i in data.originals if fold[i.example.cluster] == k}
        last, unseen = unseen, found
    assert unseen is not None
    scores = [unseen[item.example.key] for item in data.originals]
    models = [_pocket_model(data.originals, scores, pockets, group) for group in groupings]
    return _build(data, everything, builder, training, training.seed, last), models


def train_point_scorer(
    examples: Sequence[PointExample],
    scores: ResidueArrays,
    *,
    points: PointConfig | None = None,
    pockets: PointPocketConfig | None = None,
    training: PointTrainConfig | None = None,
    quiet: bool = False,
) -> PointScorer:
    """Train on proteins with ligands: :func:`~benchmarks.recipes.points.point_set`, then :func:`fit_points` with perceptrons."""
    data = point_set(examples, scores, points=points, training=training, quiet=quiet)
    scorer, (model,) = fit_points(data, build_perceptrons, pockets=pockets, training=training, quiet=quiet)
    return replace(scorer, pocket_model=model, pockets=pockets or PointPocketConfig())
