"""Mean shift against scikit-learn, votes and ranking by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MeanShift

from s2p.pockets.clustering import SASPocketClusterer, mean_shift, rank_clusters, vote


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


def assert_same_as_scikit_learn(x: np.ndarray, bandwidth: float, n_jobs: int = 1) -> None:
    ours = mean_shift(x, bandwidth, n_jobs=n_jobs)
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
        assert_same_as_scikit_learn(x, float(draw.choice([6.0, 7.0, 9.0, 12.0, 15.0])), n_jobs=1 + seed % 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:])
def test_labels_of_scikit_learn_on_twenty_thousand_points(kind: str) -> None:
    assert_same_as_scikit_learn(cloud(kind, 20_000, 0) * (0.6 if kind == "duplicates" else 1.0), 9.0, n_jobs=2)


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


@pytest.mark.parametrize("seeding", ["bins", "points"])
def test_threads_change_nothing(seeding: str) -> None:
    x = cloud("blob", 3000, 0) * 3
    one, two = (mean_shift(x, seeding=seeding, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.centers, two.centers)


def test_points_as_seeds_are_those_of_scikit_learn_and_free_of_translation() -> None:
    x = cloud("blob", 400, 5)
    ours = mean_shift(x, seeding="points")
    np.testing.assert_array_equal(ours.labels, MeanShift(bandwidth=9.0).fit(x).labels_)
    moved = mean_shift(x + np.array([3.3, -4.1, 2.7]), seeding="points")
    np.testing.assert_array_equal(ours.labels, moved.labels)
    np.testing.assert_allclose(ours.centers + np.array([3.3, -4.1, 2.7]), moved.centers, atol=1e-6)


def test_estimator() -> None:
    x = cloud("blob", 300, 1)
    owner = np.repeat(np.arange(60) * 2, 5)
    fitted = SASPocketClusterer(bandwidth=9.0).fit(x, owner)
    result = mean_shift(x, 9.0)
    np.testing.assert_array_equal(fitted.labels_, result.labels)
    np.testing.assert_array_equal(fitted.centers_, result.centers)
    np.testing.assert_array_equal(fitted.fit_predict(x), result.labels)
    atoms, labels = vote(owner, result.labels)
    np.testing.assert_array_equal(fitted.atoms_, atoms)
    np.testing.assert_array_equal(fitted.atom_labels_, labels)
    assert not hasattr(SASPocketClusterer().fit(x), "atom_labels_")


def test_estimator_follows_the_protocol_of_scikit_learn() -> None:
    from sklearn.base import clone

    estimator = SASPocketClusterer(bandwidth=6.0, n_jobs=2)
    assert estimator.get_params() == {"bandwidth": 6.0, "max_iterations": 300, "seeding": "bins", "n_jobs": 2}
    copy = clone(estimator.fit(cloud("blob", 50, 0)))
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "labels_")
    assert estimator.set_params(bandwidth=7.0) is estimator
    assert repr(estimator) == "SASPocketClusterer(bandwidth=7.0, max_iterations=300, seeding='bins', n_jobs=2)"
    with pytest.raises(ValueError, match="no parameter 'radius'; the parameters are bandwidth"):
        estimator.set_params(radius=3)
    with pytest.raises(TypeError):
        SASPocketClusterer(9.0)


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
