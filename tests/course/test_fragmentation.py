"""What the pictures of a benchmark, of its sites and its pockets hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from benchmarks.peers import RandomPatch
from course.fragmentation import fragment_counts, gallery_figure, interval_figure, site_strips, slice_figure, with_ligands
from s2p.evaluation.cases import find_cases
from s2p.evaluation.intervals import Summary
from s2p.output.palette import pocket_color


def test_strips_have_a_row_each_and_a_bar_for_every_residue() -> None:
    (ax,) = site_strips({"site": [1, 2, 3]}, {"pocket 1": [2, 9], "pocket 2": []}, "title").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["site", "pocket 1", "pocket 2"]
    shade, site, first, second = ax.containers
    assert len(shade) == 3 and len(site) == 3 and len(second) == 0
    assert [bar.get_x() + bar.get_width() / 2 for bar in first] == pytest.approx([2, 9])


def test_strips_take_texts_for_residues() -> None:
    (ax,) = site_strips({"s": [0]}, {}, ticks=([0, 5], ["A:7", "A:30"])).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["A:7", "A:30"]


def test_fragment_counts_are_shares_with_the_pfi_beside() -> None:
    (ax,) = fragment_counts({"mixed": [0, 1, 2, 3, 9], "nothing": [0, 0]}).axes
    widths = np.array([bar.get_width() for container in ax.containers for bar in container]).reshape(2, 5)
    np.testing.assert_allclose(widths, [[0.2] * 5, [1, 0, 0, 0, 0]])
    assert [text.get_text() for text in ax.texts] == ["PFI 3.75", "PFI –"]


def test_slice_figure_joins_before_and_after() -> None:
    (ax,) = slice_figure({"a": (0.2, 0.6), "b": (0.5, 0.5)}, "recall", ("before", "after")).axes
    lines, before, after = ax.collections
    assert [segment[:, 0].tolist() for segment in lines.get_segments()] == [[0.2, 0.6], [0.5, 0.5]]
    assert before.get_offsets()[:, 0].tolist() == [0.2, 0.5] and after.get_offsets()[:, 0].tolist() == [0.6, 0.5]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_intervals_have_a_panel_a_figure_and_a_row_a_predictor() -> None:
    nothing = Summary(float("nan"), float("nan"), float("nan"))
    figures = {
        "recall": {"ours": Summary(0.5, 0.2, 0.7), "theirs": Summary(0.4, 0.1, 0.6)},
        "volume": {"ours": Summary(0.3, 0.1, 0.4), "theirs": nothing},
    }
    first, second = interval_figure(figures).axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["ours", "theirs"]
    assert first.get_xlabel() == "recall"
    spans = [line.get_xdata() for line in first.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(spans, [[0.2, 0.7], [0.1, 0.6]])
    assert len(second.lines) == 2  # bar and mark of ours; theirs has no value


@pytest.fixture(scope="module")
def truth_and_prediction():
    case = next(case for case in find_cases("mini").cases if case.id == "4CUP")
    truth = case.read()
    return truth, RandomPatch().predict(truth.structure)


def test_ligands_come_back_and_nothing_else_changes(truth_and_prediction) -> None:
    truth, prediction = truth_and_prediction
    assert prediction.structure.ligands == ()
    shown = with_ligands(prediction, truth)
    (ligand,) = shown.structure.ligands
    np.testing.assert_array_equal(ligand.coord, truth.ligands[0])
    assert ligand.name == "ZYB" and ligand.kind == "molecule"
    assert shown.pockets is prediction.pockets and shown.structure.atoms is prediction.structure.atoms


def test_gallery_has_a_picture_each_and_leaves_the_rest_empty(truth_and_prediction) -> None:
    _, prediction = truth_and_prediction
    three = [replace(prediction, pockets=prediction.pockets[:k]) for k in (0, 1, 2)]
    axes = gallery_figure(three, ["none", "one", "two"]).axes
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 0]
    assert [ax.get_title(loc="left") for ax in axes] == ["none", "one", "two", ""]


def test_strips_have_the_colours_of_the_ranks() -> None:
    (ax,) = site_strips({"site": [1]}, {"pocket 4": [1], "piece": [2]}).axes
    _, _, fourth, second = ax.containers
    assert to_hex(fourth[0].get_facecolor()).upper() == pocket_color(4)
    assert to_hex(second[0].get_facecolor()).upper() == pocket_color(2)
