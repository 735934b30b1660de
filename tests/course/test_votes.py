"""What the pictures of votes show: shells against the sums of the network, densities against sums by hand."""

from __future__ import annotations

import numpy as np
from matplotlib.quiver import Quiver

from course.charts import small_png
from course.votes import ARROWS, Plane, Votes, hats, shell_figure, vote_density, vote_figure
from s2p.surface.graph import neighbours, shell_sums

DRAW = np.random.default_rng(0)
ATOMS = DRAW.uniform(-8, 8, size=(80, 3))


def test_hats_weigh_as_the_network_does() -> None:
    graph = neighbours(ATOMS, None, 6.0)
    values = DRAW.normal(size=(80, 2)).astype(np.float32)
    sums, _ = shell_sums(graph, values, values, 8)
    own = slice(graph.start[5], graph.start[6])
    by_hand = hats(graph.distance[own], 6.0, 8).T @ values[graph.sender[own]]
    np.testing.assert_allclose(sums[5], by_hand, atol=1e-5)


def test_hats_add_up_to_one_but_in_the_last_shell() -> None:
    total = hats(np.linspace(0, 6, 97), 6.0, 8).sum(axis=1)
    np.testing.assert_allclose(total[:85], 1)
    assert total[-1] == 0 and (np.diff(total[84:]) < 0).all()


def test_density_is_a_sum_of_bumps() -> None:
    votes, weights, places = DRAW.normal(size=(40, 3)), DRAW.uniform(size=40), DRAW.normal(size=(7, 3)) * 3
    weights[:5] = 0
    d2 = ((places[:, None] - votes[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(vote_density(places, votes, weights, 2.5), np.maximum(1 - d2 / 6.25, 0) ** 3 @ weights)


def test_a_plane_holds_the_longest_extents() -> None:
    points = DRAW.normal(size=(50, 3)) * [9.0, 4.0, 1.0]
    flat = Plane.through(points).flat(points)
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-9)
    assert (np.diff(flat.std(axis=0)) < 0).all()


def test_the_shells_are_drawn() -> None:
    graph = neighbours(ATOMS, None, 6.0)
    figure = shell_figure(graph, 5, ATOMS, np.full(80, "C"), 8, "title")
    space, curves = figure.axes
    assert len(space.texts) == graph.start[6] - graph.start[5]
    assert len(curves.lines) == 9
    small_png(figure)


def test_the_votes_are_drawn() -> None:
    points = DRAW.uniform(-15, 15, size=(900, 3))
    ligand = np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 1.5, 0]])
    centers = [np.zeros(3), np.array([100.0, 0, 0])]
    votes = Votes(points, points * 0.2, DRAW.uniform(size=900), 3.0, centers)
    figure = vote_figure(votes, Plane.through(ligand), ligand)
    (arrows,) = (c for c in figure.axes[0].collections if isinstance(c, Quiver))
    assert arrows.N == ARROWS
    assert [text.get_text() for text in figure.axes[1].texts] == ["1"]  # the other lies outside
    small_png(figure)
