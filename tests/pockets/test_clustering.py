"""Mean shift against scikit-learn, votes and ranking by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MeanShift

from s2p.pockets.clustering import mean_shift, vote


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


KINDS = ("blob", "shell", "line", "far", "duplicates")


def assert_same_as_scikit_learn(x: np.ndarray, bandwidth: float) -> None:
    ours = mean_shift(x, bandwidth)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Binning data failed")  # it then starts from the points, and so do we
        theirs = MeanShift(bandwidth=bandwidth, bin_seeding=True, cluster_all=True).fit(x)
    np.testing.assert_array_equal(ours.labels, theirs.labels_)
    np.testing.assert_allclose(ours.centers, theirs.cluster_centers_, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 7, 60, 400, 1500])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_of_scikit_learn(kind: str, n: int, seed: int) -> None:
    assert_same_as_scikit_learn(cloud(kind, n, seed), 9.0)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_scikit_learn_on_forty_clouds(kind: str) -> None:
    """Two hundred clouds in all, of 1 to 500 points, bandwidths of the paper, anywhere in space, on a grid or not."""
    draw = np.random.default_rng(KINDS.index(kind))
    for seed in range(40):
        x = cloud(kind, int(np.exp(draw.uniform(0, np.log(500)))), seed + 100) + draw.normal(0, 100, 3)
        if seed % 4 == 0:
            x = np.round(x)  # distances equal to the bandwidth, equal points, equal counts
        assert_same_as_scikit_learn(x, float(draw.choice([6.0, 7.0, 9.0, 12.0, 15.0])))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:])
def test_labels_of_scikit_learn_on_twenty_thousand_points(kind: str) -> None:
    assert_same_as_scikit_learn(cloud(kind, 20_000, 0) * (0.6 if kind == "duplicates" else 1.0), 9.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(0, 2**32 - 1), st.sampled_from([4.0, 9.0, 15.0]))
def test_labels_of_scikit_learn_random(n: int, seed: int, bandwidth: float) -> None:
    draw = np.random.default_rng(seed)
    x = draw.normal(0, draw.uniform(2, 25), (n, 3))
    assert_same_as_scikit_learn(x, bandwidth)


def test_order_of_points_does_not_matter() -> None:
    x = cloud("blob", 500, 3)
    order = np.random.default_rng(0).permutation(len(x))
    assert same_partition(mean_shift(x).labels[order], mean_shift(x[order]).labels)


def test_points_as_seeds_are_those_of_scikit_learn_and_free_of_translation() -> None:
    x = cloud("blob", 400, 5)
    ours = mean_shift(x, seeding="points")
    np.testing.assert_array_equal(ours.labels, MeanShift(bandwidth=9.0).fit(x).labels_)
    moved = mean_shift(x + np.array([3.3, -4.1, 2.7]), seeding="points")
    np.testing.assert_array_equal(ours.labels, moved.labels)
    np.testing.assert_allclose(ours.centers + np.array([3.3, -4.1, 2.7]), moved.centers, atol=1e-6)


def test_one_point_and_equal_points() -> None:
    for n in (1, 2, 50):
        result = mean_shift(np.full((n, 3), 4.2))
        assert result.labels.tolist() == [0] * n
        np.testing.assert_allclose(result.centers, np.full((1, 3), 4.2))


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
