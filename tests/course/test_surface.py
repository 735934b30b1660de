"""What the pictures of surface points hold, and that they can be kept in a notebook."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from PIL import Image

from course.record import picture, small_png
from course.surface import cluster_panels, exposure_figure, flat_view, mean_shift_figure, spread_figure
from s2p.output.palette import OUTSIDE, POCKETS

DRAW = np.random.default_rng(0)
CLOUD = DRAW.normal(size=(60, 3)) * [10.0, 4.0, 1.0]


def test_flat_view_looks_along_the_shortest_extent() -> None:
    view = flat_view(CLOUD)
    np.testing.assert_allclose(view.T @ view, np.eye(2), atol=1e-12)
    assert np.abs(view).argmax(axis=0).tolist() == [0, 1]
    flat = CLOUD @ view
    assert (np.linalg.norm(flat[1:] - flat[:-1], axis=1) <= np.linalg.norm(CLOUD[1:] - CLOUD[:-1], axis=1) + 1e-9).all()


def test_flat_view_has_a_sign_for_good() -> None:
    np.testing.assert_allclose(flat_view(CLOUD), flat_view(2 * CLOUD.mean(axis=0) - CLOUD), atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.array([[0.0, 0, 0], [1, 0, 0]])])
def test_flat_view_of_few_points(points: np.ndarray) -> None:
    assert np.isfinite(points @ flat_view(points)).all()


def test_exposure_counts_points() -> None:
    masks = [np.array([True, False, True]), np.array([False, False, False])]
    figure = exposure_figure([CLOUD[:3], CLOUD[3:6]], masks, ["CA", "CB"], "title")
    space, bars = figure.axes
    assert [text.get_text() for text in space.get_legend().get_texts()] == ["buried (4)", "exposed (2)"]
    assert [text.get_text() for text in bars.texts] == ["2", "0"]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["CA", "CB"]
    small_png(figure)


def test_mean_shift_figure_draws_every_path_and_window() -> None:
    paths = [CLOUD[:3], CLOUD[5:10]]
    figure = mean_shift_figure(CLOUD, paths, CLOUD[:2], 4.0)
    (ax,) = figure.axes
    assert [len(line.get_xdata()) for line in ax.lines] == [3, 5]
    assert [circle.get_radius() for circle in ax.patches] == [4.0, 4.0]
    assert len(ax.get_legend().get_texts()) == 5
    ends = np.array([ax.lines[0].get_xdata()[0], ax.lines[0].get_ydata()[0]])
    np.testing.assert_allclose(ends, (CLOUD[0] - CLOUD.mean(axis=0)) @ flat_view(CLOUD))


def test_cluster_panels() -> None:
    labels = np.repeat([0, 1, -1], 20)
    ligand = np.array([[0.0, 0, 0], [1.5, 0, 0], [9, 0, 0]])  # one bond
    figure = cluster_panels(CLOUD, {"one": labels, "none": np.full(60, -1)}, ligand)
    first, second = figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("one", "none")
    colors = [to_hex(c).upper() for c in first.collections[0].get_facecolors()]
    assert colors == [POCKETS[0]] * 20 + [POCKETS[1]] * 20 + [OUTSIDE.upper()] * 20
    assert [text.get_text() for text in first.texts] == ["1", "2", "10 Å"]
    assert second.texts == [] or not len(second.texts)
    (bonds,) = (c for c in first.collections if isinstance(c, LineCollection))
    assert len(bonds.get_segments()) == 1


def test_spread_has_a_row_and_a_mean_for_each() -> None:
    (ax,) = spread_figure({"a": [0.0, 1.0], "b": [0.5]}, "ARI", "title").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [line.get_xdata()[0] for line in ax.lines] == [0.5, 0.5]


def test_small_png_is_small_and_looks_the_same() -> None:
    from course.recall_pfi import figure_png

    figure = cluster_panels(CLOUD, {"x": np.repeat([0, 1, 2], 20)})
    full, small = figure_png(figure), small_png(figure)
    assert len(small) < 0.6 * len(full)
    a, b = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int) for data in (full, small))
    assert a.shape == b.shape and np.abs(a - b).mean() < 1.0
    assert small == small_png(figure)


def test_small_png_keeps_the_hue_of_few_points() -> None:
    labels = np.zeros(60, int)
    labels[[CLOUD[:, 0].argmin(), CLOUD[:, 0].argmax()]] = 6  # yellow; their number stands between them
    figure = cluster_panels(CLOUD, {str(k): labels for k in range(9)}, size=16)
    pixels = np.asarray(Image.open(io.BytesIO(small_png(figure))).convert("RGB"), int)
    yellow = [int(POCKETS[6][k : k + 2], 16) for k in (1, 3, 5)]
    assert (np.abs(pixels - yellow).max(axis=2) <= 4).any()


def test_picture_says_what_it_shows() -> None:
    shown = picture(spread_figure({"a": [1.0]}, "x", "y"), "one dot")
    assert shown.format == "png" and shown.alt == "one dot"
    assert Image.open(io.BytesIO(shown.data)).mode == "P"
