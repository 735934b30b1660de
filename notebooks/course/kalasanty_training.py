"""Training of Kalasanty: true sites as masks, boxes of complexes turned and moved, the loss, and the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Share
from s2p.errors import S2PError
from s2p.io.weights import write_weights
from s2p.models.kalasanty.config import KalasantyConfig
from s2p.models.kalasanty.grid import Box, atom_channels, central_box, fill_box, rotations
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.predictor import FORMAT, KalasantyCheckpoint
from s2p.structure.reading import Structure
from s2p.training.loop import Backward, Loop, Stage, StepLog, warm_up_and_decay
from s2p.training.state import fingerprint_of

__all__ = [
    "CavityExample",
    "KalasantyLog",
    "KalasantyTrainConfig",
    "ball",
    "cavity_example",
    "cavity_loss",
    "draw_box",
    "fit_kalasanty",
    "kernel_groups",
    "save_kalasanty",
    "site_mask",
    "soft_dice",
    "validation_dice",
]


@dataclass(frozen=True)
class KalasantyTrainConfig(Checked):
    """Training of Kalasanty. Defaults are ours, for the small network; :meth:`published` holds the paper's."""

    epochs: Count = 24
    """Times every structure gives one box."""
    batch: Count = 4
    lr: Positive = 3e-3
    warmup_steps: Natural = 20
    decay: bool = True
    """Let the rate fall to 0, linearly, over the run."""
    smoothing: Positive = 0.01
    """ε of the Dice loss (paper)."""
    cross_entropy: NonNegative = 3.0
    """Weight of the cross-entropy beside the Dice loss; 0: Dice alone, as published."""
    positive_weight: NonNegative = 10.0
    """Of a cavity's voxels in the cross-entropy."""
    penalty: NonNegative = 0.0
    """λ of the penalty λ Σ w² on kernels (paper: 1e-5; the public code's default is 1e-3)."""
    rotate: bool = True
    """Turn every box by one of the 24 rotations that map a cube onto itself (public code)."""
    shift: NonNegative = 5.0
    """Å: the box is moved by up to this along each axis, to either side (public code: to one side)."""
    moving_box: bool = True
    """Place boxes anywhere on a protein larger than the box; off: at its centre, as published."""
    toward_site: Share = 0.75
    """Share of moving boxes that are placed around a site; the others lie anywhere on the protein."""
    seed: Natural = 0

    @classmethod
    def published(cls) -> KalasantyTrainConfig:
        """10,000 epochs of 150 batches of 10 there; an epoch here is one pass over the structures."""
        return cls(
            epochs=10_000, batch=10, lr=1e-6, warmup_steps=0, decay=False, cross_entropy=0.0, penalty=1e-5, moving_box=False
        )


DILATION = 2.0
"""Å by which the points of a site are widened (public code)."""


@cache
def ball(radius: float = DILATION) -> NDArray[np.int64]:
    """(K, 3) offsets of the points of a 1 Å grid within ``radius``, inclusive; 33 for 2 Å."""
    reach = int(radius)
    steps = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    return np.asarray(steps[(steps**2).sum(axis=1) <= radius**2])


def site_mask(points: ArrayLike, box: Box) -> NDArray[np.bool_]:
    """(nx, ny, nz) cells of a true site.

    Parameters
    ----------
    points
        (P, 3) heavy atoms of ligands, or points of a cavity, of all sites of the structure together.

    Notes
    -----
    The public code puts the points on a grid of half the step, widens them by a ball, clips, and resamples by a cubic zoom.
    That zoom lands on every second point of the finer grid and reproduces it, so here those points are taken.
    """
    fine = Box(box.origin, (2 * box.shape[0] - 1, 2 * box.shape[1] - 1, 2 * box.shape[2] - 1), box.step / 2)
    seeds = fine.cells(points)
    seeds = np.unique(seeds[fine.inside(seeds)], axis=0)
    cells = (seeds[:, None] + ball()).reshape(-1, 3)
    cells = cells[fine.inside(cells) & (cells % 2 == 0).all(axis=1)] // 2
    mask = np.zeros(box.shape, np.bool_)
    mask[tuple(cells.T)] = True
    return mask


def soft_dice(density: Tensor, target: Tensor, smoothing: float = KalasantyTrainConfig.smoothing) -> Tensor:
    """Soft Dice coefficient, 1 for a perfect density, summed over the whole batch.

    (2 Σ y t + ε) / (Σ y + Σ t + ε): the smoothing ε makes two empty maps perfect and keeps the gradient finite (paper, ε 0.01).
    The sum over the batch, not a mean over structures, is the public code's: one large cavity weighs more than a small one.
    """
    return (2 * (density * target).sum() + smoothing) / (density.sum() + target.sum() + smoothing)


def cavity_loss(logits: Tensor, target: Tensor, config: KalasantyTrainConfig) -> Tensor:
    """Minus the soft Dice coefficient and, with ``config.cross_entropy``, so much of a weighted cross-entropy per voxel.

    The cross-entropy is ours: where the sigmoid is saturated at 0 everywhere, Dice alone has hardly a gradient left.
    """
    loss = -soft_dice(torch.sigmoid(logits), target, config.smoothing)
    if config.cross_entropy:
        weight = torch.tensor(config.positive_weight, device=logits.device)
        loss = loss + config.cross_entropy * F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    return loss


def kernel_groups(model: nn.Module, penalty: float) -> list[dict[str, object]]:
    """Parameter groups for :class:`torch.optim.Adam`: kernels with the weight decay that λ Σ w² amounts to, the rest without.

    The gradient of λ w² is 2 λ w, so Adam's coupled decay is 2 λ (Keras adds the sum to the loss).
    """
    kernels = [module.weight for module in model.modules() if isinstance(module, nn.Conv3d)]
    chosen = {id(p) for p in kernels}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": kernels, "weight_decay": 2 * penalty}, {"params": rest, "weight_decay": 0.0}]


SITE_REACH = 0.5
"""A box toward a site has the site's centre within this share of half the box from its own centre, along each axis."""


@dataclass(frozen=True, eq=False)
class CavityExample:
    """A protein with its true sites."""

    name: str
    channels: NDArray[np.float32]
    """(A, 18)."""
    coord: NDArray[np.float32]
    """(A, 3) Å, less the mean of the atoms."""
    sites: tuple[NDArray[np.float32], ...]
    """Of each site (P, 3) heavy atoms of its ligand, in the same frame; without any the protein is a negative."""


@dataclass(frozen=True)
class KalasantyLog:
    """One line of the training log."""

    epoch: int
    train_loss: float
    train_dice: float
    """Soft, mean over the batches."""
    validation_dice: float
    """Soft, mean over the validation proteins; NaN without any."""


def cavity_example(structure: Structure, ligands: Sequence[NDArray[np.floating]], name: str = "") -> CavityExample:
    """A structure and the (L, 3) heavy atoms of its ligands as an example."""
    center = structure.atoms.coord.mean(axis=0, dtype=np.float64)
    sites = tuple((x - center).astype(np.float32) for x in ligands if len(x))
    coord = (structure.atoms.coord - center).astype(np.float32)
    return CavityExample(name or structure.name, atom_channels(structure), coord, sites)


def draw_box(
    example: CavityExample, config: KalasantyConfig, training: KalasantyTrainConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A box of a protein, (18, n, n, n), and its mask, (n, n, n), randomly placed and turned as ``training`` says."""
    half = (config.box - 1) * config.step / 2
    center = np.zeros(3)
    if training.moving_box:
        room = np.maximum(np.abs(example.coord).max(axis=0) - half, 0)
        center = rng.uniform(-room, room)
        if example.sites and rng.random() < training.toward_site:
            site = example.sites[rng.integers(len(example.sites))].mean(axis=0)
            center = np.clip(site + rng.uniform(-1, 1, 3) * SITE_REACH * half, -room, room)
    center = center + rng.uniform(-training.shift, training.shift, 3)
    turn = rotations()[rng.integers(24) if training.rotate else 0].T.astype(np.float64)
    box = central_box(np.zeros(3), config.box, config.step)
    near = (np.abs(example.coord - center) <= half + config.step).all(axis=1)
    grid = fill_box(example.channels[near], (example.coord[near] - center) @ turn, box)
    points = np.concatenate([np.zeros((0, 3), np.float32), *example.sites])
    return grid, site_mask((points - center) @ turn, box)


def fit_kalasanty(
    model: Kalasanty,
    examples: Sequence[CavityExample],
    validation: Sequence[CavityExample],
    config: KalasantyTrainConfig | None = None,
    *,
    folder: Path | None = None,
    quiet: bool = False,
) -> list[KalasantyLog]:
    """Train ``model``; every epoch draws one box of every example.

    Boxes depend on the seed, the epoch and the example only, so that an interrupted run ends as if it had not been.

    Parameters
    ----------
    validation
        Looked at after each epoch, for the log.
    folder
        Where the state to go on from and ``log.csv`` are written after each epoch; ``None``: nowhere.

    Raises
    ------
    S2PError
        Without examples, or if ``folder`` holds another run.
    """
    config = config or KalasantyTrainConfig()
    if len(examples) < (2 if model.config.normalise else 1):
        raise S2PError("there is not enough to train on: batch normalisation needs two structures, a network without it one")
    # A last batch of one box would leave batch normalisation a single number at the bottom of the U.
    per_epoch = max(1, len(examples) // config.batch)
    total = config.epochs * per_epoch

    def batches(epoch: int) -> Iterator[list[tuple[int, ...]]]:
        order = np.random.default_rng((config.seed, epoch)).permutation(len(examples))
        for chosen in np.array_split(order, per_epoch):
            yield [(config.seed, epoch, j) for j in chosen.tolist()]

    def loss(seeds: list[tuple[int, ...]], backward: Backward) -> dict[str, float]:
        model.train()
        grid, target = _tensors(model, [examples[j] for *_, j in seeds], config, seeds)
        logits = model(grid)
        value = backward(cavity_loss(logits, target, config))
        with torch.no_grad():
            return {"loss": value, "dice": float(soft_dice(torch.sigmoid(logits), target, config.smoothing))}

    def validate(epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, float], None]:
        means = float(np.mean([s.loss for s in steps])), float(np.mean([s.figures["dice"] for s in steps]))
        return asdict(KalasantyLog(epoch + 1, *means, validation_dice(model, validation, config))), None

    optimizer = partial(torch.optim.Adam, kernel_groups(model, config.penalty), lr=config.lr)
    rate = partial(warm_up_and_decay, total=total, warmup=config.warmup_steps, decay=config.decay)
    stage = Stage("boxes", total, per_epoch, optimizer, batches, loss, validate, rate)
    parts: list[Any] = [part for x in examples for part in (x.name, x.coord, x.channels, *x.sites)]
    identity = {"config": asdict(config) | {"network": repr(model.config)}, "data": fingerprint_of(parts)}
    rows = Loop(model, [stage], identity, folder, quiet=quiet).train()
    model.eval()
    return [KalasantyLog(**row) for row in rows]


def _tensors(
    model: Kalasanty, examples: Sequence[CavityExample], config: KalasantyTrainConfig, seeds: Sequence[tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """(B, 18, n, n, n) and (B, 1, n, n, n): one box of each example, and its mask."""
    device = next(model.parameters()).device
    drawn = [draw_box(x, model.config, config, np.random.default_rng(seed)) for x, seed in zip(examples, seeds, strict=True)]
    grid, mask = (np.stack(parts) for parts in zip(*drawn, strict=True))
    x = torch.from_numpy(grid).to(device, memory_format=torch.channels_last_3d)
    return x, torch.from_numpy(mask[:, None].astype(np.float32)).to(device)


@torch.no_grad()
def validation_dice(model: Kalasanty, examples: Sequence[CavityExample], config: KalasantyTrainConfig) -> float:
    """Mean soft Dice coefficient over one box of every example, placed and turned the same way every time.

    As published, structures without a site are passed over, and here boxes that happen to hold none.
    """
    model.eval()
    scores = []
    for k, example in enumerate(examples):
        grid, target = _tensors(model, [example], config, [(config.seed, k)])
        if target.any():
            scores.append(float(soft_dice(torch.sigmoid(model(grid)), target, config.smoothing)))
    return float(np.mean(scores)) if scores else float("nan")


def save_kalasanty(checkpoint: KalasantyCheckpoint, path: str | Path) -> None:
    """Write ``path`` (``.safetensors``, kernels in fp16) and its card beside it."""
    # Vectors (biases, batch normalisation) are small, and running variances may leave the range of fp16.
    arrays = {key: value.half() if value.ndim > 1 else value for key, value in checkpoint.model.state_dict().items()}
    header = {
        "format": FORMAT,
        "name": checkpoint.name,
        "config": asdict(checkpoint.model.config),
        "pockets": asdict(checkpoint.pockets),
        "pocket_model": asdict(checkpoint.pocket_model) if checkpoint.pocket_model else None,
    }
    write_weights(Path(path), arrays, header, checkpoint.card)
