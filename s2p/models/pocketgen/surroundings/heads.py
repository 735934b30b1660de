"""Heads that predict the type of a residue from its surroundings and the language model's features together (ours)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2p.models.pocketgen.atoms import N_TYPES
from s2p.models.pocketgen.layers import zeroed
from s2p.models.pocketgen.surroundings.counts import N_COUNTS
from s2p.models.pocketgen.surroundings.neighbours import ATOM_FEATURES, ATOMS, FEATURES, N_ATOMS, N_NEIGHBOURS, NEIGHBOURS

__all__ = ["SurroundingsHead", "SurroundingsHeads"]

GAUSSIANS = 16
NEAREST, FARTHEST = 2.0, 20.0
"""Å: centres of the first and the last Gaussian of a distance."""
TYPE_WIDTH = 32
LOOKS = 4
"""Number of attention heads over the neighbours."""
CLOSE, ATOM_CLOSE = 12.0, 9.0
"""Å: residues, and ligand atoms, within about these distances are also summed."""


def gaussians(distance: Tensor) -> Tensor:
    """(...) Å -> (..., GAUSSIANS) heights of Gaussians."""
    centres = torch.linspace(NEAREST, FARTHEST, GAUSSIANS).to(distance)
    return torch.exp(-(((distance[..., None] - centres) / ((FARTHEST - NEAREST) / (GAUSSIANS - 1))) ** 2))


class SurroundingsHeads(nn.Module):
    """Mean of several :class:`SurroundingsHead` that were fitted from different initial weights."""

    def __init__(self, language_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(SurroundingsHead(language_width, width) for _ in range(heads))

    def forward(self, language: Tensor, environment: Tensor) -> Tensor:
        """(P, d) and (P, N_ENVIRONMENT) -> (P, 20) logits."""
        return torch.stack([head(language, environment) for head in self.heads]).mean(dim=0)


class SurroundingsHead(nn.Module):
    """Reads counts and language features, and, depending on these, single neighbouring residues and ligand atoms.

    Its output is 0 before it is fitted.
    """

    def __init__(self, language_width: int, width: int) -> None:
        super().__init__()
        both, narrow = language_width + N_COUNTS, width // 4
        self.own = nn.Sequential(nn.LayerNorm(both), nn.Dropout(0.1), nn.Linear(both, width), nn.GELU(), nn.Dropout(0.2))
        self.kind = nn.Embedding(N_TYPES, TYPE_WIDTH)
        # Three distances for a neighbour, one for an atom.
        self.neighbour = nn.Linear(TYPE_WIDTH + 3 * GAUSSIANS + FEATURES - 5, narrow)
        self.atom = nn.Linear(GAUSSIANS + ATOM_FEATURES - 2, narrow)
        self.view = nn.Linear(width, 2 * narrow)
        self.neighbour_mix = nn.Sequential(nn.GELU(), nn.Linear(narrow, narrow), nn.GELU())
        self.atom_mix = nn.Sequential(nn.GELU(), nn.Linear(narrow, narrow), nn.GELU())
        self.look = nn.Linear(narrow, LOOKS)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Sequential(
            nn.Linear(width + (LOOKS + 2) * narrow, width // 2),
            nn.GELU(),
            nn.Dropout(0.2),
            zeroed(nn.Linear(width // 2, N_TYPES - 1)),
        )

    def forward(self, language: Tensor, environment: Tensor) -> Tensor:
        """(P, d) and (P, N_ENVIRONMENT) -> (P, 20) logits."""
        counts, near, bound = environment.split((N_COUNTS, N_NEIGHBOURS, N_ATOMS), dim=-1)
        own = self.own(torch.cat([language, counts], dim=-1))
        view, atom_view = self.view(own).chunk(2, dim=-1)
        around = self._neighbours(view, near.unflatten(-1, (NEIGHBOURS, FEATURES)))
        ligand = self._atoms(atom_view, bound.unflatten(-1, (ATOMS, ATOM_FEATURES)))
        logits: Tensor = self.out(torch.cat([own, self.drop(around), self.drop(ligand)], dim=-1))
        return logits

    def _neighbours(self, view: Tensor, near: Tensor) -> Tensor:
        """(P, narrow) and (P, NEIGHBOURS, FEATURES) -> (P, (LOOKS + 1) * narrow)."""
        weight, kind, distances, rest = near[..., :1], near[..., 1].long(), near[..., 2:5], near[..., 5:]
        read = self.neighbour(torch.cat([self.kind(kind), gaussians(distances).flatten(2), rest], dim=-1))
        mixed = self.neighbour_mix(read + view[:, None])
        share = self.look(mixed).exp() * weight
        share = share / (share.sum(dim=1, keepdim=True) + 1e-6)
        looked = torch.einsum("pkl,pkh->plh", share, mixed).flatten(1)
        close = torch.sigmoid((CLOSE - distances[..., 2:]) / 1.5) * weight
        return torch.cat([looked, (mixed * close).sum(dim=1) / 8], dim=-1)

    def _atoms(self, view: Tensor, bound: Tensor) -> Tensor:
        """(P, narrow) and (P, ATOMS, ATOM_FEATURES) -> (P, narrow)."""
        weight, distance, rest = bound[..., :1], bound[..., 1], bound[..., 2:]
        mixed = self.atom_mix(self.atom(torch.cat([gaussians(distance), rest], dim=-1)) + view[:, None])
        close = torch.sigmoid(ATOM_CLOSE - distance)[..., None] * weight
        summed: Tensor = (mixed * close).sum(dim=1) / 6
        return summed
