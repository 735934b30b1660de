"""Layers of PocketGen: attention over atoms and blocks, and a feed-forward map; both also move atoms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s2p.models.pocketgen.config import PocketGenConfig

__all__ = ["BilevelLayer", "Keys", "Queries", "gaussians", "length", "shorten", "zeroed"]

NEVER = -1e9
"""Logit of an atom or block that does not exist."""
KINDS = ("residue", "ligand")
MAX_OFFSET = 4
N_OFFSETS = 2 * MAX_OFFSET + 3
"""-4 to 4 in sequence; elsewhere in the chain or in another; the ligand."""
LIGAND_OFFSET = N_OFFSETS - 1


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer with weights and bias set to zero, so that its output is 0 before training."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def length(vector: Tensor) -> Tensor:
    """(..., 3) -> (...) Å. A small number is added, because the gradient of the root is infinite at 0."""
    return (vector.square().sum(dim=-1) + 1e-12).sqrt()


def gaussians(distance: Tensor, n: int, reach: float) -> Tensor:
    """(...) Å -> (..., n): Gaussians centred on 0 to ``reach`` Å, a spacing wide."""
    spacing = reach / (n - 1)
    centre = torch.arange(n, device=distance.device, dtype=distance.dtype)
    return torch.exp(-0.5 * (distance[..., None] / spacing - centre).square())


def shorten(vector: Tensor, longest: float) -> Tensor:
    """(..., 3) vectors shortened to ``longest``; the public code clips components, which is not equivariant."""
    return vector * (longest / length(vector)[..., None]).clamp_max(1.0)


def _envelope(x: Tensor, p: int = 5) -> Tensor:
    """Polynomial that falls smoothly from 1 at 0 to 0 at 1."""
    value = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    return value * (x < 1)


@dataclass(frozen=True, eq=False)
class Queries:
    """n query blocks of p atoms: features (n, p, d), coordinates (n, p, 3) Å and which atoms exist (n, p)."""

    kind: str
    features: Tensor
    coord: Tensor
    valid: Tensor


@dataclass(frozen=True, eq=False)
class Keys:
    """N key blocks of q atoms: features (N, q, d), coordinates (N, q, 3) Å and which atoms exist (N, q).

    Each of n queries attends to j of them: ``near`` (n, j) are their indices, ``known`` (n, j) whether they exist, ``offset``
    (n, j) the code of the offset in sequence.
    """

    kind: str
    features: Tensor
    coord: Tensor
    valid: Tensor
    near: Tensor
    known: Tensor
    offset: Tensor


class BilevelLayer(nn.Module):
    """Atoms attend to the nearest few of a block, blocks to blocks; features and coordinates of the queries change.

    Residues and ligands have separate projections. In addition to the paper, an embedding of the offset in sequence is added to
    keys and values, so the neighbour with the next peptide bond need not be found from residue numbers.
    """

    def __init__(self, config: PocketGenConfig) -> None:
        super().__init__()
        d, h = config.width, config.heads
        c = d // h
        self.config, self.heads, self.size = config, h, c
        self.project = nn.ModuleDict({kind: nn.ModuleDict({n: nn.Linear(d, d) for n in "qkv"}) for kind in KINDS})
        self.key_offset = nn.Embedding(N_OFFSETS, d)
        self.value_offset = nn.Embedding(N_OFFSETS, d)
        for table in (self.key_offset, self.value_offset):
            nn.init.normal_(table.weight, std=0.3)
        # Published with a hidden layer; a linear map of many Gaussians of one number approximates any smooth function.
        self.bias = nn.Linear(config.n_gaussians, h)
        self.mix = nn.Sequential(nn.Linear(c, c), nn.SiLU(), nn.Linear(c, c))
        self.move_pair = nn.Linear(3 * c, c)
        self.move_radial = nn.Linear(config.n_gaussians, c, bias=False)
        self.move = nn.Linear(c, 1, bias=False)
        nn.init.normal_(self.move.weight, std=0.3)
        self.out = nn.ModuleDict({kind: nn.Linear(d, d) for kind in KINDS})
        self.norms = nn.ModuleDict({kind: nn.ModuleList([nn.LayerNorm(d), nn.LayerNorm(d)]) for kind in KINDS})
        wide = 2 * d + config.ffn_gaussians
        self.feed = nn.ModuleDict(
            {
                kind: nn.Sequential(nn.Linear(wide, 2 * d), nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(2 * d, d))
                for kind in KINDS
            }
        )
        self.scale = nn.ModuleDict(
            {kind: nn.Sequential(nn.Linear(wide, d), nn.SiLU(), zeroed(nn.Linear(d, 1))) for kind in KINDS}
        )

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, self.size)

    def _ask(self, queries: Queries, keys: Keys) -> tuple[Tensor, Tensor, Tensor]:
        """Output of each key block for each query: logits (n, j, h), messages (n, j, p, h, c) and moves (n, j, p, h, 3)."""
        config, h, c = self.config, self.heads, self.size
        maps = self.project[keys.kind]
        q = self._split(self.project[queries.kind]["q"](queries.features))  # type: ignore[index]
        k = maps["k"](keys.features)[keys.near] + self.key_offset(keys.offset)[:, :, None]  # type: ignore[index]
        v = maps["v"](keys.features)[keys.near] + self.value_offset(keys.offset)[:, :, None]  # type: ignore[index]
        k, v = self._split(k), self._split(v)
        place, valid = keys.coord[keys.near], keys.valid[keys.near] & keys.known[..., None]
        n, j, m = valid.shape
        distance = length(queries.coord[:, None, :, None] - place[:, :, None])
        radial = gaussians(distance, config.n_gaussians, config.reach)
        logits = torch.einsum("nphc,njmhc->njphm", q, k) / c**0.5 + self.bias(radial).transpose(-1, -2)
        logits = logits.masked_fill(~valid[:, :, None, None], NEVER)
        kept, which = logits.topk(min(config.top_atoms, m), dim=-1)
        there = kept > NEVER / 2
        alpha = torch.softmax(kept, dim=-1) * there

        block = torch.arange(n * j, device=which.device).view(n, j, 1, 1, 1)
        head = block * h + torch.arange(h, device=which.device)[:, None]

        def take(x: Tensor) -> Tensor:
            """(n, j, m, h, e) -> (n, j, p, h, t, e), those kept."""
            return nn.functional.embedding(head * m + which, x.transpose(2, 3).reshape(n * j * h * m, -1))

        message = self.mix((alpha[..., None] * take(v)).sum(dim=-2))
        arm = queries.coord[:, None, :, None, None] - nn.functional.embedding(block * m + which, place.reshape(n * j * m, 3))
        far = length(arm)
        unit = arm / (far + 1e-5)[..., None]
        w = self.move_pair.weight
        pair = (q @ w[:, :c].T)[:, None, :, :, None] + take(k @ w[:, c : 2 * c].T + v @ w[:, 2 * c :].T) + self.move_pair.bias
        radial = self.move_radial(gaussians(far, config.n_gaussians, config.reach))
        size = self.move(nn.functional.silu(pair + radial)).squeeze(-1)
        step = ((alpha * size)[..., None] * unit).sum(dim=-2)
        # Mean over valid selected entries; the public code averages over all, most of which are 0.
        counted = (there & queries.valid[:, None, :, None, None]).to(kept.dtype)
        score = (kept.clamp_min(NEVER / 2) * counted).sum(dim=(2, 4)) / counted.sum(dim=(2, 4)).clamp_min(1)
        score = score.masked_fill(counted.sum(dim=(2, 4)) == 0, NEVER)
        return score, message, step

    def forward(self, queries: Queries, keys: list[Keys]) -> tuple[Tensor, Tensor]:
        """Features (n, p, d) and coordinates (n, p, 3) of the queries."""
        said = [self._ask(queries, part) for part in keys]
        beta = torch.softmax(torch.cat([score for score, _, _ in said], dim=1), dim=1)[:, :, None, :, None]
        message = (beta * torch.cat([m for _, m, _ in said], dim=1)).sum(dim=1).flatten(-2)
        step = (beta * torch.cat([s for _, _, s in said], dim=1)).sum(dim=(1, 3))
        kind = queries.kind
        norms = self.norms[kind]
        x = norms[0](queries.features + self.out[kind](message))  # type: ignore[index]
        coord = queries.coord + shorten(step, self.config.max_step)
        return self._feed(kind, x, coord, queries.valid, norms[1])  # type: ignore[index]

    def _feed(self, kind: str, x: Tensor, coord: Tensor, valid: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
        """Feed-forward with the block's mean; atoms move along the line from the block's centre, as a residual:

        the public code replaces the vector by its product with the factor.
        """
        counted = valid.to(x.dtype)[..., None]
        share = counted / counted.sum(dim=1, keepdim=True).clamp_min(1)
        middle, mean = (share * coord).sum(dim=1, keepdim=True), (share * x).sum(dim=1, keepdim=True)
        arm = coord - middle
        far, config = length(arm), self.config
        radial = gaussians(far, config.ffn_gaussians, config.ffn_reach) * _envelope(far / config.ffn_reach)[..., None]
        both = torch.cat([x, mean.expand_as(x), radial], dim=-1)
        return norm(x + self.feed[kind](both)), coord + arm * self.scale[kind](both)
