"""Training of the surface network: examples, what it should say of them, the losses, and its operations in PyTorch.

The arithmetic is that of :mod:`s2p.surface.network`; the loop of the shipped network is ``benchmarks.recipes.surface_network``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Share
from s2p.io.runtime import numba
from s2p.surface import mpnn
from s2p.surface.graph import Graph, neighbours, shell_sums
from s2p.surface.network import Inputs, NetworkConfig, Outputs, shapes
from s2p.surface.reading import atom_names
from s2p.surface.surroundings import Surroundings

__all__ = [
    "SHARES",
    "UNKNOWN",
    "Example",
    "Targets",
    "TorchOps",
    "TrainConfig",
    "example_of",
    "initial",
    "inputs_of",
    "losses",
    "shell_sums_back",
    "targets_of",
]

UNKNOWN = 2
"""Label of a residue whose place binds in another copy of its chain: the ligand may just not be listed here."""


@dataclass(frozen=True)
class TrainConfig(Checked):
    """Ours; first guesses, of which none but ``vote`` was tried with another value."""

    steps: Count = 3600
    accumulate: Count = 2
    """Assemblies in one update."""
    lr: Positive = 2e-3
    warm_up: Count = 100
    weight_decay: NonNegative = 0.02
    dropout: Share = 0.15
    """Share of the embeddings' columns that are blanked."""
    blind: Share = 0.05
    """Share of examples in which one of the two embeddings is blanked altogether."""
    largest: Positive = 34.0
    """Å around a ligand beyond which larger assemblies are cut."""
    most_atoms: Count = 7000
    near: Positive = 2.5
    """Å from a point to a ligand atom up to which it is near in full."""
    far: Positive = 5.0
    """Å from which it is not near at all."""
    weak: Share = 0.3
    """Weight of the examples that have residue labels alone."""
    rare: Positive = 0.4
    """How often such examples are drawn, beside others of a cluster of that size."""
    vote: NonNegative = 0.05
    """Weight of the votes in the loss; the second member that ships went on with 0.1."""
    average: Share = 0.998
    """Decay of the running mean of the weights, which is what is kept."""
    seed: Natural = 0


@dataclass(frozen=True, eq=False)
class Example:
    """One assembly in numbers: A atoms, N residues, P points, L ligand atoms."""

    key: str
    cluster: str
    coord: NDArray[np.float32]
    """(A, 3) Å."""
    element: NDArray[np.str_]
    kind: NDArray[np.str_]
    """(A,) ``K:NZ``, letter and name."""
    residue: NDArray[np.int64]
    """(A,)"""
    ca: NDArray[np.float32]
    """(N, 3) Å."""
    language: NDArray[np.float16]
    structure: NDArray[np.float16]
    label: NDArray[np.uint8]
    """(N,) 1 binds, 0 does not, :data:`UNKNOWN`."""
    ligand: NDArray[np.float32]
    """(L, 3) Å, all ligands; none: residues alone are known."""
    molecule: NDArray[np.int64]
    """(L,) number of the ligand."""
    points: NDArray[np.float32]
    """(P, 3) Å."""
    owner: NDArray[np.int64]
    """(P,)"""
    share: NDArray[np.float32]
    """(P,)"""


def example_of(
    key: str,
    cluster: str,
    part: Surroundings,
    label: NDArray[np.uint8],
    ligands: list[NDArray[np.float32]],
    embeddings: NDArray[np.float32],
    encoder: mpnn.Encoder,
    config: NetworkConfig,
) -> Example:
    """An assembly in numbers.

    Parameters
    ----------
    label
        (N,) of its residues.
    ligands
        (L, 3) Å each; none where residues alone are known.
    embeddings
        (N, d) of the language model.
    """
    atoms, residues = part.structure.atoms, part.structure.residues
    cloud = part.points(config.n_points, config.probe_radius)
    return Example(
        key,
        cluster,
        atoms.coord,
        atoms.element,
        atom_names(part.structure),
        atoms.residue_index.astype(np.int64),
        residues.ca_coord,
        embeddings.astype(np.float16),
        mpnn.encode(encoder, part.structure).astype(np.float16),
        label,
        np.concatenate([np.zeros((0, 3), np.float32), *ligands]),
        np.repeat(np.arange(len(ligands)), [len(x) for x in ligands]).astype(np.int64),
        part.outside(cloud.coord).astype(np.float32),
        cloud.atom,
        cloud.share.astype(np.float32),
    )


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sums_back(
    start: NDArray[np.int64],
    sender: NDArray[np.int32],
    distance: NDArray[np.float32],
    scale: np.float32,
    direction: NDArray[np.float32],
    out: NDArray[np.float32],
    turned: NDArray[np.float32],
    senders: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # pragma: no cover - compiled
    shells, width, tips = out.shape[1], out.shape[2], turned.shape[3]
    values, vectors = np.zeros((senders, width), np.float32), np.zeros((senders, tips), np.float32)
    for r in range(len(start) - 1):
        for e in range(start[r], start[r + 1]):
            place = distance[e] * scale
            k = min(int(place), shells - 1)  # rounding may bring the last one to the reach
            high = place - np.float32(k)
            low = np.float32(1) - high
            s = sender[e]
            for c in range(width):
                values[s, c] += low * out[r, k, c]
            for a in range(3):
                share = low * direction[e, a]
                for c in range(tips):
                    vectors[s, c] += share * turned[r, k, a, c]
            if k + 1 < shells:
                for c in range(width):
                    values[s, c] += high * out[r, k + 1, c]
                for a in range(3):
                    share = high * direction[e, a]
                    for c in range(tips):
                        vectors[s, c] += share * turned[r, k + 1, a, c]
    return values, vectors


def shell_sums_back(
    graph: Graph, sums: NDArray[np.float32], turned: NDArray[np.float32], senders: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gradients of the values and vectors of ``senders`` senders, from those of the two results of :func:`shell_sums`."""
    scalar, vector = np.ascontiguousarray(sums, np.float32), np.ascontiguousarray(turned, np.float32)
    scale = np.float32(sums.shape[1] / graph.reach)
    return _sums_back(graph.start, graph.sender, graph.distance, scale, graph.direction, scalar, vector, senders)


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, vectors: Tensor, graph: Graph, shells: int) -> tuple[Tensor, Tensor]:
        ctx.graph, ctx.n = graph, len(values)
        a, b = shell_sums(graph, values.detach().numpy(), vectors.detach().numpy(), shells)
        return torch.from_numpy(a), torch.from_numpy(b)

    @staticmethod
    def backward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, None, None]:
        values, vectors = shell_sums_back(ctx.graph, a.numpy(), b.numpy(), ctx.n)
        return torch.from_numpy(values), torch.from_numpy(vectors), None, None


class TorchOps:
    """The operations of :class:`s2p.surface.network.Ops`."""

    silu = staticmethod(F.silu)

    @staticmethod
    def concat(parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1)

    @staticmethod
    def normed(x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:])

    @staticmethod
    def length(x: Tensor) -> Tensor:
        return torch.sqrt((x * x).sum(2) + 1e-2)

    @staticmethod
    def pooled(x: Tensor, owner: NDArray[np.int64], n: int) -> Tensor:
        return torch.zeros(n, x.shape[1]).index_add(0, torch.from_numpy(owner), x)

    @staticmethod
    def by_rows(call: Callable[[slice], tuple[Tensor, Tensor]], n: int) -> tuple[Tensor, Tensor]:
        return call(slice(0, n))

    @staticmethod
    def sums(graph: Graph, values: Tensor, vectors: Tensor, shells: int, rows: slice) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = _Sums.apply(values, vectors, graph, shells)
        return found

    @staticmethod
    def array(x: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x, np.float32))


def inputs_of(x: Example, kind: NDArray[np.int64], config: NetworkConfig) -> Inputs:
    """What the network reads."""
    graphs = (
        neighbours(x.coord, None, config.atom_reach),
        neighbours(x.points, x.coord, config.reading_reach),
        neighbours(x.points, None, config.point_reach),
    )
    embeddings = x.language.astype(np.float32), x.structure.astype(np.float32)
    return Inputs(kind, x.residue, *embeddings, x.owner, x.share, *graphs)


@dataclass(frozen=True, eq=False)
class Targets:
    """What it should say; weights of 0 where nobody knows."""

    ligand: Tensor
    ligand_weight: Tensor
    vote: Tensor
    vote_weight: Tensor
    extent: Tensor
    residue: Tensor
    residue_weight: Tensor


def targets_of(x: Example, config: TrainConfig) -> Targets:
    """Points are near a ligand little by little; they vote for its centroid, the nearer the more."""
    on = x.residue[x.owner]
    vote, extent = np.zeros((len(x.points), 3), np.float32), np.zeros(len(x.points), np.float32)
    weight = x.share.copy()
    if len(x.ligand):
        distance, nearest = cKDTree(x.ligand).query(x.points)
        near = np.clip((config.far - distance) / (config.far - config.near), 0, 1).astype(np.float32)
        weight[(x.label[on] == UNKNOWN) & (near == 0)] = 0
        centre = np.stack([x.ligand[x.molecule == k].mean(axis=0) for k in np.unique(x.molecule)])
        size = [
            np.sqrt(((x.ligand[x.molecule == k] - c) ** 2).sum(axis=1).mean())
            for k, c in zip(np.unique(x.molecule), centre, strict=True)
        ]
        number = np.unique(x.molecule, return_inverse=True)[1][nearest]
        vote, extent = centre[number] - x.points, np.log(np.maximum(np.array(size, np.float32), 1.0))[number]
        votes = x.share * near
    else:  # points on residues that bind are near something, those far from all such are not
        bound = x.coord[(x.label == 1)[x.residue]]
        distance, _ = cKDTree(bound).query(x.points)
        near = np.where(x.label[on] == 1, np.float32(0.7), np.float32(0))
        weight = weight * np.where((x.label[on] == 1) | (distance > 6), np.float32(config.weak), np.float32(0))
        votes = np.zeros(len(near), np.float32)
    known = (x.label != UNKNOWN).astype(np.float32) * (1.0 if len(x.ligand) else 2 * config.weak)
    arrays = near, weight, vote, votes, extent, (x.label == 1).astype(np.float32), known
    return Targets(*(torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in arrays))


def losses(said: Outputs, t: Targets) -> dict[str, Tensor]:
    """Means over what is known."""
    point = F.binary_cross_entropy_with_logits(said.ligand, t.ligand, reduction="none")
    residue = F.binary_cross_entropy_with_logits(said.residue, t.residue, reduction="none")
    miss = torch.sqrt(((said.vote - t.vote) ** 2).sum(1) + 0.25)
    extent = (said.extent - t.extent).abs()
    all_votes = t.vote_weight.sum() + 1
    return {
        "point": (point * t.ligand_weight).sum() / (t.ligand_weight.sum() + 1),
        "residue": (residue * t.residue_weight).sum() / (t.residue_weight.sum() + 1),
        "vote": (miss * t.vote_weight).sum() / all_votes,
        "extent": (extent * t.vote_weight).sum() / all_votes,
    }


SHARES = {"point": 1.0, "residue": 0.5, "vote": 0.05, "extent": 0.05}
"""Weights of the losses."""


def initial(config: NetworkConfig, types: int, seed: int) -> dict[str, Tensor]:
    """Random weights; the last matrix of each layer starts small, so that layers add up from nothing."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes(config, types).items():
        if name.endswith(".b"):
            found[name] = torch.zeros(shape)
            continue
        fan = 1 if name == "type.w" else shape[0]
        gain = 0.3 if name.endswith("out.w") or name in ("ligand.w", "vote.w") else 1.0
        gain = 0.5 if name == "type.w" else gain
        found[name] = torch.randn(shape, generator=generator) * gain / fan**0.5
    found["ligand.b"] = torch.tensor([-3.0, 1.0])
    found["residue.out.b"] = torch.tensor([-2.0])
    return {name: value.requires_grad_() for name, value in found.items()}
