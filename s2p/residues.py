"""Residues that bind: the structure-context head, which corrects the language model's probabilities, and the smoothing after it.

What surrounds a residue in space, geometry and neighbours, becomes its binding probability in a small network. Then residues near
predicted ones join them if a classifier of their embeddings agrees (paper, embedding-supported smoothing).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from torch import Tensor, nn

from s2p.structure.reading import Structure
from s2p.surface.features import BACKBONE
from s2p.surface.kernels import soft_crowd
from s2p.surface.points import atom_radii
from s2p.surface.surroundings import Surroundings

__all__ = [
    "CONTEXT_FEATURES",
    "ContextHead",
    "Smoother",
    "candidates",
    "context_features",
    "context_logits",
    "neighbour_mean",
    "neighbours",
    "smooth",
    "smoother_logits",
]

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
COUNT_RADII = (6.0, 10.0, 14.0)
"""Å: CA atoms around a CA are counted within these."""
MEAN_SIGMAS = (4.0, 8.0)
"""Å: widths of the Gaussians that weigh the neighbours in a mean."""
HALF_SPHERE = 13.0
"""Å, of half-sphere exposure (Hamelryck 2005)."""
SAMPLE = 20
"""Points on each atom's sphere in training: features are the averages that so many points at random would give."""
POINTS_PER_ATOM = 24
PROBE = 1.6
SHELL = 10.0
"""Å: atoms around a surface point are looked at within this distance."""
SOFTNESS = 1.0
"""Å on both sides of a distance, or of a plane, over which a neighbour passes from inside to outside.

Every feature is a continuous function of the coordinates, so that rounding errors of a file that was turned hardly show."""

_POINT = ("protrusion", "enclosure")
_GEOMETRY = (
    "area",  # exposed area, 100 Å²
    "side_chain_area",
    *(f"ca_{r:g}" for r in COUNT_RADII),  # CA atoms within so many Å, / 10
    "half_sphere_up",  # CA atoms on the side-chain side, / 10
    "half_sphere_down",
    *(f"{name}_{kind}" for name in _POINT for kind in ("mean", "top")),  # over the residue's surface points
    "no_points",  # chance that a random sample has no point on the residue
)
CONTEXT_FEATURES = (
    "logit",
    *(f"logit_mean_{s:g}" for s in MEAN_SIGMAS),
    "logit_max_8",
    *_GEOMETRY,
    *(f"{name}_mean_{s:g}" for s in MEAN_SIGMAS for name in _GEOMETRY),
    *LETTERS,
    *(f"{letter}_mean_8" for letter in LETTERS),
)
"""Columns of :func:`context_features`."""


def _inside(distance: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Shares from 1 to 0 over :data:`SOFTNESS` Å on both sides of ``radius``."""
    return np.clip((radius + SOFTNESS - distance) / (2 * SOFTNESS), 0, 1)


def _surface(around: Surroundings, side: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Columns of :data:`_GEOMETRY` that come from surface points, each (N,): area and side chain's, then the last five.

    ``side`` (A,) says which atoms are of a side chain.
    """
    atoms = around.structure.atoms
    n = len(around.structure.residues)
    cloud = around.points(POINTS_PER_ATOM, PROBE)
    owner = atoms.residue_index[cloud.atom]
    patch = 4 * np.pi * atom_radii(atoms.element, PROBE)[cloud.atom] ** 2 / POINTS_PER_ATOM / 100 * cloud.share
    columns: list[NDArray[Any]] = [np.bincount(owner, patch, n), np.bincount(owner, patch * side[cloud.atom], n)]
    crowd = soft_crowd(cloud.coord, around.cells, SHELL, SOFTNESS)
    crowd[:, 0] /= 100
    expected = np.bincount(owner, cloud.share, n) * SAMPLE / POINTS_PER_ATOM
    none = np.exp(-expected)
    for values in crowd.T:
        weighted = cloud.share * values
        top = np.zeros(n)
        np.maximum.at(top, owner, weighted)
        mean = np.bincount(owner, weighted, n) * SAMPLE / POINTS_PER_ATOM / np.maximum(expected, 1e-9)
        columns += [mean * (1 - none), top]
    return [*columns, none]


def _geometry(
    around: Surroundings, first: NDArray[np.int64], second: NDArray[np.int64], distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, len(_GEOMETRY)) of the structure as a whole; M pairs of residues, ``first`` and ``second``, CA ``distance`` in Å."""
    atoms, ca, coord = around.structure.atoms, around.ca_coord, around.coord
    n = len(ca)
    side = ~np.isin(atoms.name, BACKBONE)
    area, side_area, *points = _surface(around, side)
    counts = [np.bincount(first, _inside(distance, r), n) / 10 for r in COUNT_RADII]
    # The side chain's direction is that of its centroid; glycine's is opposite to its backbone's.
    owner = atoms.residue_index
    count = np.bincount(owner, side, n)
    middle, whole = (np.stack([np.bincount(owner, w * x, n) for x in coord.T], axis=1) for w in (side, 1))
    backbone = whole / np.bincount(owner, minlength=n)[:, None]
    direction = np.where(count[:, None] > 0, middle / np.maximum(count, 1)[:, None] - ca, ca - backbone)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 0.1)
    height = ((ca[second] - ca[first]) * direction[first]).sum(axis=1)
    inside, above = _inside(distance, HALF_SPHERE), _inside(-height, 0.0)
    halves = [np.bincount(first, inside * half, n) / 10 for half in (above, 1 - above)]
    return np.stack([area, side_area, *counts, *halves, *points], axis=1)


def context_features(structure: Structure | Surroundings, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the structure-context head sees of every residue.

    Parameters
    ----------
    structure
        All chains (a partner buries a residue and counts as its neighbour), or its surroundings where they have been made.
    logits
        (N,) of the language model.

    Returns
    -------
    (N, len(CONTEXT_FEATURES)) float32: the residue's own logit, geometry (:data:`CONTEXT_FEATURES`) and type, and their
    Gaussian-weighted means over the residues around it, itself included. Geometry follows P2Rank's (protrusion) and
    half-sphere exposure. Turning the structure changes nothing but rounding errors.
    """
    around = Surroundings.of(structure)
    residues, ca = around.structure.residues, around.ca_coord
    n = len(residues)
    reach = max(*COUNT_RADII, HALF_SPHERE, 2 * max(MEAN_SIGMAS)) + SOFTNESS
    pairs = cKDTree(ca).query_pairs(reach, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    itself = np.repeat(np.arange(n)[:, None], 2, axis=1)
    every = np.concatenate([pairs, pairs[:, ::-1], itself])
    first, second = np.ascontiguousarray(every[np.argsort(every[:, 0], kind="stable")].T)
    distance = np.sqrt(((ca[second] - ca[first]) ** 2).sum(axis=1))
    others = first != second
    geometry = _geometry(around, first[others], second[others], distance[others])
    one_hot = (residues.one_letter[:, None] == np.array(list(LETTERS))).astype(float)
    logit = np.asarray(logits, float)

    table = np.concatenate([logit[:, None], geometry, one_hot], axis=1)
    means = {}
    for sigma in MEAN_SIGMAS:
        close = distance < 2 * sigma + SOFTNESS
        weight = np.exp(-(distance[close] ** 2) / (2 * sigma**2)) * _inside(distance[close], 2 * sigma)
        ends = np.cumsum(np.bincount(first[close], minlength=n))
        matrix = sparse.csr_matrix((weight, second[close], np.r_[0, ends]), shape=(n, n))
        means[sigma] = (matrix @ table) / (matrix @ np.ones((n, 1)))
    # A neighbour with a higher logit pulls by how far it is inside.
    pull = logit[first] + _inside(distance, 8.0) * (logit[second] - logit[first])
    top = np.maximum.reduceat(pull, np.flatnonzero(np.diff(first, prepend=-1)))
    g = geometry.shape[1]
    parts = [logit[:, None], *(m[:, :1] for m in means.values()), top[:, None], geometry]
    parts += [m[:, 1 : 1 + g] for m in means.values()]
    parts += [one_hot, means[MEAN_SIGMAS[-1]][:, 1 + g :]]
    return np.concatenate(parts, axis=1).astype(np.float32)


class ContextHead(nn.Module):
    """An average of ``members`` perceptrons on standardised features: Linear ReLU Linear ReLU Linear, one logit.

    Ours, not part of the paper. It is trained without class weights, so that its probabilities are calibrated for the
    share of binding residues in its training data.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int = len(CONTEXT_FEATURES), width: int = 64, members: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.dropout = nn.Dropout(dropout)
        sizes = (n_features, width, width, 1)
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(members, a, b) * (2 / a) ** 0.5) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, b)) for b in sizes[1:])

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Features, width, members: what it takes to build an equal one."""
        members, n_features, width = self.weights[0].shape
        return n_features, width, members

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) -> (members, n) logits."""
        h = ((x - self.mean) / self.scale).clamp(-10, 10)[None]
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h.expand(len(weight), -1, -1), weight)
            if k + 1 < len(self.weights):
                h = self.dropout(torch.relu(h))
        return h.squeeze(-1)


def context_logits(head: ContextHead, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) logits of (N, F) :func:`context_features`: the mean over the members, dropout off."""
    head.eval()
    with torch.inference_mode():
        out: NDArray[np.float32] = head(torch.from_numpy(features).to(head.mean)).mean(dim=0).float().cpu().numpy()
    return out


CHUNK = 4096


class Smoother(nn.Module):
    """Does residue i belong to the pocket around it? Linear(2d, w) ReLU Linear(w, w) ReLU Linear(w, 1), dropout after ReLU.

    Its input is [e_i ; mean of e_j over the predicted residues j near i] (paper, smoothing).
    """

    def __init__(self, dim: int, width: int = 2048, dropout: float = 0.5) -> None:
        super().__init__()
        self.dim = dim
        self.width = width
        between = nn.ReLU(), nn.Dropout(dropout)
        self.layers = nn.Sequential(nn.Linear(2 * dim, width), *between, nn.Linear(width, width), *between, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2d) -> (n,) logits."""
        return torch.squeeze(self.layers(x), -1)


def neighbours(
    rows: NDArray[np.int64], ca_coord: NDArray[np.float32], members: NDArray[np.int64], radius: float
) -> sparse.csr_matrix:
    """(R, M) ones where one of the ``members`` is closer than ``radius`` (Å, CA, strict) to one of ``rows``, itself left out.

    ``rows`` (R,) and ``members`` (M,) are residue indices, ``ca_coord`` is (N, 3) Å; columns ascend within a row.
    """
    pairs = cKDTree(ca_coord[rows]).sparse_distance_matrix(cKDTree(ca_coord[members]), radius, output_type="ndarray")
    close = (pairs["v"] < radius) & (rows[pairs["i"]] != members[pairs["j"]])
    i, j = pairs["i"][close], pairs["j"][close]
    return sparse.csr_matrix((np.ones(len(i), np.float32), (i, j)), shape=(len(rows), len(members)))


def neighbour_mean(
    rows: NDArray[np.int64],
    ca_coord: NDArray[np.float32],
    members: NDArray[np.int64],
    radius: float,
    embeddings: NDArray[np.floating],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Mean embedding of the :func:`neighbours` of each row; ``embeddings`` is (N, d).

    Returned are the (H,) positions in ``rows`` with at least one such member, the (H, d) means, and the (H,) numbers of members.
    """
    near = neighbours(rows, ca_coord, members, radius)
    count = np.diff(near.indptr).astype(np.int64)
    has = np.flatnonzero(count)
    means = (near[has] @ embeddings[members].astype(np.float32)) / count[has, None]
    return has, means.astype(np.float32), count[has]


def candidates(
    ca_coord: NDArray[np.float32], positive: NDArray[np.bool_], embeddings: NDArray[np.floating], radius: float = 15.0
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Residues that smoothing may add, those with a predicted one closer than ``radius`` (Å, strict).

    Parameters
    ----------
    ca_coord, positive, embeddings
        (N, 3) Å, (N,) residues predicted from the sequence, and (N, d).

    Returns
    -------
    (C,) residue indices ascending, (C, 2d) classifier inputs, (C,) numbers of predicted residues in reach.
    """
    members = np.flatnonzero(positive)
    others = np.flatnonzero(~positive)
    if not len(members) or not len(others):
        return np.zeros(0, np.int64), np.zeros((0, 2 * embeddings.shape[1]), np.float32), np.zeros(0, np.int64)
    has, context, count = neighbour_mean(others, ca_coord, members, radius, embeddings)
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
    found, x, _ = candidates(ca_coord, positive, embeddings, radius)
    added[found[smoother_logits(smoother, x) > float(np.log(threshold / (1 - threshold)))]] = True
    return added


def smoother_logits(smoother: Smoother, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) logits of (n, 2d) inputs, dropout off whatever the mode of the module (published code forgets that in places)."""
    smoother.eval()
    device = next(smoother.parameters()).device
    with torch.inference_mode():
        parts = [smoother(torch.from_numpy(x[k : k + CHUNK]).to(device)).float().cpu().numpy() for k in range(0, len(x), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
