"""Training of PocketGen: the losses, what its network learns from, and the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Range, Share
from s2p.errors import S2PError
from s2p.io.weights import write_weights
from s2p.models.encoder import encoder_digest
from s2p.models.pocketgen.atoms import N_SLOTS, RESIDUES, SLOTS
from s2p.models.pocketgen.checkpoint import FORMAT, TABLES, PocketGenCheckpoint
from s2p.models.pocketgen.data import Batch, Pocket, collate, start_ligand, start_pocket
from s2p.models.pocketgen.geometry import Geometry
from s2p.models.pocketgen.layers import length
from s2p.models.pocketgen.network import Output, PocketGen
from s2p.training.loop import Backward, Loop, Stage, StepLog, memory_decay
from s2p.training.state import fingerprint_of, settings_of

__all__ = ["PocketGenTrainConfig", "StepRecord", "fit_pocketgen", "geometry_loss", "pocket_loss", "save_pocketgen", "validate"]


@dataclass(frozen=True)
class PocketGenTrainConfig(Checked):
    """Training. The paper's: rate 1e-4, batches of 64, 300,000 steps on 100,000 complexes."""

    steps: Count = 3000
    """May be raised later: a run goes on. One on fewer proteins lost its way at 3,474, where the loss of places rose to 20 Å."""
    batch: Count = 4
    lr: Positive = 1e-3
    warmup_steps: Natural = 100
    plateau_steps: Natural = 600
    """After these the rate falls with the root of the step: a run may be stopped, and gone on with, at any step."""
    ema_decay: Share = 0.995
    """Of the moving average of the weights, which is what is kept (ours)."""
    clip_norm: Annotated[float, Range(0, strict=True, finite=False)] = 5.0
    """Published: 400."""
    weight_decay: NonNegative = 0.01
    """Published: none."""
    max_passes: Natural = 1
    """Passes without gradients before the one with them are drawn from 0 to this (published: 1 to 3)."""
    known_types: Share = 0.35
    """Share of batches that are given the residue types and learn to place their atoms (ours): what a design ends with."""
    decoys: Natural = 36
    """Pockets around a stretch of the protein itself, that takes the ligand's place, for each protein (ours): for the heads."""
    whole_decoys: Natural = 12
    """So many of them for the network."""
    decoy_share: Share = 0.7
    """Share of the examples drawn that are such pockets."""
    geometry_weight: NonNegative = 2.0
    ligand_noise: NonNegative = 0.5
    """Å: the ligand starts at its pose and a normal displacement."""
    seed: Natural = 0
    save_minutes: NonNegative = 2.0


SWAPS = {
    "ARG": (("NH1", "NH2"),),
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "LEU": (("CD1", "CD2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
    "VAL": (("CG1", "CG2"),),
}
"""Atoms whose names may be exchanged without a change worth learning."""


BONDS_BETWEEN = np.array([(2, 0), (1, 0), (2, 1)])
"""Slots of a residue and of the next: the peptide bond, and the two angles beside it as distances."""
EVERY = 500
"""Steps that a line of the log sums up."""
FREE = ("save_minutes", "steps")


@dataclass(frozen=True)
class StepRecord:
    """One line of the training log: means over :data:`EVERY` steps."""

    step: int
    coord: float
    """Smooth L1 over the pocket's atoms, Å."""
    types: float
    """Cross-entropy, nat; of batches whose types are not given."""
    geometry: float
    """Smooth L1 over bond lengths, Å."""
    validation_types: float
    """Cross-entropy on validation pockets."""
    validation_recovery: float
    """Share of their residues whose native type is the likeliest."""


def _swapped(coord: NDArray[np.float32], types: NDArray[np.int64]) -> NDArray[np.float32]:
    """(P, 14, 3) with the atoms exchanged whose names mean the same."""
    out = coord.copy()
    for row, kind in enumerate(types.tolist()):
        name = RESIDUES[kind - 1]
        for a, b in SWAPS.get(name, ()):
            i, j = SLOTS[name].index(a), SLOTS[name].index(b)
            out[row, [i, j]] = coord[row, [j, i]]
    return out


def geometry_loss(coord: Tensor, batch_coord: Tensor, pockets: Sequence[Pocket], geometry: Geometry) -> Tensor:
    """Smooth L1 of bond lengths and angle distances of the designed residues, and of their peptide bonds to any residue.

    Parameters
    ----------
    coord
        (P, 14, 3) Å, predicted.
    batch_coord
        (R, 14, 3) Å, of all residues of the batch; those of the pocket are replaced.
    """
    pairs, wanted, rows, shift = [], [], [], 0
    for p in pockets:
        rows.append(p.pocket + shift)
        links = p.links[np.isin(p.links, p.pocket).any(axis=1)]
        pairs.append(((links[:, None] + shift) * N_SLOTS + BONDS_BETWEEN).reshape(-1, 2))
        wanted.append(np.tile(geometry.peptide[tuple(BONDS_BETWEEN.T)], len(links)))
        for k in p.pocket.tolist():
            table = geometry.distance[p.types[k] - 1]
            found = np.argwhere(np.triu(np.isfinite(table) & p.present[k] & p.present[k][:, None], 1))
            pairs.append((k + shift) * N_SLOTS + found)
            wanted.append(table[found[:, 0], found[:, 1]])
        shift += len(p.types)
    flat = batch_coord.index_copy(0, torch.from_numpy(np.concatenate(rows)).to(coord.device), coord).view(-1, 3)
    first, second = torch.from_numpy(np.concatenate(pairs)).to(coord.device).T
    return F.smooth_l1_loss(length(flat[first] - flat[second]), torch.from_numpy(np.concatenate(wanted)).to(flat))


def pocket_loss(
    model: PocketGen,
    pockets: Sequence[Pocket],
    geometry: Geometry,
    config: PocketGenTrainConfig,
    rng: np.random.Generator,
    *,
    known: bool = False,
    passes: int = 1,
) -> tuple[Tensor, dict[str, float]]:
    """Smooth L1 of pocket and ligand atoms, cross-entropy of the types, and the geometry's, as published but for peptide bonds.

    Parameters
    ----------
    known
        Give the types: the atoms are then learned for them, and there is no loss of types.
    passes
        Of which the last has gradients.

    Returns
    -------
    The loss, and its terms by the names in :class:`StepRecord`; NaN for the types where they are given.
    """
    native = [p.types[p.pocket] for p in pockets]
    device = next(model.parameters()).device
    batch = _start(pockets, config, rng, device, native if known else None)
    out: Output = model(batch, passes)
    kinds = np.concatenate(native)
    truth = np.concatenate([p.coord[p.pocket] - p.ligand.mean(axis=0) for p in pockets])
    there = torch.from_numpy(np.concatenate([p.present[p.pocket] for p in pockets])).to(device)
    both = torch.from_numpy(np.stack([truth, _swapped(truth, kinds)])).to(device)
    error = F.smooth_l1_loss(out.coord.expand_as(both), both, reduction="none").mean(dim=-1) * there
    coord = error.sum(dim=-1).amin(dim=0).sum() / there.sum()
    pose = np.concatenate([p.ligand - p.ligand.mean(axis=0) for p in pockets])
    ligand = F.smooth_l1_loss(out.ligand[batch.ligand_mask], torch.from_numpy(pose).to(device))
    bonds = geometry_loss(out.coord, batch.coord, pockets, geometry)
    total = coord + ligand + config.geometry_weight * bonds
    types = float("nan")
    if not known:
        entropy = F.cross_entropy(out.logits, torch.from_numpy(kinds).to(device) - 1)
        total, types = total + entropy, entropy.item()
    return total, {"coord": coord.item(), "types": types, "geometry": bonds.item()}


def _start(
    pockets: Sequence[Pocket],
    config: PocketGenTrainConfig,
    rng: np.random.Generator,
    device: torch.device,
    types: Sequence[NDArray[np.int64]] | None = None,
) -> Batch:
    """A batch on ``device`` with starts drawn by ``rng``, each complex around the middle of its ligand."""
    starts = [start_pocket(p, rng) for p in pockets]
    ligands = [start_ligand(p, config.ligand_noise, rng) for p in pockets]
    middle = torch.from_numpy(np.stack([p.ligand.mean(axis=0) for p in pockets]))
    batch = collate(pockets, starts, ligands, types).centred(middle)
    return replace(batch, **{name: value.to(device) for name, value in vars(batch).items()})


def validate(model: PocketGen, pockets: Sequence[Pocket], config: PocketGenTrainConfig) -> tuple[float, float]:
    """Mean cross-entropy of the types and share of native ones, over all residues of ``pockets``."""
    model.eval()
    device = next(model.parameters()).device
    entropy, right, n = 0.0, 0, 0
    with torch.no_grad():
        for p in pockets:
            native = torch.from_numpy(p.types[p.pocket]).to(device) - 1
            logits = model(_start([p], config, np.random.default_rng(config.seed), device)).logits
            entropy += F.cross_entropy(logits, native, reduction="sum").item()
            right += int((logits.argmax(dim=1) == native).sum())
            n += len(native)
    return entropy / n, right / n


Drawn = tuple[list[Pocket], int, bool, np.random.Generator]
"""Pockets of a step, passes of the network, whether the types are given, and what the rest is drawn from."""


def _draw(pockets: Sequence[Pocket], decoys: Sequence[Pocket], config: PocketGenTrainConfig, epoch: int) -> Iterator[Drawn]:
    """What the steps between two lines of the log learn from; it follows from the seed and the step."""
    for step in range(epoch * EVERY, min((epoch + 1) * EVERY, config.steps)):
        rng = np.random.default_rng((config.seed, step))
        chosen = [
            decoys[int(rng.integers(len(decoys)))]
            if decoys and rng.random() < config.decoy_share
            else pockets[int(rng.integers(len(pockets)))]
            for _ in range(config.batch)
        ]
        yield chosen, 1 + int(rng.integers(config.max_passes + 1)), bool(rng.random() < config.known_types), rng


def _record(
    model: PocketGen, validation: Sequence[Pocket], config: PocketGenTrainConfig, epoch: int, steps: Sequence[StepLog]
) -> tuple[dict[str, float], None]:
    """The line of the log of one epoch."""
    rows = np.array([[step.figures[name] for name in ("coord", "types", "geometry")] for step in steps])
    coord, types, bonds = (np.nansum(rows, axis=0) / np.isfinite(rows).sum(axis=0).clip(1)).tolist()
    figures = validate(model, validation, config) if validation else (float("nan"), float("nan"))
    return asdict(StepRecord(epoch * EVERY + steps[-1].step + 1, coord, types, bonds, *figures)), None


def _rate(plateau: int, warmup: int, highest: float, step: int) -> float:
    """Linear up, level, then falling with the root of the step."""
    falling: float = (plateau / max(step + 1, plateau)) ** 0.5
    return highest * min((step + 1) / max(warmup, 1), falling)


def fit_pocketgen(
    model: PocketGen,
    pockets: Sequence[Pocket],
    decoys: Sequence[Pocket],
    validation: Sequence[Pocket],
    geometry: Geometry,
    config: PocketGenTrainConfig,
    *,
    folder: Path | None = None,
    quiet: bool = False,
) -> list[StepRecord]:
    """Train all but the heads that are fitted first; ends with the moving average of the weights.

    Parameters
    ----------
    pockets, decoys
        To learn from; a share ``config.decoy_share`` of the examples are decoys.
    folder
        Where the state to go on from is written; ``None``: nowhere.

    Raises
    ------
    S2PError
        Without pockets, or if ``folder`` holds another run.
    """
    if not pockets:
        raise S2PError("there is nothing to train on: no pockets were given")
    for head in (model.language, model.surroundings, model.trace):
        if head is not None:
            head.requires_grad_(False)
    learned = [p for p in model.parameters() if p.requires_grad]

    def loss(batch: Drawn, backward: Backward) -> dict[str, float]:
        model.train()
        model.surroundings.eval()  # it does not learn here
        chosen, passes, given, rng = batch
        total, terms = pocket_loss(model, chosen, geometry, config, rng, known=given, passes=passes)
        return {"loss": backward(total)} | terms

    record, rate = partial(_record, model, validation, config), partial(_rate, config.plateau_steps, config.warmup_steps)
    batches = partial(_draw, pockets, decoys, config)
    optimizer = partial(torch.optim.AdamW, learned, lr=config.lr, betas=(0.99, 0.999), weight_decay=config.weight_decay)
    torch.manual_seed(config.seed)
    data = fingerprint_of(part for p in (*pockets, *decoys) for part in (p.coord, p.types, p.ligand, p.language))
    loop = Loop(
        model,
        [Stage("training", config.steps, EVERY, optimizer, batches, loss, record, rate)],
        {"config": settings_of(config, FREE) | asdict(model.config), "data": data},
        folder,
        config.save_minutes,
        clip_norm=config.clip_norm,
        decay=partial(memory_decay, config.ema_decay),
        quiet=quiet,
    )
    for row in loop:
        if not quiet:
            print(StepRecord(**row), flush=True)
    model.eval()
    return [StepRecord(**row) for row in loop.rows]


def save_pocketgen(checkpoint: PocketGenCheckpoint, path: str | Path) -> None:
    """Write ``path`` (``.safetensors``, weights fp16) and its card beside it; the language model is named."""
    arrays = {f"model.{key}": value.half() for key, value in checkpoint.model.state_dict().items()}
    arrays |= {f"geometry.{key}": torch.from_numpy(getattr(checkpoint.geometry, key)) for key in TABLES}
    header = {
        "format": FORMAT,
        "name": checkpoint.name,
        "published": checkpoint.published,
        "base_weights": encoder_digest(checkpoint.backbone),
        "config": asdict(checkpoint.model.config),
        "pocket": asdict(checkpoint.pocket),
    }
    write_weights(Path(path), arrays, header, checkpoint.card)
