"""The letter-window baseline."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recipes.window_baseline import LETTERS, fit_window_baseline, window_one_hot
from s2p.datasets.labelled import LabelledChain


def test_windows_by_hand():
    x = window_one_hot("ACX", half_width=1).toarray().reshape(3, 3, 20)
    letters = [["".join(LETTERS[k] for k in np.flatnonzero(cell)) for cell in row] for row in x]
    assert letters == [["", "A", "C"], ["A", "C", ""], ["C", "", ""]]


@pytest.mark.parametrize("length", [1, 5, 40])
def test_shape(length):
    assert window_one_hot("W" * length).shape == (length, 15 * 20)


def test_learns_a_motif():
    rng = np.random.default_rng(0)

    def chain(k: int) -> LabelledChain:
        letters = rng.choice(list("ADEFGIKLMNPQRSTVY"), 200)
        for at in rng.choice(np.arange(2, 198, 4), 8, replace=False):
            letters[at - 1 : at + 2] = list("WHC")
        sequence = "".join(letters)
        labels = np.zeros(200, np.uint8)
        labels[[i for i in range(200) if sequence[i] == "H"]] = 1
        return LabelledChain(str(k), sequence, labels)

    model = fit_window_baseline([chain(k) for k in range(20)])
    new = chain(99)
    logits = model.logits(new.sequence)
    assert logits[new.labels == 1].min() > logits[new.labels == 0].max()
