"""Pockets in the order of their scores, and which of them are symmetric copies of one site: the same residues in other chains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from s2p.prediction import Pocket
from s2p.structure.alignment import align
from s2p.structure.reading import Structure

__all__ = ["ranked"]

ALIKE = 0.5
"""Share of the residues of two pockets together that they have in common, counted as positions in the protein."""
WORD = 5
"""Two chains are aligned if half the words of so many residues of the one with fewer are in the other."""


def ranked(structure: Structure, pockets: Iterable[Pocket]) -> tuple[Pocket, ...]:
    """The pockets, the highest score first, with ranks and :attr:`~s2p.prediction.Pocket.copy_of`.

    Two pockets are copies if they consist of the same residues, but for a half, and fewer than half of these are in the same
    chain: those of two identical subunits are, and so are the interfaces of a ring; neighbouring pockets are not.
    """
    protein, position = _places(structure)
    found: list[tuple[Pocket, set[tuple[int, int]]]] = []
    for rank, pocket in enumerate(sorted(pockets, key=lambda p: -p.score), start=1):
        own = set(zip(protein[pocket.residues].tolist(), position[pocket.residues].tolist(), strict=True))
        original = 0
        for other, places in found:
            common, shared = len(own & places), len(np.intersect1d(pocket.residues, other.residues))
            if not other.copy_of and common >= ALIKE * len(own | places) and shared < common / 2:
                original = other.rank
                break
        found.append((replace(pocket, rank=rank, copy_of=original), own))
    return tuple(pocket for pocket, _ in found)


def _places(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) number of the protein that a residue belongs to, and its position in it; equal for equal residues of two chains."""
    protein, position = np.zeros(len(structure.residues), np.int64), np.zeros(len(structure.residues), np.int64)
    known: list[tuple[str, set[str]]] = []
    for chain in structure.chains:
        own, sequence = structure.residues.chain == chain, structure.sequence(chain)
        words = {sequence[k : k + WORD] for k in range(len(sequence) - WORD + 1)}
        place, number = np.arange(len(sequence)), len(known)
        for k, (other, theirs) in enumerate(known):
            if sequence == other or 2 * len(words & theirs) > min(len(words), len(theirs)):
                number = k
                place = align(sequence, other).astype(np.int64)
                place[place < 0] = -1 - np.flatnonzero(place < 0)  # of this chain alone
                break
        else:
            known.append((sequence, words))
        protein[own], position[own] = number, place
    return protein, position
