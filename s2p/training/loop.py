"""What a training run leaves on disk: a state to go on from, and tables of epochs and steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s2p.errors import S2PError
from s2p.io.files import make_folder, sha256_of, write_csv
from s2p.training.config import FinetuneConfig

__all__ = ["EpochLog", "StepLog", "identity", "load_state", "save_state", "weights_hash", "write_logs"]

STATE = "state.pt"
FREE = ("checkpointing", "micro_tokens", "save_minutes")
"""Settings that may change between a run and its continuation: they say how the same sums are computed."""


@dataclass(frozen=True)
class EpochLog:
    """One line of the training log."""

    epoch: int
    phase: str
    """``head`` or ``all`` (what is trained)."""
    train_loss: float
    validation_auprc: float
    """Mean over the heads."""
    auprc_by_head: dict[str, float] = field(default_factory=dict)
    """Of each head, where there are several."""


@dataclass(frozen=True)
class StepLog:
    """One step of the optimiser."""

    epoch: int
    step: int
    """Within the epoch, from 0."""
    loss: float
    """Mean over the residues of the batch."""
    lr: float
    """Of the head."""


def identity(config: FinetuneConfig, data: str) -> dict[str, Any]:
    """What has to be equal for a run to go on: the settings that change its result, and the hash of its data."""
    return {"config": {key: value for key, value in asdict(config).items() if key not in FREE}, "data": data}


def weights_hash(backbone: nn.Module) -> str:
    """A hash of the first numbers of every array: tells one set of weights from another at no cost."""
    return sha256_of(value.flatten()[:64].float().cpu().numpy().tobytes() for value in backbone.state_dict().values())


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` (numbers, strings, tensors, and dicts and lists of them) so that it is there whole or not at all."""
    make_folder(folder)
    partial = folder / f"{STATE}.part"
    try:
        torch.save(dict(state), partial)
        os.replace(partial, folder / STATE)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        reason = " ".join(str(error).split())[:200]
        raise S2PError(f"the training state could not be written to {folder} ({reason}); is the disk full?") from None


def load_state(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state in ``folder``, or ``None`` without one.

    Raises
    ------
    S2PError
        If it cannot be read or belongs to a run that is not ``wanted`` (see :func:`identity`).
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise S2PError(f"{path}: cannot be read as the state of a training run ({reason}); remove it to start anew") from None
    for key, word in (("config", "another configuration"), ("data", "other data"), ("backbone", "another backbone")):
        if found.get(key) != wanted.get(key):
            raise S2PError(f"{path} was written by a run with {word}; remove it or choose another folder")
    return state


def write_logs(folder: Path, epochs: Sequence[EpochLog], steps: Sequence[StepLog]) -> None:
    """Tables ``log.csv``, a line an epoch, and ``steps.csv``, a line a step."""
    make_folder(folder)
    rows = []
    for entry in epochs:
        row = asdict(entry)
        row |= {f"auprc_{head}": value for head, value in row.pop("auprc_by_head").items()}
        rows.append(row)
    for name, table in (("log", rows), ("steps", [asdict(entry) for entry in steps])):
        if table:
            write_csv(folder / f"{name}.csv", table)
