"""What surrounds a residue in space: geometry and neighbours, the input of the structure-context head."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from s2p.structure.cells import build_cells, cell_runs
from s2p.structure.reading import Structure
from s2p.surface.points import atom_radii, surface_points

__all__ = ["CONTEXT_FEATURES", "context_features"]

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
COUNT_RADII = (6.0, 10.0, 14.0)
"""Å: CA atoms around a CA are counted within these."""
MEAN_SIGMAS = (4.0, 8.0)
"""Å: widths of the Gaussians that weigh the neighbours in a mean."""
HALF_SPHERE = 13.0
"""Å, of half-sphere exposure (Hamelryck 2005)."""
POINTS_PER_ATOM = 20
PROBE = 1.6
SHELL = 10.0
"""Å: atoms around a surface point are looked at within this distance."""

_POINT = ("protrusion", "enclosure")
_GEOMETRY = (
    "area",  # exposed area, 100 Å²
    "side_chain_area",
    *(f"ca_{r:g}" for r in COUNT_RADII),  # CA atoms within so many Å, / 10
    "half_sphere_up",  # CA atoms on the side-chain side, / 10
    "half_sphere_down",
    *(f"{name}_{kind}" for name in _POINT for kind in ("mean", "top")),  # over the residue's surface points
    "no_points",  # buried: the four above are 0
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


@numba.njit(cache=True)
def _around_points(
    points: NDArray[np.float64],
    coord: NDArray[np.float64],
    keys: NDArray[np.int64],
    origin: NDArray[np.float64],
    shape: NDArray[np.int64],
    size: float,
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """(P, 2): atoms within ``size`` Å of a point / 100, and 1 - length of the mean unit vector to them."""
    out = np.zeros((len(points), 2))
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        n, vx, vy, vz = 0, 0.0, 0.0, 0.0
        for run in range(cell_runs(x, y, z, keys, origin, shape, size, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = coord[s, 0] - x, coord[s, 1] - y, coord[s, 2] - z
                d2 = dx * dx + dy * dy + dz * dz
                if 0 < d2 <= size * size:
                    d = np.sqrt(d2)
                    vx, vy, vz, n = vx + dx / d, vy + dy / d, vz + dz / d, n + 1
        if n:
            out[p, 0] = n / 100
            out[p, 1] = 1 - np.sqrt(vx * vx + vy * vy + vz * vz) / n
    return out


def _geometry(structure: Structure, near: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, len(_GEOMETRY)) of the structure as a whole; ``near`` (M, 2) pairs of residues with CA within the half sphere."""
    atoms, residues = structure.atoms, structure.residues
    n = len(residues)
    cloud = surface_points(atoms.coord, atoms.element, np.arange(len(atoms)), n_points=POINTS_PER_ATOM, probe_radius=PROBE)
    owner = atoms.residue_index[cloud.atom]
    patch = 4 * np.pi * atom_radii(atoms.element, PROBE)[cloud.atom] ** 2 / POINTS_PER_ATOM / 100
    side = ~np.isin(atoms.name, ("N", "CA", "C", "O", "OXT"))
    columns: list[NDArray[Any]] = [np.bincount(owner, patch, n), np.bincount(owner, patch * side[cloud.atom], n)]

    ca = residues.ca_coord.astype(np.float64)
    vectors = ca[near[:, 1]] - ca[near[:, 0]]
    distance = np.linalg.norm(vectors, axis=1)
    columns += [np.bincount(near[distance <= r, 0], minlength=n) / 10 for r in COUNT_RADII]
    # The side chain's direction is that of its centroid; glycine's is opposite to its backbone's.
    count = np.bincount(atoms.residue_index, side, n)
    middle = np.stack([np.bincount(atoms.residue_index, side * atoms.coord[:, k], n) for k in range(3)], axis=1)
    whole = np.stack([np.bincount(atoms.residue_index, atoms.coord[:, k], n) for k in range(3)], axis=1)
    backbone = whole / np.bincount(atoms.residue_index, minlength=n)[:, None]
    direction = np.where(count[:, None] > 0, middle / np.maximum(count, 1)[:, None] - ca, ca - backbone)
    inside = distance <= HALF_SPHERE
    above = (vectors * direction[near[:, 0]]).sum(axis=1) > 0
    columns += [np.bincount(near[inside & half, 0], minlength=n) / 10 for half in (above, ~above)]

    cells = build_cells(atoms.coord, SHELL)
    around = _around_points(cloud.coord, cells.coord, cells.keys, cells.origin, cells.shape, cells.size)
    points = np.bincount(owner, minlength=n)
    for values in around.T:
        top = np.zeros(n)
        np.maximum.at(top, owner, values)
        columns += [np.bincount(owner, values, n) / np.maximum(points, 1), top]
    columns.append((points == 0).astype(float))
    return np.stack(columns, axis=1)


def context_features(structure: Structure, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the structure-context head sees of every residue.

    Parameters
    ----------
    structure
        All chains together: a partner chain buries a residue and counts as its neighbour.
    logits
        (N,) of the language model.

    Returns
    -------
    (N, len(CONTEXT_FEATURES)) float32: the residue's own logit, geometry (:data:`CONTEXT_FEATURES`) and type, and their
    Gaussian-weighted means over the residues around it, itself included. Geometry follows P2Rank's (protrusion) and
    half-sphere exposure.
    """
    residues = structure.residues
    n = len(residues)
    tree = cKDTree(residues.ca_coord)
    reach = max(*COUNT_RADII, HALF_SPHERE, 2 * max(MEAN_SIGMAS))
    pairs = tree.query_pairs(reach, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    geometry = _geometry(structure, pairs)
    one_hot = (residues.one_letter[:, None] == np.array(list(LETTERS))).astype(float)
    logit = np.asarray(logits, float)[:, None]

    every = np.concatenate([pairs, np.repeat(np.arange(n)[:, None], 2, axis=1)])
    squared = ((residues.ca_coord[every[:, 0]].astype(float) - residues.ca_coord[every[:, 1]]) ** 2).sum(axis=1)
    means = {}
    for sigma in MEAN_SIGMAS:
        close = squared <= (2 * sigma) ** 2
        weight = np.exp(-squared[close] / (2 * sigma**2))
        matrix = sparse.csr_matrix((weight, (every[close, 0], every[close, 1])), shape=(n, n))
        total = np.asarray(matrix.sum(axis=1))
        means[sigma] = (matrix @ np.concatenate([logit, geometry, one_hot], axis=1)) / total
    top = logit[:, 0].copy()
    close = squared <= 64
    np.maximum.at(top, every[close, 0], logit[every[close, 1], 0])
    g = geometry.shape[1]
    parts = [logit, *(m[:, :1] for m in means.values()), top[:, None], geometry]
    parts += [m[:, 1 : 1 + g] for m in means.values()]
    parts += [one_hot, means[MEAN_SIGMAS[-1]][:, 1 + g :]]
    return np.concatenate(parts, axis=1).astype(np.float32)
