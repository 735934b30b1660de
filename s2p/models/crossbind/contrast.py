"""Contrastive pre-training's loss: a residue should look like itself in another view, and unlike every other residue."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["nt_xent", "top1_retrieval"]


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """NT-Xent of two views, the mean of both directions.

    Parameters
    ----------
    first, second
        (N, d) the same residues in two views.

    Notes
    -----
    With cosine similarities S, of residue i in the first view
    ``-log(exp(S12_ii / t) / (sum_{j != i} exp(S11_ij / t) + sum_j exp(S12_ij / t)))``: the cross-entropy of finding its other
    view among the 2N - 1 other embeddings (Chen et al. 2020, arXiv 2002.05709, equation 1).
    """
    a, b = F.normalize(first, dim=1), F.normalize(second, dim=1)
    n = len(a)
    itself = torch.eye(n, dtype=torch.bool, device=a.device)
    across = a @ b.T / temperature
    target = torch.arange(n, device=a.device)
    losses = []
    for own, other in ((a, across), (b, across.T)):
        within = (own @ own.T / temperature).masked_fill(itself, -torch.inf)
        losses.append(F.cross_entropy(torch.cat([other, within], dim=1), target))
    return (losses[0] + losses[1]) / 2


def top1_retrieval(first: Tensor, second: Tensor) -> float:
    """Share of residues of the first view (N, d) whose most similar residue in the second is themselves; 1/N by chance."""
    similarity = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    hits = similarity.argmax(dim=1) == torch.arange(len(first), device=first.device)
    return float(hits.float().mean())
