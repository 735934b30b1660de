"""Pictures of scored surfaces: the side that is seen, what is drawn, and that a large protein costs no more than its points."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from course.record import small_png
from course.scored_surface import FAINT, SHADES, SurfacePanel, looking_from, scored_panels, scored_view
from course.surface import extents

DRAW = np.random.default_rng(0)
CLOUD = DRAW.normal(size=(200, 3)) * [12.0, 6.0, 3.0] + [40.0, -3.0, 7.0]
SCORES = DRAW.uniform(size=200)


@pytest.mark.parametrize("towards", [[0.0, 0.0, 30.0], [90.0, 2.0, 1.0], [1.0, -80.0, -20.0]])
def test_the_chosen_side_faces_the_reader(towards: list[float]) -> None:
    axes = looking_from(CLOUD, towards)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(axes), 1)
    x, y, z = axes @ (np.array(towards) - CLOUD.mean(axis=0))
    assert abs(x) < 1e-9 and abs(y) < 1e-9 and z > 0


def test_from_the_middle_there_is_still_a_side() -> None:
    axes = looking_from(CLOUD, CLOUD.mean(axis=0))
    np.testing.assert_allclose(np.abs(axes[2]), np.abs(extents(CLOUD)[2]), atol=1e-12)


def test_extents_are_those_of_a_singular_value_decomposition() -> None:
    axes = np.linalg.svd(CLOUD - CLOUD.mean(axis=0), full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(np.sum(extents(CLOUD) * axes, axis=1)), 1, atol=1e-9)


def test_a_large_surface_needs_memory_for_its_points_only() -> None:
    points = DRAW.normal(size=(20_000, 3))
    tracemalloc.start()
    try:
        looking_from(points, [0.0, 0.0, 9.0])
        assert tracemalloc.get_traced_memory()[1] < 20 * points.nbytes
    finally:
        tracemalloc.stop()


def panel(**changes: Any) -> SurfacePanel:
    values: dict[str, Any] = {"title": "a side", "points": CLOUD, "scores": SCORES, "towards": np.zeros(3)}
    return SurfacePanel(**values | changes)


def test_high_scores_are_disks_low_ones_specks_and_near_points_come_last() -> None:
    figure = scored_panels([panel()])
    specks, disks = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert len(specks.get_offsets()) == (SCORES < FAINT).sum()
    assert len(disks.get_offsets()) == (SCORES >= FAINT).sum()
    axes = looking_from(CLOUD, np.zeros(3))
    flat = (CLOUD - CLOUD.mean(axis=0)) @ axes.T
    order = np.flatnonzero(SCORES >= FAINT)[np.argsort(flat[SCORES >= FAINT, 2])]
    np.testing.assert_allclose(disks.get_offsets(), flat[order, :2])
    assert disks.get_sizes().max() > disks.get_sizes().min()


def test_ligand_and_centres_are_drawn() -> None:
    ligand = CLOUD[0] + np.array([[0.0, 0, 0], [1.5, 0, 0], [1.5, 1.5, 0], [9.0, 9.0, 9.0]])
    figure = scored_panels([panel(ligand=ligand, centers=[CLOUD[1], CLOUD[2]]), panel(), panel()], columns=2)
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
    assert scored_view(prediction, CLOUD, SCORES, still) is scene
    assert sum(int(text.splitlines()[0]) for text in models) == len(CLOUD)
    assert len(models) <= SHADES and len({style["sphere"]["color"] for style in styles}) == len(models)
    drawn: list[Any] = []
    monkeypatch.setattr("course.scored_surface.small_png", lambda figure: drawn.append(figure) or b"png")
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
