"""Charts of predictions and benchmarks hold the figures they are said to hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_prediction, make_structure

from course.charts import Chart, Layer
from course.plots import (
    PlotConfig,
    calibration,
    contact_map,
    curves,
    dcc_curves,
    embedding_map,
    histograms,
    residue_track,
    residues_in_space,
)
from course.recall_pfi import Mark, dcc_against_pfi
from s2p.errors import S2PError
from s2p.output.palette import pocket_color


def layer(chart: Chart, label: str) -> Layer:
    (found,) = (x for x in chart.layers if x.label == label)
    return found


def test_residue_track() -> None:
    p = make_prediction()
    chart = residue_track(p)
    bars = chart.layers[0]
    assert bars.y == pytest.approx(p.probabilities) and bars.colors()[int(p.pockets[0].residues[0])] == pocket_color(1)
    assert bars.x[24] - bars.x[23] == 4  # a gap between chains
    for pocket in p.pockets:
        spans = layer(chart, f"pocket {pocket.rank}")
        # Pocket 1 spans both chains: no span does.
        covered = [i for i, x in enumerate(bars.x) if any(a < x < b for a, b in spans.x)]
        assert covered == np.flatnonzero(p.pocket_of_residue == pocket.rank).tolist()
    assert layer(chart, "added by smoothing").x == pytest.approx(bars.x[p.smoothed])
    assert layer(chart, "threshold 0.5").y == pytest.approx([0.5, 0.5])
    assert len(layer(chart, "helix").x) == 2
    assert "A:0A" in bars.hover[4] and chart.x_ticks is not None and chart.x_ticks[1][0] == "-3\nchain A"
    assert f"in {len(p.pockets)} pockets" in chart.alt


def test_track_of_next_to_nothing() -> None:
    p = make_prediction(n=1)
    bare = replace(p, pockets=(), positive=p.positive & False, smoothed=p.smoothed & False, settings={})
    chart = residue_track(bare)
    assert [x.kind for x in chart.layers] == ["bars"] and chart.png().startswith(b"\x89PNG")


def test_embedding_map_is_pca() -> None:
    pca = pytest.importorskip("sklearn.decomposition").PCA(2)
    e = np.random.default_rng(0).normal(size=(60, 8)) * np.arange(1, 9)
    y = np.arange(60) % 3 == 0
    chart = embedding_map(e, y, [f"r{i}" for i in range(60)])
    plane = np.empty((60, 2))
    for mask, label in ((y, "binding"), (~y, "not binding")):
        plane[mask] = np.stack([layer(chart, label).x, layer(chart, label).y], axis=1)
    assert np.abs(plane) == pytest.approx(np.abs(pca.fit_transform(e)), abs=1e-8)
    assert f"{pca.explained_variance_ratio_[0]:.0%}" in chart.x_label
    assert layer(chart, "binding").hover[1] == "r3"
    with pytest.raises(S2PError, match="at least three residues, not 2"):
        embedding_map(e[:2], y[:2])


def test_contact_map_is_all_pairs() -> None:
    structure = make_structure()
    y = np.arange(48) % 2 == 0
    chart = contact_map(structure, y, PlotConfig(contact_distance=9.0, contact_separation=2))
    ca = structure.residues.ca_coord.astype(float)
    wanted = {
        (i, j)
        for i in range(48)
        for j in range(48)
        if abs(i - j) >= 2 and np.linalg.norm(ca[i] - ca[j]) <= 9.0
    }  # fmt: skip
    found = {label: set(zip(layer(chart, label).x, layer(chart, label).y, strict=True)) for label in
             ("contact", "both binding")}  # fmt: skip
    assert found["contact"] | found["both binding"] == wanted
    assert found["both binding"] == {(i, j) for i, j in wanted if y[i] and y[j]}


def test_calibration() -> None:
    p = np.r_[np.full(40, 0.25), np.full(60, 0.75)]
    y = np.r_[np.arange(40) < 10, np.arange(60) < 45]
    chart = calibration(p, y, PlotConfig(calibration_bins=4))
    points = layer(chart, "observed, 95 % interval")
    assert points.x == pytest.approx([0.25, 0.75]) and points.y == pytest.approx([0.25, 0.75])
    # Wilson 95 % interval of 10 in 40.
    assert points.error is not None and points.error[0][0] == pytest.approx(0.1419, abs=2e-4)
    assert points.error[1][0] == pytest.approx(0.4019, abs=2e-4)
    assert "mean gap 0.000" in chart.title
    assert "0.200" in calibration(np.full(10, 0.7), np.arange(10) < 5).alt
    assert calibration([1.0], [True]).layers[1].x == pytest.approx([1.0])
    with pytest.raises(S2PError, match="at least one prediction"):
        calibration([], [])


def test_dcc_curves() -> None:
    chart = dcc_curves({"a": [1.0, 4.0, 5.0, np.inf]})
    curve = layer(chart, "a")
    at = dict(zip(np.round(curve.x, 6).tolist(), curve.y.tolist(), strict=True))
    assert (at[1.0], at[4.0], at[5.0], at[20.0]) == (0.0, 0.25, 0.5, 0.75)  # strictly below
    assert "25% below 4 Å, 75% below 12 Å" in chart.alt
    with pytest.raises(S2PError, match="b: no sites"):
        dcc_curves({"b": []})


def test_dcc_against_pfi_by_plotly() -> None:
    """Its still twin is in test_results_page."""
    pytest.importorskip("plotly")
    marks = [
        Mark("one", "one", (1.5, 1.2, 1.9), (0.7, 0.6, 0.8)),
        Mark("bandwidth", "6 <b>", (3.0, np.nan, np.nan), (0.8, 0.7, 0.9)),
        Mark("bandwidth", "9", (2.0, 1.5, 2.5), (0.7, 0.6, 0.8)),
        Mark("nothing", "nothing", (np.nan,) * 3, (0.0, 0.0, 0.0)),
    ]
    chart = dcc_against_pfi(marks)
    assert chart.alt == "one: PFI 1.50, recall 0.70; 6 <b>: PFI 3.00, recall 0.80; 9: PFI 2.00, recall 0.70."
    traces = {t.name: t for t in chart.interactive().data if t.name}
    assert set(traces) == {"one", "bandwidth"} and traces["one"].text is None
    assert list(traces["bandwidth"].text) == ["6 &lt;b&gt;", "9"] and traces["bandwidth"].mode == "markers+text"
    np.testing.assert_allclose(traces["bandwidth"].error_x.array, [0.0, 0.5])  # no bar where the interval is unknown
    np.testing.assert_allclose(traces["bandwidth"].error_y.arrayminus, [0.1, 0.1])
    assert traces["bandwidth"].hovertext[0].startswith("6 &lt;b&gt;: PFI 3.00")


def test_every_chart_draws_both_ways() -> None:
    pytest.importorskip("plotly")
    p = make_prediction()
    rng = np.random.default_rng(0)
    for chart in (
        residue_track(p),
        embedding_map(rng.normal(size=(48, 5)), p.positive),
        contact_map(p.structure, p.positive),
        calibration(p.probabilities, p.positive),
        dcc_curves({"a": rng.gamma(2, 4, 30)}),
        dcc_against_pfi([Mark("a", "a", (1.5, 1.2, 1.9), (0.7, 0.6, 0.8))]),
    ):
        assert chart.png().startswith(b"\x89PNG") and len(chart.interactive().data) >= 1
        assert chart.caption.endswith(".") and chart.alt.endswith(".") and chart.x_label and chart.y_label


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
