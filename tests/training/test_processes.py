"""Two processes on one CPU: the same steps as one, interrupted and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.language.esm import ResidueModel
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import finetune
from s2p.training.loop import EpochLog
from s2p.training.processes import Processes, join

# Where gradients are all but zero, Adam makes steps of their rounding, unless eps is far above it.
CONFIG = FinetuneConfig(1, 1, head_lr=1e-2, backbone_lr=1e-3, adam_eps=1e-4, dropout=0.0, token_budget=130, max_residues=60)
KINDS = {"all": CONFIG, "lora": replace(CONFIG, lora_rank=2, micro_tokens=70, ema_decay=0.9)}


def chains(n: int, seed: int) -> list[LabelledChain]:
    """Of 20 to 60 residues: batches of one to five rows."""
    draw = np.random.default_rng(seed)
    texts = ["".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 20 + 7 * k % 41)) for k in range(n)]
    return [LabelledChain(f"c{k}", x, np.array([letter in "WH" for letter in x], np.uint8)) for k, x in enumerate(texts)]


def train(kind: str, folder: Path) -> tuple[ResidueModel, list[EpochLog]]:
    torch.manual_seed(1)
    model = ResidueModel("esm2_t6_8M_UR50D", heads=("general", "cryptic"))
    training = {"general": chains(9, 0), "cryptic": chains(4, 1)}
    validation = {"general": chains(3, 8), "cryptic": chains(1, 9)}
    return model, finetune(model, training, validation, KINDS[kind], folder=folder, quiet=True)


CHILD = """
import importlib.util, os, pathlib, signal, sys, torch

spec = importlib.util.spec_from_file_location("parent", sys.argv[1])
parent = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent)
from s2p.training.finetuning import Task

folder, rank, real, calls = pathlib.Path(sys.argv[2]), os.environ["RANK"], Task.loss, []

def interrupted(*arguments):
    calls.append(1)
    if len(calls) == 9 and rank == "1":
        signal.raise_signal(signal.SIGINT)
    return real(*arguments)

for kind in parent.KINDS:
    calls.clear()
    Task.loss = interrupted
    try:
        parent.train(kind, folder / kind)
        raise SystemExit("not interrupted")
    except KeyboardInterrupt:
        assert len(calls) == 9
    Task.loss = real
    model, log = parent.train(kind, folder / kind)
    torch.save({"weights": model.state_dict(), "log": [vars(entry) for entry in log]}, folder / f"{kind}{rank}.pt")
"""


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    done = launch(str(script), __file__, str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr[-3000:]
    for kind in KINDS:
        model, log = train(kind, tmp_path / "one" / kind)
        tables = [np.loadtxt(tmp_path / n / kind / "steps.csv", delimiter=",", skiprows=1) for n in ("one", "two")]
        np.testing.assert_allclose(tables[1], tables[0], atol=1e-5)
        for rank in (0, 1):
            found = torch.load(tmp_path / "two" / f"{kind}{rank}.pt")
            for key, value in model.state_dict().items():
                torch.testing.assert_close(found["weights"][key], value, atol=1e-5, rtol=0, msg=f"{kind} {rank} {key}")
            assert [x["train_loss"] for x in found["log"]] == pytest.approx([x.train_loss for x in log], abs=1e-5)
            assert [x["validation_auprc"] for x in found["log"]] == pytest.approx([x.validation_auprc for x in log], abs=1e-5)


def test_one_process_needs_no_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    cpu = torch.device("cpu")
    assert join(cpu) == (Processes(), cpu)
    alone = Processes()
    assert alone.first and alone.everyones("x") == ["x"] and alone.share([1, 2, 3]) == [1, 2, 3]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert join(cpu) == (alone, cpu), "a job of a cluster may set this for other reasons"
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(S2PError, match=r"several processes need the package accelerate: pip install 's2p-pockets\[train\]'"):
        join(cpu)


def test_rows_are_shared_out() -> None:
    assert [Processes(3, k).share(range(7)) for k in range(3)] == [range(0, 7, 3), range(1, 7, 3), range(2, 7, 3)]
    assert [Processes(2, k).first for k in (0, 1)] == [True, False]
