"""Training of the structure-context head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import ge

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Share
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.residues import ContextHead, context_logits
from s2p.training.loop import Backward, Loop, Stage, StepLog

__all__ = ["ContextExample", "ContextTrainConfig", "train_context_head"]


@dataclass(frozen=True)
class ContextTrainConfig(Checked):
    """Training of the structure-context head (ours)."""

    width: Count = 64
    members: Count = 4
    """Networks that are averaged."""
    dropout: Share = 0.2
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.01
    batch_size: Count = 2048
    max_epochs: Count = 40
    patience: Natural = 5
    seed: Natural = 0


@dataclass(frozen=True, eq=False)
class ContextExample:
    """One structure to learn from."""

    features: NDArray[np.float32]
    """(N, F), made with logits of a language model that has not been trained on this chain or a relative of it."""
    labels: NDArray[np.uint8]
    """(N,)."""


def train_context_head(
    training: Sequence[ContextExample], validation: Sequence[ContextExample], config: ContextTrainConfig | None = None
) -> tuple[ContextHead, list[float]]:
    """Train with early stopping on the AUPRC of ``validation``.

    Returns
    -------
    The head with the weights of its best epoch, and the validation AUPRC of every epoch.
    """
    config = config or ContextTrainConfig()
    if not training or not validation:
        raise S2PError("the context head needs training and validation structures")
    x, y = (torch.from_numpy(np.concatenate([getattr(e, name) for e in training])) for name in ("features", "labels"))
    x_validation, y_validation = (np.concatenate([getattr(e, name) for e in validation]) for name in ("features", "labels"))
    if not y.any() or not y_validation.any():
        raise S2PError("the context head needs binding residues in the training and in the validation structures")
    torch.manual_seed(config.seed)
    head = ContextHead(x.shape[1], config.width, config.members, config.dropout)
    head.mean.copy_(x.mean(dim=0))
    head.scale.copy_(x.std(dim=0) + 1e-3)
    per_epoch = -(-len(y) // config.batch_size)

    def batches(epoch: int) -> Iterator[Tensor]:
        yield from torch.from_numpy(np.random.default_rng((config.seed, epoch)).permutation(len(y))).split(config.batch_size)

    def loss(index: Tensor, backward: Backward) -> dict[str, float]:
        logits = head.train()(x[index])
        return {"loss": backward(F.binary_cross_entropy_with_logits(logits, y[index].float().expand_as(logits)))}

    def validate(epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, float], float]:
        auprc = auprc_trapezoid(y_validation, context_logits(head, x_validation))
        return {"validation_auprc": auprc}, auprc

    optimizer = partial(torch.optim.AdamW, list(head.parameters()), lr=config.lr, weight_decay=config.weight_decay)
    steps, patience = config.max_epochs * per_epoch, config.patience
    stage = Stage("context", steps, per_epoch, optimizer, batches, loss, validate, keep_best=True, better=ge, patience=patience)
    rows = Loop(head, [stage], {}, quiet=True).train()
    return head.eval(), [row["validation_auprc"] for row in rows]
