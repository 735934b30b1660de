"""Metrics of a smoothing classifier, over known sites and over the predictions of the residue model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid, best_mcc_threshold
from s2p.prediction import sigmoid
from s2p.residues import Smoother, candidates, neighbour_mean, smoother_logits
from s2p.training.smoother import SmoothingExample

__all__ = ["PairFigures", "candidate_figures", "pair_figures"]


@dataclass(frozen=True)
class PairFigures:
    """How well a classifier tells binding residues from others; NaN where none of those judged binds."""

    n: int
    """Residues judged."""
    positive: float
    """Share of binding residues, the AUPRC of guessing."""
    auprc: float
    mcc: float
    """At the threshold, on a 0.01 grid, where it is highest: an optimistic figure, for comparing classifiers."""


def pair_figures(
    smoother: Smoother, examples: Sequence[SmoothingExample], *, context_radius: float, negative_radius: float
) -> PairFigures:
    """Figures over known sites, as at inference: no residue is in its own context.

    The residues judged are all binding ones and all others within ``negative_radius`` Å of one, the same for every classifier
    whatever it was trained with. One without a binding residue within ``context_radius`` Å could never be added and counts
    with probability 0.
    """
    labels, scores = [], []
    for example in examples:
        binding = example.binding
        near, *_ = candidates(example.ca_coord, binding, example.embeddings, negative_radius)
        members = np.flatnonzero(binding)
        rows = np.concatenate([members, near])
        labels.append(binding[rows])
        scores.append(_probabilities(smoother, example, members, rows, context_radius))
    return _figures(labels, scores)


def candidate_figures(
    smoother: Smoother, examples: Sequence[SmoothingExample], *, context_radius: float, candidate_radius: float
) -> PairFigures:
    """Metrics as in use: over the residues that are not predicted but within ``candidate_radius`` Å of a predicted one.

    Context is the mean of the *predicted* residues within ``context_radius`` Å (probability 0 without any), so that the errors
    of the residue model count.

    Raises
    ------
    S2PError
        If an example does not say what is predicted.
    """
    labels, scores = [], []
    for example in examples:
        if example.predicted is None:
            raise S2PError("figures in use need the predicted residues of every example")
        rows, *_ = candidates(example.ca_coord, example.predicted, example.embeddings, candidate_radius)
        labels.append(example.binding[rows])
        scores.append(_probabilities(smoother, example, np.flatnonzero(example.predicted), rows, context_radius))
    return _figures(labels, scores)


def _probabilities(
    smoother: Smoother, example: SmoothingExample, members: NDArray[np.int64], rows: NDArray[np.int64], radius: float
) -> NDArray[np.float32]:
    """(R,) of ``rows`` in the context of ``members``; 0 without one in reach."""
    out = np.zeros(len(rows), np.float32)
    if len(members) and len(rows):
        has, context, _ = neighbour_mean(rows, example.ca_coord, members, radius, example.embeddings)
        logits = smoother_logits(smoother, np.concatenate([example.embeddings[rows[has]], context], axis=1))
        out[has] = sigmoid(logits)
    return out


def _figures(labels: Sequence[NDArray[np.bool_]], scores: Sequence[NDArray[np.float32]]) -> PairFigures:
    y = np.concatenate(labels) if labels else np.zeros(0, bool)
    if not y.any():
        return PairFigures(len(y), 0.0, float("nan"), float("nan"))
    p = np.concatenate(scores)
    return PairFigures(len(y), float(y.mean()), auprc_trapezoid(y, p), best_mcc_threshold(y, p)[1])
