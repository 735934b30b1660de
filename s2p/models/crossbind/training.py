"""The three stages of a CrossBind: contrastive pre-training, segmentation of atoms, and the whole network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.files import sha256_of
from s2p.io.runtime import progress_bar
from s2p.models.crossbind.cloud import Cloud, augment, crop, join
from s2p.models.crossbind.config import CrossBindAugmentConfig, CrossBindConfig, CrossBindTrainConfig
from s2p.models.crossbind.contrast import nt_xent
from s2p.models.crossbind.network import CrossBind, ProjectionHead
from s2p.training.loop import load_state, save_state

__all__ = ["CrossBindExample", "StageLog", "TrainedCrossBind", "contrast_views", "residue_logits", "train_crossbind"]

Stage = Literal["contrast", "segment", "cross"]
STAGES: tuple[Stage, ...] = ("contrast", "segment", "cross")
FREE = ("save_minutes",)


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


def residue_logits(model: CrossBind, example: CrossBindExample) -> NDArray[np.float32]:
    """(L,) logits, without augmentation."""
    return _predict(model, example, "cross")


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
    return _Run(model_config, training, validation, config, None if folder is None else Path(folder), quiet).go()


class _Run:
    """What has to survive a break is in :meth:`_save`."""

    def __init__(
        self,
        model_config: CrossBindConfig,
        training: Sequence[CrossBindExample],
        validation: Sequence[CrossBindExample],
        config: CrossBindTrainConfig,
        folder: Path | None,
        quiet: bool,
    ) -> None:
        torch.manual_seed(config.seed)
        self.training, self.validation, self.config, self.folder, self.quiet = training, validation, config, folder, quiet
        self.model = CrossBind(model_config)
        self.projection = ProjectionHead(model_config.width) if model_config.structure else None
        self.steps = {
            "contrast": config.contrast_steps if model_config.structure else 0,
            "segment": config.segment_steps if model_config.structure else 0,
            "cross": config.cross_steps,
        }
        settings = {key: value for key, value in asdict(config).items() if key not in FREE}
        self.identity = {"config": {"train": settings, "model": _plain(model_config)}, "data": _fingerprint(training, validation)}
        self.log: list[StageLog] = []
        self.best: dict[str, Tensor] = {}
        self.best_auprc = -1.0
        self.saved = time.monotonic()

    def go(self) -> TrainedCrossBind:
        state = load_state(self.folder, self.identity) if self.folder else None
        first = 0
        if state is not None:
            first = STAGES.index(state["stage"])
            self.log = [StageLog(**entry) for entry in state["log"]]
            self.best, self.best_auprc = state["best"], state["best_auprc"]
            self.model.load_state_dict(state["model"])
            if self.projection is not None:
                self.projection.load_state_dict(state["projection"])
        for stage in STAGES[first:]:
            if self.steps[stage]:
                self._stage(stage, state if state is not None and state["stage"] == stage else None)
        self.model.eval()
        return TrainedCrossBind(self.model, self.projection.eval() if self.projection else None, tuple(self.log))

    def _optimizer(self, stage: Stage) -> torch.optim.Optimizer:
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

    def _stage(self, stage: Stage, state: dict[str, Any] | None) -> None:
        config, steps = self.config, self.steps[stage]
        optimizer = self._optimizer(stage)
        highest = [group["lr"] for group in optimizer.param_groups]
        done = 0
        if state is not None:
            done = state["step"]
            optimizer.load_state_dict(state["optimizer"])
        else:
            self.best, self.best_auprc = {}, -1.0
        loss_of: Callable[[np.random.Generator], Tensor] = (
            self._contrast if stage == "contrast" else (lambda rng: self._binding(stage, rng))
        )
        for step in progress_bar(range(done, steps), stage, self.quiet):
            cosine = (1 + math.cos(math.pi * step / steps)) / 2
            for group, high in zip(optimizer.param_groups, highest, strict=True):
                group["lr"] = config.min_lr + (high - config.min_lr) * cosine
            rng = np.random.default_rng((config.seed, STAGES.index(stage), step))
            self.model.train()
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(rng)
            loss.backward()
            optimizer.step()
            auprc = None
            if stage != "contrast" and ((step + 1) % config.validate_every == 0 or step + 1 == steps):
                auprc = self._validate(stage)
                if auprc > self.best_auprc:
                    self.best_auprc = auprc
                    self.best = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
            self.log.append(StageLog(stage, step, loss.item(), auprc))
            if self.folder and (time.monotonic() - self.saved > 60 * config.save_minutes or step + 1 == steps):
                self._save(stage, step + 1, optimizer)
        if stage != "contrast":
            self.model.load_state_dict(self.best)

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

    def _binding(self, stage: Stage, rng: np.random.Generator) -> Tensor:
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

    def _validate(self, stage: Stage) -> float:
        """AUPRC over all residues of the validation proteins."""
        scores = [_predict(self.model, example, stage) for example in self.validation]
        return auprc_trapezoid(np.concatenate([example.labels for example in self.validation]), np.concatenate(scores))

    def _save(self, stage: Stage, step: int, optimizer: torch.optim.Optimizer) -> None:
        assert self.folder is not None
        state = {
            "identity": self.identity,
            "stage": stage,
            "step": step,
            "log": [vars(entry) for entry in self.log],
            "best": self.best,
            "best_auprc": self.best_auprc,
            "model": self.model.state_dict(),
            "projection": self.projection.state_dict() if self.projection is not None else {},
            "optimizer": optimizer.state_dict(),
        }
        save_state(self.folder, state)
        self.saved = time.monotonic()


def _predict(model: CrossBind, example: CrossBindExample, stage: Stage) -> NDArray[np.float32]:
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        if stage == "segment":
            logits = model.segmentation(example.cloud)
        else:
            logits = model(
                example.cloud, torch.from_numpy(example.language).to(device), torch.from_numpy(example.features).to(device)
            )
    found: NDArray[np.float32] = logits.float().cpu().numpy()
    return found


def _plain(config: CrossBindConfig) -> dict[str, Any]:
    """The configuration in types that a state file holds and gives back equal."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def _fingerprint(*sets: Sequence[CrossBindExample]) -> str:
    """SHA-256 of all that is learned from."""

    def parts() -> Iterator[bytes]:
        for examples in sets:
            yield b"|"
            for e in examples:
                for array in (e.cloud.coord, e.cloud.residue_type, e.language, e.features, e.labels):
                    yield np.ascontiguousarray(array).tobytes()

    return sha256_of(parts())
