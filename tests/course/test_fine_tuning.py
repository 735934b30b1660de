"""Where notebook 03 starts, and its pictures in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("esm")

from course.fine_tuning import (  # noqa: E402
    batch_picture,
    gap_picture,
    logits_of,
    low_rank_picture,
    save_adapter,
    starting_model,
    threshold_chart,
)
from s2p.checkpoint import load_checkpoint  # noqa: E402
from s2p.datasets.labelled import LabelledChain  # noqa: E402
from s2p.language.lora import add_lora, base_checksum, lora_parameters  # noqa: E402

PNG = b"\x89PNG"


def test_starts_from_the_named_backbone_with_the_same_random_head() -> None:
    shipped, before = (starting_model(name, 3) for name in ("s2p-esm2-8m", "esm2-8m"))
    assert torch.equal(shipped.head.weight, before.head.weight)
    assert not torch.equal(shipped.head.weight, starting_model("s2p-esm2-8m", 4).head.weight)
    own = load_checkpoint("s2p-esm2-8m").model
    assert base_checksum(shipped.backbone) == base_checksum(own.backbone) != base_checksum(before.backbone)
    assert not torch.equal(shipped.head.weight, own.head.weight)


def test_an_adapter_is_small_and_finds_the_weights_it_was_trained_on(tmp_path: Path) -> None:
    model = starting_model("s2p-esm2-8m", 0)
    add_lora(model.backbone, 2, 16.0)
    with torch.no_grad():
        for p in lora_parameters(model.backbone):
            p.normal_(std=0.05)
    chains = [
        LabelledChain("a", "MKWVHFAAGILPTRSNQDEYC", np.zeros(21, np.uint8)),
        LabelledChain("b", "MKV", np.zeros(3, np.uint8)),
    ]
    path = tmp_path / "own.safetensors"
    save_adapter(model, 0.31, {"data": ["a"]}, path)
    assert path.stat().st_size < 200_000
    loaded = load_checkpoint(path, device=None)
    assert (loaded.name, loaded.threshold, loaded.ranking) == ("own", 0.31, "published")
    for ours, theirs in zip(logits_of(model, chains), logits_of(loaded.model, chains), strict=True):
        assert ours == pytest.approx(theirs, abs=0.01)


def test_a_batch_counts_its_residues() -> None:
    picture = batch_picture(torch.tensor([[-1.0, 0, 1, 0, -1], [-1, 1, -1, -1, -1]]))
    assert picture.alt == "2 chains in 10 places, of which 4 are residues with a label."
    assert picture.png().startswith(PNG)


def test_a_gap_is_told_from_first_to_last() -> None:
    rows = [{f"{name} {kind}": x for name in ("training", "validation") for kind in ("loss", "AUPRC")} for x in (0.25, 0.75)]
    picture = gap_picture(rows, 0.1, "Demo")
    assert picture.alt.startswith("Demo: training loss from 0.250 to 0.750; training AUPRC from 0.250")
    assert picture.png().startswith(PNG)


def test_a_low_rank_update_is_drawn_to_scale() -> None:
    picture = low_rank_picture(320, 8)
    assert picture.alt.startswith("W has 102,400 numbers, B and A together 5,120, 5% of them")
    assert picture.png().startswith(PNG)


def test_a_threshold_counts_decisions() -> None:
    binding, probabilities = np.array([1, 1, 0, 0], bool), np.array([0.9, 0.3, 0.6, 0.1])
    chart = threshold_chart(binding, probabilities, 0.5)
    assert chart.title == "Above 0.50: 1 right, 1 wrong, 1 missed"
    recall = next(layer for layer in chart.layers if layer.label == "recall")
    assert recall.y[0] == 1 and recall.y[-1] == 0
