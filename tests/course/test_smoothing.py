"""The effect of smoothing is counted as by hand from the predictions themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from course.smoothing import smoothing_effect
from course.structures import course_structures
from s2p.config import PredictConfig
from s2p.evaluation.metrics import share_missed
from s2p.pockets.hits import pocket_fragmentation_index
from s2p.predictor import Seq2Pocket


@pytest.fixture(scope="module")
def predictor() -> Seq2Pocket:
    return Seq2Pocket.load(device="cpu")


def test_one_structure_by_hand(predictor: Seq2Pocket, examples: Path) -> None:
    (item,) = course_structures(["1uou"], examples)
    scores, config = predictor.score(item.structure), PredictConfig(ranking="published")
    effect = smoothing_effect(predictor, [item], [scores], config)
    p = predictor.pockets(item.structure, scores, config)
    pockets, true = [x.residues for x in p.pockets], set(item.sites[0].tolist())
    predicted = set(np.flatnonzero(p.positive).tolist())
    assert effect.added == int(p.smoothed.sum()) and effect.pockets == len(p.pockets)
    assert effect.recall == pytest.approx(len(true & predicted) / len(true))
    assert effect.precision == pytest.approx(len(true & predicted) / len(predicted))
    assert effect.pfi == pytest.approx(pocket_fragmentation_index(item.sites, pockets), nan_ok=True)
    assert effect.missed == share_missed(item.sites, pockets)
    center = item.structure.residues.ca_coord[item.sites[0]].mean(axis=0)
    assert effect.dcc_recall == float(min(np.linalg.norm(x.center - center) for x in p.pockets) < 12)


def test_smoothing_only_adds(predictor: Seq2Pocket, examples: Path) -> None:
    items = course_structures(["1uou", "4CUP"], examples)
    scores = [predictor.score(item.structure) for item in items]
    off, on = (
        smoothing_effect(
            predictor, items, scores, PredictConfig(use_smoothing=flag, smoothing_threshold=0.4, ranking="published")
        )
        for flag in (False, True)
    )
    assert off.added == 0 and on.added > 0 and on.recall >= off.recall


def test_nothing_predicted(predictor: Seq2Pocket, examples: Path) -> None:
    (item,) = course_structures(["4CUP"], examples)
    effect = smoothing_effect(
        predictor, [item], [predictor.score(item.structure)], PredictConfig(threshold=1.0, ranking="published")
    )
    assert (effect.added, effect.pockets, effect.recall, effect.missed, effect.dcc_recall) == (0, 0, 0.0, 1.0, 0.0)
    assert np.isnan(effect.pfi) and np.isnan(effect.precision)
