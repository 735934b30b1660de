"""How well short words fit along a sequence without gaps, compared with chance: the arithmetic of
:mod:`s2p.evaluation.guard`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from s2p.datasets.homology import blosum62, encode

__all__ = ["BACKGROUND", "WordIndex", "chance", "decoy_words", "fits", "log_tails", "word_index"]

# A to Y as in encode(): Robinson and Robinson (PNAS 88, 8880, 1991), as in BLAST.
_PERMILLE = "78 19.3 53.6 63 38.6 73.8 22 51.4 57.4 90.2 22.4 44.9 52 42.6 51.3 71.2 58.4 64.4 13.3 32.2"
BACKGROUND = np.array(_PERMILLE.split(), dtype=np.float64)
_LOWEST = -4
"""Lowest score in BLOSUM62."""
_DECOYS = 2000
"""Approximate number of decoy chains."""
_AT_ONCE = 512
"""Positions along a sequence that are scored at once."""


@dataclass(frozen=True, eq=False)
class WordIndex:
    """Words of n chains, prepared for the search."""

    codes: NDArray[np.int8]
    """(W, length); chains that are shorter than a word have only one and are left out."""
    owner: NDArray[np.int_]
    """(W,), index of the chain."""
    tails: NDArray[np.float64]
    """(W, S), see :func:`log_tails`."""
    n: int


def word_index(words: Sequence[Sequence[str]]) -> WordIndex:
    length = max((len(word) for chain in words for word in chain), default=1)
    flat = [(k, word) for k, chain in enumerate(words) for word in chain if len(word) == length]
    codes = np.array([encode(word) for _, word in flat], np.int8).reshape(-1, length)
    tails = log_tails(codes, blosum62(), BACKGROUND / BACKGROUND.sum())
    return WordIndex(codes, np.array([k for k, _ in flat], int), tails, len(words))


def decoy_words(words: Sequence[Sequence[str]]) -> list[list[str]]:
    """Chains of unrelated words with the letters of real ones: reversed, and also shuffled if there are few."""
    usable = [chain for chain in words if len(chain) >= 2]
    usable = usable[:: 1 + len(usable) // _DECOYS]
    decoys = [[word[::-1] for word in chain] for chain in usable]
    draw = np.random.default_rng(0)
    while usable and len(decoys) < _DECOYS // 2:
        decoys += [["".join(draw.permutation(list(word))) for word in chain] for chain in usable]
    return decoys


def fits(query: NDArray[np.int8], index: WordIndex) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Surprisal (nats) of the fit of each chain's words without the best one, and the share of identical residues."""
    length = index.codes.shape[1]
    if not len(index.codes) or len(query) < length:
        return np.zeros(index.n), np.zeros(index.n)
    matrix = blosum62()
    profiles = matrix[index.codes].reshape(len(index.codes), -1).astype(np.float32)
    score, place = np.zeros(len(index.codes)), np.zeros(len(index.codes), int)
    windows = np.lib.stride_tricks.sliding_window_view(query, length)
    for start in range(0, len(windows), _AT_ONCE):
        letters = np.eye(len(matrix), dtype=np.float32)[windows[start : start + _AT_ONCE]]
        found = letters.reshape(len(letters), -1) @ profiles.T
        best = found.max(axis=0)
        place = np.where(best > score, start + found.argmax(axis=0), place)
        score = np.maximum(score, best)
    same = ((windows[place] == index.codes).sum(axis=1)) * (score > 0)
    column = score.astype(int) - _LOWEST * length
    surprise = np.maximum(-index.tails[np.arange(len(score)), column] - np.log(len(windows)), 0.0)
    largest = np.zeros(index.n)
    np.maximum.at(largest, index.owner, surprise)
    value = np.bincount(index.owner, weights=surprise, minlength=index.n) - largest
    total = np.maximum(np.bincount(index.owner, minlength=index.n), 1) * length
    return value, np.bincount(index.owner, weights=same, minlength=index.n) / total


def chance(x: float, decoys: NDArray[np.float64]) -> float:
    """Share of unrelated chains above ``x``: counted up to the 90th percentile of the decoys, an exponential tail beyond it."""
    edge = float(np.quantile(decoys, 0.9))
    if x <= edge:
        return float((decoys >= x).mean())
    beyond = decoys[decoys > edge]
    # At least one nat, the tail of ideal letters, in case there are too few decoys.
    scale = max(1.0, float((beyond - edge).mean())) if len(beyond) else 1.0
    return 0.1 * exp(-(x - edge) / scale)


def log_tails(words: NDArray[np.int8], matrix: NDArray[np.int32], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """(W, S) log of the probability that a word scores at least s along random letters; column s - lowest possible score."""
    n, width = words.shape
    lowest = _LOWEST * width
    chance = np.zeros((n, 11 * width - lowest + 1))
    chance[:, -lowest] = 1.0
    for codes in words.T:
        for code in np.unique(codes):
            rows, scores = codes == code, matrix[code, :20]
            # No wrap-around: the columns range from the lowest to the highest score of a whole word.
            steps = (background[scores == s].sum() * np.roll(chance[rows], s, axis=1) for s in np.unique(scores))
            chance[rows] = sum(steps)
    return np.asarray(np.log(np.maximum(np.cumsum(chance[:, ::-1], axis=1)[:, ::-1], 1e-300)))
