"""A checkpoint is not measured on what it was trained on unless somebody says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s2p.errors import S2PError
from s2p.evaluation.cases import CaseSet, find_cases
from s2p.evaluation.guard import CARD_KEY, training_sketch
from s2p.evaluation.run_guard import guard_cases


@pytest.fixture
def cases() -> CaseSet:
    found = {case.id: case for case in find_cases("mini").cases}
    return CaseSet("mine", "", (found["4CUP"], found["1GBT"]))


@pytest.fixture
def model(tmp_path: Path, cases: CaseSet) -> str:
    """A card of a checkpoint that was trained on the first case."""
    sequence = cases.cases[0].read().structure.sequence("A")
    (tmp_path / "mine.json").write_text(json.dumps({CARD_KEY: training_sketch({"seen": sequence})}))
    return str(tmp_path / "mine.safetensors")


def test_refused_allowed_or_left_out(cases: CaseSet, model: str) -> None:
    with pytest.raises(S2PError, match=r"trained on 1 of the chains.*4CUP\|A.*--allow-trained"):
        guard_cases(cases, model, ["s2p"])
    assert guard_cases(cases, model, ["s2p"], allow=True) == (cases, ["4CUP"])
    kept, trained = guard_cases(cases, model, ["s2p"], skip=True)
    assert ([case.id for case in kept.cases], trained) == (["1GBT"], [])
    with pytest.raises(S2PError, match="relatives of every protein"):
        guard_cases(CaseSet("mine", "", cases.cases[:1]), model, ["s2p"], skip=True)


def test_other_peoples_predictors_are_not_asked(cases: CaseSet, model: str) -> None:
    for name in ("random-patch", "benchmarks.studies.kalasanty_baselines:CenterBall"):
        assert guard_cases(cases, model, [name]) == (cases, [])


def test_the_card_of_another_method_of_ours_is_asked_too(cases: CaseSet, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2p.evaluation.run_guard.POCKET_FINDERS", (model,))
    assert guard_cases(cases, "s2p-esm2-8m", [model], allow=True) == (cases, ["4CUP"])
    with pytest.raises(S2PError, match="trained on 1 of the chains"):
        guard_cases(cases, "s2p-esm2-8m", ["random-patch", model])


def test_a_card_without_a_record_is_enough_for_held_out_sets_only(cases: CaseSet, tmp_path: Path) -> None:
    silent = str(tmp_path / "silent.safetensors")
    with pytest.raises(S2PError, match="no record of its training chains"):
        guard_cases(cases, silent, ["s2p"])
    with pytest.raises(S2PError, match="no record of its training chains"):
        guard_cases(cases, silent, ["s2p"], skip=True)
    assert guard_cases(cases, silent, ["s2p"], allow=True) == (cases, [])
    mini = find_cases("mini", limit=1)
    assert guard_cases(mini, silent, ["s2p"]) == (mini, [])
