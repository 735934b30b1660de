"""Vabs-Net: sparse attention over the atoms and the residues of a protein, which share the CA atoms.

Source: Vabs-Net, a bilevel (atom and residue) network with span-mask pre-training (ICML 2024). Differences are stated; the
graph is in :mod:`s2p.models.vabsnet.graph`; pre-training is part of the course (notebook 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import (
    N_ATOM_FEATURES,
    N_ATOM_TYPES,
    N_OFFSETS,
    N_RESIDUE_TYPES,
    VIRTUAL_ATOM,
    VIRTUAL_OFFSET,
    VIRTUAL_RESIDUE,
    BilevelGraph,
    Nodes,
    build_graph,
    sequence_offsets,
)

__all__ = ["EdgeAttention", "Gaussians", "ResidualHead", "SparseAttention", "VabsNet", "fourier_angles", "residue_logits"]

CHUNK = 4096
"""Rows that go through the edge and attention layers together if no gradient is needed; limits the memory."""
FREQUENCIES = 4
ANGLE_FEATURES = 3 * (1 + 2 * FREQUENCIES)


def fourier_angles(direction: Tensor) -> Tensor:
    """(..., 3) unit (or zero) vectors -> (..., 27): angles to the coordinate planes, and their sines and cosines at 1, 2, 4, 8.

    The paper prints sin(2^k pi / angle), which is singular at 0; its code has the form used here.
    """
    sine = direction.clamp(-1, 1)
    sines, cosines = [sine], [(1 - sine.square()).sqrt()]
    for _ in range(FREQUENCIES - 1):
        sines.append(2 * sines[-1] * cosines[-1])
        cosines.append(1 - 2 * sines[-2].square())
    return torch.stack([torch.asin(sine), *sines, *cosines], dim=-1).flatten(-2)


class Gaussians(nn.Module):
    """Distances as ``n`` normalised Gaussians with means w (k - 1) / n and width w / n, after a learned affine map.

    Scale and shift are sums over the two end types; the scale starts at 1 (in the published code at 2).
    """

    def __init__(self, n_types: int, n: int, reach: float) -> None:
        super().__init__()
        self.scale = nn.Embedding(n_types, 1)
        self.shift = nn.Embedding(n_types, 1)
        nn.init.constant_(self.scale.weight, 0.5)
        nn.init.zeros_(self.shift.weight)
        self.reach, self.n = reach, n

    def forward(self, distance: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        """(m, k) Å, (m,) and (m, k) types -> (m, k, n)."""
        scale, shift = (table(centre) + table(neighbour).squeeze(-1) for table in (self.scale, self.shift))
        sigma = self.reach / self.n
        # In units of sqrt(2) sigma, to need few operations on the large array.
        mean = torch.arange(self.n, device=distance.device, dtype=distance.dtype) / 2**0.5
        z = ((scale * distance + shift) / (2**0.5 * sigma))[..., None] - mean
        return torch.exp(-z.square() - log(sigma * (2 * torch.pi) ** 0.5))


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a track that are processed together: (m,) centres, their (m, k) neighbours, and (m, k, e) edges."""

    start: int
    neighbours: Tensor
    edges: Tensor

    @property
    def centres(self) -> slice:
        return slice(self.start, self.start + len(self.neighbours))


class EdgeEncoder(nn.Module):
    """Edge vectors of one track from distance, direction and sequence offset."""

    def __init__(self, n_types: int, reach: float, config: VabsNetConfig) -> None:
        super().__init__()
        n, e = config.n_gaussians, config.edge_width
        self.gaussians = Gaussians(n_types, n, reach)
        self.distance = nn.Sequential(nn.Linear(n, n), nn.GELU(), nn.Linear(n, e))
        self.equivariant = config.equivariant
        self.direction = nn.Linear(ANGLE_FEATURES * (1 if config.equivariant else 2), e)
        self.offset = nn.Embedding(N_OFFSETS, e)
        nn.init.normal_(self.offset.weight, std=0.02)

    def forward(self, vector: Tensor, frames: Tensor, types: tuple[Tensor, Tensor], offset: Tensor) -> Tensor:
        """(m, k, 3) from centre to neighbour Å, (m, k or 1, 3, 3) frames, types (m,) and (m, k), (m, k) codes -> (m, k, e)."""
        length = vector.norm(dim=-1)
        unit = vector / length.clamp_min(1e-6)[..., None]
        local = (unit[..., None] * frames).sum(dim=-2)
        # A zero frame means that there is none: then the direction has no contribution, not even that of zero angles.
        known = (frames.abs().sum(dim=(-2, -1)) > 0)[..., None]
        angles = fourier_angles(local) * known
        if not self.equivariant:
            angles = torch.cat([fourier_angles(unit), angles], dim=-1)
        out: Tensor = self.distance(self.gaussians(length, *types)) + self.direction(angles) + self.offset(offset)
        return out


class EdgeAttention(nn.Module):
    """Attention weights of nodes over their neighbours: products of queries and keys, and a bias from the edges."""

    def __init__(self, config: VabsNetConfig) -> None:
        super().__init__()
        d, self.heads = config.width, config.heads
        self.query = nn.Linear(d, d, bias=False)
        self.key = nn.Linear(d, d, bias=False)
        self.bias = nn.Linear(config.edge_width, config.heads)

    def weights(self, query: Tensor, key: Tensor, edges: Tensor) -> Tensor:
        """(m, d) queries, (m, k, d) keys, (m, k, e) edges -> (m, k, heads), which sum to 1 over the neighbours."""
        m, k, d = key.shape
        products = (query[:, None] * key).view(m, k, self.heads, d // self.heads).sum(dim=-1)
        return torch.softmax(products / (d // self.heads) ** 0.5 + self.bias(edges), dim=1)


class SparseAttention(EdgeAttention):
    """Sparse attention module: the weighted sum of the neighbours' values; the output map is initialised with zeros."""

    def __init__(self, config: VabsNetConfig) -> None:
        super().__init__(config)
        d = config.width
        self.value = nn.Linear(d, d, bias=False)
        self.out = nn.Linear(d, d)
        self.dropout = nn.Dropout(config.attention_dropout)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, rows: Sequence[Rows]) -> Tensor:
        """(n, d) -> (n, d)."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        parts = []
        for block in rows:
            near = block.neighbours
            a = self.dropout(self.weights(query[block.centres], F.embedding(near, key), block.edges))
            values = F.embedding(near, value).view(*near.shape, self.heads, -1)
            parts.append((a[..., None] * values).sum(dim=1).flatten(1))
        out: Tensor = self.out(torch.cat(parts))
        return out


class Track(nn.Module):
    """One layer of one track: attention and a feed-forward map, each added and normalised (post-LayerNorm)."""

    def __init__(self, config: VabsNetConfig, drop: float) -> None:
        super().__init__()
        d = config.width
        self.attention = SparseAttention(config)
        last = nn.Linear(config.ffn_width, d)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.feed = nn.Sequential(nn.Linear(d, config.ffn_width), nn.GELU(), nn.Dropout(config.dropout), last)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2))
        self.drop = drop

    def _kept(self) -> float:
        """Stochastic depth: 0 or 1 / (1 - p) in training, 1 otherwise."""
        if not self.training or not self.drop:
            return 1.0
        return float(torch.rand(()) >= self.drop) / (1 - self.drop)

    def forward(self, x: Tensor, rows: Sequence[Rows]) -> Tensor:
        """(n, d) -> (n, d)."""
        x = self.norms[0](x + self._kept() * self.attention(x, rows))
        out: Tensor = self.norms[1](x + self._kept() * self.feed(x))
        return out


class ResidualHead(nn.Module):
    """GELU and a linear map to ``width``, two residual blocks, a linear map to ``n`` outputs."""

    def __init__(self, d: int, n: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GELU(), nn.Linear(d, width))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)) for _ in range(2)
        )
        self.last = nn.Sequential(nn.GELU(), nn.Linear(width, n))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., n)."""
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        out: Tensor = self.last(h)
        return out


class VabsNet(nn.Module):
    """The encoder, and a binding head for each kind of ligand.

    ``equivariant`` drops the directions in global axes, the only input that depends on the protein's orientation (the paper drops
    the virtual node too; ours is kept, because it then has only a distance and no direction).
    """

    def __init__(self, config: VabsNetConfig) -> None:
        super().__init__()
        d = config.width
        self.config = config
        self.atom_embedding = nn.Embedding(N_ATOM_TYPES, d)
        self.residue_embedding = nn.Embedding(N_RESIDUE_TYPES, d)
        self.surface = nn.Linear(N_ATOM_FEATURES, d, bias=False) if config.surface else None
        self.language = None
        if config.language_width:
            # Linear, LayerNorm, GELU, Linear as in the public code, with the model's own width inside.
            self.language = nn.Sequential(
                nn.Linear(config.language_width, 2 * d),
                nn.LayerNorm(2 * d),
                nn.GELU(),
                nn.Dropout(config.language_dropout),
                nn.Linear(2 * d, d),
            )
        self.norm = nn.LayerNorm(d)
        self.atom_edges = EdgeEncoder(N_ATOM_TYPES, config.atom_reach, config)
        self.residue_edges = EdgeEncoder(N_RESIDUE_TYPES, config.residue_reach, config)
        drops = [config.stochastic_depth * k / max(config.layers - 1, 1) for k in range(config.layers)]
        self.atom_track = nn.ModuleList(Track(config, p) for p in drops if config.atom_track)
        self.residue_track = nn.ModuleList(Track(config, p) for p in drops if config.residue_track)
        self.binding = nn.ModuleDict({kind: ResidualHead(d, 1, config.head_width) for kind in config.kinds})

    def _tensor(self, array: object) -> Tensor:
        x = torch.as_tensor(array, device=self.norm.weight.device)
        return x.to(self.norm.weight.dtype) if x.is_floating_point() else x

    def _rows(self, encoder: EdgeEncoder, graph: BilevelGraph, *, residues: bool) -> list[Rows]:
        """Edges of one track in chunks of rows; the virtual node, if used, is neighbour k + 1 of all nodes, and the last node."""
        nodes, virtual = graph.nodes, self.config.virtual_node
        if residues:
            neighbours, where, code = graph.residue_neighbours, np.arange(len(nodes.ca)), nodes.residue_type
            coord, blank = self._tensor(nodes.coord[nodes.ca]), VIRTUAL_RESIDUE
        else:
            neighbours, where, code = graph.atom_neighbours, nodes.residue, nodes.atom_type
            coord, blank = self._tensor(nodes.coord), VIRTUAL_ATOM
        offset = self._tensor(sequence_offsets(where, neighbours, nodes.chain, nodes.position))
        index, types, frames = self._tensor(neighbours), self._tensor(code), self._tensor(graph.frames[where])
        n = len(index)
        if virtual:
            coord = torch.cat([coord, coord.new_zeros(1, 3)])
            types = torch.cat([types, types.new_full((1,), blank)])
            index = torch.cat([index, index.new_full((n, 1), n)], dim=1)
            offset = torch.cat([offset, offset.new_full((n, 1), VIRTUAL_OFFSET)], dim=1)
        chunk = n if torch.is_grad_enabled() else CHUNK
        blocks = []
        for a in range(0, n, chunk):
            here = index[a : a + chunk]
            vector = coord[here] - coord[a : a + len(here), None]
            axes = frames[a : a + chunk, None]
            if virtual:
                axes = axes.expand(-1, here.shape[1], -1, -1) * (here != n)[..., None, None]
            edges = encoder(vector, axes, (types[a : a + len(here)], types[here]), offset[a : a + chunk])
            blocks.append(Rows(a, here, edges))
        if virtual:
            everyone = torch.arange(n + 1, device=index.device)[None]
            vector = coord[None]
            nowhere = frames.new_zeros(1, 1, 3, 3)
            codes = torch.full_like(everyone, VIRTUAL_OFFSET)
            blocks.append(Rows(n, everyone, encoder(vector, nowhere, (types[-1:], types[everyone]), codes)))
        return blocks

    def encode(self, graph: BilevelGraph) -> tuple[Tensor, list[Rows]]:
        """Features (N, d) of the atoms, a residue's being those of its CA, and the edges of the atom graph."""
        nodes, virtual = graph.nodes, self.config.virtual_node
        owner, ca = self._tensor(nodes.residue), self._tensor(nodes.ca)
        per_residue = self.residue_embedding(self._tensor(nodes.residue_type))
        if self.language is not None and nodes.residue_features.shape[1]:
            per_residue = per_residue + self.language(self._tensor(nodes.residue_features))
        x = self.atom_embedding(self._tensor(nodes.atom_type)) + per_residue[owner]
        if self.surface is not None and nodes.atom_features.shape[1]:
            x = x + self.surface(self._tensor(nodes.atom_features))
        if virtual:
            place = ca.new_tensor([VIRTUAL_ATOM, VIRTUAL_RESIDUE])
            x = torch.cat([x, (self.atom_embedding(place[:1]) + self.residue_embedding(place[1:]))])
            ca = torch.cat([ca, ca.new_tensor([len(nodes.coord)])])
        x = self.norm(x)
        atom_rows = self._rows(self.atom_edges, graph, residues=False)
        residue_rows = self._rows(self.residue_edges, graph, residues=True)
        for k in range(self.config.layers):
            if self.config.atom_track:
                x = self.atom_track[k](x, atom_rows)
            if self.config.residue_track:
                x = x.index_copy(0, ca, self.residue_track[k](x[ca], residue_rows))
        return x[: len(nodes.coord)], atom_rows

    def forward(self, graph: BilevelGraph, kind: str | None = None) -> tuple[Tensor, Tensor]:
        """Binding logits of the (N,) atoms and the (L,) residues, which are those of the CA atoms.

        The paper has two outputs and a softmax; one logit is their difference.
        """
        logits: Tensor = self.binding[kind or self.config.kinds[0]](self.encode(graph)[0]).squeeze(-1)
        return logits, logits[self._tensor(graph.nodes.ca)]


@torch.no_grad()
def residue_logits(model: VabsNet, nodes: Nodes, kind: str | None = None) -> NDArray[np.float32]:
    """(L,) logits of a whole structure, dropout off."""
    model.eval()
    out: NDArray[np.float32] = model(build_graph(nodes, model.config), kind)[1].float().cpu().numpy()
    return out
