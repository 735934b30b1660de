"""Training of a CrossBind on labelled residues: segmentation by the structure alone, then the whole network.

The paper trains the encoder without labels before that; the course does so (notebook 11), nothing that is shipped was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Share
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.weights import write_weights
from s2p.models.crossbind.cloud import Cloud
from s2p.models.crossbind.network import CrossBind, residue_logits
from s2p.models.crossbind.predictor import FORMAT, CrossBindCheckpoint, base_model
from s2p.models.encoder import encoder_digest
from s2p.training.loop import Backward, EpochLog, Loop, Stage, StepLog
from s2p.training.state import fingerprint_of, settings_of

__all__ = [
    "CrossBindExample",
    "CrossBindTrainConfig",
    "anywhere",
    "augment",
    "cosine",
    "crop",
    "draw",
    "fingerprint",
    "join",
    "save_crossbind",
    "train_crossbind",
]


@dataclass(frozen=True)
class CrossBindTrainConfig(Checked):
    """The supervised stages of a CrossBind. Defaults are ours, for the small network and some hundred chains."""

    segment_steps: Natural = 400
    """Of the encoder with a linear head."""
    cross_steps: Natural = 400
    """Of the whole network."""
    batch: Count = 2
    """Chains of one step."""
    max_residues: Count = 320
    """Of a longer chain, so many residues in a row are taken."""
    lr: Positive = 1e-3
    """Of the encoder with the linear head (paper)."""
    cross_lr: Positive = 1e-3
    """Of the whole network, all but the encoder (paper, with its steps: 1e-4)."""
    encoder_lr: Positive = 1e-4
    """Of the encoder in the whole network (public code: a tenth of the others)."""
    min_lr: Positive = 1e-6
    """At the end of each stage's cosine (public code)."""
    weight_decay: NonNegative = 1e-4
    """Paper; public code: 1e-6."""
    language_dropout: Share = 0.0
    """Of the embeddings, in training: a language model that has seen relatives of the training chains is surer of them than of
    others."""
    validate_every: Count = 50
    """Steps; the weights of the best validation AUPRC are kept."""
    save_minutes: NonNegative = 2.0
    """A state to go on from is written this often."""
    seed: Natural = 0


FIELD = 1024.0
"""Å: the origin of the voxels is drawn from a cube of this side."""


SHEAR = 0.1
"""Standard deviation of what is added to the entries of the identity in training (public code)."""


def augment(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    """The cloud of one protein turned about the z axis and sheared (public code), and somewhere among the voxels.

    No reflections (public code: half the time): they turn L amino acids into D.
    """
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn = turn @ (np.eye(3) + SHEAR * rng.standard_normal((3, 3)))
    return replace(cloud, coord=anywhere(cloud.coord @ turn.T, rng))


def anywhere(coord: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(A, 3) Å, moved at random: pooled voxels depend on where the protein lies among them."""
    return coord + rng.uniform(0, FIELD, 3)


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
        return {
            "loss": backward(
                _loss(model, phase, draw(training, config.batch, config.max_residues, rng), rng, config.language_dropout)
            )
        }

    def validate(epoch: int, entries: Sequence[StepLog]) -> tuple[dict[str, Any], float]:
        """AUPRC over all residues of the validation proteins."""
        model.eval()
        with torch.no_grad():
            if phase == "segment":
                scores = [segmentation(model, x.cloud).float().cpu().numpy() for x in validation]
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


def segmentation(model: CrossBind, cloud: Cloud) -> Tensor:
    """(L,) logits of the structure alone: all that stage 2 trains."""
    assert model.segment is not None
    out: Tensor = model.segment(model.stack(cloud)[0].flatten(1)).squeeze(-1)
    return out


def _loss(
    model: CrossBind, phase: Phase, drawn: Sequence[CrossBindExample], rng: np.random.Generator, dropout: float = 0.0
) -> Tensor:
    """Binary cross-entropy of the residues, of augmented point clouds."""
    device = next(model.parameters()).device
    cloud = join([augment(x.cloud, rng) for x in drawn])
    if phase == "segment":
        logits = segmentation(model, cloud)
    else:
        language, features = (
            torch.from_numpy(np.concatenate(x)).to(device) for x in ([x.language for x in drawn], [x.features for x in drawn])
        )
        logits = model(cloud, F.dropout(language, dropout), features)
    labels = np.concatenate([x.labels for x in drawn]).astype(np.float32)
    return F.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).to(device))


def save_crossbind(trained: CrossBindCheckpoint, update: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Write ``path`` (``.safetensors``, fp16) and its card beside it; the base is named, not copied.

    Parameters
    ----------
    update
        What turns the language model of ``trained.base`` into the trained one (``low_rank_update`` of
        ``benchmarks/recipes/nucleic.py`` gives it, :func:`s2p.models.crossbind.sequence.apply_update` reads it).
    """
    arrays = {f"update.{key}": value for key, value in update.items()}
    if trained.network is not None:
        arrays |= {f"network.{key}": value for key, value in trained.network.state_dict().items()}
    arrays = {key: value.half() if value.is_floating_point() else value for key, value in arrays.items()}
    header = {
        "format": FORMAT,
        "name": trained.name,
        "base": trained.base,
        "base_weights": encoder_digest(base_model(trained.base).backbone),
        "network": asdict(trained.network.config) if trained.network is not None else None,
        "propensities": trained.propensities,
        "filter": asdict(trained.filter) if trained.filter is not None else None,
        "threshold": trained.threshold,
    }
    write_weights(Path(path), arrays, header, trained.card)


def crop(cloud: Cloud, start: int, end: int) -> Cloud:
    """Residues ``start`` to ``end`` (exclusive) of the cloud of one protein, centred anew."""
    kept = (cloud.residue >= start) & (cloud.residue < end)
    part = {name: getattr(cloud, name)[kept] for name in ("coord", "residue_type", "element", "residue", "slot", "group")}
    if kept.any():
        part["coord"] = part["coord"] - part["coord"].mean(axis=0)
    return Cloud(**part | {"residue": part["residue"] - start}, n_residues=end - start)


def join(clouds: Sequence[Cloud]) -> Cloud:
    """Several proteins as one cloud, each a group of its own; residues are numbered through."""
    first = np.cumsum([0] + [c.n_residues for c in clouds])
    part = {k: np.concatenate([getattr(c, k) for c in clouds]) for k in ("coord", "residue_type", "element", "slot")}
    residue = np.concatenate([c.residue + start for c, start in zip(clouds, first, strict=False)])
    group = np.repeat(np.arange(len(clouds)), [len(c.coord) for c in clouds])
    return Cloud(**part, residue=residue, group=group, n_residues=int(first[-1]))
