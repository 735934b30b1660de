"""A residue baseline without a language model: logistic regression on the letters around a residue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from s2p.datasets.labelled import LabelledChain

__all__ = ["WindowBaseline", "fit_window_baseline", "window_one_hot"]

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def window_one_hot(sequence: str, half_width: int = 7) -> sparse.csr_matrix:
    """(N, (2 half_width + 1) · 20) indicators of the letters at -half_width … +half_width; none beyond the ends or for X."""
    codes = np.array([LETTERS.find(letter) for letter in sequence])
    padded = np.concatenate([np.full(half_width, -1), codes, np.full(half_width, -1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half_width + 1)
    row, offset = np.nonzero(windows >= 0)
    column = offset * len(LETTERS) + windows[row, offset]
    shape = (len(sequence), windows.shape[1] * len(LETTERS))
    return sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape)


@dataclass(frozen=True, eq=False)
class WindowBaseline:
    """Weights of the regression."""

    half_width: int
    weights: NDArray[np.float64]
    """((2 half_width + 1) · 20,)."""
    intercept: float

    def logits(self, sequence: str) -> NDArray[np.float64]:
        """(N,)."""
        return np.asarray(window_one_hot(sequence, self.half_width) @ self.weights) + self.intercept


def fit_window_baseline(
    chains: Sequence[LabelledChain], *, half_width: int = 7, epochs: int = 5, seed: int = 0
) -> WindowBaseline:
    """Fit by stochastic gradient descent on all residues of ``chains``."""
    from sklearn.linear_model import SGDClassifier

    x = sparse.vstack([window_one_hot(c.sequence, half_width) for c in chains], format="csr")
    y = np.concatenate([c.labels for c in chains])
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=epochs, tol=None, random_state=seed, average=True).fit(x, y)
    return WindowBaseline(half_width, model.coef_[0].astype(float), float(model.intercept_[0]))
