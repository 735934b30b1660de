"""Training of a Vabs-Net on labelled residues: examples, windows and noise, the loss, the loop around it, and the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.config import DEFAULT_MODEL, Checked, Count, Natural, NonNegative, Positive, Range, Share
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.weights import write_weights
from s2p.models.vabsnet.graph import Nodes, build_graph
from s2p.models.vabsnet.network import VabsNet, residue_logits
from s2p.models.vabsnet.predictor import FORMAT, VabsNetCheckpoint, language_hash
from s2p.structure.transforms import random_rotation
from s2p.training.loop import Backward, EpochLog, Loop, Stage, StepLog, memory_decay, warm_up_and_decay
from s2p.training.state import fingerprint_of, settings_of

__all__ = [
    "VabsExample",
    "VabsNetTrainConfig",
    "binding_loss",
    "crop",
    "finetune_vabsnet",
    "fit",
    "rotate",
    "save_vabsnet",
    "spatial_window",
    "take_atoms",
]


@dataclass(frozen=True)
class VabsNetTrainConfig(Checked):
    """Training of a Vabs-Net. Defaults are ours, for a small network and some thousand chains."""

    epochs: Count = 8
    batch: Count = 4
    """Structures of one step of the optimiser."""
    max_residues: Count = 320
    """Of a larger structure, so many residues around a random one are taken (paper: chains are cut at 600 to 800)."""
    core: Share = 0.75
    """Share of such a window, its middle, that counts in the loss."""
    noised: Share = 0.2
    """Share of the residues whose atoms are moved in fine-tuning (paper)."""
    noise: NonNegative = 0.5
    """Å: standard deviation of the shift along each axis (paper)."""
    drop_language: Share = 0.25
    """Chance that a structure is shown without its language features, so that the network does not rest on them alone."""
    atom_loss: NonNegative = 0.5
    """Weight of the loss of all atoms beside that of the CA atoms (paper: all atoms, the CA atoms among them)."""
    lr: Positive = 1e-3
    """Highest rate (paper: 1e-5 for its size)."""
    weight_decay: NonNegative = 0.02
    warmup_steps: Natural = 100
    clip_norm: Annotated[float, Range(0, strict=True, finite=False)] = 5.0
    ema_decay: Share = 0.998
    """Of the moving average of the weights that is validated and kept."""
    save_minutes: NonNegative = 5.0
    """A state to go on from is written this often within an epoch, and after each."""
    seed: Natural = 0

    @classmethod
    def fast(cls) -> VabsNetTrainConfig:
        """Seconds: for tests and notebooks."""
        return cls(epochs=2, batch=2, max_residues=96, warmup_steps=4, ema_decay=0.9, lr=2e-3)


def rotate(nodes: Nodes, rotation: NDArray[np.floating]) -> Nodes:
    """Turned by a (3, 3) rotation."""
    return replace(nodes, coord=(nodes.coord @ rotation.T).astype(nodes.coord.dtype))


T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class VabsExample:
    """A structure with one label per residue."""

    name: str
    nodes: Nodes
    labels: NDArray[np.uint8]
    """(L,), 1 where the residue binds."""
    judged: NDArray[np.bool_]
    """(L,) residues whose label is known; the others are surroundings."""
    kind: str = "small"
    """Which of the model's heads learns from it."""


def spatial_window(
    nodes: Nodes, size: int, core: float, allowed: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The ``size`` residues nearest to a random one.

    Parameters
    ----------
    core
        Share of them, the nearest, that see most of their surroundings.
    allowed
        (L,) residues that may be in the middle.

    Returns
    -------
    Ascending (n,) indices of residues, and (n,) whether each is in the core; all of a protein that is small enough.
    """
    where = nodes.coord[nodes.ca]
    if len(where) <= size:
        return np.arange(len(where)), np.ones(len(where), bool)
    middle = rng.choice(np.flatnonzero(allowed))
    chosen = np.argsort(((where - where[middle]) ** 2).sum(axis=1), kind="stable")[:size]
    inside = np.zeros(len(where), bool)
    inside[chosen[: round(core * size)]] = True
    chosen = np.sort(chosen)
    return chosen.astype(np.int64), inside[chosen]


def noisy(nodes: Nodes, share: float, sigma: float, rng: np.random.Generator) -> Nodes:
    """Atoms of ``share`` of the residues moved by N(0, sigma) Å along each axis."""
    hit = rng.random(len(nodes.ca)) < share
    shift = rng.normal(0, sigma, nodes.coord.shape) * hit[nodes.residue, None]
    return replace(nodes, coord=(nodes.coord + shift).astype(nodes.coord.dtype))


def binding_loss(model: VabsNet, example: VabsExample, config: VabsNetTrainConfig, rng: np.random.Generator) -> Tensor:
    """Cross-entropy of one structure, or of a window of it, noised and, where the pose matters, turned.

    Every atom carries its residue's label, as published; the residues' own term, on their CA atoms, is ours, since they are what
    is predicted.
    """
    nodes = example.nodes
    residues, core = spatial_window(nodes, config.max_residues, config.core, example.judged, rng)
    if len(residues) < len(nodes.ca):
        nodes = crop(nodes, residues)[0]
    judged = example.judged[residues] & core
    nodes = noisy(nodes, config.noised, config.noise, rng)
    if rng.random() < config.drop_language:
        nodes = replace(nodes, residue_features=nodes.residue_features[:, :0])
    if not model.config.equivariant:
        nodes = rotate(nodes, random_rotation(rng, column=2))
    atoms, logits = model(build_graph(nodes, model.config), example.kind)
    device = logits.device
    label = torch.from_numpy(example.labels[residues].astype(np.float32)).to(device, logits.dtype)
    keep = torch.from_numpy(judged).to(device)
    owner = torch.from_numpy(nodes.residue).to(device)
    loss = F.binary_cross_entropy_with_logits(logits[keep], label[keep])
    if config.atom_loss:
        of_atoms = F.binary_cross_entropy_with_logits(atoms[keep[owner]], label[owner][keep[owner]])
        loss = loss + config.atom_loss * of_atoms
    return loss


def fit(
    module: nn.Module,
    examples: Sequence[T],
    loss: Callable[[T, np.random.Generator], Tensor],
    config: VabsNetTrainConfig,
    *,
    data: str,
    folder: Path | None = None,
    validate: Callable[[], float] | None = None,
    phase: str = "finetune",
    quiet: bool = False,
) -> list[EpochLog]:
    """Train ``module`` for ``config.epochs`` epochs; it ends with the moving average of its weights.

    There is no early stopping: the rate falls to zero over the epochs.

    Parameters
    ----------
    loss
        Of one example; the generator depends on the seed, the epoch and the example only.
    data
        A hash of the examples: a state in ``folder`` from other data is refused.
    folder
        Where the state to go on from and the log are written; ``None``: nowhere.
    validate
        A figure for the log, computed with the averaged weights after each epoch.

    Raises
    ------
    S2PError
        Without examples, or if ``folder`` holds another run.
    """
    if not examples:
        raise S2PError("there is nothing to train on: no structures were given")
    per_epoch = -(-len(examples) // config.batch)
    total = per_epoch * config.epochs

    def batches(epoch: int) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((config.seed, epoch)).permutation(len(examples)).tolist()
        for k in range(per_epoch):
            yield [(epoch, member) for member in order[k * config.batch : (k + 1) * config.batch]]

    def loss_of(batch: list[tuple[int, int]], backward: Backward) -> dict[str, Any]:
        module.train()
        values = [
            backward(loss(examples[member], np.random.default_rng((config.seed, epoch, member))) / len(batch))
            for epoch, member in batch
        ]
        return {"loss": sum(values), "of_examples": values}

    def row(epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, Any], None]:
        mean = sum(value for step in steps for value in step.figures["of_examples"]) / per_epoch
        figure = float("nan") if validate is None else validate()
        return {"epoch": epoch, "phase": phase, "train_loss": mean, "validation_auprc": figure}, None

    optimizer = partial(torch.optim.AdamW, list(module.parameters()), lr=config.lr, weight_decay=config.weight_decay)
    rate = partial(warm_up_and_decay, total=total, warmup=config.warmup_steps)
    torch.manual_seed(config.seed)
    shape = fingerprint_of([repr([(key, tuple(value.shape)) for key, value in module.state_dict().items()])])
    loop = Loop(
        module,
        [Stage(phase, total, per_epoch, optimizer, batches, loss_of, row, rate)],
        {"config": settings_of(config) | {"phase": phase, "shape": shape}, "data": data},
        folder,
        config.save_minutes,
        clip_norm=config.clip_norm,
        decay=lambda step: memory_decay(config.ema_decay, step + 1),
        quiet=quiet,
    )
    rows = loop.train()
    module.eval()
    return [EpochLog(**row) for row in rows]


def finetune_vabsnet(
    model: VabsNet,
    training: Sequence[VabsExample],
    validation: Sequence[VabsExample],
    config: VabsNetTrainConfig,
    *,
    folder: Path | None = None,
    quiet: bool = False,
) -> list[EpochLog]:
    """Train the encoder and the binding heads on labelled residues; logs the AUPRC on ``validation``.

    Raises
    ------
    S2PError
        If no residue of the training structures binds, or ``folder`` holds another run.
    """
    if not any((e.labels[e.judged] == 1).any() for e in training):
        raise S2PError("no residue of the training structures binds a ligand: there is nothing to learn from them")
    if unknown := {e.kind for e in training} - set(model.config.kinds):
        raise S2PError(f"the model has no head for ligands of kind {sorted(unknown)}; it has {', '.join(model.config.kinds)}")

    def validate() -> float:
        rows = [(e.labels[e.judged], residue_logits(model, e.nodes, e.kind)[e.judged]) for e in validation]
        return auprc_trapezoid(np.concatenate([y for y, _ in rows]), np.concatenate([p for _, p in rows]))

    def loss(example: VabsExample, rng: np.random.Generator) -> Tensor:
        return binding_loss(model, example, config, rng)

    data = fingerprint_of(
        part for e in training for part in (e.nodes.coord, e.nodes.residue_type, e.labels, e.judged, e.nodes.residue_features[:8])
    )
    return fit(model, training, loss, config, data=data, folder=folder, validate=validate if validation else None, quiet=quiet)


def save_vabsnet(checkpoint: VabsNetCheckpoint, path: str | Path, *, base: str = DEFAULT_MODEL) -> None:
    """Write ``path`` (``.safetensors``, fp16) and its card beside it; the base checkpoint is named, not copied.

    Parameters
    ----------
    base
        Name of the shipped checkpoint, or path of one, that is loaded with it.
    """
    arrays = {key: value.half() for key, value in checkpoint.model.state_dict().items()}
    header = {
        "format": FORMAT,
        "name": checkpoint.name,
        "base": base,
        "base_weights": language_hash(checkpoint.base),
        "config": asdict(checkpoint.model.config),
        "stack": asdict(checkpoint.stack),
        "threshold": checkpoint.threshold,
    }
    write_weights(Path(path), arrays, header, checkpoint.card)


def take_atoms(nodes: Nodes, keep: NDArray[np.bool_]) -> Nodes:
    """The nodes with the atoms of the (N,) mask only; residues that lose their ``ca`` must be dropped."""
    part = {name: getattr(nodes, name)[keep] for name in ("coord", "atom_type", "residue", "atom_features")}
    return replace(nodes, ca=(np.cumsum(keep) - 1)[nodes.ca], **part)


def crop(nodes: Nodes, residues: NDArray[np.integer]) -> tuple[Nodes, NDArray[np.int64]]:
    """The nodes of some residues (ascending indices), and the (n,) indices of their atoms."""
    inside = np.zeros(len(nodes.ca), bool)
    inside[residues] = True
    keep = inside[nodes.residue]
    part = take_atoms(nodes, keep)
    own = {name: getattr(part, name)[inside] for name in ("ca", "residue_type", "chain", "position", "residue_features")}
    return replace(part, residue=(np.cumsum(inside) - 1)[part.residue], **own), np.flatnonzero(keep)
