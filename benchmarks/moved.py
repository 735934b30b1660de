"""Less exact structures: atoms that are moved, and side chains that are turned or left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from s2p.structure.arrays import Structure

__all__ = ["cut_side_chains", "displaced", "less_exact", "noisy", "turned"]

BACKBONE = ("N", "CA", "C", "O", "OXT", "CB")
"""Atoms that a rotation of the side chain about the axis from CA to CB leaves where they are."""


def displaced(structure: Structure, coord: NDArray[np.floating]) -> Structure:
    """The structure with other coordinates (A, 3) Å of its atoms."""
    atoms, residues = replace(structure.atoms, coord=coord.astype(np.float32)), structure.residues
    order = np.lexsort((atoms.name != "CA", atoms.residue_index))  # the CA, or else the first atom, comes first
    first = order[np.searchsorted(atoms.residue_index[order], np.arange(len(residues)))]
    return replace(structure, atoms=atoms, residues=replace(residues, ca_coord=atoms.coord[first]))


def noisy(structure: Structure, draw: Generator, sd: float) -> Structure:
    """Gaussian noise on all atoms, ``sd`` Å along each axis."""
    return displaced(structure, structure.atoms.coord + draw.normal(0, sd, structure.atoms.coord.shape))


def turned(structure: Structure, draw: Generator, most: float) -> Structure:
    """Side chains turned about the axis from CA to CB by up to ``most`` degrees.

    Prolines, whose side chain is bound to the backbone twice, stay.
    """
    atoms, n = structure.atoms, len(structure.residues)
    ends = np.full((2, n, 3), np.nan)
    for end, name in zip(ends, ("CA", "CB"), strict=True):
        end[atoms.residue_index[atoms.name == name]] = atoms.coord[atoms.name == name]
    angle = draw.uniform(-most, most, n)
    usable = np.isfinite(ends).all(axis=(0, 2)) & (structure.residues.name != "PRO")
    moves = usable[atoms.residue_index] & ~np.isin(atoms.name, BACKBONE)
    own = atoms.residue_index[moves]
    axis = ends[1, own] - ends[0, own]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    arm, theta = atoms.coord[moves] - ends[0, own], np.radians(angle[own])[:, None]
    along = axis * (axis * arm).sum(axis=1, keepdims=True)
    coord = atoms.coord.astype(np.float64)
    coord[moves] = ends[0, own] + along + np.cos(theta) * (arm - along) + np.sin(theta) * np.cross(axis, arm)
    return displaced(structure, coord)


def cut_side_chains(structure: Structure, draw: Generator) -> Structure:
    """Side chains end at CB; the names of residues stay. A residue without any of these atoms keeps its own."""
    atoms, residues = structure.atoms, np.arange(len(structure.residues))
    kept = np.isin(atoms.name, BACKBONE)
    kept |= ~np.isin(atoms.residue_index, atoms.residue_index[kept])
    return structure.part(residues, np.flatnonzero(kept))


def less_exact(structure: Structure, draw: Generator) -> Structure:
    """One of many ways to be wrong, for training.

    Noise of up to 0.6 Å; in three of ten structures side chains turned by up to 45 degrees, in one of ten cut, with noise of up
    to 0.2 Å.
    """
    kind = draw.random()
    if kind >= 0.4:
        return noisy(structure, draw, draw.uniform(0, 0.6))
    changed = cut_side_chains(structure, draw) if kind < 0.1 else turned(structure, draw, draw.uniform(0, 45))
    return noisy(changed, draw, draw.uniform(0, 0.2))
