"""Training of the smoothing classifier: pairs from known sites, and early stopping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.residues import Smoother, candidates, neighbour_mean, smoother_logits
from s2p.training.config import SmootherTrainConfig
from s2p.training.loop import Backward, EpochLog, Loop, Stage, StepLog
from s2p.training.state import fingerprint_of

__all__ = ["SmoothingExample", "train_smoother", "training_pairs"]


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
) -> tuple[Smoother, list[EpochLog]]:
    """Train the classifier with early stopping on validation AUPRC.

    Parameters
    ----------
    training, validation
        Chains or complexes with known sites. The validation pairs never see a residue in its own context, whatever
        ``config.include_self`` says of the training pairs.
    folder
        Where the log (``log.csv``) and a resumable state (``state.pt``) are written after every epoch. A run that
        finds there a state of the same configuration and data goes on after its last epoch, with the same result as
        without the break.
    quiet
        No progress bar.

    Returns
    -------
    The classifier of the best epoch, and the log; its AUPRC is over the validation pairs.

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
    weight = torch.tensor(config.pos_weight_factor * len(y) / (2 * float(y.sum())), device=device)
    inputs, targets = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    per_epoch = -(-len(y) // config.batch_size)

    def batches(epoch: int) -> Iterator[Tensor]:
        # Seeded by epoch, so that a resumed run draws the dropout it would have drawn.
        torch.manual_seed(config.seed * 1000 + epoch)
        order = np.random.default_rng((config.seed, epoch)).permutation(len(y))
        yield from torch.from_numpy(order).split(config.batch_size)

    def loss(index: Tensor, backward: Backward) -> dict[str, float]:
        smoother.train()
        value = backward(F.binary_cross_entropy_with_logits(smoother(inputs[index]), targets[index], pos_weight=weight))
        return {"loss": value, "pairs": len(index)}

    def validate(epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, float], float]:
        auprc = auprc_trapezoid(y_validation, smoother_logits(smoother, x_validation))
        loss = sum(s.loss * s.figures["pairs"] for s in steps) / len(y)
        return {"epoch": epoch, "train_loss": loss, "validation_auprc": auprc}, auprc

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        smoother = Smoother(x.shape[1] // 2, config.width, config.dropout).to(device)
        stage = Stage(
            name="smoother",
            steps=config.max_epochs * per_epoch,
            per_epoch=per_epoch,
            optimizer=lambda: torch.optim.AdamW(smoother.parameters(), lr=config.lr, weight_decay=config.weight_decay),
            batches=batches,
            loss=loss,
            validate=validate,
            keep_best=True,
            patience=config.patience,
        )
        # Hashing takes a while, and is of no use without a folder.
        data = "" if folder is None else fingerprint_of((x, y, x_validation, y_validation))
        identity = {"config": asdict(config), "data": data}
        rows = Loop(smoother, [stage], identity, None if folder is None else Path(folder), quiet=quiet).train()
    return smoother.eval(), [EpochLog(phase="smoother", **row) for row in rows]


def _stack(examples: Sequence[SmoothingExample], config: SmootherTrainConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not examples:
        raise S2PError("the smoother needs training and validation structures")
    pairs = [training_pairs(example, config) for example in examples]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
