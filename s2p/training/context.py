"""Training of the structure-context head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.residues.context_head import ContextHead, context_logits
from s2p.training.config import ContextTrainConfig

__all__ = ["ContextExample", "train_context_head"]


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
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    best: dict[str, Tensor] = {}
    history: list[float] = []
    for epoch in range(config.max_epochs):
        head.train()
        order = np.random.default_rng((config.seed, epoch)).permutation(len(y))
        for start in range(0, len(y), config.batch_size):
            index = torch.from_numpy(order[start : start + config.batch_size])
            logits = head(x[index])
            loss = F.binary_cross_entropy_with_logits(logits, y[index].float().expand_as(logits))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        history.append(auprc_trapezoid(y_validation, context_logits(head, x_validation)))
        if history[-1] >= max(history):
            best = {key: value.clone() for key, value in head.state_dict().items()}
        if len(history) - 1 - int(np.argmax(history)) >= config.patience:
            break
    head.load_state_dict(best)
    return head.eval(), history
