"""Single residues and ligand atoms nearest to a residue to be designed, in invariant numbers.

Ours, in addition to :mod:`s2p.models.pocketgen.surroundings.counts`, which do not contain which residue is on which side. The
weight of the last neighbour decreases to 0 when the next one is as near, so that features are continuous in the coordinates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.models.pocketgen.atoms import N_LIGAND_FEATURES

__all__ = ["ATOMS", "ATOM_FEATURES", "FEATURES", "NEIGHBOURS", "N_ATOMS", "N_NEIGHBOURS", "nearest_atoms", "nearest_residues"]

NEIGHBOURS = 32
FEATURES = 12
"""Of a neighbour: weight; type; Å from its CA, CB and the middle of its side chain; whether it lies outwards and along the
chain; whether its side chain points here, and outwards; how far in the same chain, in 4 residues, and whether; its own
neighbours / 20."""
ATOMS = 12
ATOM_FEATURES = 4 + N_LIGAND_FEATURES
"""Of an atom: weight, Å, whether it lies outwards and along the chain; element and roles."""
N_NEIGHBOURS, N_ATOMS = NEIGHBOURS * FEATURES, ATOMS * ATOM_FEATURES
FARTHEST = 60.0
"""Å: larger distances count as this one."""
FADE = 1.0
"""Å before the first neighbour that is left out, over which the weight decreases to 0."""
CROWD, CROWD_WIDTH = 11.0, 2.0
"""Å: CB atoms within about this distance are neighbours of a neighbour."""
MAX_APART = 16


def nearest_residues(
    kind: NDArray[np.int64],
    ca: NDArray[np.floating],
    beta: NDArray[np.floating],
    centre: NDArray[np.floating],
    chain: NDArray[np.int64],
    index: NDArray[np.int64],
    pocket: NDArray[np.int64],
    start: NDArray[np.floating],
    out: NDArray[np.floating],
    along: NDArray[np.floating],
) -> NDArray[np.float64]:
    """(P, N_NEIGHBOURS) features of the nearest residues, by the centre of their side chains; zeros if there are fewer.

    Parameters
    ----------
    kind, ca, beta, centre, index
        (R,) types, 0 where to be designed; (R, 3) Å of CA, CB and side chain; and (R,) their index in the structure.
    chain
        (N,) of all residues of the structure.
    pocket, start, out, along
        (P,) residues to be designed; (P, 3) Å of their CA; (P, 3) no longer than 1: outwards, where a side chain goes, and along
        the chain.
    """
    away = np.linalg.norm(centre[None] - start[:, None], axis=-1)
    away[index[None] == pocket[:, None]] = np.inf
    chosen, weight = _nearest(away, NEIGHBOURS)
    arm = centre[chosen] - start[:, None]
    towards = arm / (np.linalg.norm(arm, axis=-1, keepdims=True) + 1e-3)
    point = beta[chosen] - ca[chosen]
    point = point / (np.linalg.norm(point, axis=-1, keepdims=True) + 1)
    same = chain[index[chosen]] == chain[pocket][:, None]
    apart = np.clip(index[chosen] - pocket[:, None], -MAX_APART, MAX_APART) / 4
    parts = (
        kind[chosen],
        *(np.linalg.norm(place[chosen] - start[:, None], axis=-1).clip(max=FARTHEST) for place in (ca, beta, centre)),
        np.einsum("pkx,px->pk", towards, out),
        np.einsum("pkx,px->pk", towards, along),
        -np.einsum("pkx,pkx->pk", towards, point),
        np.einsum("pkx,px->pk", point, out),
        np.where(same, apart, 0.0),
        same,
        _crowd(beta)[chosen] / 20,
    )
    return _filled(weight, np.stack(parts, axis=-1), NEIGHBOURS)


def nearest_atoms(
    ligand: NDArray[np.floating],
    features: NDArray[np.floating],
    start: NDArray[np.floating],
    out: NDArray[np.floating],
    along: NDArray[np.floating],
) -> NDArray[np.float64]:
    """(P, N_ATOMS): the ligand's atoms (M, 3) Å nearest to each residue, with their features (M, 15); zeros without any."""
    if not len(ligand):
        return np.zeros((len(start), N_ATOMS))
    away = np.linalg.norm(ligand[None] - start[:, None], axis=-1)
    chosen, weight = _nearest(away, ATOMS)
    arm = ligand[chosen] - start[:, None]
    distance = np.linalg.norm(arm, axis=-1, keepdims=True)
    towards = arm / (distance + 1e-3)
    sides = [np.einsum("pkx,px->pk", towards, side)[..., None] for side in (out, along)]
    return _filled(weight, np.concatenate([distance.clip(max=FARTHEST), *sides, features[chosen]], axis=-1), ATOMS)


def _nearest(away: NDArray[np.floating], most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(P, k) the nearest of (P, R), and their weights, which decrease to 0 at the distance of the first that is left out."""
    count = away.shape[1]
    k = min(most, count)
    chosen = np.argpartition(away, k - 1, axis=1)[:, :k] if k < count else np.tile(np.arange(count), (len(away), 1))
    found = np.take_along_axis(away, chosen, axis=1)
    weight = np.isfinite(found).astype(float)
    if k < count:
        edge = np.partition(away, k, axis=1)[:, k, None]
        with np.errstate(invalid="ignore"):
            weight *= np.nan_to_num(np.clip((edge - found) / FADE, 0, 1), nan=0.0)
    return chosen.astype(np.int64), weight


def _crowd(beta: NDArray[np.floating]) -> NDArray[np.float64]:
    """(R,) number of neighbours of each residue."""
    pairs = cKDTree(beta).query_pairs(CROWD, output_type="ndarray")
    distance = np.linalg.norm(beta[pairs[:, 0]] - beta[pairs[:, 1]], axis=1)
    share = np.clip((CROWD - distance) / CROWD_WIDTH, 0, 1)
    return np.asarray(sum(np.bincount(pairs[:, side], share, minlength=len(beta)) for side in (0, 1)))


def _filled(weight: NDArray[np.float64], features: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """(P, most * (1 + f)) weights and features; 0 if the weight is 0."""
    table = np.zeros((len(weight), most, 1 + features.shape[-1]))
    table[:, : weight.shape[1], 0] = weight
    table[:, : weight.shape[1], 1:] = np.where(weight[..., None] > 0, features, 0.0)
    return table.reshape(len(weight), -1)
