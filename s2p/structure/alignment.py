"""Alignment of two chains of one protein: which residue of one is which of the other."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["align", "labels_on_chain"]


def align(observed: str, reference: str) -> NDArray[np.int32]:
    """Position in ``reference`` of each letter of ``observed``, by global alignment.

    Parameters
    ----------
    observed, reference
        One-letter sequences of nearly the same protein, n and m letters: residues may be missing or mutated.

    Returns
    -------
    (n,) int32, ascending; -1 where a letter of ``observed`` has no counterpart. A counterpart may be another letter.
    """
    import gemmi

    scoring = gemmi.AlignmentScoring()
    scoring.match, scoring.mismatch, scoring.gapo, scoring.gape = 2, -3, -6, -1
    result = gemmi.align_string_sequences(list(observed), list(reference), [], scoring)
    position = np.full(len(observed), -1, dtype=np.int32)
    i = j = 0
    for digits, operation in re.findall(r"(\d+)([MID])", result.cigar_str()):
        length = int(digits)
        if operation == "M":
            position[i : i + length] = np.arange(j, j + length)
        i += length if operation in "MI" else 0
        j += length if operation in "MD" else 0
    return position


def labels_on_chain(observed: str, reference: str, binding: Sequence[int]) -> NDArray[np.uint8]:
    """Labels given as indices into a reference sequence, carried to the observed residues of a chain by alignment.

    Parameters
    ----------
    observed
        Sequence of the residues in the structure, n letters.
    reference
        Sequence the labels refer to, e.g. of the UniProt entry.
    binding
        0-based indices into ``reference``.

    Returns
    -------
    (n,) uint8. Residues aligned to a different letter keep the label of the position.
    """
    flags = np.zeros(len(reference) + 1, dtype=np.uint8)  # the last one is for letters without a counterpart
    flags[list(binding)] = 1
    return flags[align(observed, reference)]
