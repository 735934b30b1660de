"""Training of a Vabs-Net: one loop for pre-training and fine-tuning, which can be broken off and goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.files import sha256_of
from s2p.io.runtime import progress_bar
from s2p.models.vabsnet.config import VabsNetTrainConfig
from s2p.models.vabsnet.graph import Nodes, build_graph, crop, rotate
from s2p.models.vabsnet.network import VabsNet
from s2p.training.loop import EpochLog, load_state, save_state, write_logs

__all__ = [
    "VabsExample",
    "binding_loss",
    "finetune_vabsnet",
    "fingerprint_of",
    "fit",
    "random_rotation",
    "residue_logits",
    "spatial_window",
]

FREE = ("save_minutes",)
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


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3) rotation, uniform over all."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q if np.linalg.det(q) > 0 else q * [1, 1, -1])


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
        nodes = rotate(nodes, random_rotation(rng))
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


def residue_logits(model: VabsNet, nodes: Nodes, kind: str | None = None) -> NDArray[np.float32]:
    """(L,) logits of a whole structure, dropout off."""
    model.eval()
    with torch.no_grad():
        out: NDArray[np.float32] = model(build_graph(nodes, model.config), kind)[1].float().cpu().numpy()
    return out


def learning_rate(step: int, total: int, warmup: int) -> float:
    """Factor of the rate: linear up, linear down to 0 at ``total`` steps."""
    return min((step + 1) / max(warmup, 1), max(total - step, 0) / max(total - warmup, 1))


class _Average:
    """Moving average of a module's weights, which is what is validated and kept."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.values = {key: value.detach().clone() for key, value in module.state_dict().items()}

    def update(self, module: nn.Module) -> None:
        self.steps += 1
        # A short memory at first, or the random start would stay in the average for long.
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for key, value in module.state_dict().items():
            self.values[key].lerp_(value.detach(), 1 - keep)


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
    settings = {key: value for key, value in asdict(config).items() if key not in FREE}
    known = {"config": settings | {"phase": phase, "shape": _shape(module)}, "data": data}
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    average = _Average(module, config.ema_decay)
    per_epoch = -(-len(examples) // config.batch)
    total = per_epoch * config.epochs
    history: list[EpochLog] = []
    step, summed = 0, 0.0
    state = load_state(folder, known) if folder is not None else None
    if state is None:
        torch.manual_seed(config.seed)
    else:
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, average.steps = state["average"], state["averaged"]
        step, summed = state["step"], state["summed"]
        history = [EpochLog(**entry) for entry in state["history"]]
        torch.set_rng_state(state["torch_rng"])

    def save() -> None:
        if folder is None:
            return
        save_state(
            folder,
            {
                "identity": known,
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.values,
                "averaged": average.steps,
                "step": step,
                "summed": summed,
                "history": [asdict(entry) for entry in history],
                "torch_rng": torch.get_rng_state(),
            },
        )
        if history:
            write_logs(folder, history, [])

    saved = time.monotonic()
    for epoch in range(step // per_epoch, config.epochs):
        order = np.random.default_rng((config.seed, epoch)).permutation(len(examples))
        for k in progress_bar(range(step % per_epoch, per_epoch), f"{phase}, epoch {epoch + 1}", quiet):
            module.train()
            rate = config.lr * learning_rate(step, total, config.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            members = order[k * config.batch : (k + 1) * config.batch].tolist()
            for member in members:
                value = loss(examples[member], np.random.default_rng((config.seed, epoch, member))) / len(members)
                value.backward()
                summed += value.item()
            nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update(module)
            step += 1
            if step % per_epoch and time.monotonic() - saved > 60 * config.save_minutes:
                save()
                saved = time.monotonic()
        figure = float("nan")
        if validate is not None:
            own = {key: value.clone() for key, value in module.state_dict().items()}
            module.load_state_dict(average.values)
            figure = validate()
            module.load_state_dict(own)
        history.append(EpochLog(epoch, phase, summed / per_epoch, figure))
        summed = 0.0
        save()
        saved = time.monotonic()
    module.load_state_dict(average.values)
    module.eval()
    return history


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

    data = fingerprint(training)
    return fit(model, training, loss, config, data=data, folder=folder, validate=validate if validation else None, quiet=quiet)


def fingerprint(examples: Iterable[VabsExample]) -> str:
    """A hash of the structures, their labels and the language model's numbers."""
    return fingerprint_of(
        part for e in examples for part in (e.nodes.coord, e.nodes.residue_type, e.labels, e.judged, e.nodes.residue_features[:8])
    )


def fingerprint_of(arrays: Iterable[NDArray[Any]]) -> str:
    """A hash of arrays."""
    return sha256_of(np.ascontiguousarray(array).tobytes() for array in arrays)


def _shape(module: nn.Module) -> str:
    """A hash of the names and sizes of a module's weights."""
    text = repr([(key, tuple(value.shape)) for key, value in module.state_dict().items()])
    return sha256_of([text.encode()])
