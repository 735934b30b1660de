"""Training of the smoothing classifier: pairs from known sites, early stopping, a log and resume."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.errors import S2PError, WeightsError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.files import make_folder, sha256_of, write_bytes, write_csv
from s2p.io.runtime import progress_bar
from s2p.residues.smoothing import Smoother, candidates, neighbour_mean, smoother_logits
from s2p.training.config import SmootherTrainConfig

__all__ = [
    "SmootherEpoch",
    "SmoothingExample",
    "train_smoother",
    "training_pairs",
    "write_learning_curve",
]


@dataclass(frozen=True, eq=False)
class SmoothingExample:
    """One chain (or complex) to learn smoothing from."""

    embeddings: NDArray[np.float32]
    """(N, d)."""
    ca_coord: NDArray[np.float32]
    """(N, 3) Å."""
    sites: tuple[NDArray[np.int64], ...]
    """Residue indices of each binding site."""
    predicted: NDArray[np.bool_] | None = None
    """(N,) residues the residue model predicts; figures of smoothing in use need them, training does not."""

    @property
    def binding(self) -> NDArray[np.bool_]:
        """(N,) residues of any site."""
        flags = np.zeros(len(self.embeddings), dtype=bool)
        for site in self.sites:
            flags[site] = True
        return flags


@dataclass(frozen=True)
class SmootherEpoch:
    """One line of the training log."""

    epoch: int
    train_loss: float
    validation_auprc: float
    """Over the validation pairs, whose context never holds the residue itself."""


def training_pairs(example: SmoothingExample, config: SmootherTrainConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Classifier inputs (n, 2d) and targets (n,) of one example (paper, smoothing).

    Positive: every binding residue with the mean of the binding residues around it. Negative: every residue that does
    not bind but lies within ``negative_radius`` of one that does, with the same kind of mean.
    """
    binding = example.binding
    members = np.flatnonzero(binding)
    dim = example.embeddings.shape[1]
    if not len(members):
        return np.zeros((0, 2 * dim), np.float32), np.zeros(0, np.float32)
    near, *_ = candidates(example.ca_coord, binding, example.embeddings, config.negative_radius)
    rows = np.concatenate([members, near])
    has, context, count = neighbour_mean(rows, example.ca_coord, members, config.context_radius, example.embeddings)
    own = example.embeddings[rows[has]]
    target = binding[rows[has]].astype(np.float32)
    if config.include_self:
        total = context * count[:, None] + own * target[:, None]
        context = total / (count + target)[:, None]
    return np.concatenate([own, context], axis=1).astype(np.float32), target


def train_smoother(
    training: Sequence[SmoothingExample],
    validation: Sequence[SmoothingExample],
    config: SmootherTrainConfig | None = None,
    *,
    folder: str | Path | None = None,
    device: str | torch.device = "cpu",
    quiet: bool = True,
) -> tuple[Smoother, list[SmootherEpoch]]:
    """Train the classifier with early stopping on validation AUPRC.

    Parameters
    ----------
    training, validation
        Chains or complexes with known sites. The validation pairs never see a residue in its own context, whatever
        ``config.include_self`` says of the training pairs.
    folder
        Where the log (``log.csv``) and a resumable state (``state.safetensors``) are written after every epoch. A run that
        finds there a state of the same configuration and data goes on after its last epoch, with the same result as
        without the break.
    quiet
        No progress bar.

    Returns
    -------
    The classifier of the best epoch, and the log.

    Raises
    ------
    S2PError
        Without examples or binding residues, or if ``folder`` holds the state of another run.
    """
    config = config or SmootherTrainConfig()
    x, y = _stack(training, config)
    x_validation, y_validation = _stack(validation, replace(config, include_self=False))
    if not y.any() or not y_validation.any():
        raise S2PError("the smoother needs binding residues in the training and in the validation structures")
    device = torch.device(device)
    path = None if folder is None else Path(folder) / "state.safetensors"
    identity = {} if path is None else _identity(config, (x, y, x_validation, y_validation))
    weight = torch.tensor(config.pos_weight_factor * len(y) / (2 * float(y.sum())), device=device)
    inputs, targets = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    log: list[SmootherEpoch] = []
    best: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        smoother = Smoother(x.shape[1] // 2, config.width, config.dropout).to(device)
        optimizer = torch.optim.AdamW(smoother.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        if path is not None and path.is_file():
            log, best = _load_state(path, identity, smoother, optimizer)
        for epoch in progress_bar(range(len(log), config.max_epochs), "smoother, epochs", quiet):
            if _finished(log, config):
                break
            # Seeded by epoch, so that a resumed run draws the dropout it would have drawn.
            torch.manual_seed(config.seed * 1000 + epoch)
            smoother.train()
            total = 0.0
            for index in _shuffled(len(y), config.batch_size, (config.seed, epoch)):
                loss = F.binary_cross_entropy_with_logits(smoother(inputs[index]), targets[index], pos_weight=weight)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(index)
            auprc = auprc_trapezoid(y_validation, smoother_logits(smoother, x_validation))
            log.append(SmootherEpoch(epoch, total / len(y), auprc))
            if _best_epoch(log) == epoch:
                best = {key: value.detach().cpu().clone() for key, value in smoother.state_dict().items()}
            if path is not None:
                _save_state(path, identity, log, best, smoother, None if _finished(log, config) else optimizer)
    smoother.load_state_dict(best)
    return smoother.eval(), log


def write_learning_curve(path: str | Path, log: Sequence[SmootherEpoch]) -> Path:
    """PNG of training loss and validation AUPRC by epoch, the epoch that was kept marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [entry.epoch for entry in log]
    auprc = [entry.validation_auprc for entry in log]
    figure = Figure(figsize=(6.4, 3.6), dpi=120, facecolor="white", layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    left.plot(epochs, [entry.train_loss for entry in log], color="#0072B2", marker=".", label="training loss")
    right.plot(epochs, auprc, color="#D55E00", marker=".", label="validation AUPRC")
    right.axvline(_best_epoch(log), color="black", linewidth=0.9, linestyle=":", label="kept")
    left.set(xlabel="epoch", ylabel="training loss (weighted)")
    right.set_ylabel("validation AUPRC")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": "s2p"})
    return write_bytes(Path(path), buffer.getvalue())


def _best_epoch(log: Sequence[SmootherEpoch]) -> int:
    return int(np.argmax([entry.validation_auprc for entry in log]))


def _finished(log: Sequence[SmootherEpoch], config: SmootherTrainConfig) -> bool:
    return bool(log) and (len(log) >= config.max_epochs or len(log) - 1 - _best_epoch(log) >= config.patience)


def _stack(examples: Sequence[SmoothingExample], config: SmootherTrainConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not examples:
        raise S2PError("the smoother needs training and validation structures")
    pairs = [training_pairs(example, config) for example in examples]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def _shuffled(n: int, batch: int, seed: tuple[int, int]) -> Iterator[Tensor]:
    order = np.random.default_rng(seed).permutation(n)
    for start in range(0, n, batch):
        yield torch.from_numpy(order[start : start + batch])


def _identity(config: SmootherTrainConfig, arrays: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """What a state must share with a run that wants to go on from it."""
    digest = sha256_of(str(array.shape).encode() + np.ascontiguousarray(array).data for array in arrays)
    return {"config": asdict(config), "data": digest}


def _save_state(
    path: Path,
    identity: dict[str, Any],
    log: Sequence[SmootherEpoch],
    best: dict[str, Tensor],
    smoother: Smoother,
    optimizer: torch.optim.Optimizer | None,
) -> None:
    """Log and state; a finished run (no ``optimizer``) keeps its best weights only."""
    from safetensors.torch import save

    arrays = {f"best.{key}": value for key, value in best.items()}
    if optimizer is not None:
        arrays |= {f"last.{key}": value.detach().cpu() for key, value in smoother.state_dict().items()}
        for k, state in optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer.{k}.{key}": value.detach().cpu() for key, value in state.items()}
    make_folder(path.parent)
    entries = [asdict(entry) for entry in log]
    write_bytes(path, save(arrays, metadata={"s2p": json.dumps(identity | {"log": entries})}))
    write_csv(path.with_name("log.csv"), entries)


def _load_state(
    path: Path, identity: dict[str, Any], smoother: Smoother, optimizer: torch.optim.Optimizer
) -> tuple[list[SmootherEpoch], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads(handle.metadata()["s2p"])
            arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as the state of a training run ({error}); remove it to start anew") from None
    if any(header.get(key) != value for key, value in identity.items()):
        raise S2PError(f"{path} was written by a run on other data or settings; remove it or choose another folder")
    parts: dict[str, dict[str, Tensor]] = {"best": {}, "last": {}, "optimizer": {}}
    for key, value in arrays.items():
        part, _, rest = key.partition(".")
        parts[part][rest] = value
    if parts["last"]:
        smoother.load_state_dict(parts["last"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimizer"].items():
            number, _, name = key.partition(".")
            state.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return [SmootherEpoch(**entry) for entry in header["log"]], parts["best"]
