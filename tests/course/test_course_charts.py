"""The course's charts hold the figures they are given, and can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_prediction

from course.charts import Chart, Layer
from course.course_charts import curves, histograms, residues_in_space


def layer(chart: Chart, label: str) -> Layer:
    (found,) = (x for x in chart.layers if x.label == label)
    return found


def test_curves() -> None:
    chart = curves(
        [1, 2, 3],
        {"long": [0.1, 0.2, 0.3], "short": [0.5, 0.4]},
        title="t",
        x_label="epoch",
        y_label="AUPRC",
        levels={"guessing": 0.05},
        mark=("chosen", 2.5),
    )
    assert layer(chart, "long").y == pytest.approx([0.1, 0.2, 0.3])
    assert layer(chart, "short").x == pytest.approx([1, 2])
    assert layer(chart, "guessing").x == pytest.approx([1, 3]) and layer(chart, "guessing").y == pytest.approx([0.05, 0.05])
    assert layer(chart, "chosen").x == pytest.approx([2.5, 2.5]) and layer(chart, "chosen").y == pytest.approx([0.05, 0.5])
    assert len({layer(chart, name).color for name in ("long", "short")}) == 2
    for words in ("long from 0.1 to 0.3", "short from 0.5 to 0.4", "guessing 0.05", "chosen at 2.5"):
        assert words in chart.alt
    assert chart.png().startswith(b"\x89PNG")


def test_curves_without_points_differ_in_dash_and_skip_what_is_not_known() -> None:
    chart = curves([0, 1], {"a": [np.nan, 1.0], "b": [2.0, 3.0]}, title="t", x_label="x", y_label="y", points=False)
    assert [x.kind for x in chart.layers] == ["line", "line"] and chart.layers[0].dash != chart.layers[1].dash
    assert "a from 1 to 1" in chart.alt


def test_histograms_are_shares() -> None:
    chart = histograms({"low": [0.1, 0.1, 0.9, -5.0], "high": [0.6, 2.0]}, title="t", x_label="p", span=(0, 1), bins=2)
    assert layer(chart, "low").x == pytest.approx([0, 0.5, 1])
    assert layer(chart, "low").y == pytest.approx([0.75, 0.25, 0.25])  # the last value only ends the step
    assert layer(chart, "high").y == pytest.approx([0, 1, 1])
    assert histograms({"none": []}, title="t", x_label="p", span=(0, 1)).alt == "none: none."


def test_residues_in_space_keep_their_distances_in_the_plane() -> None:
    p = make_prediction()
    rows = np.array([0, 5, 30])
    chart = residues_in_space(p, {"first": rows, "second": np.array([2])}, title="t")
    marks = layer(chart, "first (3)")
    ca = p.structure.residues.ca_coord[rows].astype(float)
    flat = np.linalg.norm(np.diff(np.stack([marks.x, marks.y], axis=1), axis=0), axis=1)
    assert (flat <= np.linalg.norm(np.diff(ca, axis=0), axis=1) + 1e-6).all()
    assert list(marks.hover) == [p.structure.residues.ids()[i] for i in rows]
    trace = layer(chart, "protein (CA trace)")
    assert np.isnan(trace.x).sum() == 1 and len(trace.x) == len(p.structure.residues) + 1  # a gap between the chains
    assert chart.equal and chart.alt == "3 first, 1 second."
    assert len(layer(chart, "ligand atoms").x) == 6
    assert chart.png().startswith(b"\x89PNG")
