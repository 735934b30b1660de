"""CrossBind's training without labels: a residue should look like itself in another view of its protein, and like no other.

The shipped checkpoints were trained without it; notebook 11 and the study of the whole network do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from course.crossbind_training import CrossBindExample, anywhere, cosine, draw, fingerprint, join
from s2p.config import Checked, Count, Natural, NonNegative, Positive
from s2p.errors import S2PError
from s2p.models.crossbind.cloud import Cloud
from s2p.models.crossbind.network import CrossBind
from s2p.structure.transforms import random_rotation
from s2p.training.loop import Backward, Loop, Stage, StepLog
from s2p.training.state import settings_of

__all__ = ["ContrastConfig", "ProjectionHead", "contrast_views", "nt_xent", "other_view", "pretrain_crossbind", "top1_retrieval"]

NOISE_GRID = 4.0
"""Å between the points at which smooth displacements are drawn."""


@dataclass(frozen=True)
class ContrastConfig(Checked):
    """Views and steps of the training. The paper gives the kinds of change, but no magnitudes: these are ours."""

    steps: Count = 150
    batch: Count = 2
    """Chains of one step."""
    max_residues: Count = 320
    """Of a longer chain, so many residues in a row are taken."""
    max_pairs: Count = 1024
    """Residues of one step, at most: their similarities are a square matrix."""
    temperature: Positive = 0.1
    """Of the loss (public code)."""
    stop_grad_view2: bool = False
    """Do not train through the second view (public code: yes)."""
    scale: NonNegative = 0.1
    """Coordinates are scaled by 1 ± this at most."""
    shift: NonNegative = 1.0
    """Å: shift along each axis, at most."""
    jitter: NonNegative = 0.1
    """Å: standard deviation of the shift of each atom along each axis."""
    elastic: NonNegative = 0.3
    """Å: size of a smooth random displacement."""
    lr: Positive = 1e-3
    """Paper."""
    min_lr: Positive = 1e-6
    """At the end of the cosine (public code)."""
    log_every: Count = 50
    """Steps that a line of the log sums up."""
    save_minutes: NonNegative = 2.0
    """A state to go on from is written this often."""
    seed: Natural = 0

    @classmethod
    def fast(cls) -> ContrastConfig:
        """Seconds: for tests and notebooks."""
        return cls(steps=6, batch=1, max_residues=96, max_pairs=64, log_every=4)


class ProjectionHead(nn.Module):
    """Residues as the contrastive loss compares them: the mean of the atoms (public code: of all slots), and two linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width, bias=False)
        )

    def forward(self, stacked: Tensor, there: Tensor) -> Tensor:
        """(L, slots, d) -> (L, d)."""
        count = there.sum(1, keepdim=True).clamp(min=1)
        out: Tensor = self.layers(stacked.sum(1) / count)
        return out


def other_view(cloud: Cloud, config: ContrastConfig, rng: np.random.Generator) -> Cloud:
    """The cloud of one protein, jittered, bent, turned, scaled and moved at random; the given one stays as it was."""
    x = cloud.coord
    if config.jitter:
        x = x + rng.normal(0.0, config.jitter, x.shape)
    if config.elastic:
        x = x + config.elastic * _smooth_noise(x, rng)
    turn = random_rotation(rng, column=2)
    if config.scale:
        turn = turn * rng.uniform(1 - config.scale, 1 + config.scale)
    x = x @ turn.T
    if config.shift:
        x = x + rng.uniform(-config.shift, config.shift, 3)
    return replace(cloud, coord=anywhere(x, rng))


def _smooth_noise(coord: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(A, 3) smooth random displacements: normal noise on a grid, box-smoothed twice, in between by trilinear interpolation."""
    from scipy.ndimage import map_coordinates, uniform_filter

    low = coord.min(axis=0) - 3 * NOISE_GRID
    shape = np.ceil((coord.max(axis=0) - low) / NOISE_GRID).astype(int) + 4
    at = ((coord - low) / NOISE_GRID).T
    moved = []
    for _ in range(3):
        noise = rng.standard_normal(shape)
        for _ in range(2):
            noise = uniform_filter(noise, 3, mode="constant")
        moved.append(map_coordinates(noise, at, order=1))
    return np.stack(moved, axis=1)


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
    model: CrossBind, head: ProjectionHead, clouds: Sequence[Cloud], config: ContrastConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Two views of the same residues, ``config.max_pairs`` of them at most, as the loss compares them: (N, d) each."""
    views = [model.stack(join([other_view(cloud, config, rng) for cloud in clouds])) for _ in range(2)]
    known = torch.nonzero(views[0][1].any(dim=1)).flatten()
    if len(known) > config.max_pairs:
        known = known[torch.from_numpy(np.sort(rng.permutation(len(known))[: config.max_pairs]))]
    first, second = (head(stacked[known], there[known]) for stacked, there in views)
    return first, second


def pretrain_crossbind(
    model: CrossBind,
    head: ProjectionHead,
    training: Sequence[CrossBindExample],
    config: ContrastConfig | None = None,
    *,
    folder: Path | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Train the encoder of ``model`` and ``head`` without the labels of the examples.

    Parameters
    ----------
    folder
        Where a state to go on from is written; ``None``: nowhere.

    Returns
    -------
    The mean loss (``train_loss``) of every ``config.log_every`` steps.

    Raises
    ------
    S2PError
        Without examples, or if ``folder`` holds the state of another run.
    """
    config = config or ContrastConfig()
    if not training or model.encoder is None:
        raise S2PError("there is nothing to compare: no proteins were given, or the network reads no point cloud")
    module = nn.ModuleList([model, head])
    learned = [*model.encoder.parameters(), *head.parameters()]

    def batches(epoch: int) -> Iterable[int]:
        return range(epoch * config.log_every, min(config.steps, (epoch + 1) * config.log_every))

    def loss(step: int, backward: Backward) -> dict[str, Any]:
        rng = np.random.default_rng((config.seed, 0, step))
        module.train()
        clouds = [x.cloud for x in draw(training, config.batch, config.max_residues, rng)]
        first, second = contrast_views(model, head, clouds, config, rng)
        return {"loss": backward(nt_xent(first, second.detach() if config.stop_grad_view2 else second, config.temperature))}

    def row(epoch: int, entries: Sequence[StepLog]) -> tuple[dict[str, Any], None]:
        return {"epoch": epoch, "train_loss": float(np.mean([entry.loss for entry in entries]))}, None

    rate = partial(cosine, steps=config.steps, lowest=config.min_lr)
    optimizer = partial(torch.optim.Adam, learned, lr=config.lr)
    stage = Stage("contrast", config.steps, config.log_every, optimizer, batches, loss, row, rate)
    identity = {"config": {"train": settings_of(config), "model": asdict(model.config)}, "data": fingerprint(training)}
    rows = Loop(module, [stage], identity, folder, config.save_minutes, quiet=quiet).train()
    module.eval()
    return rows
