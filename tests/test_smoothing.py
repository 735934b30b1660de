"""Candidates, pairs and training of the smoother."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.config import SmootherTrainConfig
from s2p.errors import S2PError
from s2p.smoothing import Smoother, SmoothingExample, candidates, smooth, smoother_logits, train_smoother, training_pairs


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


def test_dropout_is_off_even_in_train_mode() -> None:
    torch.manual_seed(0)
    smoother = Smoother(4, 16, 0.5).train()
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    np.testing.assert_array_equal(smoother_logits(smoother, x), smoother_logits(smoother, x))


def test_all_candidates_see_the_same_positives() -> None:
    """A chain of residues 10 Å apart with a classifier that always says yes: only the direct neighbours are added."""
    smoother = Smoother(2, 4, 0.0)
    with torch.no_grad():
        for parameter in smoother.parameters():
            parameter.zero_()
        list(smoother.parameters())[-1].fill_(5.0)
    ca = np.stack([np.arange(6) * 10.0, np.zeros(6), np.zeros(6)], axis=1).astype(np.float32)
    added = smooth(smoother, ca, np.array([True] + [False] * 5), np.ones((6, 2), np.float32))
    assert np.flatnonzero(added).tolist() == [1]


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_smoothing_takes_the_shortcut_to_the_same_logits(share: float) -> None:
    """Applying half of the first layer to the predicted residues, then averaging, is averaging, then applying it."""
    torch.manual_seed(1)
    smoother = Smoother(8, 32, 0.5).train()
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
    smoother = Smoother(2, 4)
    ca, embeddings = np.zeros((3, 3), np.float32), np.ones((3, 2), np.float32)
    for value in (False, True):
        assert not smooth(smoother, ca, np.full(3, value), embeddings).any()


def example() -> SmoothingExample:
    ca = np.array([[0, 0, 0], [5, 0, 0], [9, 0, 0], [18, 0, 0], [60, 0, 0]], np.float32)
    return SmoothingExample(np.eye(5, dtype=np.float32), ca, (np.array([0, 1]),))


def test_training_pairs_by_hand() -> None:
    """Binding 0 and 1; residue 2 is 4 and 9 Å away (negative), residue 3 is 13 Å away (neither), residue 4 far."""
    x, y = training_pairs(example(), SmootherTrainConfig())
    assert y.tolist() == [1, 1, 0]
    np.testing.assert_allclose(x[0], [1, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(x[1], [0, 1, 0, 0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(x[2], [0, 0, 1, 0, 0, 0.5, 0.5, 0, 0, 0])


def test_training_pairs_with_the_published_leak() -> None:
    x, y = training_pairs(example(), SmootherTrainConfig(include_self=True))
    assert y.tolist() == [1, 1, 0]
    np.testing.assert_allclose(x[0, 5:], [0.5, 0.5, 0, 0, 0])


def test_training_learns_a_separable_rule_and_repeats_itself() -> None:
    draw = np.random.default_rng(0)
    examples = []
    for _ in range(12):
        ca = draw.uniform(0, 25, (60, 3)).astype(np.float32)
        site = np.flatnonzero(np.linalg.norm(ca - ca[0], axis=1) < 8)
        embeddings = draw.normal(size=(60, 6)).astype(np.float32)
        embeddings[site, 0] += 3
        examples.append(SmoothingExample(embeddings, ca, (site,)))
    config = SmootherTrainConfig(width=16, max_epochs=40, lr=3e-3, batch_size=64)
    first, history = train_smoother(examples[:9], examples[9:], config)
    second, again = train_smoother(examples[:9], examples[9:], config)
    prevalence = np.mean(np.concatenate([training_pairs(e, config)[1] for e in examples[9:]]))
    assert max(history) > 0.85 > prevalence
    assert history == again
    x = np.ones((3, 12), np.float32)
    np.testing.assert_array_equal(smoother_logits(first, x), smoother_logits(second, x))


def test_training_without_binding_residues_is_refused() -> None:
    empty = SmoothingExample(np.ones((4, 2), np.float32), np.zeros((4, 3), np.float32), ())
    with pytest.raises(S2PError, match="binding residues"):
        train_smoother([empty], [empty])
