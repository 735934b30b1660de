"""Candidates of the smoother, against plain loops, and what it adds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.errors import WeightsError
from s2p.residues import Smoother, candidates, smooth, smoother_logits
from s2p.training.smoother import SmootherModule


def by_loops(ca, positive, embeddings, radius):
    rows = []
    for i in range(len(ca)):
        near = [j for j in range(len(ca)) if positive[j] and np.linalg.norm(ca[i].astype(float) - ca[j].astype(float)) < radius]
        if not positive[i] and near:
            rows.append((i, np.concatenate([embeddings[i], embeddings[near].mean(axis=0)]), len(near)))
    return rows


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_candidates_equal_a_loop(n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    ca = draw.uniform(-20, 20, (n, 3)).astype(np.float32)
    positive = draw.random(n) < 0.3
    embeddings = draw.normal(size=(n, 5)).astype(np.float32)
    index, x, count = candidates(ca, positive, embeddings, 15.0)
    expected = by_loops(ca, positive, embeddings, 15.0)
    assert index.tolist() == [i for i, *_ in expected]
    assert count.tolist() == [c for *_, c in expected]
    np.testing.assert_allclose(x, np.array([v for _, v, _ in expected]).reshape(-1, 10), atol=1e-5)


def test_radius_is_strict() -> None:
    ca = np.array([[0, 0, 0], [15, 0, 0], [14.9, 0, 0]], np.float32)
    index, *_ = candidates(ca, np.array([True, False, False]), np.ones((3, 2), np.float32), 15.0)
    assert index.tolist() == [2]


@pytest.mark.parametrize("n", [0, 1, 50, 5000])
def test_a_smoother_does_what_the_module_learned(n: int) -> None:
    """Without dropout, whatever the mode of the module."""
    torch.manual_seed(0)
    module = SmootherModule(4, 16, 0.5).train()
    x = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    found = smoother_logits(module.learned(), x)
    with torch.no_grad():
        np.testing.assert_allclose(found, module.eval()(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_arrays_of_no_smoother_are_told() -> None:
    arrays = dict(SmootherModule(4, 16).learned().arrays)
    with pytest.raises(WeightsError, match=r"the smoother is damaged \('layers.3.bias'\)"):
        Smoother({key: value for key, value in arrays.items() if key != "layers.3.bias"})
    for changed in ({"layers.6.weight": np.zeros((2, 16))}, {"layers.9.bias": np.zeros(1)}):
        with pytest.raises(WeightsError, match="the smoother is damaged"):
            Smoother(arrays | changed)


def test_all_candidates_see_the_same_positives() -> None:
    """A chain of residues 10 Å apart with a classifier that always says yes: only the direct neighbours are added."""
    smoother = SmootherModule(2, 4).learned()
    for array in smoother.arrays.values():
        array[:] = 0
    smoother.arrays["layers.6.bias"][:] = 5
    ca = np.stack([np.arange(6) * 10.0, np.zeros(6), np.zeros(6)], axis=1).astype(np.float32)
    added = smooth(smoother, ca, np.array([True] + [False] * 5), np.ones((6, 2), np.float32))
    assert np.flatnonzero(added).tolist() == [1]


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_smoothing_takes_the_shortcut_to_the_same_logits(share: float) -> None:
    """Applying half of the first layer to the predicted residues, then averaging, is averaging, then applying it."""
    torch.manual_seed(1)
    smoother = SmootherModule(8, 32).learned()
    draw = np.random.default_rng(0)
    ca = draw.uniform(0, 60, (400, 3)).astype(np.float32)
    positive = draw.random(400) < share
    embeddings = draw.normal(size=(400, 8)).astype(np.float32)
    index, x, _ = candidates(ca, positive, embeddings, 15.0)
    logits = smoother_logits(smoother, x)
    for threshold in np.quantile(1 / (1 + np.exp(-logits)), [0.1, 0.5, 0.9]):
        close = np.abs(logits - np.log(threshold / (1 - threshold))) < 1e-5
        added = smooth(smoother, ca, positive, embeddings, threshold=float(threshold))
        expected = np.isin(np.arange(400), index[logits > np.log(threshold / (1 - threshold))])
        unsure = np.isin(np.arange(400), index[close])
        assert close.sum() < 5
        np.testing.assert_array_equal(added[~unsure], expected[~unsure])


def test_nothing_or_everything_positive_adds_nothing() -> None:
    smoother = SmootherModule(2, 4).learned()
    ca, embeddings = np.zeros((3, 3), np.float32), np.ones((3, 2), np.float32)
    for value in (False, True):
        assert not smooth(smoother, ca, np.full(3, value), embeddings).any()
