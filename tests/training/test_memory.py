"""The estimates: counts against the networks themselves, memory against a run that is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from s2p.checkpoint import Checkpoint, save_checkpoint
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError, WeightsError
from s2p.language.esm import ResidueModel, build_backbone
from s2p.language.lora import add_lora, lora_parameters
from s2p.language.sequences import BACKBONES, parameter_count
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import finetune
from s2p.training.memory import estimate_memory, estimate_needs, estimate_seconds, smaller

MEDIUM, LARGE = "esm2_t33_650M_UR50D", "esm2_t36_3B_UR50D"

MEASURE = """
import re, sys
import numpy as np
import torch
from s2p.training.config import FinetuneConfig
from s2p.datasets.labelled import LabelledChain
from s2p.training.finetuning import Task, make_optimizer
from s2p.language.esm import ResidueModel

torch.set_num_threads(1)

def peak():  # ru_maxrss would begin with what the parent process held
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

def step(tokens, checkpointing):
    rows = max(1, tokens // 514)
    draw = np.random.default_rng(0)
    text, labels = "".join(draw.choice(list("ACDEFGHIKL"), 512)), np.tile([1, 0], 256).astype(np.uint8)
    chains = [LabelledChain(str(k), text, labels) for k in range(rows)]
    config = FinetuneConfig(head_epochs=0, full_epochs=1, token_budget=tokens, checkpointing=checkpointing)
    task = Task(ResidueModel("esm2_t6_8M_UR50D"), chains, chains, config)
    task.model.checkpointing = checkpointing
    optimizer = make_optimizer(task.model, config, True)
    for batch in task.batches(0, 0):
        task.loss(True, batch, lambda loss: loss.backward())
        optimizer.step()

step(520, False)
before = peak()
step(int(sys.argv[1]), sys.argv[2] == "1")
print(peak() - before)
"""


@pytest.mark.parametrize("name", list(BACKBONES))
def test_parameters_are_those_of_the_network(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name)
    assert parameter_count(name) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("targets", [("q_proj", "k_proj", "v_proj", "out_proj"), ("q_proj", "fc1", "fc2")])
def test_low_rank_parameters_are_those_of_the_network(targets: tuple[str, ...]) -> None:
    backbone = build_backbone("esm2_t6_8M_UR50D")
    add_lora(backbone, 4, 8.0, targets)
    trained = sum(p.numel() for p in lora_parameters(backbone)) + 321  # and the head
    estimate = estimate_memory("esm2_t6_8M_UR50D", FinetuneConfig(lora_rank=4, lora_targets=targets), device="cpu")
    assert (estimate.gradients, estimate.optimizer) == (4 * trained, 8 * trained)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read the Linux way")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_estimate_against_a_measured_step(checkpointing: bool) -> None:
    """Peak memory of a large batch less that of a small one, against the same difference of the estimates."""
    tokens = 8224
    # Without this glibc keeps freed blocks, and the peak is that of its heap and not of what is in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MEASURE, str(tokens), str(int(checkpointing))]
    measured = float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    config = FinetuneConfig(checkpointing=checkpointing)
    small = estimate_memory("esm2_t6_8M_UR50D", replace(config, checkpointing=False), 520, device="cpu").total
    expected = estimate_memory("esm2_t6_8M_UR50D", config, tokens, device="cpu").total - small
    assert measured == pytest.approx(expected, rel=0.3)


def test_large_backbones_fit_the_gpus_they_are_meant_for() -> None:
    slim = FinetuneConfig(eight_bit=True, checkpointing=True)
    assert estimate_memory(MEDIUM, slim, 4096).total < 15e9
    assert estimate_memory(LARGE, slim, 1024).total < 40e9 < estimate_memory(LARGE, FinetuneConfig(), 1024).total
    assert estimate_memory(LARGE, replace(slim, lora_rank=8), 4096).total < 15e9


def test_what_saves_memory_is_said_to_save_it() -> None:
    plain = FinetuneConfig()
    total = estimate_memory(MEDIUM, plain).total
    for change in ({"checkpointing": True}, {"eight_bit": True}, {"lora_rank": 8}, {"full_epochs": 0}, {"micro_tokens": 1024}):
        assert estimate_memory(MEDIUM, replace(plain, **change)).total < total
    assert estimate_memory(MEDIUM, replace(plain, ema_decay=0.9)).total > total
    assert estimate_memory(MEDIUM, replace(plain, precision="fp32")).activations > estimate_memory(MEDIUM, plain).activations


def test_time_grows_with_the_work() -> None:
    config = FinetuneConfig(head_epochs=1, full_epochs=1)
    device = torch.device("cpu")
    one = estimate_seconds("esm2_t6_8M_UR50D", config, [300] * 10, device)
    assert estimate_seconds("esm2_t6_8M_UR50D", config, [300] * 1000, device) > 10 * one > 0


@pytest.mark.parametrize("change", [{}, {"lora_rank": 2}, {"full_epochs": 0}, {"ema_decay": 0.9}])
def test_state_and_checkpoint_on_disk_are_as_large_as_estimated(tmp_path: Path, change: dict[str, Any]) -> None:
    config = replace(FinetuneConfig(head_epochs=1, full_epochs=1), **change)
    chains = [LabelledChain("x", "ACDEFGHIKL", np.arange(10) % 2 == 0)]
    model = ResidueModel("esm2_t6_8M_UR50D")
    finetune(model, chains, chains, config, folder=tmp_path, quiet=True)
    needs = estimate_needs("esm2_t6_8M_UR50D", config, device="cpu")
    assert (tmp_path / "state.pt").stat().st_size == pytest.approx(needs.state, rel=0.05, abs=1e5)
    save_checkpoint(Checkpoint("x", model, None, None, 0.5, 0.4, "published", {}), tmp_path / "x.safetensors")
    whole = not config.lora_rank
    assert (tmp_path / "x.safetensors").stat().st_size == pytest.approx(needs.checkpoint, rel=0.06 if whole else 0.3)
    assert needs.disk == 2 * needs.state + needs.checkpoint


def test_what_does_not_fit_is_refused_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = FinetuneConfig.published()
    needs = estimate_needs(LARGE, published)
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1e12))
    needs.check(tmp_path / "new" / "run", 80e9)
    with pytest.raises(S2PError, match=r"about \d+.\d GB of GPU memory and 24.0 are there; with --lora 8 it is 1"):
        needs.check(tmp_path, 24e9, smaller(LARGE, published, 24e9))
    assert smaller(LARGE, FinetuneConfig(), 40e9).startswith("with --eight-bit")
    assert smaller(LARGE, published, 2e9) == "choose a smaller backbone"
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needs.disk + 1e9))
    needs.check(tmp_path, None)
    with pytest.raises(S2PError, match=r"GB of disk and \d+ are free at"):
        needs.check(tmp_path, None, more=2e9)
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 16)
    with pytest.raises(S2PError, match="of the computer's memory, which has 4"):
        needs.check(tmp_path, None)


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(WeightsError, match="there is no ESM-2 called"):
        estimate_memory("esm3", FinetuneConfig())
