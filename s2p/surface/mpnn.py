"""ProteinMPNN's structure encoder in NumPy: 128 features of each residue from the backbone around it.

Dauparas et al., Science 378, 49 (2022); weights ``v_48_020`` (MIT). Only the encoder: it reads the backbone, not the sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.io.runtime import numba
from s2p.structure.arrays import Structure

__all__ = ["Encoder", "backbone", "encode", "encode_graph"]

Floats = NDArray[np.float32]

WIDTH = 128
NEIGHBOURS = 48
SPARE = 8
"""Number of further neighbours that are checked for ties with the last one."""
TIE = 5e-5
"""Å: distances that differ by less are ties, which are sorted by residue, so that rotations do not change the order."""
REACH = 32
"""Largest offset along the chain that is distinguished."""
SCALE = 30.0
"""The sum of a residue's messages is divided by this number, independent of their number."""
CENTRES = np.linspace(2.0, 22.0, 16, dtype=np.float32)  # Å, of the radial basis functions
SPREAD = 20.0 / 16  # Å
BACKBONE = ("N", "CA", "C", "O")  # and the virtual CB, 4
ATOM_PAIRS = (
    "11 00 22 33 44 10 12 13 14 02 03 04 42 43 32 01 21 31 41 20 30 40 24 34 23"  # as the weights have them
).split()
FIRST, SECOND = np.divmod(np.arange(25), 5)

# GELU is x times the normal distribution, here 1/2 + t P(t²) / Q(t²) with t = x within ±5.2: our fit, off by 2e-7 at most.
LIMIT = np.float32(5.2)
P0, P1, P2, P3, P4 = (np.float32(c) for c in (0.398940156, 0.0567065527, 0.0060191166, 0.000396403403, 7.31417145e-06))
Q1, Q2, Q3, Q4, Q5 = (np.float32(c) for c in (0.308786615, 0.0415836708, 0.00315865911, 0.000144017953, 6.11746591e-07))
VECTOR: Any = {"fastmath": {"contract", "nnan", "nsz"}, "error_model": "numpy"}
"""For numba: what to do with NaN and with a division by zero, neither of which occurs, would keep it from vector instructions."""
HALF, ONE, EPSILON = np.float32(0.5), np.float32(1.0), np.float32(1e-5)


@dataclass(frozen=True, eq=False)
class Message:
    """Two layers of a perceptron over a residue, its neighbour and the edge between; the first one in three parts."""

    own: Floats  # (128, 128), all matrices to be multiplied from the right.
    edge: Floats
    other: Floats
    bias: Floats  # (128,).
    second: Floats
    second_bias: Floats
    third: Floats
    third_bias: Floats

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], layer: str, names: tuple[str, str, str]) -> Self:
        """From the matrices and biases ``{layer}.{name}.weight`` and ``.bias``."""
        first, second, third = (_matrix(arrays, f"{layer}.{name}") for name in names)
        biases = [_array(arrays, f"{layer}.{name}.bias") for name in names]
        own, edge, other = (np.ascontiguousarray(part) for part in np.split(first, 3))
        return cls(own, edge, other, biases[0], second, biases[1], third, biases[2])


@dataclass(frozen=True, eq=False)
class Layer:
    """New features of the residues from their neighbours, then, but for the last layer, new ones of the edges."""

    to_node: Message
    to_edge: Message | None
    wide: Floats  # (128, 512).
    wide_bias: Floats
    narrow: Floats  # (512, 128).
    narrow_bias: Floats
    norms: tuple[tuple[Floats, Floats], ...]  # Scale and shift after the messages, the perceptron and of the edges.


@dataclass(frozen=True, eq=False)
class Encoder:
    """The weights, as arguments of :func:`encode`."""

    position: Floats  # (66, 128) features of an edge for each offset along a chain, and for two chains.
    distance: Floats  # (400, 128) the same of 25 pairs of atoms (N, CA, C, O, CB of one, then of the other) in 16 functions each.
    edge_norm: tuple[Floats, Floats]  # (128,) scale and shift.
    edge: Floats  # (128, 128).
    edge_bias: Floats
    layers: tuple[Layer, ...]
    neighbours: int = NEIGHBOURS

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], neighbours: int = NEIGHBOURS) -> Self:
        """From the arrays of the published model, by name; the last update of the edges, which only a decoder reads, may lack."""
        embedding = _matrix(arrays, "features.edge_embedding")
        position = _matrix(arrays, "features.embeddings.linear") + _array(arrays, "features.embeddings.linear.bias")
        rows = [ATOM_PAIRS.index(f"{a}{b}") for a, b in zip(FIRST, SECOND, strict=True)]
        distance = embedding[16:].reshape(25, 16, WIDTH)[rows].reshape(400, WIDTH)
        layers = []
        for k in range(3):
            name = f"encoder_layers.{k}"
            last = f"{name}.W11.weight" not in arrays
            layers.append(
                Layer(
                    Message.from_arrays(arrays, name, ("W1", "W2", "W3")),
                    None if last else Message.from_arrays(arrays, name, ("W11", "W12", "W13")),
                    _matrix(arrays, f"{name}.dense.W_in"),
                    _array(arrays, f"{name}.dense.W_in.bias"),
                    _matrix(arrays, f"{name}.dense.W_out"),
                    _array(arrays, f"{name}.dense.W_out.bias"),
                    tuple(_norm(arrays, f"{name}.norm{n}") for n in ((1, 2) if last else (1, 2, 3))),
                )
            )
        norm, edge = _norm(arrays, "features.norm_edges"), _matrix(arrays, "W_e")
        position = np.matmul(position, embedding[:16], dtype=np.float32)
        return cls(position, distance, norm, edge, _array(arrays, "W_e.bias"), tuple(layers), neighbours)


def encode(encoder: Encoder, structure: Structure, chunk: int = 32) -> Floats:
    """Features of every residue, (N, 128), invariant to rigid motions of the structure.

    Only N, CA, C and O of all chains are read; if a residue lacks one of them, its CA is used instead.

    Parameters
    ----------
    chunk
        Residues that are processed at a time, which affects only the speed. Memory is 25 kB per residue.

    Notes
    -----
    As in the published code, a residue's position in its chain is its number, so that a gap in the numbers is a gap in the chain,
    and each insertion code has its own position.
    """
    return encode_graph(encoder, structure, chunk)[0]


def encode_graph(encoder: Encoder, structure: Structure, chunk: int = 32) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """As :func:`encode`; also features (N, k, 128) of the edges to the neighbours, and these (N, k), which include itself."""
    residues = structure.residues
    n = len(residues)
    atoms = backbone(structure)
    coord = np.asarray(atoms - atoms[:, 1].mean(axis=0), np.float32)
    neighbour = _neighbours(residues.ca_coord.astype(np.float64), encoder.neighbours)
    k = neighbour.shape[1]
    chain = np.unique(residues.chain, return_inverse=True)[1].reshape(-1)
    place = residues.number.astype(np.int64)
    place += np.cumsum(np.diff(place, prepend=place[0] - 1) == 0)
    parts = [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]
    nodes, edges = np.zeros((n, WIDTH), np.float32), np.empty((n, k, WIDTH), np.float32)
    # Reused memory stays in the processor's cache, which halves the time.
    work, bases = np.empty((2, chunk * k, WIDTH), np.float32), np.empty((chunk * k, 25, 16), np.float32)
    for part in parts:
        near = neighbour[part]
        offset = np.clip(place[part, None] - place[near], -REACH, REACH) + REACH
        offset[chain[part, None] != chain[near]] = 2 * REACH + 1
        rbf = _distances(coord, part, near, bases[: near.size]).reshape(-1, 400)
        edge = np.matmul(rbf, encoder.distance, out=work[0, : near.size])
        _normalise(edge, encoder.position[offset.reshape(-1)], *encoder.edge_norm)
        np.matmul(edge, encoder.edge, out=edges[part].reshape(-1, WIDTH))
        edges[part] += encoder.edge_bias
    for layer in encoder.layers:
        message, total = layer.to_node, np.empty_like(nodes)
        own, other = nodes @ message.own + message.bias, nodes @ message.other
        for part in parts:
            hidden = _hidden(message, own[part], other, neighbour[part], edges[part], work)
            total[part] = hidden.reshape(-1, k, WIDTH).sum(axis=1)  # the third layer of a sum is the sum of third layers
        _normalise(nodes, (total @ message.third + k * message.third_bias) / np.float32(SCALE), *layer.norms[0])
        wide = nodes @ layer.wide
        _gelu(wide, layer.wide_bias)
        update = np.matmul(wide, layer.narrow, dtype=np.float32)
        update += layer.narrow_bias
        _normalise(nodes, update, *layer.norms[1])
        if layer.to_edge is not None:
            message = layer.to_edge
            own, other = nodes @ message.own + message.bias, nodes @ message.other
            for part in parts:
                hidden = _hidden(message, own[part], other, neighbour[part], edges[part], work)
                update = np.matmul(hidden, message.third, out=work[0, : len(hidden)])
                update += message.third_bias
                _normalise(edges[part].reshape(-1, WIDTH), update, *layer.norms[2])
    return nodes, edges, neighbour


def _array(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats:
    return np.asarray(arrays[name], np.float32)


def _matrix(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats:
    """To be multiplied from the right."""
    return np.ascontiguousarray(_array(arrays, f"{name}.weight").T)


def _norm(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[Floats, Floats]:
    return _array(arrays, f"{name}.weight"), _array(arrays, f"{name}.bias")


def backbone(structure: Structure) -> NDArray[np.float64]:
    """(N, 5, 3) N, CA, C, O and virtual CB of each residue, Å; the CA instead of a missing atom."""
    atoms, residues = structure.atoms, structure.residues
    coord = np.repeat(residues.ca_coord.astype(np.float64)[:, None], 5, axis=1)
    for column, name in enumerate(BACKBONE):
        if name != "CA":
            found = np.flatnonzero(atoms.name == name)[::-1]  # of two of a name, the first
            coord[atoms.residue_index[found], column] = atoms.coord[found]
    b, c = coord[:, 1] - coord[:, 0], coord[:, 2] - coord[:, 1]
    coord[:, 4] += -0.58273431 * np.cross(b, c) + 0.56802827 * b - 0.54067466 * c
    return coord


def _neighbours(ca_coord: NDArray[np.float64], most: int = NEIGHBOURS) -> NDArray[np.int64]:
    """(N, k) the nearest residues, including itself; ties with the last one are sorted by their order in the structure."""
    n = len(ca_coord)
    k, asked = min(most, n), min(most + SPARE, n)
    distance, index = cKDTree(ca_coord).query(ca_coord, k=np.arange(1, asked + 1))
    rank = np.zeros((n, asked), np.int64)
    np.cumsum(np.diff(distance, axis=1) > TIE, axis=1, out=rank[:, 1:])
    return np.take_along_axis(index, np.argsort(rank * n + index, axis=1)[:, :k], axis=1)


def _distances(coord: Floats, part: slice, near: NDArray[np.int64], out: Floats) -> Floats:
    """(n * k, 25, 16) distances between the atoms of residues and of their neighbours, in radial basis functions."""
    square = np.full((*near.shape, 25), 1e-6, np.float32)
    second = coord[:, SECOND].transpose(2, 0, 1)
    for axis in range(3):
        gap = second[axis][near] - coord[part, None, FIRST, axis]
        square += gap * gap
    distance = np.sqrt(square, out=square).reshape(-1, 25, 1)
    np.subtract(distance / np.float32(SPREAD), CENTRES / np.float32(SPREAD), out=out)
    np.multiply(out, out, out=out)
    np.negative(out, out=out)
    np.maximum(out, np.float32(-60), out=out)  # below some -87 come subnormal numbers, and processors are slow with those
    return np.exp(out, out=out)


def _hidden(message: Message, own: Floats, other: Floats, near: NDArray[np.int64], edges: Floats, work: Floats) -> Floats:
    """(n * k, 128) what two layers make of residues (n, 128), all as neighbours (N, 128), and the (n, k, 128) edges between.

    It lies in the second of the two arrays of ``work``.
    """
    first, second = work[0, : near.size], work[1, : near.size]
    np.matmul(edges.reshape(-1, WIDTH), message.edge, out=first)
    _add_and_gelu(first, own, other, near)
    np.matmul(first, message.second, out=second)
    _gelu(second, message.second_bias)
    return second


@numba.njit(cache=True, inline="always")
def _gelu_of(x: np.float32) -> np.float32:  # pragma: no cover - compiled
    t = min(max(x, -LIMIT), LIMIT)
    s = t * t
    p = P0 + s * (P1 + s * (P2 + s * (P3 + s * P4)))
    q = ONE + s * (Q1 + s * (Q2 + s * (Q3 + s * (Q4 + s * Q5))))
    return x * (HALF + t * p / q)


@numba.njit(cache=True, nogil=True, **VECTOR)
def _gelu(x: Floats, bias: Floats) -> None:  # pragma: no cover - compiled
    """GELU of (m, width) numbers and a bias, in place."""
    for row in range(x.shape[0]):
        for c in range(x.shape[1]):
            x[row, c] = _gelu_of(x[row, c] + bias[c])


@numba.njit(cache=True, nogil=True, **VECTOR)
def _add_and_gelu(x: Floats, own: Floats, other: Floats, near: NDArray[np.int64]) -> None:  # pragma: no cover - compiled
    """GELU of (n * k, 128) edges and what their two residues add, in place."""
    k = near.shape[1]
    for i in range(near.shape[0]):
        for j in range(k):
            row, neighbour = i * k + j, near[i, j]
            for c in range(x.shape[1]):
                x[row, c] = _gelu_of(x[row, c] + own[i, c] + other[neighbour, c])


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _normalise(x: Floats, plus: Floats, scale: Floats, shift: Floats) -> None:  # pragma: no cover - compiled
    """Layer normalisation of the sum of (m, 128) and (m, 128), into the first."""
    width = x.shape[1]
    for row in range(x.shape[0]):
        total = np.float32(0)
        for c in range(width):
            x[row, c] += plus[row, c]
            total += x[row, c]
        mean, square = total / np.float32(width), np.float32(0)
        for c in range(width):
            x[row, c] -= mean
            square += x[row, c] * x[row, c]
        factor = ONE / np.sqrt(square / np.float32(width) + EPSILON)
        for c in range(width):
            x[row, c] = x[row, c] * factor * scale[c] + shift[c]
