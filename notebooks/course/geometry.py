"""The rigid geometry of amino acids, measured from structures.

Refined crystal structures carry the ideal bond lengths and angles they were refined with. Pairs of atoms of a residue whose
distance hardly varies (bonds, angles, planes) and the volumes of chiral centres are read off them: no table to copy. What the
shipped PocketGen uses is stored with it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.models.pocketgen.atoms import CHIRAL, N_SLOTS, RESIDUES, SLOTS, slot_arrays
from s2p.models.pocketgen.geometry import Geometry, peptide_bonds, torsion
from s2p.structure.reading import Structure

__all__ = ["measure_geometry"]

SPREAD = 0.1
"""Å: a distance is rigid when its robust standard deviation is below this."""
LEAST = 20
"""Residues of a type that must have been seen for its distances to be trusted."""
PEPTIDE_SLOTS = 3
"""N, CA and C: of the next residue; of the one before also O."""
CELLS = 36
"""Of phi and of psi."""
NARROW, WIDE, SHARE = 7.0, 40.0, 0.03
"""Degrees, widths by which densities of phi and psi are smoothed; the share that is smoothed widely leaves no place without a
slope towards the likely ones."""


def measure_geometry(structures: Iterable[Structure]) -> Geometry:
    """Medians over all residues of ``structures`` of the distances that hardly vary, and of chiral volumes; phi and psi."""
    every = list(structures)
    tables = [slot_arrays(s) for s in every]
    types, coord, present = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    coord = coord.astype(np.float64)
    distance = np.full((20, N_SLOTS, N_SLOTS), np.nan, np.float32)
    volume = np.full((20, len(CHIRAL)), np.nan, np.float32)
    for kind, name in enumerate(RESIDUES, start=1):
        n = len(SLOTS[name])
        rows = (types == kind) & present[:, :n].all(axis=1)
        if rows.sum() < LEAST:
            continue
        x = coord[rows, :n]
        distance[kind - 1, :n, :n] = _rigid(np.linalg.norm(x[:, :, None] - x[:, None], axis=-1))
        for k, (centre, *around) in enumerate(CHIRAL):
            named = {1: "THR", 2: "ILE"}.get(k, name)
            if name == named and set(around) <= set(SLOTS[name]):
                a, b, c, d = (x[:, SLOTS[name].index(atom)] for atom in (centre, *around))
                volume[kind - 1, k] = np.median(np.einsum("ni,ni->n", np.cross(b - a, c - a), d - a))
    begin = np.cumsum([len(t) for t, *_ in tables]) - [len(t) for t, *_ in tables]
    first = np.concatenate([peptide_bonds(s, t[1]) + k for s, t, k in zip(every, tables, begin, strict=True)])
    first = first[present[first, :4].all(axis=1) & present[first + 1, :PEPTIDE_SLOTS].all(axis=1)]
    between = np.linalg.norm(coord[first, :4, None] - coord[first + 1, None, :PEPTIDE_SLOTS], axis=-1)
    return Geometry(distance, _rigid(between), volume, _turns(types, coord, present, first))


def _rigid(distance: NDArray[np.float64]) -> NDArray[np.float32]:
    """Median over the first axis; NaN where the robust standard deviation is not small."""
    middle = np.median(distance, axis=0)
    spread = 1.4826 * np.median(np.abs(distance - middle), axis=0)
    return np.where(spread < SPREAD, middle, np.nan).astype(np.float32)


def _turns(
    types: NDArray[np.int64], coord: NDArray[np.float64], present: NDArray[np.bool_], first: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(3, CELLS, CELLS): see :class:`Geometry`; of residues bonded on both sides, ``first`` being those bonded to the next."""
    rows = first[np.isin(first - 1, first) & (types[first] > 0)]
    flat = torch.from_numpy(coord.reshape(-1, 3))
    index = torch.from_numpy(N_SLOTS * np.stack([rows - 1, rows, rows, rows, rows + 1], axis=1) + [2, 0, 1, 2, 0])
    angles = np.degrees([torsion(flat, index[:, k : k + 4]).numpy() for k in (0, 1)])
    kind = np.array([{"GLY": 0, "PRO": 1}.get(name, 2) for name in RESIDUES])[types[rows] - 1]
    return np.stack([_unlikely(*angles[:, kind == k]) for k in range(3)]).astype(np.float32)


def _unlikely(phi: NDArray[np.float64], psi: NDArray[np.float64]) -> NDArray[np.float64]:
    """(CELLS, CELLS) -ln of the smoothed density by that of the likeliest cell; 0 everywhere without any residue."""
    count = np.histogram2d(phi, psi, bins=CELLS, range=[[-180, 180]] * 2)[0] / max(len(phi), 1)
    wave = np.fft.fftfreq(CELLS, 1 / CELLS)
    density = np.full((CELLS, CELLS), 1e-9)
    for width, share in ((NARROW, 1 - SHARE), (WIDE, SHARE)):
        fall = np.exp(-0.5 * np.square(np.radians(width) * wave))
        density += share * np.fft.ifft2(np.fft.fft2(count) * fall[:, None] * fall).real.clip(0)
    found: NDArray[np.float64] = np.log(density.max() / density)
    return found
