"""Mean shift against scikit-learn, votes and ranking by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MeanShift

from s2p.clustering import mean_shift, rank_clusters, vote


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def cloud(kind: str, n: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    if kind == "blob":
        return draw.normal(0, 12, (n, 3))
    if kind == "shell":
        x = draw.normal(size=(n, 3))
        return 20 * x / np.linalg.norm(x, axis=1, keepdims=True)
    if kind == "line":
        return np.outer(draw.uniform(0, 80, n), [1.0, 0.3, -0.2])
    if kind == "far":
        return draw.normal(0, 3, (n, 3)) + draw.choice([0.0, 1e4, -2e4], (n, 1))
    return np.repeat(draw.normal(0, 15, (max(1, n // 4), 3)), 4, axis=0)[:n]


@pytest.mark.parametrize("kind", ["blob", "shell", "line", "far", "duplicates"])
@pytest.mark.parametrize("n", [1, 2, 7, 60, 400, 1500])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_of_scikit_learn(kind: str, n: int, seed: int) -> None:
    x = cloud(kind, n, seed)
    ours = mean_shift(x, 9.0)
    theirs = MeanShift(bandwidth=9.0, bin_seeding=True, cluster_all=True).fit(x)
    np.testing.assert_array_equal(ours.labels, theirs.labels_)
    np.testing.assert_allclose(ours.centers, theirs.cluster_centers_, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(0, 2**32 - 1), st.sampled_from([4.0, 9.0, 15.0]))
def test_labels_of_scikit_learn_random(n: int, seed: int, bandwidth: float) -> None:
    draw = np.random.default_rng(seed)
    x = draw.normal(0, draw.uniform(2, 25), (n, 3))
    theirs = MeanShift(bandwidth=bandwidth, bin_seeding=True, cluster_all=True).fit(x)
    np.testing.assert_array_equal(mean_shift(x, bandwidth).labels, theirs.labels_)


def test_order_of_points_does_not_matter() -> None:
    x = cloud("blob", 500, 3)
    order = np.random.default_rng(0).permutation(len(x))
    assert same_partition(mean_shift(x).labels[order], mean_shift(x[order]).labels)


def test_no_points() -> None:
    result = mean_shift(np.zeros((0, 3)))
    assert len(result.labels) == 0
    assert result.centers.shape == (0, 3)


def test_vote_takes_the_majority_and_the_lowest_label_of_a_tie() -> None:
    member = np.array([3, 3, 3, 5, 5, 8])
    labels = np.array([2, 1, 1, 4, 0, 7])
    who, what = vote(member, labels)
    assert who.tolist() == [3, 5, 8]
    assert what.tolist() == [1, 0, 7]


def test_rank_clusters_by_hand() -> None:
    """Residue 0 owns atoms 0-2, residue 1 atom 3, residue 2 atom 4; two clusters, the second scores higher."""
    coord = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [10, 0, 0], [12, 0, 0]], np.float32)
    residue = np.array([0, 0, 0, 1, 2], np.int32)
    probabilities = np.array([0.5, 0.9, 0.6], np.float32)
    labels = np.array([0, 0, 0, 1, 1])
    found = rank_clusters(coord.astype(float), labels, np.arange(5), labels, coord, residue, probabilities)
    assert [c.residues.tolist() for c in found] == [[1, 2], [0]]
    assert [c.score for c in found] == pytest.approx([0.75, 0.5])
    np.testing.assert_allclose(found[0].center, [11, 0, 0])
    assert found[1].atoms.tolist() == [0, 1, 2]


def test_equal_scores_are_ranked_by_atoms_then_label() -> None:
    coord = np.zeros((4, 3), np.float32)
    residue = np.array([0, 1, 1, 2], np.int32)
    labels = np.array([0, 1, 1, 2])
    found = rank_clusters(coord.astype(float), labels, np.arange(4), labels, coord, residue, np.full(3, 0.8, np.float32))
    assert [c.residues.tolist() for c in found] == [[1], [0], [2]]


def test_a_cluster_whose_atoms_are_outvoted_is_dropped() -> None:
    """The residue goes to label 0 with two atoms of three; label 1 keeps an atom but no residue (quirk 8)."""
    labels = np.array([0, 0, 1])
    found = rank_clusters(
        np.zeros((3, 3)),
        labels,
        np.arange(3),
        labels,
        np.zeros((3, 3), np.float32),
        np.zeros(3, np.int32),
        np.ones(1, np.float32),
    )
    assert [c.residues.tolist() for c in found] == [[0]]
    assert found[0].atoms.tolist() == [0, 1]
