"""What the pictures of a benchmark hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.peers import load_predictor
from course.benchmark import gallery_figure, interval_figure, with_ligands
from s2p.evaluation.cases import find_cases
from s2p.evaluation.intervals import Summary


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
    return truth, load_predictor("random-patch").predict(truth.structure)


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
