"""Pockets in the order of their scores, and which of them are symmetric copies of one site: the same residues in other chains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from s2p.prediction import Pocket
from s2p.structure.reading import Structure

__all__ = ["originals", "places", "ranked"]

ALIKE = 0.5
"""Share of the residues of two pockets together that they have in common, counted as places in the protein."""
WORD = 5
"""Two chains are aligned if half the words of so many residues of the one with fewer are in the other."""


def ranked(structure: Structure, pockets: Iterable[Pocket]) -> tuple[Pocket, ...]:
    """The pockets, the highest score first, with ranks and :attr:`~s2p.prediction.Pocket.copy_of`."""
    ordered = sorted(pockets, key=lambda p: -round(p.score, 6))  # copies that rounding errors set apart stay in the file's order
    first = originals(places(structure), [p.residues for p in ordered])
    return tuple(replace(p, rank=k + 1, copy_of=0 if first[k] == k else first[k] + 1) for k, p in enumerate(ordered))


def originals(place: NDArray[np.int64], pockets: Sequence[NDArray[np.int32]]) -> list[int]:
    """Index of the first pocket that each is a symmetric copy of, its own for the others.

    Two pockets are copies if they consist of the same residues, but for a half, and fewer than half of these are in the same
    chain: those of two identical subunits are, and so are the interfaces of a ring; neighbouring pockets are not.

    Parameters
    ----------
    place
        (N,) :func:`places` of the residues.
    pockets
        Indices of the residues of each.
    """
    sets = [frozenset(place[residues].tolist()) for residues in pockets]
    first: list[int] = []
    for k, own in enumerate(sets):
        for other in dict.fromkeys(first):
            common, shared = len(own & sets[other]), len(np.intersect1d(pockets[k], pockets[other]))
            if common >= ALIKE * len(own | sets[other]) and shared < common / 2:
                first.append(other)
                break
        else:
            first.append(k)
    return first


def places(structure: Structure) -> NDArray[np.int64]:
    """(N,) number of a place in a protein, the same for the residues of identical chains; chains are aligned if they differ."""
    found = np.zeros((len(structure.residues), 2), np.int64)
    known: list[tuple[str, set[str]]] = []
    # The longest first, whatever the order in the file: the others are aligned to it.
    for sequence, chain in sorted(((structure.sequence(c), c) for c in structure.chains), key=lambda x: (-len(x[0]), x[0])):
        own = structure.residues.chain == chain
        words = {sequence[k : k + WORD] for k in range(len(sequence) - WORD + 1)}
        number, position = len(known), np.arange(len(sequence))
        for k, (other, theirs) in enumerate(known):
            if sequence == other or 2 * len(words & theirs) > min(len(words), len(theirs)):
                from s2p.structure.alignment import align  # a single chain needs none

                number, aligned = k, align(sequence, other)
                position = np.where(aligned < 0, -1 - position, aligned)  # what has no counterpart is a place of its own
                break
        else:
            known.append((sequence, words))
        found[own] = np.stack([np.full(len(sequence), number), position], axis=1)
    return np.asarray(np.unique(found, axis=0, return_inverse=True)[1].reshape(-1), np.int64)
