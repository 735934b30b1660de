"""Who is near whom, and sums over them: against brute force, and smooth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from course.surface_training import shell_sums_back
from s2p.surface.graph import neighbours, shell_sums


def cloud(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * 6


@pytest.mark.parametrize("others", [None, cloud(70, 1)])
def test_neighbours_are_those_of_brute_force(others: np.ndarray | None) -> None:
    points = cloud(50)
    graph = neighbours(points, others, 5.0)
    senders = points if others is None else others
    distance = cdist(points, senders)
    near = distance < 5.0
    if others is None:
        np.fill_diagonal(near, False)
    receiver = np.repeat(np.arange(50), np.diff(graph.start))
    assert sorted(zip(receiver.tolist(), graph.sender.tolist(), strict=True)) == list(
        zip(*map(list, np.nonzero(near)), strict=True)
    )
    np.testing.assert_allclose(graph.distance, distance[receiver, graph.sender], atol=1e-5)
    arm = (senders[graph.sender] - points[receiver]) / graph.distance[:, None]
    np.testing.assert_allclose(graph.direction, arm, atol=1e-5)


def test_one_sender_at_the_same_place_has_no_direction() -> None:
    graph = neighbours(np.zeros((1, 3)), np.zeros((1, 3)), 4.0)
    assert graph.distance.tolist() == [0] and graph.direction.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("n", "others"), [(0, None), (3, np.zeros((0, 3))), (1, None)])
def test_nobody_is_near(n: int, others: np.ndarray | None) -> None:
    graph = neighbours(cloud(n), others, 4.0)
    sums, turned = shell_sums(graph, np.ones((n if others is None else 0, 2)), np.ones((n if others is None else 0, 1)), 3)
    assert sums.shape == (n, 3, 2) and turned.shape == (n, 3, 3, 1)
    assert not sums.any()


def brute(
    points: np.ndarray, values: np.ndarray, vectors: np.ndarray, reach: float, shells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hat functions of the distance, one after the other."""
    distance, knots = cdist(points, points), np.arange(shells) * reach / shells
    arms = (points[None] - points[:, None]) / np.maximum(distance, 1e-9)[..., None]
    hats = np.maximum(1 - np.abs(distance[..., None] - knots) * shells / reach, 0)
    hats[distance >= reach] = 0
    hats[np.eye(len(points), dtype=bool)] = 0
    return np.einsum("rsk,sc->rkc", hats, values), np.einsum("rsk,rsa,sv->rkav", hats, arms, vectors)


def test_sums_are_those_of_hat_functions() -> None:
    rng, points = np.random.default_rng(2), cloud(40)
    values, vectors = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=(40, 2)).astype(np.float32)
    graph = neighbours(points, None, 7.0)
    found, wanted = shell_sums(graph, values, vectors, 4), brute(points, values, vectors, 7.0, 4)
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-4)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-4)
    some = shell_sums(graph, values, vectors, 4, slice(10, 17))
    np.testing.assert_array_equal(some[0], found[0][10:17])
    np.testing.assert_array_equal(some[1], found[1][10:17])


def test_gradients_are_the_transpose() -> None:
    """``<S v, g> = <v, S' g>`` for random v and g."""
    rng, graph = np.random.default_rng(3), neighbours(cloud(30), cloud(20, 1), 9.0)
    values, vectors = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
    a, b = rng.normal(size=(30, 5, 3)).astype(np.float32), rng.normal(size=(30, 5, 3, 2)).astype(np.float32)
    sums, turned = shell_sums(graph, values, vectors, 5)
    back = shell_sums_back(graph, a, b, 20)
    assert (sums * a).sum() == pytest.approx((values * back[0]).sum(), abs=1e-2)
    assert (turned * b).sum() == pytest.approx((vectors * back[1]).sum(), abs=1e-2)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 6.5), st.sampled_from([1, 2, 5]))
def test_a_sum_changes_little_by_little(distance: float, shells: int) -> None:
    """Whatever it passes, the reach included, a neighbour that moves by 0.001 Å changes a sum by no more than the slope."""
    place = np.array([[0.0, 0, 0], [distance, 0, 0]])
    ones = np.ones((2, 1)), np.zeros((2, 1))
    moved = (place + np.array([[0, 0, 0], [step, 0, 0]]) for step in (0.0, 1e-3))
    ends = [shell_sums(neighbours(x, None, 6.0), *ones, shells)[0][0, :, 0] for x in moved]
    assert np.abs(ends[1] - ends[0]).max() <= 1.1e-3 * shells / 6.0 + 1e-6
