"""The surface network: atoms exchange messages, and every point of the surface reads the atoms around it.

The arithmetic is written once, for NumPy in predictions and for PyTorch in training, which has its own ``Ops``. Positions are
used only through :mod:`s2p.surface.graph`: scalars depend on distances, and vectors rotate with the protein.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from s2p.config import Checked, Count, Positive
from s2p.surface.graph import Graph, shell_sums

__all__ = ["Inputs", "NetworkConfig", "Ops", "Outputs", "forward", "shapes"]

Array = Any
"""A NumPy array, or in training a tensor."""


@dataclass(frozen=True)
class NetworkConfig(Checked):
    """Size of the network and of its inputs; ours."""

    width: Count = 64
    """Features of an atom, or a point."""
    hidden: Count = 96
    """Width inside a layer."""
    message: Count = 32
    """Width of a message."""
    vectors: Count = 8
    """Width of the part of a message that is multiplied by the direction."""
    shells: Count = 8
    """Number of distance shells."""
    layers: Count = 4
    """Message-passing layers of the atoms."""
    point_layers: Count = 2
    """Message-passing layers of the points, after each has read its atoms."""
    atom_reach: Positive = 6.0
    """Å, largest distance between atoms that exchange messages."""
    reading_reach: Positive = 8.0
    """Å, largest distance from a point to the atoms that it reads."""
    point_reach: Positive = 6.0
    """Å, largest distance between points that exchange messages."""
    n_points: Count = 12
    """Points on the sphere around each atom."""
    probe_radius: Positive = 1.6
    """Å."""
    language: Count = 320
    """Width of the language model's embeddings."""
    structure: Count = 128
    """Width of ProteinMPNN's."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Input of the network for an assembly: A atoms, N residues, P points."""

    kind: NDArray[np.int64]
    """(A,) row of each atom's type in the table of types."""
    residue: NDArray[np.int64]
    """(A,) index of its residue, ascending."""
    language: NDArray[np.float32]
    """(N, d) embeddings of the language model."""
    structure: NDArray[np.float32]
    """(N, 128) of ProteinMPNN's encoder."""
    owner: NDArray[np.int64]
    """(P,) atom that owns each point, ascending."""
    share: NDArray[np.float32]
    """(P,) degree of exposure of each point."""
    atoms: Graph
    """Atoms around atoms."""
    reading: Graph
    """Atoms around points."""
    points: Graph
    """Points around points."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """Output of the network."""

    ligand: Array
    """(P,) logit that a ligand atom is near."""
    vote: Array
    """(P, 3) Å from the point to the centre of the ligand."""
    extent: Array
    """(P,) log of the ligand's radius of gyration, Å."""
    residue: Array
    """(N,) logit that the residue binds."""


class Ops:
    """Operations that have different names in NumPy and PyTorch."""

    @staticmethod
    def silu(x: Array) -> Array:
        return x * expit(x)

    @staticmethod
    def concat(parts: list[Array]) -> Array:
        return np.concatenate(parts, axis=1)

    @staticmethod
    def normed(x: Array) -> Array:
        """Rows with mean 0 and variance 1."""
        x = x - x.mean(1, keepdims=True)
        return x / np.sqrt((x * x).mean(1, keepdims=True) + np.float32(1e-5))

    @staticmethod
    def length(x: Array) -> Array:
        """(R, K, 3, V) -> (R, K, V), smooth at 0."""
        x = x * x  # NumPy adds whole arrays faster than along a short axis
        return np.sqrt(x[:, :, 0] + x[:, :, 1] + x[:, :, 2] + np.float32(1e-2))

    @staticmethod
    def pooled(x: Array, owner: NDArray[np.int64], n: int) -> Array:
        """(n, C) sums of the rows (m, C) of each owner; owners ascend."""
        out = np.zeros((n, x.shape[1]), np.float32)
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        if len(first):
            out[owner[first]] = np.add.reduceat(x, first, axis=0)
        return out

    @staticmethod
    def sums(graph: Graph, values: Array, vectors: Array, shells: int, rows: slice) -> tuple[Array, Array]:
        return shell_sums(graph, values, vectors, shells, rows)

    @staticmethod
    def by_rows(call: Callable[[slice], tuple[Array, Array]], n: int) -> tuple[Array, Array]:
        """Both results of ``call`` for all n rows, in chunks, so that memory stays small and data stay in the cache."""
        parts = [call(slice(k, min(k + ROWS, n))) for k in range(0, max(n, 1), ROWS)]
        return np.concatenate([x for x, _ in parts]), np.concatenate([x for _, x in parts])

    @staticmethod
    def array(x: NDArray[np.float32]) -> Array:
        return x


ROWS = 1024
CROWD = 1 / 8
"""Factor of sums over neighbours, to make them about as large as a single term."""


def shapes(config: NetworkConfig, types: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights; matrices are (inputs, outputs), and end in ``.w``, biases in ``.b``."""
    c = config
    heard = c.shells * (c.message + c.vectors)
    found: dict[str, tuple[int, ...]] = {
        "type.w": (types, c.width),
        "language.w": (c.language, c.width),
        "structure.w": (c.structure, c.width),
        "exposure.w": (1, c.width),
        "input.b": (c.width,),
    }
    names = [f"atom{k}" for k in range(c.layers)] + ["reading"] + [f"point{k}" for k in range(c.point_layers)]
    for name in names:
        own = 0 if name == "reading" else c.width
        found |= {
            f"{name}.tell.w": (c.width, c.message + c.vectors),
            f"{name}.hidden.w": (own + heard, c.hidden),
            f"{name}.hidden.b": (c.hidden,),
            f"{name}.out.w": (c.hidden, c.width),
            f"{name}.out.b": (c.width,),
        }
    directed = (1 + c.point_layers) * c.shells * c.vectors
    found |= {"ligand.w": (c.width, 2), "ligand.b": (2,), "vote.w": (c.width, directed), "vote.b": (directed,)}
    residue = 2 * c.width + 1
    found |= {"residue.hidden.w": (residue, c.width), "residue.hidden.b": (c.width,)}
    return found | {"residue.out.w": (c.width, 1), "residue.out.b": (1,)}


def _layer(
    ops: Any, w: Mapping[str, Array], name: str, h: Array, told: Array, graph: Graph, c: NetworkConfig
) -> tuple[Array, Array]:
    """New features of the receivers from ``h`` (``None``: they have none yet), and the (R, K, 3, V) sums of vectors."""

    told = told * CROWD

    def heard(rows: slice) -> tuple[Array, Array]:
        values, vectors = ops.sums(graph, told[:, : c.message], told[:, c.message :], c.shells, rows)
        flat = [x.reshape(len(values), c.shells * width) for x, width in ((values, c.message), (ops.length(vectors), c.vectors))]
        x = ops.concat(flat if h is None else [ops.normed(h[rows]), *flat])
        x = ops.silu(x @ w[f"{name}.hidden.w"] + w[f"{name}.hidden.b"]) @ w[f"{name}.out.w"] + w[f"{name}.out.b"]
        return (x if h is None else h[rows] + x), vectors

    found: tuple[Array, Array] = ops.by_rows(heard, len(graph.start) - 1)
    return found


def forward(w: Mapping[str, Array], inputs: Inputs, config: NetworkConfig, ops: Any = Ops) -> Outputs:
    """Run the whole network.

    Parameters
    ----------
    w
        Weights by the names of :func:`shapes`.
    ops
        :class:`Ops`, or in training the same in PyTorch.
    """
    c, n = config, len(inputs.language)
    share = ops.array(inputs.share[:, None])
    exposed = ops.pooled(share, inputs.owner, len(inputs.kind)) / c.n_points
    residue = ops.array(inputs.language) @ w["language.w"] + ops.array(inputs.structure) @ w["structure.w"]
    h = w["type.w"][inputs.kind] + residue[inputs.residue] + exposed * w["exposure.w"] + w["input.b"]
    for k in range(c.layers):
        h, _ = _layer(ops, w, f"atom{k}", h, ops.normed(h) @ w[f"atom{k}.tell.w"], inputs.atoms, c)
    p, turned = _layer(ops, w, "reading", None, ops.normed(h) @ w["reading.tell.w"], inputs.reading, c)
    directed = [turned]
    for k in range(c.point_layers):
        told = (ops.normed(p) @ w[f"point{k}.tell.w"]) * share
        p, turned = _layer(ops, w, f"point{k}", p, told, inputs.points, c)
        directed.append(turned)
    p = ops.normed(p)
    gates = (p @ w["vote.w"] + w["vote.b"]).reshape(len(p), len(directed), c.shells, 1, c.vectors)
    vote = sum((x * gates[:, k]).sum(3).sum(1) for k, x in enumerate(directed))
    said = p @ w["ligand.w"] + w["ligand.b"]
    # Features of a residue: the mean of its atoms and the sum of its points.
    count = np.bincount(inputs.residue, minlength=n)[:, None].clip(1).astype(np.float32)
    atoms = ops.pooled(ops.normed(h), inputs.residue, n) / ops.array(count)
    on = inputs.residue[inputs.owner]
    area = ops.pooled(share, on, n)
    points = ops.pooled(p * share, on, n) / (area + 1)
    x = ops.concat([atoms, points, area * CROWD])
    x = ops.silu(x @ w["residue.hidden.w"] + w["residue.hidden.b"]) @ w["residue.out.w"] + w["residue.out.b"]
    return Outputs(said[:, 0], vote, said[:, 1], x[:, 0])
