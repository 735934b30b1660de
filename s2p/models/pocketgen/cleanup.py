"""The clean-up: gives designed atoms the bonds, angles, planes, chirality and torsions of proteins.

The backbone comes first, without side chains: planar peptides between consecutive CA atoms start at random rotations about the
line that connects these, 20 times, and each stretch of designed residues keeps the start that ends with the lowest energy. Then
side chains are added, and start in four dimensions, in which atoms can pass each other and centres can invert.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2p.models.pocketgen.atoms import N_SLOTS
from s2p.models.pocketgen.geometry import Ideal, between, torsion
from s2p.models.pocketgen.layers import length

__all__ = ["idealise"]

STARTS, SIDES, STEPS, RATE = 20, 4, (220, 300), (0.15, 0.2)
"""Starts of the backbone, and of side chains on a backbone that is kept; steps and learning rates (Å) for the backbone, and for
all atoms."""
BOND, ANGLE, PEPTIDE, CLASH = 400.0, 200.0, 100.0, (4.0, 10.0)
"""Weights, 1/Å^2, of bond lengths, of other rigid distances in a residue and across a peptide bond, and of clashes."""
SOFT, HARD = 0.1, (0.5, 0.8)
"""Factor of the rigid terms at the start, which lets atoms pass each other, and the share of steps after which it is 1."""
HAND, TWIST, TURN, ROTOR, LEFT = 10.0, 60.0, 1.0, 2.0, 10.0
"""Weights of a centre's volume (Å^-6), of omega, of phi and psi, and of chi1; and the constant cost of a positive phi, which has
no slope: it only counts when the best start is chosen."""
TRACE, HELD, RESTRAINT = 0.1, 1.0, 0.02
"""Weights, 1/Å^2, of the distance of a CA from the network's position; of the backbone from that of the first stage; and of side
chains from the network's positions, decreasing to 0."""
SPREAD, ASIDE, FLATTEN = 0.5, 0.5, 3.0
"""Å: noise of the CA atoms in all starts but the first; of the fourth coordinate; and the weight that restrains it to 0."""
APART, POLAR, WITHIN, SEEN = 3.0, 2.6, 2.5, 10.0
"""Å below which atoms that are not bonded repel: most pairs; polar pairs, because hydrogen bonds are shorter; and pairs in one
residue or in two bonded ones. Fixed atoms farther than the last from all moving ones are not considered."""
BACKBONE = 5
"""Slots of N, CA, C, O and CB."""
PLANE = {2: (1.43, 0.54), 3: (1.62, 1.76), 0: (2.39, -0.37)}
"""Å: C and O, and N of the next residue, in the plane of a trans peptide: along the line between CA atoms, and to O's side."""


@dataclass(frozen=True, eq=False)
class _Scene:
    """Atoms: which exist and which are polar, both (R, 14); what is ideal; the ligand's (M, 3) Å and (M,) which are polar."""

    there: NDArray[np.bool_]
    polar: NDArray[np.bool_]
    ideal: Ideal
    ligand: tuple[NDArray[np.floating], NDArray[np.bool_]]


def idealise(
    coord: NDArray[np.floating],
    there: NDArray[np.bool_],
    polar: NDArray[np.bool_],
    rows: NDArray[np.int64],
    ideal: Ideal,
    ligand: tuple[NDArray[np.floating], NDArray[np.bool_]],
    *,
    held: bool = False,
) -> NDArray[np.float64]:
    """Move atoms to ideal bonds, angles, planes, chirality and torsions without clashes, close to their original positions.

    Parameters
    ----------
    coord, there, polar
        (R, 14, 3) Å; (R, 14) which atoms exist; and (R, 14) which are oxygen or nitrogen.
    rows
        Residues whose atoms may move, ascending; the coordinates of the others are not changed.
    ligand
        (M, 3) Å and (M,) which atoms are polar; they do not move either.
    held
        Whether N, CA, C and O stay too.

    Returns
    -------
    (R, 14, 3) Å.
    """
    begin = torch.tensor(coord, dtype=torch.float64)
    moving = np.zeros_like(there)
    moving[rows] = there[rows]
    if held:
        moving[:, :4] = False
    if not moving.any():
        return begin.numpy()
    generator = torch.Generator().manual_seed(0)
    trunk = moving & (np.arange(N_SLOTS) < BACKBONE)
    scene = _Scene(there & (trunk | ~moving), polar, ideal, ligand)
    if not held:
        found = _descend(_planes(begin, rows, ideal, generator), begin, trunk, scene)
        begin += (found - begin)[:, 1:2] * torch.from_numpy(moving)[..., None]  # side chains move with their CA
        begin[trunk] = found[trunk]
    begins = begin.repeat(SIDES if held else 1, 1, 1, 1)
    return _descend(begins, begin, moving, replace(scene, there=there), generator).numpy()


def _unit(vector: Tensor) -> Tensor:
    return vector / length(vector)[..., None]


def _planes(start: Tensor, rows: NDArray[np.int64], ideal: Ideal, generator: torch.Generator) -> Tensor:
    """(STARTS, R, 14, 3) Å: planar peptides between CA atoms, rotated at random unless a fixed atom defines the plane."""
    x = start.repeat(STARTS, 1, 1, 1)
    x[1:, rows] += SPREAD * torch.randn(STARTS - 1, len(rows), 1, 3, generator=generator, dtype=torch.float64)
    free = torch.zeros(len(start), dtype=torch.bool)
    free[rows] = True
    first, second = torch.from_numpy(ideal.planes[:, [0, 3]] // N_SLOTS).T
    begin = x[:, first, 1]
    along = _unit(x[:, second, 1] - begin)
    side = torch.randn(begin.shape, generator=generator, dtype=torch.float64)
    side = torch.where(free[second, None], side, begin - x[:, second, 0])
    side = torch.where(free[first, None], side, x[:, first, 3] - x[:, first, 2])
    side = _unit(side - (side * along).sum(dim=-1, keepdim=True) * along)
    for slot, (far, out) in PLANE.items():
        end = second if slot == 0 else first
        x[:, end[free[end]], slot] = (begin + far * along + out * side)[:, free[end]]
    n, c = (_unit(x[:, rows, slot] - x[:, rows, 1]) for slot in (0, 2))
    x[:, rows, 4] = x[:, rows, 1] - 0.88 * _unit(n + c) + 1.25 * _unit(torch.linalg.cross(n, c))
    return x


def _descend(
    starts: Tensor, wanted: Tensor, moving: NDArray[np.bool_], scene: _Scene, generator: torch.Generator | None = None
) -> Tensor:
    """(R, 14, 3) Å: the best of ``starts`` (B, R, 14, 3) after gradient descent, chosen for each stretch of residues by itself.

    ``wanted``: (R, 14, 3) Å, positions of the restraints; ``generator``: draws the fourth coordinate of side chains;
    ``None``: the backbone alone, in three dimensions.
    """
    scene = replace(scene, ideal=scene.ideal.among(moving, scene.there))
    free = torch.from_numpy(np.flatnonzero(moving))
    slot, home = free % N_SLOTS, wanted.reshape(-1, 3)[free]
    still, floor = _repulsion(home, free, moving, scene, wanted.reshape(-1, 3))
    base = torch.nn.functional.pad(starts.flatten(1, 2), (0, 1))
    place, stage = base[:, free], int(generator is not None)
    pull, fading = torch.where(slot == 1, TRACE, 0.0), torch.zeros(len(free))
    if stage:
        aside = ASIDE * torch.randn(len(place), len(free), generator=generator, dtype=torch.float64)
        place[:, :, 3] = torch.where(slot >= BACKBONE, aside, 0.0)
        pull, fading = torch.where(slot < BACKBONE, HELD, 0.0), torch.where(slot < BACKBONE, 0.0, RESTRAINT)
    group = torch.zeros(moving.size, dtype=torch.int64)
    group[free] = torch.from_numpy(scene.ideal.stretch)[free // N_SLOTS]
    place.requires_grad_(True)
    optimizer = torch.optim.Adam([place])
    for step in range(STEPS[stage]):
        share = step / STEPS[stage]
        flat = not stage or share > 0.5
        optimizer.param_groups[0]["lr"] = RATE[stage] * (1 - share) + 0.002
        here = place * place.new_tensor([1.0, 1.0, 1.0, 0.0]) if flat else place
        strain = place.new_zeros(len(place), int(group.max()) + 1)
        rigid = SOFT + (1 - SOFT) * min(1.0, max(0.0, (share - stage / 2) / (HARD[stage] - stage / 2)))
        for index, energy in _terms(base.index_copy(1, free, here), scene.ideal, rigid, torsions=flat):
            strain = strain.index_add(1, group[index].amax(dim=1), energy)
        away = (here[..., :3] - home).square().sum(dim=-1)
        own = (pull + (1 - share) * fading) * away + 2 * share * FLATTEN * here[..., 3].square()
        every = torch.cat([here, still.expand(len(place), -1, -1)], dim=1)
        with torch.no_grad():  # few atoms are too close, and only these have a gradient
            start, one, two = (torch.cdist(here, every) < floor).nonzero(as_tuple=True)
        clash = CLASH[stage] * (1.0 if stage else min(1.0, 2 * share)) * torch.where(two < len(free), 0.5, 1.0)  # half for each
        close = clash * (floor[one, two] - length(here[start, one] - every[start, two])).square()
        strain = strain.index_add(1, group[free], own).index_put((start, group[free][one]), close, accumulate=True)
        optimizer.zero_grad()
        strain.sum().backward()
        optimizer.step()
    out = wanted.reshape(-1, 3).clone()
    out[free] = place.detach()[strain.detach().argmin(dim=0)[group[free]], torch.arange(len(free)), :3]
    return out.reshape(wanted.shape)


def _terms(x: Tensor, ideal: Ideal, rigid: float, *, torsions: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Atoms (T, k) and energies (B, T) of each kind of term at ``x`` (B, A, 4); ``rigid``: factor of the rigid ones."""
    pairs = torch.from_numpy(ideal.pairs)
    apart = pairs[:, 0] // N_SLOTS != pairs[:, 1] // N_SLOTS
    weight = torch.where(torch.from_numpy(ideal.bonded), BOND, torch.where(apart, PEPTIDE, ANGLE))
    error = length(x[:, pairs[:, 0]] - x[:, pairs[:, 1]]) - torch.from_numpy(ideal.length)
    yield pairs, rigid * weight * error.square()
    centres = torch.from_numpy(ideal.centres)
    a, b, c, d = (x[:, centres[:, k], :3] for k in range(4))
    signed = (torch.linalg.cross(b - a, c - a) * (d - a)).sum(dim=-1)
    yield centres, rigid * HAND * (signed - torch.from_numpy(ideal.volume)).square()
    if torsions:
        planes, turns, rotors = (torch.from_numpy(index) for index in (ideal.planes, ideal.turns, ideal.rotors))
        yield planes, TWIST * (1 + torsion(x, planes).cos())
        yield rotors, ROTOR * (1 + (3 * torsion(x, rotors)).cos())
        phi, psi = torsion(x, turns[:, :4]), torsion(x, turns[:, 1:])
        kind = torch.from_numpy(ideal.kind)
        yield turns, TURN * (between(torch.from_numpy(ideal.table), kind, phi, psi) + LEFT * ((phi > 0) & (kind > 0)))


def _repulsion(home: Tensor, free: Tensor, moving: NDArray[np.bool_], scene: _Scene, coord: Tensor) -> tuple[Tensor, Tensor]:
    """(E, 4) Å, fixed atoms and ligand atoms near ``home`` (F, 3), and least distances (F, F + E) to moving atoms and these."""
    fixed = torch.from_numpy(np.flatnonzero(scene.there & ~moving))
    place = torch.cat([coord[fixed], torch.from_numpy(np.asarray(scene.ligand[0], np.float64))])
    polar = torch.from_numpy(np.concatenate([scene.polar.ravel(), scene.ligand[1]]))
    index = torch.cat([fixed, scene.polar.size + torch.arange(len(scene.ligand[0]))])
    near = (torch.cdist(home, place) < SEEN).any(dim=0)
    index = torch.cat([free, index[near]])
    pairs, last = torch.from_numpy(scene.ideal.pairs), len(scene.polar)
    linked = torch.eye(last + 1, dtype=torch.bool)  # the last row and column are the ligand's
    linked[last, last] = False
    linked[pairs[:, 0] // N_SLOTS, pairs[:, 1] // N_SLOTS] = True
    residue = (index // N_SLOTS).clamp_max(last)
    floor = torch.where(polar[free][:, None] & polar[index], POLAR, APART).double()
    floor[(linked | linked.T)[residue[: len(free), None], residue]] = WITHIN
    at = torch.full((len(polar),), len(index))
    at[index] = torch.arange(len(index))
    rigid = torch.zeros(len(index) + 1, len(index) + 1, dtype=torch.bool)
    rigid[at[pairs[:, 0]], at[pairs[:, 1]]] = True
    floor[(rigid | rigid.T)[: len(free), :-1]] = 0
    return torch.nn.functional.pad(place[near], (0, 1)), floor.fill_diagonal_(0)
