"""``s2p smooth-train`` from end to end, on complexes of thirty residues."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from toy_complexes import write_complexes, write_split

from s2p.checkpoint import load_checkpoint
from s2p.commands import main
from s2p.evaluation.guard import trained_on
from s2p.structure.reading import read_structure


@pytest.fixture
def complexes(tmp_path: Path) -> Path:
    return write_complexes(tmp_path / "complexes")


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_split(tmp_path / "split.csv")


def smooth_train(complexes: Path, split: Path, *arguments: str) -> int:
    place = complexes.parent
    common = ["--split", str(split), "--work", str(place / "work"), "--cache", str(place / "cache"), "--device", "cpu"]
    return main(["smooth-train", str(complexes), *common, "--max-epochs", "3", *arguments])


def test_a_checkpoint_with_the_new_smoother(complexes: Path, split: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = complexes.parent
    out = place / "new" / "mine.safetensors"
    assert smooth_train(complexes, split, "-o", str(out), "--own-context") == 0
    printed = capsys.readouterr().out
    assert "8 train, 3 validation structures" in printed and f"wrote {out}" in printed
    old, new = load_checkpoint("s2p-esm2-8m"), load_checkpoint(out)
    assert (new.name, new.threshold, new.smoothing_threshold, new.ranking) == (
        "mine",
        old.threshold,
        old.smoothing_threshold,
        old.ranking,
    )
    assert new.pocket_model == old.pocket_model
    for a, b in zip(old.model.head.parameters(), new.model.head.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    assert old.smoother is not None and new.smoother is not None
    first = [s.arrays["layers.0.weight"] for s in (old.smoother, new.smoother)]
    assert first[0].shape == first[1].shape and not np.allclose(first[0], first[1])
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["smoother"]["include_self"] is True and card["smoother"]["structures"] == {"train": 8, "validation": 3}
    assert card["smoother"]["split"] == "split.csv" and "in-sample" in card["smoother"]["note"]
    assert card["licence"] == old.card["licence"]
    learned = read_structure(complexes / "toy" / "c01" / "protein.pdb").sequence("A")
    assert [hit.kind for hit in trained_on(card["smoother"], {"c01": learned})] == ["exact"]
    log = list(csv.DictReader((place / "work" / "log.csv").open()))
    assert len(log) == card["smoother"]["epochs"] <= 3
    assert (place / "work" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    # It predicts.
    assert main(["predict", str(complexes / "toy/c01/protein.pdb"), "--model", str(out), "-o", str(place / "p"), "--quiet"]) == 0
    # The same command again finds everything done; another setting may not mix with it.
    assert smooth_train(complexes, split, "-o", str(out), "--own-context", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert smooth_train(complexes, split, "-o", str(out)) == 1
    assert "another configuration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "required: -o/--output"),
        (["-o", "x.pt"], "a checkpoint is a .safetensors file, not x.pt"),
        (["-o", "x.safetensors", "--radius", "0"], "'0' is not a number above 0"),
    ],
)
def test_wrong_usage(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["smooth-train", "anywhere", *arguments])
    assert stop.value.code == 2 and why in capsys.readouterr().err
