"""Metrics of residue predictions: scores compared with labels, and sets of residues compared with each other.

Average precision and AUC are scikit-learn's, with our rules for undefined values. MCC and F1 are computed here: the results are
the same, but hundreds of times faster, which searches for a threshold and bootstraps need.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "auprc_trapezoid",
    "average_precision",
    "best_mcc_threshold",
    "best_threshold",
    "f1",
    "matthews",
    "overlap_figures",
    "roc_auc",
]


def auprc_trapezoid(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision–recall curve, joined by straight lines: the AUPRC the paper reports.

    Parameters
    ----------
    labels, scores
        (N,) 0/1 and any numbers, higher for binding. Equal scores are one point of the curve.

    Returns
    -------
    NaN without positives.

    Notes
    -----
    No threshold gives the values on the straight lines between points of this curve, so the area can exceed
    :func:`average_precision`, above all if many scores are equal. State which of the two is reported.
    """
    y, s = np.asarray(labels, bool), np.asarray(scores)
    if not y.any():
        return float("nan")
    order = np.argsort(-s, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(s[order]) != 0, True])
    found = np.cumsum(y[order])[ends]
    recall, precision = found / y.sum(), found / (ends + 1)
    # The curve starts at recall 0 and, by convention, precision 1.
    return float((np.diff(recall, prepend=0.0) * (precision + np.r_[1.0, precision[:-1]]) / 2).sum())


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Precision at every threshold, weighted by the recall it adds (steps, no lines); NaN without positives."""
    from sklearn.metrics import average_precision_score  # a large import, not needed by the other metrics

    y = np.asarray(labels, bool)
    return float(average_precision_score(y, np.asarray(scores))) if y.any() else float("nan")


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Probability that a binding residue scores higher than another one (ties count half); NaN if a class is empty."""
    from sklearn.metrics import roc_auc_score

    y = np.asarray(labels, bool)
    return float(roc_auc_score(y, np.asarray(scores))) if y.any() and not y.all() else float("nan")


def _confusion(labels: ArrayLike, predicted: ArrayLike) -> tuple[float, float, float, float]:
    """True positives, false positives, false negatives, true negatives."""
    y, p = np.asarray(labels, bool), np.asarray(predicted, bool)
    return float((y & p).sum()), float((~y & p).sum()), float((y & ~p).sum()), float((~y & ~p).sum())


def matthews(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Matthews correlation of two boolean arrays (N,); 0 if a class is empty in either."""
    tp, fp, fn, tn = _confusion(labels, predicted)
    bottom = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / bottom**0.5 if bottom else 0.0


def f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """2 TP / (2 TP + FP + FN) of the binding class; NaN if nothing binds and nothing is predicted."""
    tp, fp, fn, _ = _confusion(labels, predicted)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")


def best_threshold(
    labels: ArrayLike, probabilities: ArrayLike, measure: Callable[[ArrayLike, ArrayLike], float]
) -> tuple[float, float]:
    """Threshold on a 0.01 grid with the highest ``measure`` (the lowest such; NaN counts as 0), and that value."""
    y, p = np.asarray(labels, bool), np.asarray(probabilities)
    grid = np.round(np.arange(0.01, 1.0, 0.01), 2)
    values = np.nan_to_num([measure(y, p > t) for t in grid])
    k = int(np.argmax(values))
    return float(grid[k]), float(values[k])


def best_mcc_threshold(labels: ArrayLike, probabilities: ArrayLike) -> tuple[float, float]:
    """Threshold on a 0.01 grid with the highest MCC (the lowest such), and that MCC."""
    return best_threshold(labels, probabilities, matthews)


def overlap_figures(true: ArrayLike, predicted: ArrayLike) -> tuple[float, float, float]:
    """Coverage, Dice and IoU of two sets of residue indices, such as those of all sites and of all pockets of a protein.

    |true ∩ predicted| over |true|, over the mean of |true| and |predicted|, and over |true ∪ predicted|; NaN where that is 0.
    """
    a, b = (set(np.asarray(x, np.int64).tolist()) for x in (true, predicted))
    shared, nan = len(a & b), float("nan")
    return (
        shared / len(a) if a else nan,
        2 * shared / (len(a) + len(b)) if a or b else nan,
        shared / len(a | b) if a or b else nan,
    )
