"""The three stages of a CrossBind: contrastive pre-training, segmentation of atoms, and the whole network."""

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
from torch import Tensor, nn

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.crossbind.cloud import Cloud, augment, crop, join
from s2p.models.crossbind.config import CrossBindAugmentConfig, CrossBindConfig, CrossBindTrainConfig
from s2p.models.crossbind.network import CrossBind, ProjectionHead, residue_logits
from s2p.training.loop import Backward, Loop, Stage, StepLog
from s2p.training.state import fingerprint_of, settings_of

__all__ = [
    "CrossBindExample",
    "StageLog",
    "TrainedCrossBind",
    "contrast_views",
    "nt_xent",
    "top1_retrieval",
    "train_crossbind",
]

StageName = Literal["contrast", "segment", "cross"]
STAGES: tuple[StageName, ...] = ("contrast", "segment", "cross")


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


@dataclass(frozen=True)
class StageLog:
    """One entry a step."""

    stage: str
    step: int
    loss: float
    validation_auprc: float | None = None
    """Where it was measured: after this step."""


@dataclass(frozen=True, eq=False)
class TrainedCrossBind:
    """A network with the weights of its best validation AUPRC, the head of pre-training, and the log."""

    model: CrossBind
    projection: ProjectionHead | None
    log: tuple[StageLog, ...]

    @property
    def validation_auprc(self) -> float:
        """Best of the last stage."""
        return max(entry.validation_auprc for entry in self.log if entry.stage == "cross" and entry.validation_auprc is not None)


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """NT-Xent of two views, the mean of both directions.

    Parameters
    ----------
    first, second
        (N, d) the same residues in two views.

    Notes
    -----
    With cosine similarities S, of residue i in the first view
    ``-log(exp(S12_ii / t) / (sum_{j != i} exp(S11_ij / t) + sum_j exp(S12_ij / t)))``: the cross-entropy of finding its other
    view among the 2N - 1 other embeddings (Chen et al. 2020, arXiv 2002.05709, equation 1).
    """
    a, b = F.normalize(first, dim=1), F.normalize(second, dim=1)
    n = len(a)
    itself = torch.eye(n, dtype=torch.bool, device=a.device)
    across = a @ b.T / temperature
    target = torch.arange(n, device=a.device)
    losses = []
    for own, other in ((a, across), (b, across.T)):
        within = (own @ own.T / temperature).masked_fill(itself, -torch.inf)
        losses.append(F.cross_entropy(torch.cat([other, within], dim=1), target))
    return (losses[0] + losses[1]) / 2


def top1_retrieval(first: Tensor, second: Tensor) -> float:
    """Share of residues of the first view (N, d) whose most similar residue in the second is themselves; 1/N by chance."""
    similarity = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    hits = similarity.argmax(dim=1) == torch.arange(len(first), device=first.device)
    return float(hits.float().mean())


def contrast_views(
    model: CrossBind, projection: ProjectionHead, clouds: Sequence[Cloud], rng: np.random.Generator, *, most: int
) -> tuple[Tensor, Tensor]:
    """Two views of the same residues (at most ``most``, drawn at random), as the contrastive loss compares them: (N, d) each."""
    config = CrossBindAugmentConfig.contrast()
    views = []
    for _ in range(2):
        stacked, there = model.stack(join([augment(cloud, config, rng) for cloud in clouds]))
        views.append((stacked, there))
    known = torch.nonzero(views[0][1].any(dim=1)).flatten()
    if len(known) > most:
        known = known[torch.from_numpy(np.sort(rng.permutation(len(known))[:most]))]
    first, second = (projection(stacked[known], there[known]) for stacked, there in views)
    return first, second


def train_crossbind(
    model_config: CrossBindConfig,
    training: Sequence[CrossBindExample],
    validation: Sequence[CrossBindExample],
    config: CrossBindTrainConfig | None = None,
    *,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> TrainedCrossBind:
    """Train a new network through all its stages; without a point cloud (``structure=False``) the last is the only one.

    Parameters
    ----------
    folder
        Where a state to go on from is written; a run that finds one of the same configuration and data goes on, with the same
        result as without the break: what is drawn in a step follows from the seed, the stage and the step.

    Raises
    ------
    S2PError
        Without examples or binding residues, or if ``folder`` holds the state of another run.
    """
    config = config or CrossBindTrainConfig()
    for name, examples in (("training", training), ("validation", validation)):
        if not any(example.labels.any() for example in examples):
            raise S2PError(f"CrossBind needs {name} proteins with binding residues")
    torch.manual_seed(config.seed)
    task = _Task(model_config, training, validation, config)
    names = ("coord", "residue_type")
    data = fingerprint_of(
        array
        for part in (training, validation)
        for x in part
        for array in (*(getattr(x.cloud, name) for name in names), x.language, x.features, x.labels)
    )
    identity = {"config": {"train": settings_of(config), "model": asdict(model_config)}, "data": data}
    stages = [task.stage(stage) for stage in STAGES if task.steps[stage]]
    loop = Loop(task.module, stages, identity, None if folder is None else Path(folder), config.save_minutes, quiet=quiet)
    validated = {(row["stage"], row["step"]): row["validation_auprc"] for row in loop.train()}
    task.module.eval()
    log = [
        StageLog(**s.figures, loss=s.loss, validation_auprc=validated.get((s.figures["stage"], s.figures["step"])))
        for s in loop.steps
    ]
    return TrainedCrossBind(task.model, task.projection, tuple(log))


class _Task:
    """The network and its stages: what is drawn in a step follows from the seed, the stage and the step."""

    def __init__(
        self,
        model_config: CrossBindConfig,
        training: Sequence[CrossBindExample],
        validation: Sequence[CrossBindExample],
        config: CrossBindTrainConfig,
    ) -> None:
        self.training, self.validation, self.config = training, validation, config
        self.model = CrossBind(model_config)
        self.projection = ProjectionHead(model_config.width) if model_config.structure else None
        self.module = nn.ModuleList([self.model, *([self.projection] if self.projection is not None else [])])
        self.steps = {
            "contrast": config.contrast_steps if model_config.structure else 0,
            "segment": config.segment_steps if model_config.structure else 0,
            "cross": config.cross_steps,
        }

    def stage(self, stage: StageName) -> Stage[int]:
        """A stage whose batches are the numbers of its steps."""
        config, steps = self.config, self.steps[stage]

        def batches(epoch: int) -> Iterable[int]:
            return range(epoch * config.validate_every, min(steps, (epoch + 1) * config.validate_every))

        def loss(step: int, backward: Backward) -> dict[str, Any]:
            rng = np.random.default_rng((config.seed, STAGES.index(stage), step))
            self.model.train()
            value = self._contrast(rng) if stage == "contrast" else self._binding(stage, rng)
            return {"loss": backward(value), "stage": stage, "step": step}

        def validate(epoch: int, entries: Sequence[StepLog]) -> tuple[dict[str, Any], float | None]:
            auprc = None if stage == "contrast" else self._validate(stage)
            return {"stage": stage, "step": entries[-1].figures["step"], "validation_auprc": auprc}, auprc

        def rate(highest: float, step: int) -> float:
            return config.min_lr + (highest - config.min_lr) * (1 + math.cos(math.pi * step / steps)) / 2

        optimizer = partial(self._optimizer, stage)
        keep = stage != "contrast"
        return Stage(stage, steps, config.validate_every, optimizer, batches, loss, validate, rate, keep_best=keep)

    def _optimizer(self, stage: StageName) -> torch.optim.Optimizer:
        config, model = self.config, self.model
        encoder = list(model.encoder.parameters()) if model.encoder is not None else []
        if stage == "contrast":
            assert self.projection is not None
            return torch.optim.Adam([*encoder, *self.projection.parameters()], lr=config.lr)
        if stage == "segment":
            assert model.segment is not None
            return torch.optim.Adam([*encoder, *model.segment.parameters()], lr=config.lr, weight_decay=config.weight_decay)
        parts = (model.attention, model.language, model.head)
        rest = [p for part in parts if part is not None for p in part.parameters()]
        rest += [model.balance] if model.balance is not None else []
        groups: list[dict[str, Any]] = [{"params": rest, "lr": config.cross_lr}]
        if encoder:
            groups.append({"params": encoder, "lr": config.encoder_lr})
        return torch.optim.Adam(groups, weight_decay=config.weight_decay)

    def _draw(self, rng: np.random.Generator) -> list[tuple[CrossBindExample, int, int]]:
        """Examples of one step and the residues, from and to, that are read of each."""
        size = min(self.config.batch, len(self.training))
        drawn = []
        for k in rng.permutation(len(self.training))[:size].tolist():
            example = self.training[k]
            n = len(example.labels)
            start = int(rng.integers(0, max(1, n - self.config.max_residues + 1)))
            drawn.append((example, start, min(n, start + self.config.max_residues)))
        return drawn

    def _contrast(self, rng: np.random.Generator) -> Tensor:
        assert self.projection is not None
        self.projection.train()
        clouds = [crop(example.cloud, start, end) for example, start, end in self._draw(rng)]
        first, second = contrast_views(self.model, self.projection, clouds, rng, most=self.config.max_pairs)
        return nt_xent(first, second.detach() if self.config.stop_grad_view2 else second, self.config.temperature)

    def _binding(self, stage: StageName, rng: np.random.Generator) -> Tensor:
        drawn = self._draw(rng)
        how = CrossBindAugmentConfig()
        cloud = join([augment(crop(example.cloud, start, end), how, rng) for example, start, end in drawn])
        labels = torch.from_numpy(np.concatenate([example.labels[a:b] for example, a, b in drawn]).astype(np.float32))
        if stage == "segment":
            logits = self.model.segmentation(cloud)
        else:
            language = torch.from_numpy(np.concatenate([example.language[a:b] for example, a, b in drawn]))
            features = torch.from_numpy(np.concatenate([example.features[a:b] for example, a, b in drawn]))
            logits = self.model(cloud, language, features)
        return F.binary_cross_entropy_with_logits(logits, labels)

    def _validate(self, stage: StageName) -> float:
        """AUPRC over all residues of the validation proteins."""
        self.model.eval()
        with torch.no_grad():
            if stage == "segment":
                scores = [self.model.segmentation(x.cloud).float().cpu().numpy() for x in self.validation]
            else:
                scores = [residue_logits(self.model, x.cloud, x.language, x.features) for x in self.validation]
        return auprc_trapezoid(np.concatenate([example.labels for example in self.validation]), np.concatenate(scores))
