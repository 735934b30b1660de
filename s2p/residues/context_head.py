"""The structure-context head: a small network that turns what surrounds a residue into its binding probability."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.residues.context import CONTEXT_FEATURES

__all__ = ["ContextHead", "context_logits"]


class ContextHead(nn.Module):
    """An average of ``members`` perceptrons on standardised features: Linear ReLU Linear ReLU Linear, one logit.

    Ours, not part of the paper. It is trained without class weights, so that its probabilities are calibrated for the
    share of binding residues in its training data.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int = len(CONTEXT_FEATURES), width: int = 64, members: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.dropout = nn.Dropout(dropout)
        sizes = (n_features, width, width, 1)
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(members, a, b) * (2 / a) ** 0.5) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, b)) for b in sizes[1:])

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Features, width, members: what it takes to build an equal one."""
        members, n_features, width = self.weights[0].shape
        return n_features, width, members

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) -> (members, n) logits."""
        h = ((x - self.mean) / self.scale).clamp(-10, 10)[None]
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h.expand(len(weight), -1, -1), weight)
            if k + 1 < len(self.weights):
                h = self.dropout(torch.relu(h))
        return h.squeeze(-1)


def context_logits(head: ContextHead, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) logits of (N, F) :func:`~s2p.residues.context.context_features`: the mean over the members, dropout off."""
    head.eval()
    with torch.inference_mode():
        out: NDArray[np.float32] = head(torch.from_numpy(features).to(head.mean)).mean(dim=0).float().cpu().numpy()
    return out
