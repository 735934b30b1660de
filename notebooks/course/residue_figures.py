"""All measures of a residue prediction at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from s2p.evaluation.residues import auprc_trapezoid, average_precision, f1, matthews, roc_auc

__all__ = ["ResidueFigures", "residue_figures"]


@dataclass(frozen=True)
class ResidueFigures:
    """Residue measures over a protein or a pool of proteins."""

    n_residues: int
    prevalence: float
    """Share of binding residues: the AUPRC of guessing."""
    auprc: float
    """By the trapezoid rule, :func:`s2p.evaluation.residues.auprc_trapezoid`."""
    average_precision: float
    auc: float
    mcc: float
    f1: float
    weighted_f1: float
    """Of both classes, weighted by how many residues each has (reported by the paper); an empty class weighs nothing."""
    precision: float
    """NaN where nothing is predicted."""
    recall: float
    """NaN where nothing binds."""


def residue_figures(labels: ArrayLike, scores: ArrayLike, predicted: ArrayLike) -> ResidueFigures:
    """All residue measures.

    Parameters
    ----------
    labels, scores, predicted
        (N,) truth, score and decision of each residue.
    """
    y, p = np.asarray(labels, bool), np.asarray(predicted, bool)
    tp, fp, fn, tn = (float(x.sum()) for x in (y & p, ~y & p, y & ~p, ~y & ~p))
    n, nan = len(y), float("nan")
    return ResidueFigures(
        n,
        (tp + fn) / n if n else nan,
        auprc_trapezoid(labels, scores),
        average_precision(labels, scores),
        roc_auc(labels, scores),
        matthews(labels, predicted),
        f1(labels, predicted),
        (2 * tp * (tp + fn) / max(2 * tp + fp + fn, 1) + 2 * tn * (tn + fp) / max(2 * tn + fp + fn, 1)) / n if n else nan,
        tp / (tp + fp) if tp + fp else nan,
        tp / (tp + fn) if tp + fn else nan,
    )
