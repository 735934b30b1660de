"""Reliability of probabilities: hits of copies, and which structures count as unrelated."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_prediction, make_structure
from toy_complexes import write_complexes

from benchmarks.recipes.surface_examples import Source
from benchmarks.studies import calibration
from benchmarks.studies.calibration import main, reliability, site_hits, unrelated


def test_right_probabilities_are_off_by_chance_alone() -> None:
    draw = np.random.default_rng(1)
    probability = draw.random(5000)
    right = reliability(probability, draw.random(5000) < probability)
    assert right["error"] < 2 * right["error by chance"]
    assert reliability(probability, draw.random(5000) < probability / 2)["error"] > 10 * right["error by chance"]
    assert sum(row[-1] for row in right["from, mean, share of hits, pockets"]) == 5000


def test_a_ligand_of_one_subunit_counts_for_its_copies() -> None:
    made = make_prediction()
    first, second = made.pockets
    ligand = [first.center[None]]
    assert site_hits(made, ligand).tolist() == [True, False]
    assert site_hits(replace(made, pockets=(first, replace(second, copy_of=1))), ligand).tolist() == [True, True]
    assert site_hits(replace(made, pockets=()), ligand).tolist() == []


def test_chains_with_relatives_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = [Source(key, "", key, make_structure(key, n=n), []) for key, n in (("a", 24), ("b", 20))]
    monkeypatch.setattr(calibration, "related", lambda one, other: ({q for q in one if q in set(other)}, set()))
    assert unrelated(structures, {"GGGG"}) == structures
    assert unrelated(structures, {structures[0].structure.sequence("B")}) == structures[1:]


def test_the_study_on_toy_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_complexes(tmp_path / "complexes")
    shutil.copytree(tmp_path / "complexes" / "toy" / "c02", tmp_path / "apo" / "c02")
    shutil.copytree(tmp_path / "complexes" / "toy" / "c11", tmp_path / "apo" / "c11")
    rows = ["set,id,split,clusters30", "toy,c00,validation,x0", "toy,c02,train,x2"]
    (tmp_path / "surface.csv").write_text("\n".join([*rows, ""]))
    (tmp_path / "ligysis").mkdir()
    monkeypatch.setattr(calibration, "TRAINING", ("train",))
    monkeypatch.setattr(calibration, "related", lambda one, other: ({q for q in one if q in set(other)}, set()))
    assert main([str(tmp_path), "--table", str(tmp_path / "surface.csv"), "-o", str(tmp_path / "x.json")]) == 0
    table = json.loads((tmp_path / "x.json").read_text())
    assert {key: (own["complexes"], own["sites"]) for key, own in table.items()} == {
        "unbound": (2, 3),
        "unbound, no relative in training": (1, 2),
    }
    for own in table.values():
        assert own["pockets"] == pytest.approx(own["pockets per protein"][0] * own["complexes"], abs=0.01)


def test_another_folder_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "-o", str(tmp_path / "x.json")]) == 1
    assert "contains no folder apo" in capsys.readouterr().err
