"""Rigid geometry of amino acids (bonds, angles, planes, chirality), and the clean-up that restores it in designed atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2p.models.pocketgen.atoms import CHIRAL, N_SLOTS, RESIDUES, SLOTS
from s2p.models.pocketgen.layers import length
from s2p.structure.reading import Structure

__all__ = ["BONDED", "Geometry", "Ideal", "ideal_of", "idealise", "peptide_bonds"]

BONDED = 2.0
"""Å: rigid pairs below this are bonds; the shortest distance over an angle is 2.1."""
STEPS, RATE = 400, 0.2
"""Steps and learning rate (Å) of the clean-up."""
BOND, ANGLE = 30.0, 5.0
"""Weights of bond lengths and of other rigid distances, 1/Å^2; that of clashes is 1."""
HAND = 0.3
"""Weight of a chiral centre's volume, Å^3."""
RESTRAINT = 0.02
"""Weight of the distance from the network's position of an atom, decreasing to 0."""
FLATTEN = 3.0
"""Weight of the fourth coordinate, before it is removed."""
APART, POLAR, WITHIN = 3.0, 2.6, 2.5
"""Å below which atoms that are not bonded repel: most pairs; polar pairs, because hydrogen bonds are shorter; and pairs in one
residue or in two bonded ones."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Ideal distances, Å, and volumes, Å^3; NaN for pairs and centres that are not rigid."""

    distance: NDArray[np.float32]
    """(20, 14, 14) between atoms of a residue."""
    peptide: NDArray[np.float32]
    """(4, 3) from N, CA, C, O to N, CA, C of the next residue of the chain; C to N is the bond."""
    volume: NDArray[np.float32]
    """(20, 3) volumes of the centres of :data:`CHIRAL`; their sign is the chirality."""


@dataclass(frozen=True, eq=False)
class Ideal:
    """Rigid pairs (n, 2) and centres (c, 4) of one set of residues as indices into flat (R * 14) slots.

    Also the pairs' lengths (n,) Å and which are bonds (n,), and the centres' volumes (c,) Å^3.
    """

    pairs: NDArray[np.int64]
    length: NDArray[np.float64]
    bonded: NDArray[np.bool_]
    centres: NDArray[np.int64]
    volume: NDArray[np.float64]


def peptide_bonds(structure: Structure, coord: NDArray[np.floating], longest: float = 2.0) -> NDArray[np.int64]:
    """Residues bonded to the next one: in the same chain, consecutive in the file, C at most ``longest`` Å from N.

    Residue numbers alone are not sufficient: an insertion code repeats one, and a gap may be numbered without a break.
    """
    residues = structure.residues
    together = residues.chain[1:] == residues.chain[:-1]
    apart = np.linalg.norm(coord[:-1, 2].astype(np.float64) - coord[1:, 0], axis=1)
    real = np.abs(coord[:-1, 2]).sum(axis=1) * np.abs(coord[1:, 0]).sum(axis=1) > 0
    return np.flatnonzero(together & real & (apart <= longest)).astype(np.int64)


def ideal_of(geometry: Geometry, types: NDArray[np.int64], rows: NDArray[np.int64], links: NDArray[np.int64]) -> Ideal:
    """Rigid pairs of the residues ``rows``, according to their types (R,), and of their peptide bonds.

    ``links``: (l, 2) residues bonded by a peptide bond, of which at least one is among ``rows``.
    """
    pairs, lengths, centres, volume = [], [], [np.zeros((0, 4), np.int64)], []
    for row in rows.tolist():
        kind = int(types[row]) - 1
        table, hands, names = geometry.distance[kind], geometry.volume[kind], SLOTS[RESIDUES[kind]]
        found = np.argwhere(np.triu(np.isfinite(table), 1))
        pairs.append(row * N_SLOTS + found)
        lengths.append(table[found[:, 0], found[:, 1]])
        chiral = np.flatnonzero(np.isfinite(hands))
        centres += [row * N_SLOTS + np.array([[names.index(atom) for atom in CHIRAL[k]]]) for k in chiral.tolist()]
        volume.append(hands[chiral])
    ends = np.argwhere(np.isfinite(geometry.peptide))
    pairs.append((links[:, None] * N_SLOTS + ends).reshape(-1, 2))
    lengths.append(np.tile(geometry.peptide[ends[:, 0], ends[:, 1]], len(links)))
    target = np.concatenate(lengths).astype(np.float64)
    every = np.concatenate(pairs), target, target < BONDED
    return Ideal(*every, np.concatenate(centres), np.concatenate(volume).astype(np.float64))


def idealise(
    coord: NDArray[np.floating],
    there: NDArray[np.bool_],
    polar: NDArray[np.bool_],
    rows: NDArray[np.int64],
    ideal: Ideal,
    ligand: tuple[NDArray[np.floating], NDArray[np.bool_]],
) -> NDArray[np.float64]:
    """Move atoms to ideal bonds, angles, planes and chirality without clashes, close to their original positions.

    Parameters
    ----------
    coord, there, polar
        (R, 14, 3) Å; (R, 14) which atoms exist; and (R, 14) which are oxygen or nitrogen.
    rows
        Residues whose atoms may move; the coordinates of the others are not changed.
    ligand
        (M, 3) Å and (M,) which atoms are polar; they do not move either.

    Returns
    -------
    (R, 14, 3) Å.
    """
    moving = np.zeros_like(there)
    moving[rows] = there[rows]
    fixed = there & ~moving
    start = torch.as_tensor(np.asarray(coord, np.float64).reshape(-1, 3))
    free = torch.from_numpy(np.flatnonzero(moving.ravel()))
    if not len(free):
        return np.asarray(coord, np.float64)
    pairs, wanted = torch.from_numpy(ideal.pairs), torch.from_numpy(ideal.length)
    centres, volume = torch.from_numpy(ideal.centres), torch.from_numpy(ideal.volume)
    weight = torch.where(torch.from_numpy(ideal.bonded), BOND, ANGLE).double()
    around = torch.from_numpy(np.concatenate([np.asarray(coord, np.float64)[fixed], ligand[0]]).astype(np.float64))
    owner = np.concatenate([np.nonzero(fixed)[0], np.full(len(ligand[0]), -1)])
    floor, inner = _floors(free, pairs, polar, np.concatenate([polar[fixed], ligand[1]]), owner)
    # A fourth coordinate, restrained to 0 and removed after half of the steps, lets atoms pass each other and centres invert.
    generator = torch.Generator().manual_seed(0)
    aside = 0.5 * torch.randn(len(free), 1, generator=generator, dtype=torch.float64)
    place = torch.cat([start[free], aside], dim=1).requires_grad_(True)
    flat = start.new_tensor([1.0, 1.0, 1.0, 0.0])
    start = torch.cat([start, start.new_zeros(len(start), 1)], dim=1)
    around = torch.cat([around, around.new_zeros(len(around), 1)], dim=1)
    optimizer = torch.optim.Adam([place], lr=RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        here = place * flat if 2 * step > STEPS else place
        x = start.index_copy(0, free, here)
        energy = (weight * (length(x[pairs[:, 0]] - x[pairs[:, 1]]) - wanted).square()).sum()
        a, b, c, d = (x[centres[:, k]] for k in range(4))
        signed = (torch.linalg.cross((b - a)[:, :3], (c - a)[:, :3]) * (d - a)[:, :3]).sum(dim=-1)
        energy = energy + HAND * (signed - volume).square().sum()
        energy = energy + RESTRAINT * (1 - step / STEPS) * (here - start[free]).square().sum()
        energy = energy + 2 * step / STEPS * FLATTEN * here[:, 3].square().sum()
        if len(around):
            energy = energy + (floor - torch.cdist(here, around)).clamp_min(0).square().sum()
        near = length(here[:, None] - here[None])
        energy = energy + (inner - near).clamp_min(0).square().sum() / 2
        optimizer.zero_grad()
        energy.backward()
        optimizer.step()
    out = start[:, :3].clone()
    out[free] = place.detach()[:, :3]
    return out.numpy().reshape(coord.shape)


def _floors(
    free: Tensor, pairs: Tensor, polar: NDArray[np.bool_], around: NDArray[np.bool_], owner: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Smallest allowed distances (F, E) to fixed atoms, by polarity and residue, and (F, F) among moving ones; 0: none."""
    own = torch.from_numpy(polar.ravel())[free]
    other = torch.from_numpy(around)
    floor = torch.where(own[:, None] & other[None], POLAR, APART).double()
    inner = torch.where(own[:, None] & own[None], POLAR, APART).double()
    # Atoms three bonds apart may be closer, and rigid pairs have their own distances.
    residue = free // N_SLOTS
    # The last row and column are for the ligand.
    linked = torch.zeros(len(polar) + 1, len(polar) + 1, dtype=torch.bool)
    linked[pairs[:, 0] // N_SLOTS, pairs[:, 1] // N_SLOTS] = True
    linked |= linked.T.clone()
    linked.fill_diagonal_(True)
    inner[linked[residue[:, None], residue[None]]] = WITHIN
    place = torch.full((polar.size,), -1, dtype=torch.int64)
    place[free] = torch.arange(len(free))
    first, second = place[pairs[:, 0]], place[pairs[:, 1]]
    both = (first >= 0) & (second >= 0)
    inner[first[both], second[both]] = inner[second[both], first[both]] = 0
    inner.fill_diagonal_(0)
    floor[linked[residue[:, None], torch.from_numpy(owner)[None]]] = 0
    return floor, inner
