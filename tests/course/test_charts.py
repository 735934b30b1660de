"""A chart says the same by plotly as by matplotlib."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import NASTY
from PIL import Image

from course.charts import Chart, Layer, Picture, small_png
from course.surface import cluster_panels, spread_figure
from s2p.errors import S2PError
from s2p.output.palette import POCKETS
from s2p.output.pictures import figure_png

CLOUD = np.random.default_rng(0).normal(size=(60, 3)) * [10.0, 4.0, 1.0]


def chart(**options: object) -> Chart:
    x = np.array([0.0, 1.0, 2.0])
    layers = (
        Layer("bars", x, np.array([0.2, 0.5, 0.9]), "bars", ["#0072B2", "#D55E00", "#0072B2"], ["a", NASTY, "c"], size=0.8),
        Layer("line", x, x / 2, "line $x$", "#000000", dash="dash"),
        Layer("steps", x, x / 3, "steps", "#009E73"),
        Layer("points", x, x / 2, "points", error=(x / 2 - 0.1, x / 2 + 0.2), x_error=(x - 0.3, x + 0.3), symbol="triangle"),
        Layer("boxes", np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[-0.2, -0.1]] * 2), "boxes", ["#E69F00", "#56B4E9"]),
    )
    return Chart(NASTY, "x (Å)", "y", layers, "caption", "three – bars", **options)  # type: ignore[arg-type]


def test_static_draws_every_layer() -> None:
    figure = chart(x_range=(-1, 4), y_range=(-0.5, 1), x_ticks=([0, 2], ["zero", "t$w$o"])).static()
    (ax,) = figure.axes
    bars = ax.collections[0].get_paths()
    assert [max(p.vertices[:, 1]) for p in bars] == pytest.approx([0.2, 0.5, 0.9])
    assert [round(float(np.ptp(p.vertices[:, 0])), 6) for p in bars] == [0.8] * 3
    assert [line.get_linestyle() for line in ax.lines[:2]] == ["--", "-"]
    assert ax.get_legend() is not None and [t.get_text() for t in ax.get_legend().get_texts()] == [
        "bars", r"line \$x\$", "steps", "points", "boxes",
    ]  # fmt: skip
    assert ax.get_xlabel() == "x (Å)" and ax.get_xlim() == (-1, 4) and ax.get_ylim() == (-0.5, 1)


def test_interactive_has_the_same_values_and_escaped_text() -> None:
    pytest.importorskip("plotly")
    figure = chart().interactive()
    kinds = [(t.type, t.name) for t in figure.data]
    assert kinds == [("bar", "bars"), ("scatter", "line $x$"), ("scatter", "steps"), ("scatter", "points"),
                     ("scatter", "boxes"), ("scatter", "boxes")]  # fmt: skip
    assert list(figure.data[0].y) == [0.2, 0.5, 0.9] and figure.data[2].line.shape == "hv"
    assert figure.data[3].error_y.array == pytest.approx(np.full(3, 0.2))
    assert figure.data[3].error_x.arrayminus == pytest.approx(np.full(3, 0.3))
    assert figure.layout.title.text == "&lt;script&gt;alert(1)&lt;/script&gt;" == figure.data[0].hovertext[1]
    assert [t.showlegend for t in figure.data[4:]] == [True, False]


def test_many_points_go_to_the_graphics_card() -> None:
    pytest.importorskip("plotly")
    x = np.arange(5000.0)
    assert Chart("t", "x", "y", (Layer("points", x, x),), "", "").interactive().data[0].type == "scattergl"


def test_png_carries_its_description(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    data = chart().png(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == data
    assert image.open(io.BytesIO(data)).text["Description"] == "three ? bars"


def test_notebook_gets_both(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("plotly")
    bundle = chart()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", "application/vnd.plotly.v1+json"}
    assert bundle["text/plain"].endswith("three – bars")
    monkeypatch.setattr("course.charts.in_colab", lambda: True)
    assert "text/html" in chart()._repr_mimebundle_()


def test_without_plotly_there_is_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    assert set(chart()._repr_mimebundle_()) == {"text/plain", "image/png"}
    with pytest.raises(S2PError, match="needs plotly: pip install 's2p-pockets"):
        chart().interactive()


def test_small_png_is_small_and_looks_the_same() -> None:
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


def test_a_picture_is_small_and_says_what_it_shows() -> None:
    data, metadata = Picture(spread_figure({"a": [1.0]}, "x", "y"), "one dot")._repr_mimebundle_()
    assert Image.open(io.BytesIO(data["image/png"])).mode == "P"
    assert metadata["image/png"]["alt"] == data["text/plain"] == "one dot"


def test_a_picture_may_be_a_file(tmp_path: Path) -> None:
    written = chart().png(tmp_path / "x.png")
    assert Picture(tmp_path / "x.png", "a file").png() == written


def test_a_chart_as_a_picture() -> None:
    data, _ = chart().picture()._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png"} and data["text/plain"] == "three – bars"
