"""CrossBind: a point cloud of atoms and a protein language model, combined to find binding residues (DNA and RNA in the paper).

Source: "CrossBind" (AAAI 2024) and its public code. The encoder is a sparse U-Net over voxels of atoms; the atoms of a residue
are weighted by attention; structure and sequence are combined with one learned weight.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.models.crossbind.cloud import N_ELEMENTS, N_TYPES, Cloud
from s2p.models.crossbind.config import CrossBindConfig
from s2p.models.crossbind.sparse_conv import Level, SparseDeconv, StridedConv, SubmanifoldConv, build_levels, voxelise

__all__ = ["AtomAttention", "CrossBind", "PointEncoder", "residue_logits", "stack_atoms"]

N_FEATURES = N_TYPES + N_ELEMENTS


class _Block(nn.Module):
    """Batch norm, ReLU, convolution."""

    def __init__(self, width: int, convolution: nn.Module) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.convolution = convolution

    def forward(self, x: Tensor, level: Level) -> Tensor:
        out: Tensor = self.convolution(F.relu(self.norm(x)), level)
        return out


class _UNet(nn.Module):
    """One level of the U-Net and, inside it, the coarser ones."""

    def __init__(self, planes: list[int]) -> None:
        super().__init__()
        width = planes[0]
        self.before = _Block(width, SubmanifoldConv(width, width))
        self.inner: _UNet | None = None
        if len(planes) > 1:
            self.down = _Block(width, StridedConv(width, planes[1]))
            self.inner = _UNet(planes[1:])
            self.up = _Block(planes[1], SparseDeconv(planes[1], width))
            self.after = _Block(2 * width, SubmanifoldConv(2 * width, width))

    def forward(self, x: Tensor, levels: list[Level]) -> Tensor:
        x = self.before(x, levels[0])
        if self.inner is None:
            return x
        coarse = self.inner(self.down(x, levels[0]), levels[1:])
        out: Tensor = self.after(torch.cat([x, self.up(coarse, levels[0])], dim=1), levels[0])
        return out


class PointEncoder(nn.Module):
    """Atoms -> features of atoms, by a submanifold sparse U-Net; no convolution has a bias (public code)."""

    def __init__(self, config: CrossBindConfig) -> None:
        super().__init__()
        self.config = config
        self.first = SubmanifoldConv(N_FEATURES, config.width)
        self.net = _UNet([config.width * k for k in range(1, config.levels + 1)])
        self.norm = nn.BatchNorm1d(config.width)

    def forward(self, cloud: Cloud) -> Tensor:
        """(A, width). A voxel reads the mean of its atoms' features, and all its atoms get the same output."""
        spacing = 1 << (self.config.levels - 1)
        device = self.norm.weight.device
        group = torch.from_numpy(cloud.group).to(device)
        voxels = voxelise(torch.from_numpy(cloud.coord).to(device), self.config.cell, group, spacing=spacing)
        levels = build_levels(voxels.cells, self.config.levels)
        codes = ((cloud.residue_type, N_TYPES), (cloud.element, N_ELEMENTS))
        one_hot = torch.cat([F.one_hot(torch.from_numpy(code).to(device), n) for code, n in codes], dim=1)
        x = self.first(voxels.mean(one_hot.to(self.norm.weight.dtype)), levels[0])
        x = F.relu(self.norm(self.net(x, levels)))
        return x[voxels.owner]


def stack_atoms(atoms: Tensor, cloud: Cloud, slots: int) -> tuple[Tensor, Tensor]:
    """Features of the atoms, (A, d), sorted into rows of residues.

    (L, slots, d), zero if a residue has no such atom, and (L, slots) whether it has one.
    """
    at = torch.from_numpy(cloud.residue).to(atoms.device) * slots + torch.from_numpy(cloud.slot).to(atoms.device)
    size = cloud.n_residues * slots
    stacked = atoms.new_zeros(size, atoms.shape[1]).index_copy(0, at, atoms)
    there = torch.zeros(size, dtype=torch.bool, device=atoms.device).index_fill(0, at, True)
    return stacked.view(cloud.n_residues, slots, -1), there.view(cloud.n_residues, slots)


class AtomAttention(nn.Module):
    """Weights for the atoms of a residue, computed from all of them (paper, atom-wise attention)."""

    def __init__(self, slots: int, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(slots * width, slots, bias=False)
        self.mix = nn.Linear(slots * width, slots * width)

    def weights(self, stacked: Tensor, there: Tensor) -> Tensor:
        """(L, slots) in (0, 1) for atoms, 0 for empty slots (masked here, not in the public code)."""
        return torch.sigmoid(self.weigh(stacked.flatten(1))) * there

    def forward(self, stacked: Tensor, there: Tensor) -> Tensor:
        """(L, slots, d) -> (L, slots d)."""
        out: Tensor = self.mix((stacked * self.weights(stacked, there)[..., None]).flatten(1))
        return out


class CrossBind(nn.Module):
    """The whole network; with one input switched off in its configuration it is a network of the paper's comparisons."""

    def __init__(self, config: CrossBindConfig) -> None:
        super().__init__()
        width = config.slots * config.width
        self.config = config
        self.encoder = PointEncoder(config) if config.structure else None
        self.segment = nn.Linear(width, 1) if config.structure else None  # for training on the structure alone
        self.attention = AtomAttention(config.slots, config.width) if config.structure and config.atom_attention else None
        self.language = nn.Linear(config.language_width, width) if config.language_width else None
        self.balance = nn.Parameter(torch.zeros(())) if config.structure and config.language_width else None
        self.scale = nn.BatchNorm1d(config.feature_width) if config.feature_width else None
        first, second = config.head_widths
        self.head = nn.Sequential(
            nn.Linear(width + config.feature_width, first), nn.ELU(), nn.Linear(first, second), nn.ELU(), nn.Linear(second, 1)
        )

    @property
    def share(self) -> Tensor:
        """λ in (0, 1): the structure's share of the mixture, a half at the start."""
        assert self.balance is not None
        return torch.sigmoid(self.balance)

    def stack(self, cloud: Cloud) -> tuple[Tensor, Tensor]:
        """:func:`stack_atoms` of the encoder's features."""
        assert self.encoder is not None
        return stack_atoms(self.encoder(cloud), cloud, self.config.slots)

    def forward(self, cloud: Cloud, language: Tensor, features: Tensor) -> Tensor:
        """Binding logits (L,).

        Parameters
        ----------
        cloud
            Atoms of one or more proteins, L residues.
        language
            (L, language_width) of a language model.
        features
            (L, feature_width) of evolution and structure.
        """
        mixed: Tensor | None = None
        if self.encoder is not None:
            stacked, there = self.stack(cloud)
            mixed = self.attention(stacked, there) if self.attention is not None else stacked.flatten(1)
        if self.language is not None:
            sequence = self.language(language)
            mixed = sequence if mixed is None else self.share * mixed + (1 - self.share) * sequence
        assert mixed is not None
        inputs = mixed if self.scale is None else torch.cat([mixed, self.scale(features)], dim=1)
        out: Tensor = self.head(inputs).squeeze(-1)
        return out


@torch.no_grad()
def residue_logits(
    model: CrossBind, cloud: Cloud, language: NDArray[np.float32], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(L,) binding logits; arguments as of :meth:`CrossBind.forward`."""
    model.eval()
    device = next(model.parameters()).device
    logits = model(cloud, torch.from_numpy(language).to(device), torch.from_numpy(features).to(device))
    found: NDArray[np.float32] = logits.float().cpu().numpy()
    return found
