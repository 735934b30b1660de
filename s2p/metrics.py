"""Measures of residue and pocket predictions. Distances in Å."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "average_precision",
    "best_mcc_threshold",
    "best_overlap",
    "dca",
    "dcc",
    "matthews",
    "pocket_fragmentation_index",
    "recall",
]


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision–recall curve by the trapezoid rule (the published residue AUPRC); NaN without positives."""
    from sklearn.metrics import auc, precision_recall_curve

    y = np.asarray(labels)
    if not y.any():
        return float("nan")
    precision, recall_values, _ = precision_recall_curve(y, np.asarray(scores))
    return float(auc(recall_values, precision))


def matthews(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Matthews correlation of two boolean arrays; 0 where a class is empty."""
    y, p = np.asarray(labels, bool), np.asarray(predicted, bool)
    tp, tn = float((y & p).sum()), float((~y & ~p).sum())
    fp, fn = float((~y & p).sum()), float((y & ~p).sum())
    bottom = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / bottom**0.5 if bottom else 0.0


def best_mcc_threshold(labels: ArrayLike, probabilities: ArrayLike) -> tuple[float, float]:
    """Threshold on a 0.01 grid with the highest MCC, and that MCC."""
    y, p = np.asarray(labels, bool), np.asarray(probabilities)
    grid = np.round(np.arange(0.01, 1.0, 0.01), 2)
    values = [matthews(y, p > t) for t in grid]
    k = int(np.argmax(values))
    return float(grid[k]), float(values[k])


def dcc(predicted_centers: ArrayLike, true_centers: ArrayLike) -> NDArray[np.float64]:
    """Distance from each true centre to the nearest predicted centre.

    Parameters
    ----------
    predicted_centers
        (P, 3), already cut to the ranks that count.
    true_centers
        (S, 3).

    Returns
    -------
    (S,) Å, infinite where nothing was predicted.
    """
    p, t = np.reshape(predicted_centers, (-1, 3)), np.reshape(true_centers, (-1, 3))
    if not len(p):
        return np.full(len(t), np.inf)
    return np.asarray(np.linalg.norm(t[:, None] - p[None], axis=2).min(axis=1))


def dca(predicted_centers: ArrayLike, ligand_coord: ArrayLike) -> NDArray[np.float64]:
    """Distance from each predicted centre to the closest heavy atom of a ligand, (P,) Å."""
    p, atoms = np.reshape(predicted_centers, (-1, 3)), np.reshape(ligand_coord, (-1, 3))
    return np.asarray(np.linalg.norm(p[:, None] - atoms[None], axis=2).min(axis=1))


def recall(distances: ArrayLike, cutoff: float) -> float:
    """Share of sites with a distance below ``cutoff`` (strict, as published); NaN without sites."""
    d = np.asarray(distances, float)
    return float((d < cutoff).mean()) if d.size else float("nan")


def _overlaps(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> NDArray[np.int64]:
    sets = [set(np.asarray(p).tolist()) for p in pockets]
    counts = [[len(set(np.asarray(site).tolist()) & s) for s in sets] for site in true_sites]
    return np.array(counts, dtype=np.int64).reshape(len(true_sites), len(pockets))


def pocket_fragmentation_index(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> float:
    """PFI (paper): predicted pockets per true site, over the sites that at least one pocket touches; 1 is perfect.

    Sites and pockets are lists of residue indices of one protein. NaN if no site is touched. PFI alone rewards one giant
    pocket: report it with the DCC recall.
    """
    touched = (_overlaps(true_sites, pockets) > 0).sum(axis=1)
    touched = touched[touched > 0]
    return float(touched.mean()) if len(touched) else float("nan")


def best_overlap(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Per true site the largest share of its residues that one pocket holds, (S,); 0 where none touches it."""
    counts = _overlaps(true_sites, pockets)
    size = np.array([len(set(np.asarray(s).tolist())) for s in true_sites], float)
    share: NDArray[np.float64] = counts.max(axis=1, initial=0) / np.maximum(size, 1)
    return share
