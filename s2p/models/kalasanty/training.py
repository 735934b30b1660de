"""Training of Kalasanty: boxes of complexes, turned and moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2p.errors import S2PError
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyTrainConfig
from s2p.models.kalasanty.grid import atom_channels, central_box, fill_box, rotations, site_mask
from s2p.models.kalasanty.network import Kalasanty, cavity_loss, kernel_groups, soft_dice
from s2p.structure.reading import Structure
from s2p.training.loop import Backward, Loop, Stage, StepLog, warm_up_and_decay
from s2p.training.state import fingerprint_of

__all__ = ["CavityExample", "KalasantyLog", "cavity_example", "draw_box", "fit_kalasanty", "validation_dice"]

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
