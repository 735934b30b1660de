"""The training loop: it learns, it repeats itself, it resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from s2p.config import FinetuneConfig
from s2p.datasets import LabelledChain
from s2p.errors import S2PError
from s2p.finetune import balanced_weight, evaluate, finetune
from s2p.plm import ResidueModel

CONFIG = FinetuneConfig(head_epochs=1, full_epochs=2, token_budget=256, max_residues=60, head_lr=1e-2, backbone_lr=1e-3)


def chains(n: int, seed: int) -> list[LabelledChain]:
    """Every W and H binds: easy to learn from the sequence."""
    draw = np.random.default_rng(seed)
    found = []
    for k in range(n):
        text = "".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 50))
        found.append(LabelledChain(f"c{k}", text, np.array([letter in "WH" for letter in text], np.uint8)))
    return found


def fresh() -> ResidueModel:
    torch.manual_seed(1)
    return ResidueModel("esm2_t6_8M_UR50D", dropout=0.1)


def test_balanced_weight() -> None:
    chain = LabelledChain("x", "ACDE", np.array([1, 0, 0, 0], np.uint8))
    assert balanced_weight([chain]) == 2
    with pytest.raises(S2PError, match="no chain of the training set has a binding residue"):
        balanced_weight([LabelledChain("x", "AC", np.zeros(2, np.uint8))])


def test_it_learns_and_ends_with_the_best_epoch() -> None:
    model, validation = fresh(), chains(6, 9)
    before = evaluate(model, validation)
    log = finetune(model, chains(40, 0), validation, CONFIG, quiet=True)
    assert [entry.phase for entry in log] == ["head", "all", "all"]
    assert max(entry.validation_auprc for entry in log) > 0.6 > before
    assert evaluate(model, validation) == pytest.approx(max(entry.validation_auprc for entry in log), abs=1e-9)


def test_the_head_phase_leaves_the_backbone_alone() -> None:
    model = fresh()
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    finetune(model, chains(10, 0), chains(3, 9), replace(CONFIG, full_epochs=0), quiet=True)
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_killed_run_resumes_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = chains(15, 0), chains(4, 9)
    whole = finetune(fresh(), training, validation, CONFIG, quiet=True)
    import s2p.finetune as module

    real, calls = module._train_epoch, []

    def dies(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_train_epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        finetune(fresh(), training, validation, CONFIG, folder=tmp_path, quiet=True)
    monkeypatch.setattr(module, "_train_epoch", real)
    resumed = finetune(fresh(), training, validation, CONFIG, folder=tmp_path, quiet=True)
    assert resumed == whole
    assert (tmp_path / "log.csv").read_text().count("\n") == 4


def test_a_state_of_another_configuration_is_refused(tmp_path: Path) -> None:
    finetune(fresh(), chains(4, 0), chains(2, 9), replace(CONFIG, full_epochs=0), folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="another configuration"):
        finetune(fresh(), chains(4, 0), chains(2, 9), CONFIG, folder=tmp_path, quiet=True)


def test_no_validation_is_refused() -> None:
    with pytest.raises(S2PError, match="validation"):
        finetune(fresh(), chains(2, 0), [], CONFIG)


def test_the_published_recipe_takes_one_chain_a_step() -> None:
    config = FinetuneConfig.published()
    assert (config.head_epochs, config.full_epochs, config.token_budget, config.adam_eps) == (2, 1, 1, 1e-4)
    log = finetune(fresh(), chains(3, 0), chains(2, 9), config, quiet=True)
    assert [entry.phase for entry in log] == ["head", "head", "all"]
