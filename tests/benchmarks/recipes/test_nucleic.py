"""Chains that bind nucleic acids: their split, the sequence branch, propensities and figures."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.recipes.data import read_chains
from benchmarks.recipes.nucleic import (
    CrossBindSequenceConfig,
    low_rank_update,
    nucleic_figures,
    propensities,
    split_chains,
    train_sequence_branch,
)
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets import splits
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError, WeightsError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.language.esm import ResidueModel
from s2p.language.sequences import predict_residues
from s2p.models.crossbind.filter import LETTERS
from s2p.models.crossbind.sequence import apply_update

NUCLEIC = Path(os.environ.get("S2P_DATA", "data/public")) / "sequences" / "nucleic"


def random_chains(n: int, seed: int = 0) -> list[LabelledChain]:
    rng = np.random.default_rng(seed)
    chains = []
    for k in range(n):
        sequence = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 60))
        chains.append(LabelledChain(f"c{k}", sequence, np.array([letter in "RK" for letter in sequence], np.uint8)))
    return chains


def test_split_keeps_clusters_together_and_does_not_depend_on_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")
    chains = random_chains(30)
    copies = [replace(c, id=f"{c.id}b", sequence="M" + c.sequence[1:]) for c in chains]
    config = replace(CrossBindSequenceConfig(), validation=0.3)
    training, validation = split_chains(chains + copies, config)
    assert len(training) + len(validation) == 60 and 4 <= len(validation) <= 36
    sides = {c.id: "training" for c in training} | {c.id: "validation" for c in validation}
    assert all(sides[c.id] == sides[f"{c.id}b"] for c in chains)
    again = split_chains((chains + copies)[::-1], config)[1]
    assert {c.id for c in again} == {c.id for c in validation}
    with pytest.raises(S2PError, match="too few clusters"):
        split_chains(chains[:1], config)


def test_sequence_branch_trains_and_its_update_is_exact(tmp_path: Path) -> None:
    base = load_checkpoint(DEFAULT_MODEL).model
    before = {key: value.clone() for key, value in base.state_dict().items()}
    config = CrossBindSequenceConfig.fast()
    few = replace(config.finetune, head_epochs=2, full_epochs=8, token_budget=128, head_lr=0.02, backbone_lr=0.01, patience=8)
    config = replace(config, finetune=few)
    chains = random_chains(16)
    model, log = train_sequence_branch(base, chains[:12], chains[12:], config, folder=tmp_path, quiet=True)
    assert log[-1].validation_auprc > 0.9  # which letters are R and K is soon learned
    # Another process has another copy of the base, whose unused parts are random: the run is found finished all the same.
    finished, same_log = train_sequence_branch(
        load_checkpoint(DEFAULT_MODEL).model, chains[:12], chains[12:], config, folder=tmp_path, quiet=True
    )
    assert same_log == log and torch.equal(finished.head.weight, model.head.weight)
    assert all(torch.equal(value, before[key]) for key, value in base.state_dict().items())
    rank = config.finetune.lora_rank
    update = low_rank_update(base, model, rank)
    assert {value.shape[0] for key, value in update.items() if key.endswith(".down")} == {rank}
    rebuilt = apply_update(base, update)
    logits, expected = (predict_residues(m, [chains[0].sequence])[0][0] for m in (rebuilt, model))
    np.testing.assert_allclose(logits, expected, atol=2e-4)
    plain = predict_residues(only_the_head(base, update), [chains[0].sequence])[0][0]
    assert np.abs(plain - expected).max() > 1e-3  # without the update it is another model
    half = {key: value.half() for key, value in update.items()}
    np.testing.assert_allclose(predict_residues(apply_update(base, half), [chains[0].sequence])[0][0], expected, atol=0.02)
    with pytest.raises(WeightsError, match="damaged"):
        apply_update(base, {key: value for key, value in update.items() if not key.endswith(".down")})
    biased = apply_update(base, update)
    with torch.no_grad():
        biased.backbone.layers[0].fc1.bias.add_(1.0)  # type: ignore[index,union-attr]
    with pytest.raises(S2PError, match=r"fc1\.bias was changed"):
        low_rank_update(base, biased, rank)


def only_the_head(base: ResidueModel, update: dict[str, torch.Tensor]) -> ResidueModel:
    """The base with the new head but without the update of the backbone."""
    return apply_update(base, {key: value for key, value in update.items() if key.startswith("head.")})


def test_figures_pooled_and_per_chain() -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score, roc_auc_score

    rng = np.random.default_rng(1)
    chains = random_chains(9, seed=3)
    p = [np.clip(0.4 * c.labels + rng.random(60) * 0.7, 0, 1) for c in chains]
    found = nucleic_figures(chains, p, 0.45, n=50)
    y, flat = np.concatenate([c.labels for c in chains]), np.concatenate(p)
    for name, value in {
        "recall": recall_score(y, flat > 0.45),
        "precision": precision_score(y, flat > 0.45),
        "f1": f1_score(y, flat > 0.45),
        "mcc": matthews_corrcoef(y, flat > 0.45),
        "auc": roc_auc_score(y, flat),
        "auprc": auprc_trapezoid(y, flat),
    }.items():
        summary = found.pooled[name]
        assert summary.value == pytest.approx(value) and summary.low <= summary.value <= summary.high
    mean = np.mean([roc_auc_score(c.labels, x) for c, x in zip(chains, p, strict=True)])
    assert found.per_chain["auc"].value == pytest.approx(mean)
    assert found.plain()["pooled"]["f1"][0] == round(found.pooled["f1"].value, 4)  # type: ignore[index]


def chain(sequence: str, labels: str) -> LabelledChain:
    return LabelledChain("x", sequence, np.array([int(c) for c in labels], np.uint8))


def test_propensities_by_hand() -> None:
    everything = LETTERS * 2
    table = propensities([chain(everything, "1" * 20 + "0" * 20), chain("RRRX", "1101")])
    # 22 binding of which 3 R; 21 others of which 2 R; X is not counted.
    assert math.isclose(table["R"], (3 / 22) / (2 / 21))
    assert math.isclose(table["A"], (1 / 22) / (1 / 21))
    # A type that never binds gets one count on both sides.
    lone = propensities([chain(everything, "0" + "1" * 19 + "0" * 20)])
    assert math.isclose(lone["A"], (1 / 20) / (3 / 22))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_propensities_average_to_one_over_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters = "".join(rng.choice(list(LETTERS), 3000)) + LETTERS * 2
    labels = "".join(map(str, rng.integers(0, 2, 3000))) + "1" * 20 + "0" * 20
    table = propensities([chain(letters, labels)])
    others = np.array([sum(a == letter and b == "0" for a, b in zip(letters, labels, strict=True)) for letter in LETTERS])
    assert math.isclose(sum(table[x] * n for x, n in zip(LETTERS, others / others.sum(), strict=True)), 1.0)


@pytest.mark.skipif(not NUCLEIC.is_dir(), reason="public label files not here (S2P_DATA)")
@pytest.mark.parametrize(
    ("name", "golden"),
    [
        (
            "dna_train_573.txt",
            "R 2.87 K 2.04 H 1.62 Y 1.50 N 1.45 S 1.41 T 1.39 W 1.30 Q 1.17 G 1.08 M 0.84 F 0.80 P 0.75 D 0.60 A 0.58 I 0.46 "
            "V 0.46 C 0.44 E 0.43 L 0.30",
        ),
        ("rna_rna_495_train.txt", "R 2.99 K 1.98 H 1.82 L 0.44"),
    ],
)
def test_golden_propensities(name: str, golden: str) -> None:
    table = propensities(read_chains(NUCLEIC / name))
    words = golden.split()
    for letter, value in zip(words[::2], words[1::2], strict=True):
        assert table[letter] == pytest.approx(float(value), abs=0.025), letter  # our copies lack a few chains of each set
