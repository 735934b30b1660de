"""The clusterings of CA atoms that the paper compares with its own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, MeanShift

from course.clusterings import METHODS, AlternativeConfig, cluster, merge_clusters
from s2p.errors import S2PError


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """30, 20 and 10 residues in three places, five far from all, and 40 that are not predicted; coordinates in Å."""
    draw = np.random.default_rng(seed)
    places = np.array([[0, 0, 0], [40, 0, 0], [0, 40, 0]])
    truth = np.repeat([0, 1, 2, -1, -2], [30, 20, 10, 5, 40])
    ca = draw.normal(0, 2.0, (len(truth), 3))
    ca[truth >= 0] += places[truth[truth >= 0]]
    ca[truth == -1] += np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [-200, 0, 0], [0, -200, 0]])
    embeddings = draw.normal(0, 0.1, (len(truth), 16))
    embeddings[np.arange(len(truth)), np.maximum(truth, 0)] += 5
    order = draw.permutation(len(truth))
    return ca[order].astype(np.float32), np.where(truth == -2, 0.2, 0.9)[order], embeddings[order], truth[order]


@pytest.mark.parametrize("method", METHODS)
def test_three_places_are_three_clusters_by_size(method: str) -> None:
    ca, p, embeddings, truth = blobs()
    p = np.where(truth == -1, 0.0, p)
    labels = cluster(method, ca, p, embeddings)
    assert labels.shape == (len(ca),)
    np.testing.assert_array_equal(labels, np.where(truth >= 0, truth, -1))


@pytest.mark.parametrize("method", ["dbscan", "hdbscan"])
def test_density_methods_leave_noise_out(method: str) -> None:
    ca, p, embeddings, truth = blobs()
    assert (cluster(method, ca, p, embeddings)[truth == -1] == -1).all()


@pytest.mark.parametrize("method", METHODS)
def test_same_labels_every_time(method: str) -> None:
    ca, p, embeddings, _ = blobs(1)
    ca = ca + np.random.default_rng(0).normal(0, 6, ca.shape)
    first = cluster(method, ca, p, embeddings)
    np.random.seed(3)  # noqa: NPY002 - the global state must not matter
    np.testing.assert_array_equal(first, cluster(method, ca, p, embeddings))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("merge", [None, 10.0])
def test_few_or_equal_residues(method: str, merge: float | None) -> None:
    config = AlternativeConfig(merge_distance=merge)
    for n in (0, 1, 2, 3):
        spread = np.arange(3.0 * n).reshape(n, 3)
        labels = cluster(method, spread, np.ones(n), np.ones((n, 4)), config)
        assert labels.shape == (n,)
        assert set(labels.tolist()) <= {-1, 0, 1, 2}
        assert (cluster(method, spread, np.zeros(n), np.ones((n, 4)), config) == -1).all()
    same = cluster(method, np.ones((12, 3)), np.ones(12), np.ones((12, 4)), config)
    assert same.tolist() == [0] * 12


@pytest.mark.parametrize("method", ["mean-shift", "bgmm", "pca-agglomerative"])
@pytest.mark.parametrize("n", [1, 2])
def test_methods_without_noise_label_every_predicted_residue(method: str, n: int) -> None:
    labels = cluster(method, np.arange(3.0 * n).reshape(n, 3), np.ones(n), np.ones((n, 4)))
    assert (labels >= 0).all()


@pytest.mark.parametrize("eps", [5.0, 7.0])
def test_dbscan_is_that_of_scikit_learn(eps: float) -> None:
    draw = np.random.default_rng(5)
    ca = draw.uniform(0, 30, (200, 3))
    ours = cluster("dbscan", ca, np.ones(200), config=AlternativeConfig(eps=eps))
    theirs = DBSCAN(eps=eps, min_samples=3).fit_predict(ca)
    assert len(set(zip(ours.tolist(), theirs.tolist(), strict=True))) == len(set(theirs.tolist()))
    np.testing.assert_array_equal(ours == -1, theirs == -1)


@pytest.mark.parametrize("bandwidth", [9.0, 12.0])
def test_mean_shift_is_that_of_scikit_learn(bandwidth: float) -> None:
    ca = np.random.default_rng(5).uniform(0, 40, (200, 3))
    ours = cluster("mean-shift", ca, np.ones(200), config=AlternativeConfig(bandwidth=bandwidth))
    theirs = MeanShift(bandwidth=bandwidth, bin_seeding=True).fit_predict(ca)
    assert len(set(zip(ours.tolist(), theirs.tolist(), strict=True))) == len(set(theirs.tolist()))


def test_mixture_may_have_more_than_nine_clusters() -> None:
    """Weights above a tenth of the total allow nine; above a tenth of the largest, any number (quirk 14)."""
    places = 25 * np.stack(np.meshgrid([0, 1, 2], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
    ca = np.repeat(places, 30, axis=0) + np.random.default_rng(0).normal(0, 3.0, (360, 3))
    labels = cluster("bgmm", ca, np.ones(360))
    assert np.bincount(labels).tolist() == [30] * 12
    published = cluster("bgmm", ca, np.ones(360), config=AlternativeConfig(weight_of="total"))
    assert published.max() + 1 < 10


def test_merging_follows_chains_and_leaves_noise_alone() -> None:
    """Centres 0, 8, 16 and 50 Å: the first three are one by neighbours; noise between them is no cluster (quirk 14)."""
    x = np.array([[0, 0, 0], [8, 0, 0], [16, 0, 0], [50, 0, 0], [4, 0, 0], [4, 0, 0]], float)
    labels = np.array([0, 1, 2, 3, -1, -1])
    assert merge_clusters(x, labels, 9.0).tolist() == [0, 0, 0, 1, -1, -1]
    assert merge_clusters(x, labels, 8.0).tolist() == [0, 1, 2, 3, -1, -1]  # closer than, not as close as
    assert merge_clusters(x, np.full(6, -1), 9.0).tolist() == [-1] * 6
    ca, p, _, truth = blobs()
    merged = cluster("dbscan", ca, p, config=AlternativeConfig(merge_distance=45.0))
    assert set(merged[truth >= 0].tolist()) == {0}
    assert (merged[truth < 0] == -1).all()


def test_wrong_use_is_a_sentence() -> None:
    with pytest.raises(S2PError, match="unknown clustering 'kmeans'; the methods are dbscan"):
        cluster("kmeans", np.zeros((3, 3)), np.ones(3))
    with pytest.raises(S2PError, match="needs embeddings"):
        cluster("pca-agglomerative", np.zeros((3, 3)), np.ones(3))
