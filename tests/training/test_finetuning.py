"""Fine-tuning: its arithmetic, its heads, parts of batches, and that a killed process goes on."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.language.esm import ResidueModel
from s2p.language.lora import base_checksum, lora_updates
from s2p.language.sequences import token_batches, tokenize
from s2p.training.batches import balanced_weight
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import Task, adamw, evaluate, finetune, make_optimizer
from s2p.training.state import STATE

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


def backward(loss: torch.Tensor) -> float:
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


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


def plain_run(model: ResidueModel, training: list[LabelledChain], config: FinetuneConfig) -> list[float]:
    """The arithmetic of the default recipe, spelled out: mean loss of every epoch."""
    losses = []
    weight = torch.tensor(balanced_weight(training))
    members = list(token_batches([min(len(c.sequence), config.max_residues) for c in training], config.token_budget))
    for epoch in range(config.head_epochs + config.full_epochs):
        full = epoch >= config.head_epochs
        if epoch in (0, config.head_epochs):
            model.backbone.requires_grad_(full)
            net, depth = model.backbone, len(model.backbone.layers)
            groups = [{"params": list(model.head.parameters()), "lr": config.backbone_lr if full else config.head_lr}]
            if full:
                pieces = [(net.emb_layer_norm_after, 0), (net.embed_tokens, depth + 1)]
                pieces += [(layer, depth - k) for k, layer in enumerate(net.layers)]
                groups += [{"params": list(m.parameters()), "lr": config.backbone_lr * config.layer_decay**d} for m, d in pieces]
            optimizer = torch.optim.AdamW(groups, eps=config.adam_eps, weight_decay=config.weight_decay)
            steps = len(members) * (config.full_epochs if full else config.head_epochs)
            warmup, rates, k = max(1, round(config.warmup_fraction * steps)), [g["lr"] for g in groups], 0
        rng = np.random.default_rng((config.seed, epoch))
        torch.manual_seed(config.seed * 1000 + epoch)
        model.train()
        model.backbone.train(full)
        total = count = 0.0
        for index in rng.permutation(len(members)).tolist():
            size = max(min(len(training[i].sequence), config.max_residues) for i in members[index]) + 2
            tokens = torch.full((len(members[index]), size), 1)
            labels = torch.full((len(members[index]), size), -1.0)
            for row, i in enumerate(members[index]):
                start = int(rng.integers(0, max(1, len(training[i].sequence) - config.max_residues + 1)))
                text = training[i].sequence[start : start + config.max_residues]
                tokens[row, : len(text) + 2] = torch.from_numpy(tokenize(text))
                labels[row, 1 : len(text) + 1] = torch.from_numpy(
                    training[i].labels[start : start + len(text)].astype(np.float32)
                )
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * min((k + 1) / warmup, max(0.0, (steps - k) / max(1, steps - warmup)))
            known = labels >= 0
            logits, _ = model(tokens)
            loss = F.binary_cross_entropy_with_logits(logits[known], labels[known], pos_weight=weight)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            k, total, count = k + 1, total + loss.item() * int(known.sum()), count + int(known.sum())
        losses.append(total / count)
    return losses


def test_the_default_arithmetic_is_unchanged() -> None:
    config = replace(CONFIG, max_residues=40, full_epochs=1)
    expected = plain_run(fresh(), chains(12, 0), config)
    assert [entry.train_loss for entry in finetune(fresh(), chains(12, 0), chains(3, 9), config, quiet=True)] == expected


CHILD = """
import importlib.util, os, signal, sys

spec = importlib.util.spec_from_file_location("parent", sys.argv[1])
parent = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent)
real, calls = parent.Task.loss, []

def dies(*arguments):
    calls.append(1)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)

parent.Task.loss = dies
config = parent.replace(parent.CONFIG, save_minutes=0.0, lora_rank=int(sys.argv[3]))
parent.finetune(parent.fresh(), parent.chains(15, 0), parent.chains(4, 9), config, folder=sys.argv[2])
"""


@pytest.mark.parametrize("rank", [0, 2], ids=["weights", "lora"])
def test_a_process_killed_by_the_system_resumes_to_the_same_bits(rank: int, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, str(script), __file__, str(tmp_path), str(rank)]
    assert subprocess.run(command, check=False, env=threads).returncode == -signal.SIGKILL
    model, expected, config = fresh(), fresh(), replace(CONFIG, lora_rank=rank)
    resumed = finetune(model, chains(15, 0), chains(4, 9), config, folder=tmp_path, quiet=True)
    assert resumed == finetune(expected, chains(15, 0), chains(4, 9), config, quiet=True)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), expected.state_dict().values(), strict=True))
    assert [(tmp_path / f"{name}.csv").read_text().count("\n") for name in ("log", "steps")] == [4, 13]
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("rank", [0, 2], ids=["weights", "lora"])
def test_the_cell_of_a_notebook_is_run_again(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same call with the same model, after Ctrl-C and after the end."""
    config, expected, model = replace(CONFIG, lora_rank=rank), fresh(), fresh()
    log = finetune(expected, chains(15, 0), chains(4, 9), config, quiet=True)
    before, real, count = base_checksum(model.backbone), Task.loss, [0]

    def interrupted(*arguments: Any) -> dict[str, float]:
        count[0] += 1
        if count[0] == 6:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Task, "loss", interrupted)
        finetune(model, chains(15, 0), chains(4, 9), config, folder=tmp_path, quiet=True)
    if rank:
        assert base_checksum(model.backbone) == before and not lora_updates(model.backbone)
    assert finetune(model, chains(15, 0), chains(4, 9), config, folder=tmp_path) == log
    assert f"resuming the run in {tmp_path}: 1 epochs, 6 steps are done" in capsys.readouterr().out
    monkeypatch.setattr(Task, "loss", lambda *_: pytest.fail("trained again"))
    assert finetune(model, chains(15, 0), chains(4, 9), config, folder=tmp_path, quiet=True) == log
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), expected.state_dict().values(), strict=True))
    if rank:
        assert base_checksum(model.backbone) == before


def test_training_further_starts_from_the_updates_of_before() -> None:
    """Another run takes a model as it is; then its weights have no name, and are stored whole."""
    config, model = replace(CONFIG, lora_rank=2, head_epochs=0, full_epochs=1), fresh()
    finetune(model, chains(6, 0), chains(2, 9), config, quiet=True)
    assert model.base == "esm2_t6_8M_UR50D" and lora_updates(model.backbone)
    trained = evaluate(model, chains(4, 5))
    for rank in (2, 0):
        still = replace(config, lora_rank=rank, backbone_lr=1e-30, weight_decay=0.0)
        finetune(model, chains(6, 0), chains(2, 9), still, quiet=True)
        assert evaluate(model, chains(4, 5)) == pytest.approx(trained, abs=1e-4)
        assert model.base is None and not lora_updates(model.backbone)


def test_a_finished_run_is_not_trained_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A rate of next to nothing never gets better, so patience ends it after the second unfrozen epoch.
    config = replace(CONFIG, full_epochs=6, patience=1, backbone_lr=1e-30, weight_decay=0.0)
    log = finetune(fresh(), chains(6, 0), chains(2, 9), config, folder=tmp_path, quiet=True)
    assert len(log) < 7
    monkeypatch.setattr(Task, "loss", lambda *_: pytest.fail("trained again"))
    assert finetune(fresh(), chains(6, 0), chains(2, 9), config, folder=tmp_path, quiet=True) == log


def test_parts_of_a_batch_give_the_gradients_of_the_whole() -> None:
    model = fresh()
    model.dropout.p = 0.0
    uneven = [LabelledChain(c.id, c.sequence[: 20 + 5 * k], c.labels[: 20 + 5 * k]) for k, c in enumerate(chains(5, 0))]
    gradients = []
    for micro in (None, 100, 1):
        task = Task(model, uneven, uneven, replace(CONFIG, micro_tokens=micro, token_budget=1000))
        make_optimizer(model, task.config, True).zero_grad()
        (batch,) = task.batches(0, 0)
        loss = task.loss(True, batch, backward)["loss"]
        gradients.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    for loss, values in gradients[1:]:
        assert loss == pytest.approx(gradients[0][0], rel=1e-5)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(values, gradients[0][1], strict=True))


def test_a_full_memory_splits_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    real, sizes = ResidueModel.forward, []

    def small(self: ResidueModel, tokens: torch.Tensor, head: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        if self.training and tokens.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(tokens.numel())
        return real(self, tokens, head)

    monkeypatch.setattr(ResidueModel, "forward", small)
    limit = 110
    finetune(fresh(), chains(8, 0), chains(2, 9), replace(CONFIG, full_epochs=0), quiet=True)
    assert 104 in sizes  # two of the four chains of 52 tokens that make a batch
    limit = 10
    with pytest.raises(S2PError, match="one chain of 50 residues does not fit"):
        finetune(fresh(), chains(8, 0), chains(2, 9), replace(CONFIG, full_epochs=0), quiet=True)


def test_checkpointing_changes_nothing_but_the_memory() -> None:
    logs = [finetune(fresh(), chains(6, 0), chains(2, 9), replace(CONFIG, checkpointing=on), quiet=True) for on in (False, True)]
    assert [e.train_loss for e in logs[0]] == pytest.approx([e.train_loss for e in logs[1]], rel=1e-6)


def test_label_smoothing_moves_the_targets() -> None:
    model, (chain,) = fresh(), chains(1, 0)
    model.dropout.p = 0.0
    config = replace(CONFIG, label_smoothing=0.1, pos_weight=3.0)
    task = Task(model, [chain], [chain], config)
    (batch,) = task.batches(0, 0)
    p = torch.sigmoid(model(batch[1])[0][0, 1:-1]).double()
    y = torch.from_numpy(np.where(chain.labels, 0.9, 0.1))
    by_hand = -(3 * y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert task.loss(False, batch, backward)["loss"] == pytest.approx(by_hand.item(), rel=1e-5)


def test_each_head_learns_from_its_own_chains() -> None:
    torch.manual_seed(1)
    model = ResidueModel("esm2_t6_8M_UR50D", heads=("general", "cryptic"))
    other = [LabelledChain(c.id, c.sequence, np.array([x in "KG" for x in c.sequence], np.uint8)) for c in chains(40, 3)]
    validation = {"general": chains(6, 9), "cryptic": other[:6]}
    log = finetune(model, {"general": chains(40, 0), "cryptic": other[6:]}, validation, CONFIG, quiet=True)
    assert set(log[-1].auprc_by_head) == {"general", "cryptic"}
    assert log[-1].validation_auprc == pytest.approx(np.mean(list(log[-1].auprc_by_head.values())))
    own, crossed = evaluate(model, other[:6], head="cryptic"), evaluate(model, other[:6], head="general")
    assert own > 0.5 > crossed


def test_a_head_is_not_touched_by_the_chains_of_another() -> None:
    model = ResidueModel("esm2_t6_8M_UR50D", heads=("general", "cryptic"))
    table = {"general": chains(2, 0), "cryptic": chains(2, 1)}
    task = Task(model, table, table, CONFIG)
    for batch in task.batches(0, 0):
        head = batch[0]
        model.zero_grad()
        task.loss(True, batch, backward)
        assert (model.head.weight.grad is not None) == (head == "general")
        assert (model.other_heads["cryptic"].weight.grad is not None) == (head == "cryptic")


def test_half_precision_learns_too() -> None:
    log = finetune(fresh(), chains(20, 0), chains(4, 9), replace(CONFIG, precision="bf16"), quiet=True)
    plain = finetune(fresh(), chains(20, 0), chains(4, 9), CONFIG, quiet=True)
    assert [e.train_loss for e in log] == pytest.approx([e.train_loss for e in plain], rel=0.02)
    assert [e.train_loss for e in log] != [e.train_loss for e in plain]


def test_eight_bit_states_need_bitsandbytes_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    config = replace(CONFIG, eight_bit=True)
    assert adamw(config, torch.device("cpu")) is torch.optim.AdamW
    with pytest.raises(S2PError, match="needs the package bitsandbytes"):
        adamw(config, torch.device("cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(tmp_path: Path) -> None:
    config = replace(CONFIG, checkpointing=True, eight_bit=bool(importlib.util.find_spec("bitsandbytes")))
    log = finetune(fresh().cuda(), chains(40, 0), chains(6, 9), config, folder=tmp_path, quiet=True)
    assert max(entry.validation_auprc for entry in log) > 0.6


def test_other_data_are_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, full_epochs=0)
    finetune(fresh(), chains(4, 0), chains(2, 9), config, folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="other data"):
        finetune(fresh(), chains(5, 0), chains(2, 9), config, folder=tmp_path, quiet=True)
    (tmp_path / STATE).write_bytes(b"not a state")
    with pytest.raises(S2PError, match="cannot be read as the state"):
        finetune(fresh(), chains(4, 0), chains(2, 9), config, folder=tmp_path, quiet=True)


@pytest.mark.parametrize("change", [{"label_smoothing": 0.5}, {"ema_decay": 1.0}, {"head_epochs": 0, "full_epochs": 0}], ids=str)
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(S2PError):
        finetune(fresh(), chains(2, 0), chains(2, 9), replace(CONFIG, **change))


def test_a_state_of_another_configuration_is_refused(tmp_path: Path) -> None:
    finetune(fresh(), chains(4, 0), chains(2, 9), replace(CONFIG, full_epochs=0), folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="another configuration"):
        finetune(fresh(), chains(4, 0), chains(2, 9), CONFIG, folder=tmp_path, quiet=True)


def test_low_rank_updates_need_their_backbone_again(tmp_path: Path) -> None:
    config = replace(CONFIG, full_epochs=0, lora_rank=2)
    log = finetune(fresh(), chains(4, 0), chains(2, 9), config, folder=tmp_path, quiet=True)
    assert finetune(fresh(), chains(4, 0), chains(2, 9), config, folder=tmp_path, quiet=True) == log
    other = fresh()
    torch.nn.init.normal_(other.backbone.embed_tokens.weight)  # type: ignore[union-attr,arg-type]
    with pytest.raises(S2PError, match="another backbone"):
        finetune(other, chains(4, 0), chains(2, 9), config, folder=tmp_path, quiet=True)


def test_no_validation_is_refused() -> None:
    with pytest.raises(S2PError, match="validation"):
        finetune(fresh(), chains(2, 0), [], CONFIG)


def test_the_published_recipe_takes_one_chain_a_step() -> None:
    config = FinetuneConfig.published()
    assert (config.head_epochs, config.full_epochs, config.token_budget, config.adam_eps) == (2, 1, 1, 1e-4)
    log = finetune(fresh(), chains(3, 0), chains(2, 9), config, quiet=True)
    assert [entry.phase for entry in log] == ["head", "head", "all"]
