"""The perceptrons behind the point scorer: trained with PyTorch, handed over as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from s2p.pockets.scorer import CLIP

__all__ = ["Network", "PointTrainConfig", "train_network"]


@dataclass(frozen=True)
class PointTrainConfig:
    """Training of the point scorer; ours, chosen on validation clusters."""

    positive_distance: float = 2.5
    """Å: points this close to a ligand heavy atom are positive."""
    negative_distance: float = 5.0
    """Å: points farther than this from all are negative; those between are left out."""
    positives: int = 250
    """Positive points drawn from a protein, at most."""
    negatives: int = 800
    """Negative points drawn from a protein, at most."""
    n_components: int = 0
    """Principal components of the residue embeddings; they did not help on validation."""
    families: tuple[str, ...] = ("geometry", "chemistry", "language")
    """Families of features that are read, of these and ``embedding``."""
    min_atoms: int = 100
    """Atom types seen exposed less often have no propensity of their own."""
    prior_atoms: int = 20
    """Average atoms that are added to each type's counts."""
    folds: int = 4
    """For scores of proteins by networks that have not seen them: hard negatives, calibration of pockets."""
    hard_negatives: bool = True
    """Draw half the negatives of the second round in proportion to the scores of the first."""
    perturbed_copies: int = 0
    """Copies of every training protein with moved and missing side-chain atoms."""
    side_chain_noise: float = 0.5
    """Å: standard deviation, along each axis, of a side chain's shift in a copy."""
    drop_facing: float = 0.15
    """Share of the side-chain atoms facing a ligand that a copy lacks."""
    width: int = 128
    """Of the first hidden layer; the second is half as wide."""
    members: int = 3
    """Networks that are averaged."""
    dropout: float = 0.3
    lr: float = 2e-3
    weight_decay: float = 0.02
    batch_size: int = 1024
    epochs: int = 6
    seed: int = 0

    @classmethod
    def fast(cls) -> PointTrainConfig:
        """Seconds instead of minutes: for tests and notebooks."""
        return cls(
            positives=60, negatives=120, n_components=2, min_atoms=5, folds=2, width=16, members=1, epochs=3, batch_size=128
        )


@dataclass(frozen=True, eq=False)
class Network:
    """Standardisation and layers of M perceptrons, as in :class:`~s2p.pockets.scorer.PointScorer`."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]


def train_network(
    x: NDArray[np.float32], y: NDArray[np.float32], weight: NDArray[np.float32], config: PointTrainConfig
) -> Network:
    """Fit on (n, F) features, (n,) labels 0/1 and (n,) weights: cross-entropy, AdamW, one cycle of the learning rate.

    Each member starts from its own seed and sees the samples in its own order.
    """
    mean, scale = x.mean(axis=0), x.std(axis=0) + np.float32(1e-6)
    inputs = torch.from_numpy(np.clip((x - mean) / scale, -CLIP, CLIP))
    labels, weights = torch.from_numpy(y), torch.from_numpy(weight / weight.mean())
    layers = [_member(inputs, labels, weights, config, config.seed + k) for k in range(config.members)]
    stacked = [np.stack([member[k] for member in layers]) for k in range(len(layers[0]))]
    return Network(mean, scale, tuple(stacked[0::2]), tuple(b[:, None] for b in stacked[1::2]))


def _member(
    inputs: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, config: PointTrainConfig, seed: int
) -> list[NDArray[np.float32]]:
    """Weight (inputs, outputs) and bias of each layer in turn."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = (inputs.shape[1], config.width, config.width // 2, 1)
        linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        net = nn.Sequential(
            linear[0], nn.SiLU(), nn.Dropout(config.dropout), linear[1], nn.SiLU(), nn.Dropout(config.dropout), linear[2]
        )
        optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        batches = -(-len(inputs) // config.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, config.lr, total_steps=config.epochs * batches + 1, pct_start=0.1
        )
        for _ in range(config.epochs):
            for rows in torch.randperm(len(inputs), generator=generator).split(config.batch_size):
                logits = net(inputs[rows]).squeeze(1)
                loss = F.binary_cross_entropy_with_logits(logits, labels[rows], weight=weights[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return [part.detach().numpy().copy() for layer in linear for part in (layer.weight.T, layer.bias)]
