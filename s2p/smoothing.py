"""Embedding-supported smoothing: residues near predicted ones join them if a classifier of their embeddings agrees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from torch import Tensor, nn

from s2p.config import SmootherTrainConfig
from s2p.errors import S2PError
from s2p.metrics import average_precision

__all__ = ["Smoother", "SmoothingExample", "candidates", "smooth", "train_smoother", "training_pairs"]

CHUNK = 4096


class Smoother(nn.Module):
    """Does residue i belong to the pocket around it? Linear(2d, w) ReLU Linear(w, w) ReLU Linear(w, 1), dropout after ReLU.

    Its input is [e_i ; mean of e_j over the predicted residues j near i] (paper, smoothing).
    """

    def __init__(self, dim: int, width: int = 2048, dropout: float = 0.5) -> None:
        super().__init__()
        self.dim = dim
        self.width = width
        self.layers = nn.Sequential(
            nn.Linear(2 * dim, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2d) -> (n,) logits."""
        logits: Tensor = self.layers(x).squeeze(-1)
        return logits


def _neighbours(
    rows: NDArray[np.int64], ca_coord: NDArray[np.float32], members: NDArray[np.int64], radius: float
) -> tuple[NDArray[np.int64], sparse.csr_matrix, NDArray[np.int64]]:
    """Which ``members`` are closer than ``radius`` (strict) to each of ``rows``, itself left out.

    Returns the positions in ``rows`` with at least one, their 0/1 matrix against the members, and the number of each.
    """
    pairs = cKDTree(ca_coord[rows]).sparse_distance_matrix(cKDTree(ca_coord[members]), radius, output_type="ndarray")
    close = (pairs["v"] < radius) & (rows[pairs["i"]] != members[pairs["j"]])
    i, j = pairs["i"][close], pairs["j"][close]
    near = sparse.csr_matrix((np.ones(len(i), np.float32), (i, j)), shape=(len(rows), len(members)))
    count = np.bincount(i, minlength=len(rows))
    has = np.flatnonzero(count)
    return has, near[has], count[has]


def _neighbour_mean(
    rows: NDArray[np.int64],
    ca_coord: NDArray[np.float32],
    members: NDArray[np.int64],
    radius: float,
    embeddings: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Mean embedding of the :func:`_neighbours`: positions in ``rows``, means, numbers."""
    has, near, count = _neighbours(rows, ca_coord, members, radius)
    means = (near @ embeddings[members]) / count[:, None]
    return has, means.astype(np.float32), count


def candidates(
    ca_coord: NDArray[np.float32], positive: NDArray[np.bool_], embeddings: NDArray[np.float32], radius: float = 15.0
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Residues that smoothing may add, and what the classifier sees of each.

    Parameters
    ----------
    ca_coord
        (N, 3) Å.
    positive
        (N,) residues predicted from the sequence.
    embeddings
        (N, d).
    radius
        A candidate has a predicted residue closer than this (Å, strict).

    Returns
    -------
    (C,) residue indices ascending, (C, 2d) classifier inputs, (C,) numbers of predicted residues in reach.
    """
    members = np.flatnonzero(positive)
    others = np.flatnonzero(~positive)
    if not len(members) or not len(others):
        return np.zeros(0, np.int64), np.zeros((0, 2 * embeddings.shape[1]), np.float32), np.zeros(0, np.int64)
    has, context, count = _neighbour_mean(others, ca_coord, members, radius, embeddings)
    found = others[has]
    return found, np.concatenate([embeddings[found], context], axis=1), count


def smooth(
    smoother: Smoother,
    ca_coord: NDArray[np.float32],
    positive: NDArray[np.bool_],
    embeddings: NDArray[np.float32],
    *,
    radius: float = 15.0,
    threshold: float = 0.4,
) -> NDArray[np.bool_]:
    """(N,) residues to add to ``positive``; all are judged against the same ``positive``, in one batch.

    Parameters are those of :func:`candidates`; ``threshold`` is on the classifier's probability (strict).
    """
    added = np.zeros(len(positive), dtype=bool)
    members, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    if not len(members) or not len(others):
        return added
    has, near, count = _neighbours(others, ca_coord, members, radius)
    found = others[has]
    logits = _logits(smoother, embeddings[found], embeddings[members], near, count)
    added[found[logits > np.log(threshold / (1 - threshold))]] = True
    return added


def _logits(
    smoother: Smoother,
    own: NDArray[np.float32],
    members: NDArray[np.float32],
    near: sparse.csr_matrix,
    count: NDArray[np.int64],
) -> NDArray[np.float32]:
    """:func:`smoother_logits` of candidates, (C, d), whose context is the mean over ``near`` (C, P) of ``members`` (P, d).

    The first layer is linear, so that its half for the context may be applied to the members, of which there are fewer,
    and the mean be taken of the results: a third less work at the published sizes.
    """
    smoother.eval()
    first, rest = smoother.layers[0], smoother.layers[1:]
    weight, bias = first.get_parameter("weight"), first.get_parameter("bias")
    logits = np.zeros(len(own), np.float32)
    with torch.inference_mode():
        projected = F.linear(torch.from_numpy(members).to(weight.device), weight[:, smoother.dim :]).float().cpu().numpy()
        for k in range(0, len(own), CHUNK):
            part = slice(k, k + CHUNK)
            context = torch.from_numpy((near[part] @ projected) / count[part, None].astype(np.float32)).to(weight)
            hidden = F.linear(torch.from_numpy(own[part]).to(weight.device), weight[:, : smoother.dim], bias) + context
            logits[part] = rest(hidden).squeeze(-1).float().cpu().numpy()
    return logits


def smoother_logits(smoother: Smoother, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) logits of (n, 2d) inputs, dropout off whatever the mode of the module (published code forgets that in places)."""
    smoother.eval()
    device = next(smoother.parameters()).device
    with torch.inference_mode():
        parts = [smoother(torch.from_numpy(x[k : k + CHUNK]).to(device)).float().cpu().numpy() for k in range(0, len(x), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class SmoothingExample:
    """One chain (or complex) to learn smoothing from."""

    embeddings: NDArray[np.float32]
    """(N, d)."""
    ca_coord: NDArray[np.float32]
    """(N, 3) Å."""
    sites: tuple[NDArray[np.int64], ...]
    """Residue indices of each binding site."""


def training_pairs(example: SmoothingExample, config: SmootherTrainConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Classifier inputs (n, 2d) and targets (n,) of one example (paper, smoothing).

    Positive: every binding residue with the mean of the binding residues around it. Negative: every residue that does
    not bind but lies within ``negative_radius`` of one that does, with the same kind of mean.
    """
    binding = np.zeros(len(example.embeddings), dtype=bool)
    for site in example.sites:
        binding[site] = True
    members = np.flatnonzero(binding)
    dim = example.embeddings.shape[1]
    empty = np.zeros((0, 2 * dim), np.float32), np.zeros(0, np.float32)
    if not len(members):
        return empty
    near, *_ = candidates(example.ca_coord, binding, example.embeddings, config.negative_radius)
    rows = np.concatenate([members, near])
    has, context, count = _neighbour_mean(rows, example.ca_coord, members, config.context_radius, example.embeddings)
    own = example.embeddings[rows[has]]
    target = binding[rows[has]].astype(np.float32)
    if config.include_self:
        total = context * count[:, None] + own * target[:, None]
        context = total / (count + target)[:, None]
    return np.concatenate([own, context], axis=1).astype(np.float32), target


def train_smoother(
    training: Sequence[SmoothingExample], validation: Sequence[SmoothingExample], config: SmootherTrainConfig | None = None
) -> tuple[Smoother, list[float]]:
    """Train the classifier with early stopping on validation AUPRC; returns it and the AUPRC of every epoch."""
    config = config or SmootherTrainConfig()
    x, y = _stack(training, config)
    x_validation, y_validation = _stack(validation, config)
    if not y.any() or not y_validation.any():
        raise S2PError("the smoother needs binding residues in the training and in the validation structures")
    torch.manual_seed(config.seed)
    smoother = Smoother(x.shape[1] // 2, config.width, config.dropout)
    weight = torch.tensor(config.pos_weight_factor * len(y) / (2 * float(y.sum())))
    optimizer = torch.optim.AdamW(smoother.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    best: dict[str, Tensor] = {}
    history: list[float] = []
    for epoch in range(config.max_epochs):
        smoother.train()
        for index in _shuffled(len(y), config.batch_size, (config.seed, epoch)):
            loss = F.binary_cross_entropy_with_logits(smoother(inputs[index]), targets[index], pos_weight=weight)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        history.append(average_precision(y_validation, smoother_logits(smoother, x_validation)))
        if history[-1] >= max(history):
            best = {key: value.clone() for key, value in smoother.state_dict().items()}
        if len(history) - 1 - int(np.argmax(history)) >= config.patience:
            break
    smoother.load_state_dict(best)
    return smoother.eval(), history


def _stack(examples: Sequence[SmoothingExample], config: SmootherTrainConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not examples:
        raise S2PError("the smoother needs training and validation structures")
    pairs = [training_pairs(example, config) for example in examples]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def _shuffled(n: int, batch: int, seed: tuple[int, int]) -> Iterator[Tensor]:
    order = np.random.default_rng(seed).permutation(n)
    for start in range(0, n, batch):
        yield torch.from_numpy(order[start : start + batch])
