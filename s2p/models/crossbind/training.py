"""Training of a CrossBind on labelled residues: segmentation by the structure alone, then the whole network.

The paper trains the encoder without labels before that; the course does so (notebook 11), nothing that is shipped was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.crossbind.cloud import Cloud, augment, crop, join
from s2p.models.crossbind.config import CrossBindTrainConfig
from s2p.models.crossbind.network import CrossBind, residue_logits
from s2p.training.loop import Backward, EpochLog, Loop, Stage, StepLog
from s2p.training.state import fingerprint_of, settings_of

__all__ = ["CrossBindExample", "cosine", "draw", "fingerprint", "train_crossbind"]

Phase = Literal["segment", "cross"]
SEEDS = {"segment": 1, "cross": 2}
"""Of what a phase draws; 0 is the pre-training's."""


@dataclass(frozen=True, eq=False)
class CrossBindExample:
    """A protein with everything the network reads, and its labels."""

    name: str
    cloud: Cloud
    language: NDArray[np.float32]
    """(L, language_width)."""
    features: NDArray[np.float32]
    """(L, feature_width)."""
    labels: NDArray[np.uint8]
    """(L,), 1 where the residue binds."""


def draw(examples: Sequence[CrossBindExample], n: int, longest: int, rng: np.random.Generator) -> list[CrossBindExample]:
    """``n`` of the examples, if there are so many; of a longer one ``longest`` residues in a row."""
    drawn = []
    for k in rng.permutation(len(examples))[:n].tolist():
        x = examples[k]
        start = int(rng.integers(0, max(1, len(x.labels) - longest + 1)))
        end = min(len(x.labels), start + longest)
        drawn.append(
            CrossBindExample(x.name, crop(x.cloud, start, end), x.language[start:end], x.features[start:end], x.labels[start:end])
        )
    return drawn


def cosine(highest: float, step: int, *, steps: int, lowest: float) -> float:
    """Learning rate that falls from ``highest`` to ``lowest`` along half a wave (public code)."""
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * step / steps)) / 2


def fingerprint(examples: Iterable[CrossBindExample]) -> str:
    """Hash of everything that is learned from."""
    return fingerprint_of(
        part for x in examples for part in (x.cloud.coord, x.cloud.residue_type, x.language, x.features, x.labels)
    )


def train_crossbind(
    model: CrossBind,
    training: Sequence[CrossBindExample],
    validation: Sequence[CrossBindExample],
    config: CrossBindTrainConfig | None = None,
    *,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> list[EpochLog]:
    """Train ``model``: the encoder with a linear head, then all of it; without a point cloud only the latter.

    Each phase ends with the weights of its best validation AUPRC. What a step draws follows from seed, phase and step.

    Parameters
    ----------
    folder
        Where a state to go on from is written; ``None``: nowhere.

    Returns
    -------
    A line for every ``config.validate_every`` steps.

    Raises
    ------
    S2PError
        Without examples or binding residues, or if ``folder`` holds the state of another run.
    """
    config = config or CrossBindTrainConfig()
    for name, examples in (("training", training), ("validation", validation)):
        if not any(example.labels.any() for example in examples):
            raise S2PError(f"CrossBind needs {name} proteins with binding residues")
    steps: dict[Phase, int] = {"segment": config.segment_steps if model.encoder is not None else 0, "cross": config.cross_steps}
    stages = [_stage(model, phase, n, training, validation, config) for phase, n in steps.items() if n]
    identity = {
        "config": {"train": settings_of(config), "model": asdict(model.config)},
        "data": fingerprint([*training, *validation]),
    }
    rows = Loop(model, stages, identity, None if folder is None else Path(folder), config.save_minutes, quiet=quiet).train()
    model.eval()
    return [EpochLog(**row) for row in rows]


def _stage(
    model: CrossBind,
    phase: Phase,
    steps: int,
    training: Sequence[CrossBindExample],
    validation: Sequence[CrossBindExample],
    config: CrossBindTrainConfig,
) -> Stage[int]:
    """A phase of the training; its batches are the numbers of its steps."""
    every = config.validate_every

    def batches(epoch: int) -> Iterable[int]:
        return range(epoch * every, min(steps, (epoch + 1) * every))

    def loss(step: int, backward: Backward) -> dict[str, Any]:
        rng = np.random.default_rng((config.seed, SEEDS[phase], step))
        model.train()
        return {"loss": backward(_loss(model, phase, draw(training, config.batch, config.max_residues, rng), rng))}

    def validate(epoch: int, entries: Sequence[StepLog]) -> tuple[dict[str, Any], float]:
        """AUPRC over all residues of the validation proteins."""
        model.eval()
        with torch.no_grad():
            if phase == "segment":
                scores = [model.segmentation(x.cloud).float().cpu().numpy() for x in validation]
            else:
                scores = [residue_logits(model, x.cloud, x.language, x.features) for x in validation]
        auprc = auprc_trapezoid(np.concatenate([x.labels for x in validation]), np.concatenate(scores))
        mean = float(np.mean([entry.loss for entry in entries]))
        return {"epoch": epoch, "phase": phase, "train_loss": mean, "validation_auprc": auprc}, auprc

    rate = partial(cosine, steps=steps, lowest=config.min_lr)
    optimizer = partial(_optimizer, model, phase, config)
    return Stage(phase, steps, every, optimizer, batches, loss, validate, rate, keep_best=True)


def _optimizer(model: CrossBind, phase: Phase, config: CrossBindTrainConfig) -> torch.optim.Optimizer:
    """The linear head learns with the encoder; of the whole network the encoder is only adjusted, at a lower rate."""
    encoder, head = (list(part.parameters()) if part is not None else [] for part in (model.encoder, model.segment))
    early = {id(p) for p in (*encoder, *head)}
    rest = [p for p in model.parameters() if id(p) not in early]
    groups = [(encoder + head, config.lr)] if phase == "segment" else [(rest, config.cross_lr), (encoder, config.encoder_lr)]
    return torch.optim.Adam([{"params": part, "lr": lr} for part, lr in groups if part], weight_decay=config.weight_decay)


def _loss(model: CrossBind, phase: Phase, drawn: Sequence[CrossBindExample], rng: np.random.Generator) -> Tensor:
    """Binary cross-entropy of the residues, of augmented point clouds."""
    cloud = join([augment(x.cloud, rng) for x in drawn])
    if phase == "segment":
        logits = model.segmentation(cloud)
    else:
        inputs = ([x.language for x in drawn], [x.features for x in drawn])
        logits = model(cloud, *(torch.from_numpy(np.concatenate(arrays)) for arrays in inputs))
    labels = np.concatenate([x.labels for x in drawn]).astype(np.float32)
    return F.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels))
