"""Surroundings of a residue to be designed, in invariant numbers: types, distances and directions of its neighbours.

Ours. The published network has to learn from atoms and distances alone what packs around a residue; with only a hundred
thousand training residues, counts of neighbours by type and distance are more informative. A neighbour between two shells is
shared between them according to its distances, so that the counts are continuous in the coordinates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2p.models.pocketgen.atoms import N_LIGAND_FEATURES, N_TYPES
from s2p.models.pocketgen.surroundings.neighbours import N_ATOMS, N_NEIGHBOURS, nearest_atoms, nearest_residues

__all__ = ["N_COUNTS", "N_ENVIRONMENT", "beside", "environment"]

SHELLS = (3.0, 5.0, 7.0, 9.0, 11.0)
"""Å from the residue's initial CA to a neighbour's CB, or to the centre of its side chain."""
LIGAND_SHELLS = (4.0, 6.0, 8.0, 10.0)
"""Å to the ligand's atoms."""
WIDTH = 2.0
"""Å between shells."""
HALF_SPHERE = 10.0
"""Å: neighbours within about this distance are counted on either side."""
FLOOR = 0.01
SPANS = (1, 2, 3, 4)
"""Offsets of CA atoms before and after, whose distance distinguishes helix from strand."""
N_COUNTS = 2 * N_TYPES * len(SHELLS) + (N_LIGAND_FEATURES + 1) * len(LIGAND_SHELLS) + 2 * N_TYPES + 2 * len(SPANS) + 2
N_ENVIRONMENT = N_COUNTS + N_NEIGHBOURS + N_ATOMS


def environment(
    types: NDArray[np.int64],
    coord: NDArray[np.floating],
    present: NDArray[np.bool_],
    chain: NDArray[np.int64],
    pocket: NDArray[np.int64],
    start: NDArray[np.floating],
    unseen: NDArray[np.int64],
    ligand: NDArray[np.floating],
    features: NDArray[np.floating],
) -> NDArray[np.float32]:
    """(P, N_ENVIRONMENT): square roots of counts, and lengths in 10 Å; then the nearest residues and ligand atoms one by one.

    Parameters
    ----------
    types, coord, present, chain
        (N,), (N, 14, 3) Å, (N, 14) and (N,) of all residues of the structure; those of the pocket are not read.
    pocket, start
        (P,) its residues, and (P, 3) Å, the estimated positions of their CA atoms.
    unseen
        Further residues that are not read.
    ligand, features
        (M, 3) Å and (M, 15); without atoms all their counts are 0.
    """
    known = present[:, 1].copy()
    known[pocket] = False
    known[unseen] = False
    trace = coord[:, 1].astype(float)
    trace[pocket] = start
    placed = known.copy()
    placed[pocket] = True
    rows = np.flatnonzero(known)
    side = present[rows, 4:, None]
    centre = np.where(side.any(axis=1), (coord[rows, 4:] * side).sum(axis=1) / side.sum(axis=1).clip(1), coord[rows, 1])
    beta = np.where(present[rows, 4:5], coord[rows, 4], coord[rows, 1])
    kind = np.eye(N_TYPES)[types[rows]]
    away = np.linalg.norm(ligand[None] - start[:, None], axis=-1)
    described = np.concatenate([np.ones((len(ligand), 1)), features], axis=1)
    to_beta, to_centre = (np.linalg.norm(place[None] - start[:, None], axis=-1) for place in (beta, centre))
    parts = [_counts(to_beta, SHELLS, kind), _counts(to_centre, SHELLS, kind), _counts(away, LIGAND_SHELLS, described)]
    trace_at = {step: beside(placed, chain, pocket, step) for step in (-2, -1, 1, 2)}
    first = [np.where(trace_at[k][:, None] >= 0, trace[trace_at[k]], start) for k in (-1, 1)]
    second = [np.where(trace_at[k][:, None] >= 0, trace[trace_at[k]], x) for k, x in zip((-2, 2), first, strict=True)]
    # A side chain points roughly to where the chain bulges; short vectors are uncertain and stay short.
    out = 2 * start + sum(first) - 2 * sum(second)
    out = out / (np.linalg.norm(out, axis=1, keepdims=True) + 1.0)
    arm = beta[None] - start[:, None]
    near = np.clip((HALF_SPHERE + WIDTH / 2 - to_beta) / WIDTH, 0, 1)
    above = 0.5 + 0.5 * np.einsum("prk,pk->pr", arm, out) / (to_beta + 1e-3)
    parts += [(near * above) @ kind, (near * (1 - above)) @ kind]
    lengths = []
    for span in SPANS:
        a, b = beside(placed, chain, pocket, -span), beside(placed, chain, pocket, span)
        both = (a >= 0) & (b >= 0)
        lengths += [np.where(both, np.linalg.norm(trace[a] - trace[b], axis=1) / 10, 0.0), both.astype(float)]
    towards = ligand.mean(axis=0) - start if len(ligand) else np.zeros_like(start)
    angle = (towards * out).sum(axis=1) / (np.linalg.norm(towards, axis=1) + 1e-3)
    lengths += [away.min(axis=1) / 10 if len(ligand) else np.zeros(len(start)), angle]
    # A small number is added, because the slope of the root is infinite at zero.
    counts = np.sqrt(np.maximum(np.concatenate(parts, axis=1), 0) + FLOOR) - FLOOR**0.5
    along = first[1] - first[0]
    along = along / (np.linalg.norm(along, axis=1, keepdims=True) + 1.0)
    # Residues to be designed are neighbours as well: their presence and approximate position are known.
    every = np.concatenate([rows, pocket])
    alpha, beta, centre = (np.concatenate([x, start]) for x in (trace[rows], beta, centre))
    kinds = np.concatenate([types[rows], np.zeros(len(pocket), np.int64)])
    near = nearest_residues(kinds, alpha, beta, centre, chain, every, pocket, start, out, along)
    bound = nearest_atoms(ligand, features, start, out, along)
    return np.concatenate([counts, np.stack(lengths, axis=1), near, bound], axis=1).astype(np.float32)


def _counts(distance: NDArray[np.floating], shells: tuple[float, ...], what: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P, shells * n) sums of (R, n) ``what`` at (P, R) ``distance``, each shared between the two nearest shells."""
    inside = np.maximum(distance, shells[0])[..., None]
    share = np.clip(1 - np.abs(inside - np.array(shells)) / WIDTH, 0, None)
    return np.asarray(np.einsum("prs,rn->psn", share, what).reshape(len(distance), -1))


def beside(placed: NDArray[np.bool_], chain: NDArray[Any], pocket: NDArray[np.int64], step: ArrayLike) -> NDArray[np.int64]:
    """The residues ``step`` after those of ``pocket`` in the chain, -1 if there is none or its position is unknown."""
    other = pocket + np.asarray(step)
    inside = (other >= 0) & (other < len(chain))
    other = np.where(inside, other, 0)
    return np.where(inside & placed[other] & (chain[other] == chain[pocket]), other, -1)
