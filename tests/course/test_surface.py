"""What the pictures of surface points hold; of scored surfaces also the side that is seen, and that a large protein costs no more
than its points.
"""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from course.charts import small_png
from course.surface import (
    FAINT,
    SHADES,
    SurfacePanel,
    cluster_panels,
    exposure_figure,
    extents,
    flat_view,
    looking_from,
    mean_shift_figure,
    scored_panels,
    scored_view,
    spread_figure,
)
from s2p.output.palette import OUTSIDE, POCKETS

DRAW = np.random.default_rng(0)
CLOUD = DRAW.normal(size=(60, 3)) * [10.0, 4.0, 1.0]
SURFACE = DRAW.normal(size=(200, 3)) * [12.0, 6.0, 3.0] + [40.0, -3.0, 7.0]
SCORES = DRAW.uniform(size=200)


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


@pytest.mark.parametrize("towards", [[0.0, 0.0, 30.0], [90.0, 2.0, 1.0], [1.0, -80.0, -20.0]])
def test_the_chosen_side_faces_the_reader(towards: list[float]) -> None:
    axes = looking_from(SURFACE, towards)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(axes), 1)
    x, y, z = axes @ (np.array(towards) - SURFACE.mean(axis=0))
    assert abs(x) < 1e-9 and abs(y) < 1e-9 and z > 0


def test_from_the_middle_there_is_still_a_side() -> None:
    axes = looking_from(SURFACE, SURFACE.mean(axis=0))
    np.testing.assert_allclose(np.abs(axes[2]), np.abs(extents(SURFACE)[2]), atol=1e-12)


def test_extents_are_those_of_a_singular_value_decomposition() -> None:
    axes = np.linalg.svd(SURFACE - SURFACE.mean(axis=0), full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(np.sum(extents(SURFACE) * axes, axis=1)), 1, atol=1e-9)


def test_a_large_surface_needs_memory_for_its_points_only() -> None:
    points = DRAW.normal(size=(20_000, 3))
    tracemalloc.start()
    try:
        looking_from(points, [0.0, 0.0, 9.0])
        assert tracemalloc.get_traced_memory()[1] < 20 * points.nbytes
    finally:
        tracemalloc.stop()


def panel(**changes: Any) -> SurfacePanel:
    values: dict[str, Any] = {"title": "a side", "points": SURFACE, "scores": SCORES, "towards": np.zeros(3)}
    return SurfacePanel(**values | changes)


def test_high_scores_are_disks_low_ones_specks_and_near_points_come_last() -> None:
    figure = scored_panels([panel()])
    specks, disks = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert len(specks.get_offsets()) == (SCORES < FAINT).sum()
    assert len(disks.get_offsets()) == (SCORES >= FAINT).sum()
    axes = looking_from(SURFACE, np.zeros(3))
    flat = (SURFACE - SURFACE.mean(axis=0)) @ axes.T
    order = np.flatnonzero(SCORES >= FAINT)[np.argsort(flat[SCORES >= FAINT, 2])]
    np.testing.assert_allclose(disks.get_offsets(), flat[order, :2])
    assert disks.get_sizes().max() > disks.get_sizes().min()


def test_ligand_and_centres_are_drawn() -> None:
    ligand = SURFACE[0] + np.array([[0.0, 0, 0], [1.5, 0, 0], [1.5, 1.5, 0], [9.0, 9.0, 9.0]])
    figure = scored_panels([panel(ligand=ligand, centers=[SURFACE[1], SURFACE[2]]), panel(), panel()], columns=2)
    (bonds,) = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    assert len(bonds.get_segments()) == 2
    assert {"1", "2"} <= {text.get_text() for text in figure.axes[0].texts}
    assert small_png(figure).startswith(b"\x89PNG")


def test_the_view_holds_every_point_and_the_still_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[str] = []
    styles: list[Any] = []
    scene = SimpleNamespace(addModel=lambda text, kind: models.append(text), setStyle=lambda _, style: styles.append(style))
    prediction: Any = SimpleNamespace(view=lambda show: scene)
    still = scored_panels([panel()])
    assert scored_view(prediction, SURFACE, SCORES, still) is scene
    assert sum(int(text.splitlines()[0]) for text in models) == len(SURFACE)
    assert len(models) <= SHADES and len({style["sphere"]["color"] for style in styles}) == len(models)
    drawn: list[Any] = []
    monkeypatch.setattr("course.surface.small_png", lambda figure: drawn.append(figure) or b"png")
    assert scene._repr_png_() == b"png" and drawn == [still]


def test_the_real_view_carries_the_points(examples: Any) -> None:
    pytest.importorskip("py3Dmol")
    from s2p.predictor import predict

    prediction = predict(examples / "1ubi.pdb.gz")
    points = prediction.structure.atoms.coord[:50]
    still = scored_panels([panel()])
    scene = scored_view(prediction, points, np.linspace(0, 1, 50), still)
    assert scene._repr_html_().count("X ") >= 50
    assert scene._repr_png_().startswith(b"\x89PNG")
