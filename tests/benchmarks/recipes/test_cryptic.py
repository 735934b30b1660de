"""The recipe of cryptic sites: no relatives in training, figures of chains with intervals, the head on frozen embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.recipes.cryptic import compare, fit_linear_head, prepare
from s2p.datasets.labelled import LabelledChain
from s2p.language.esm import ResidueModel


def test_no_training_chain_is_a_relative_of_a_held_out_one(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    sequences = ["".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 120)) for _ in range(5)]
    files = {
        "train-0": sequences[0],
        "train-1": sequences[1],
        "train-2": sequences[4],
        "train-3": sequences[2],
        "test": sequences[3],
    }
    files["train-2"] = sequences[3][:110]  # of the test chain
    for name, sequence in files.items():
        (tmp_path / f"{name}.txt").write_text(f"{name};A;X;{sequence[3]}3;{sequence}\n")
    sets, facts = prepare(tmp_path)
    assert [c.id for c in sets["training"]] == ["train-0_A", "train-1_A"]
    assert facts["left out of training as relatives of validation or test"] == 1


def test_figures_and_differences_have_intervals_over_chains() -> None:
    draw = np.random.default_rng(0)
    chains = [LabelledChain(str(k), "A" * 40, (np.arange(40) % 8 == k % 8).astype(np.uint8)) for k in range(12)]
    good = [0.6 * c.labels + 0.4 * draw.random(40) for c in chains]
    poor = [draw.random(40) for _ in chains]
    table = compare(chains, {"a": (good, 0.5), "b": (poor, 0.5)}, "a")
    assert table["a"]["auprc"] == [1, 1, 1]
    assert table["a"]["weighted_f1"][0] == 1
    value, low, high = table["a less b, AUPRC"]
    assert 0 < low <= value <= high
    assert value == pytest.approx(1 - table["b"]["auprc"][0], abs=1e-3)


def test_the_linear_head_separates_what_can_be_separated() -> None:
    model = ResidueModel("esm2_t6_8M_UR50D")
    draw = np.random.default_rng(1)
    labels = (np.arange(60) % 4 == 0).astype(np.uint8)
    x = draw.standard_normal((60, 320)).astype(np.float32)
    x[:, 0] += 6 * labels
    fit_linear_head(model, [LabelledChain("x", "A" * 60, labels)], [x])
    with torch.no_grad():
        logits = model.head(torch.from_numpy(x)).squeeze(-1).numpy()
    assert logits[labels == 1].min() > logits[labels == 0].max()
