"""What Vabs-Net is pre-trained to restore: masked spans of residues, moved atoms, torsions and areas, without leaks.

Source: Vabs-Net (ICML 2024), span-mask pre-training. Its public code gives masked residues away in three ways that are closed
here: local frames made from removed atoms (:func:`~s2p.models.vabsnet.graph.local_frames`), embeddings of a language model that
has read the masked letters, and exposures that have seen the masked atoms (:func:`mask_nodes` drops both).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from course.vabsnet_training import take_atoms
from s2p.models.vabsnet.graph import ATOM_NAMES, LETTERS, MASKED_RESIDUE, Nodes

__all__ = [
    "FLIPPED",
    "MaskedNodes",
    "Torsions",
    "draw_spans",
    "mask_and_move",
    "mask_nodes",
    "torsions",
]

SIDE_CHAINS = {
    "N CA CB CG OD1": "ND",
    "N CA CB CG CD OE1": "QE",
    "N CA CB CG CD1": "LFWY",
    "N CA CB CG CD NE CZ": "R",
    "N CA CB CG CD CE NZ": "K",
    "N CA CB CG SD CE": "M",
    "N CA CB CG ND1": "H",
    "N CA CB CG CD": "P",
    "N CA CB CG1 CD1": "I",
    "N CA CB CG1": "V",
    "N CA CB OG1": "T",
    "N CA CB OG": "S",
    "N CA CB SG": "C",
}
"""Atoms along which the side-chain torsions, four at most, of some letters lie."""
FLIPPED = (("D", 4), ("F", 4), ("Y", 4), ("E", 5))
"""Letters and torsions (0 omega, 1 phi, 2 psi, 3.. chi) where a half turn gives the same atoms other names."""
PEPTIDE_BOND = 2.0
"""Å: C and the next N are bonded when closer."""


def draw_spans(n: int, share: float, mean: float, rng: np.random.Generator) -> tuple[NDArray[np.bool_], list[int]]:
    """Cover ``share`` of ``n`` residues (at least one) with spans of Poisson length and uniform start.

    Returns
    -------
    (n,) whether covered, and the lengths drawn; a length of 0 is drawn again and none is longer than what is missing.
    """
    target = min(n, max(1, round(share * n)))
    covered = np.zeros(n, bool)
    lengths = []
    while (missing := target - int(covered.sum())) > 0:
        length = 0
        while not length:
            length = int(rng.poisson(mean))
        lengths.append(length)
        length = min(length, missing)
        start = int(rng.integers(0, n - length + 1))
        covered[start : start + length] = True
    return covered, lengths


def mask_nodes(nodes: Nodes, masked: NDArray[np.bool_]) -> tuple[Nodes, NDArray[np.bool_]]:
    """Hide residues: their type becomes "masked", and of their atoms only the CA (without its name, if it is another) stays.

    Inputs that were computed from the whole protein go altogether: surface features and the language model's, of all residues.

    Returns
    -------
    The nodes, and the (N,) mask of the atoms that stayed.
    """
    is_ca = np.zeros(len(nodes.coord), bool)
    is_ca[nodes.ca] = True
    keep = ~masked[nodes.residue] | is_ca
    atom_type = np.where(masked[nodes.residue], ATOM_NAMES.index("CA"), nodes.atom_type)
    hidden = replace(
        nodes,
        atom_type=atom_type,
        residue_type=np.where(masked, MASKED_RESIDUE, nodes.residue_type),
        atom_features=np.zeros((len(nodes.coord), 0), np.float32),
        residue_features=np.zeros((len(nodes.ca), 0), np.float32),
    )
    return take_atoms(hidden, keep), keep


@dataclass(frozen=True, eq=False)
class MaskedNodes:
    """A pre-training input, and what was done to it."""

    nodes: Nodes
    masked: NDArray[np.bool_]
    """(L,) hidden residues."""
    kept: NDArray[np.bool_]
    """(N,) atoms of the whole protein that are still there, n of them."""
    moved: NDArray[np.bool_]
    """(n,) atoms that were moved."""
    clean: NDArray[np.floating]
    """(n, 3) where they were, Å."""


def mask_and_move(nodes: Nodes, share: float, mean: float, noise: float, rng: np.random.Generator) -> MaskedNodes:
    """Hide one set of spans and move the atoms of another, independent one by N(0, noise) Å along each axis.

    The published code moves the masked residues instead of a second set; this follows the paper.
    """
    n = len(nodes.ca)
    masked, moved = draw_spans(n, share, mean, rng)[0], draw_spans(n, share, mean, rng)[0]
    hidden, kept = mask_nodes(nodes, masked)
    hit = moved[hidden.residue]
    # One draw for each residue in turn, so that what is hidden has no part in where the others go.
    shift = np.zeros(hidden.coord.shape)
    for residue in np.flatnonzero(moved):
        rows = hidden.residue == residue
        shift[rows] = rng.normal(0, noise, (int(rows.sum()), 3))
    coord = (hidden.coord + shift).astype(hidden.coord.dtype)
    return MaskedNodes(replace(hidden, coord=coord), masked, kept, hit, hidden.coord)


@dataclass(frozen=True, eq=False)
class Torsions:
    """omega, phi, psi and chi 1 to 4 of every residue."""

    sin_cos: NDArray[np.float32]
    """(L, 7, 2), zero where undefined."""
    defined: NDArray[np.bool_]
    """(L, 7)."""
    flipped: NDArray[np.bool_]
    """(L, 7) where the opposite direction is as right."""


def torsions(nodes: Nodes) -> Torsions:
    """Torsions of the whole protein; targets only, never an input."""
    n = len(nodes.ca)
    table = np.full((n, len(ATOM_NAMES)), -1)
    named = nodes.atom_type < len(ATOM_NAMES)
    table[nodes.residue[named], nodes.atom_type[named]] = np.flatnonzero(named)
    place = {name: k for k, name in enumerate(ATOM_NAMES)}
    rows = np.arange(n)
    before, after = np.maximum(rows - 1, 0), np.minimum(rows + 1, n - 1)
    first, last = table[:, place["C"]], table[:, place["N"]]
    gap = np.linalg.norm(nodes.coord[first[:-1]] - nodes.coord[last[1:]], axis=1)
    bond = (first[:-1] >= 0) & (last[1:] >= 0) & (gap < PEPTIDE_BOND) & (nodes.chain[1:] == nodes.chain[:-1])
    linked_before, linked_after = np.r_[False, bond], np.r_[bond, False]

    angle = np.zeros((n, 7))
    defined = np.zeros((n, 7), bool)

    def put(k: int, which: NDArray[np.bool_], residues: Sequence[NDArray[np.int_]], names: Sequence[str]) -> None:
        atoms = np.stack([table[r, place[name]] for r, name in zip(residues, names, strict=True)])
        good = which & (atoms >= 0).all(axis=0)
        angle[good, k] = dihedral(*(nodes.coord[a[good]].astype(float) for a in atoms))
        defined[good, k] = True

    put(0, linked_before, (before, before, rows, rows), ("CA", "C", "N", "CA"))
    put(1, linked_before, (before, rows, rows, rows), ("C", "N", "CA", "C"))
    put(2, linked_after, (rows, rows, rows, after), ("N", "CA", "C", "N"))
    for line, letters in SIDE_CHAINS.items():
        which, names = np.isin(nodes.residue_type, [LETTERS.index(letter) for letter in letters]), line.split()
        for k in range(min(4, len(names) - 3)):
            put(3 + k, which, (rows,) * 4, names[k : k + 4])
    flipped = np.zeros((n, 7), bool)
    for letter, k in FLIPPED:
        flipped[nodes.residue_type == LETTERS.index(letter), k] = True
    sin_cos = np.stack([np.sin(angle), np.cos(angle)], axis=2) * defined[..., None]
    return Torsions(sin_cos.astype(np.float32), defined, flipped)


def dihedral(
    a: NDArray[np.floating], b: NDArray[np.floating], c: NDArray[np.floating], d: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(n,) torsions in radians, IUPAC sign, of four (n, 3) points each."""
    axis = c - b
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    v = (a - b) - ((a - b) * axis).sum(axis=1, keepdims=True) * axis
    w = (d - c) - ((d - c) * axis).sum(axis=1, keepdims=True) * axis
    x, y = (v * w).sum(axis=1), (np.cross(axis, v) * w).sum(axis=1)
    return np.asarray(np.arctan2(y, x))
