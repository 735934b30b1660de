"""Rigid geometry of amino acids (bonds, angles, planes, chirality), and the clean-up that restores it in designed atoms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2p.models.pocketgen.atoms import CHIRAL, N_SLOTS, RESIDUES, SLOTS
from s2p.models.pocketgen.layers import length
from s2p.structure.reading import Structure

__all__ = ["BONDED", "Geometry", "Ideal", "between", "ideal_of", "peptide_bonds", "torsion"]

BONDED = 2.0
"""Å: rigid pairs below this are bonds; the shortest distance over an angle is 2.1."""
_TURNS = {"GLY": 0, "PRO": 1}
_NO_ROTOR = ("ALA", "GLY", "PRO")
"""Residues without chi1, or with one in a ring."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Ideal distances, Å, and volumes, Å^3; NaN for pairs and centres that are not rigid."""

    distance: NDArray[np.float32]
    """(20, 14, 14) between atoms of a residue."""
    peptide: NDArray[np.float32]
    """(4, 3) from N, CA, C, O to N, CA, C of the next residue of the chain; C to N is the bond."""
    volume: NDArray[np.float32]
    """(20, 3) volumes of the centres of :data:`CHIRAL`; their sign is the chirality."""
    turns: NDArray[np.float32]
    """(3, n, n) -ln of the density of phi and psi, relative to the largest, of glycine, proline, and all other residues."""


@dataclass(frozen=True, eq=False)
class Ideal:
    """Rigid and rotatable terms of a set of residues; atoms are indices into flat (R * 14) slots.

    Rigid pairs (n, 2), their lengths (n,) Å and which are bonds (n,); chiral centres (c, 4) and their volumes (c,) Å^3; peptide
    planes (l, 4) of CA, C, N, CA; phi and psi (t, 5) of C, N, CA, C, N, with the number (t,) of the table in (3, n, n) of
    :attr:`Geometry.turns`; N, CA, C (m, 3) of each residue; chi1 (r, 4); and (R,) the stretch of a residue.
    """

    pairs: NDArray[np.int64]
    length: NDArray[np.float64]
    bonded: NDArray[np.bool_]
    centres: NDArray[np.int64]
    volume: NDArray[np.float64]
    planes: NDArray[np.int64]
    turns: NDArray[np.int64]
    kind: NDArray[np.int64]
    table: NDArray[np.float64]
    middles: NDArray[np.int64]
    rotors: NDArray[np.int64]
    stretch: NDArray[np.int64]

    def among(self, moving: NDArray[np.bool_], there: NDArray[np.bool_]) -> Ideal:
        """Only terms whose atoms all exist, ``there`` (R, 14), with at least one that is ``moving``."""
        parts: dict[str, NDArray[Any]] = {}
        for name, beside in _BESIDE.items():
            kept = there.ravel()[getattr(self, name)].all(axis=1) & moving.ravel()[getattr(self, name)].any(axis=1)
            parts |= {key: getattr(self, key)[kept] for key in (name, *beside)}
        return replace(self, **parts)


_BESIDE = {"pairs": ("length", "bonded"), "centres": ("volume",), "planes": (), "turns": ("kind",), "rotors": (), "middles": ()}
"""Indices of :class:`Ideal`, and what it has for each of their rows."""


def torsion(coord: Tensor, index: Tensor) -> Tensor:
    """(..., T) radians, IUPAC sign, of atoms (T, 4) at (..., A, 3 or more) ``coord``."""
    a, b, c, d = (coord[..., index[:, k], :3] for k in range(4))
    first, axis, last = b - a, c - b, d - c
    one, other = torch.linalg.cross(first, axis), torch.linalg.cross(axis, last)
    sine = (torch.linalg.cross(one, other) * axis).sum(dim=-1) / length(axis)
    # Three atoms in a line have no torsion: 0, with a slope of 0.
    return torch.atan2(sine, (one * other).sum(dim=-1) + 1e-9)


def between(table: Tensor, kind: Tensor, phi: Tensor, psi: Tensor) -> Tensor:
    """(B, T) of tables (k, n, n) over phi and psi, radians, linear between the middles of cells; ``kind`` (T,) says which."""
    n = table.shape[1]
    at = [(angle / (2 * torch.pi) + 0.5) * n - 0.5 for angle in (phi, psi)]
    low = [place.detach().floor() for place in at]
    (p, q), (i, j) = [place - whole for place, whole in zip(at, low, strict=True)], [whole.long() for whole in low]
    a, b, c, d = (table[kind, (i + k) % n, (j + m) % n] for k in (0, 1) for m in (0, 1))
    return (a * (1 - q) + b * q) * (1 - p) + (c * (1 - q) + d * q) * p


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
    """Terms of the residues ``rows``, ascending, according to their types (R,), and of their bonds.

    ``links``: (l, 2) residues joined by a peptide bond; those far from ``rows`` are ignored.
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
    own = links[np.isin(links, rows).any(axis=1)]
    pairs.append((own[:, None] * N_SLOTS + ends).reshape(-1, 2))
    lengths.append(np.tile(geometry.peptide[ends[:, 0], ends[:, 1]], len(own)))
    target = np.concatenate(lengths).astype(np.float64)
    volumes, likely = np.concatenate(volume).astype(np.float64), geometry.turns.astype(np.float64)
    before, after = np.full((2, len(types)), -1)
    before[links[:, 1]], after[links[:, 0]] = links.T
    middle = np.flatnonzero((before >= 0) & (after >= 0))
    turns = N_SLOTS * np.stack([before, *[np.arange(len(types))] * 3, after], axis=1)[middle] + np.array([2, 0, 1, 2, 0])
    number = np.array([_TURNS.get(RESIDUES[k - 1], 2) for k in types[middle].tolist()], np.int64)
    planes = N_SLOTS * own[:, [0, 0, 1, 1]] + np.array([1, 2, 0, 1])
    stretch = np.zeros(len(types), np.int64)
    stretch[rows] = np.cumsum(~np.isin(before[rows], rows)) - 1
    chi = [row * N_SLOTS + np.array([0, 1, 4, 5]) for row in rows.tolist() if RESIDUES[types[row] - 1] not in _NO_ROTOR]
    rotors, middles = np.array(chi, np.int64).reshape(-1, 4), N_SLOTS * rows[:, None] + np.arange(3)
    rigid = np.concatenate(pairs), target, target < BONDED, np.concatenate(centres), volumes
    return Ideal(*rigid, planes, turns, number, likely, middles, rotors, stretch)
