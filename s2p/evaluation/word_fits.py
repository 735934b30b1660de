"""How well short words fit along a sequence without gaps, and how well chance would do: the arithmetic of
:mod:`s2p.evaluation.guard`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from s2p.datasets.homology import blosum62, encode
from s2p.io.runtime import numba as nb

__all__ = ["BACKGROUND", "WordIndex", "chance", "decoy_words", "fits", "log_tails", "word_index"]

# A to Y as in encode(): Robinson and Robinson (PNAS 88, 8880, 1991), as in BLAST.
_PERMILLE = "78 19.3 53.6 63 38.6 73.8 22 51.4 57.4 90.2 22.4 44.9 52 42.6 51.3 71.2 58.4 64.4 13.3 32.2"
BACKGROUND = np.array(_PERMILLE.split(), dtype=np.float64)
_LOWEST = -4
"""Least score of BLOSUM62."""
_DECOYS = 2000
"""Chains of decoys, about."""


@dataclass(frozen=True, eq=False)
class WordIndex:
    """Words of n chains, ready to be looked for."""

    codes: NDArray[np.int8]
    """(W, length), -1 after the end of a short word."""
    owner: NDArray[np.int_]
    """(W,), index of the chain."""
    tails: NDArray[np.float64]
    """(W, S), see :func:`log_tails`."""
    n: int


def word_index(words: Sequence[Sequence[str]]) -> WordIndex:
    flat = [word for chain in words for word in chain]
    codes = np.full((len(flat), max(map(len, flat), default=1)), -1, dtype=np.int8)
    for k, word in enumerate(flat):
        codes[k, : len(word)] = encode(word)
    owner = np.repeat(np.arange(len(words)), [len(chain) for chain in words])
    return WordIndex(codes, owner, log_tails(codes, blosum62(), BACKGROUND / BACKGROUND.sum()), len(words))


def decoy_words(words: Sequence[Sequence[str]]) -> list[list[str]]:
    """Chains of words that are related to nothing but have the letters of real ones: backwards, and shuffled if they are few."""
    usable = [chain for chain in words if len(chain) >= 2]
    usable = usable[:: 1 + len(usable) // _DECOYS]
    decoys = [[word[::-1] for word in chain] for chain in usable]
    draw = np.random.default_rng(0)
    while usable and len(decoys) < _DECOYS // 2:
        decoys += [["".join(draw.permutation(list(word))) for word in chain] for chain in usable]
    return decoys


def fits(query: NDArray[np.int8], index: WordIndex) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How surprisingly well the words of each chain fit, without the best of them (nats), and the share of identical residues."""
    if not len(index.codes) or not len(query):
        return np.zeros(0), np.zeros(0)
    score, same, used = _best_fits(query, index.codes, blosum62())
    places = np.maximum(len(query) - used + 1, 1)
    column = score - _LOWEST * index.codes.shape[1]
    surprise = np.maximum(-index.tails[np.arange(len(score)), column] - np.log(places), 0.0)
    largest = np.zeros(index.n)
    np.maximum.at(largest, index.owner, surprise)
    value = np.bincount(index.owner, weights=surprise, minlength=index.n) - largest
    total = np.maximum(np.bincount(index.owner, weights=used, minlength=index.n), 1)
    return value, np.bincount(index.owner, weights=same, minlength=index.n) / total


def chance(x: float, decoys: NDArray[np.float64]) -> float:
    """Share of unrelated chains above ``x``: counted up to the ninth tenth of the decoys, an exponential tail beyond it."""
    edge = float(np.quantile(decoys, 0.9))
    if x <= edge:
        return float((decoys >= x).mean())
    beyond = decoys[decoys > edge]
    # At least one nat: the tail of ideal letters, should the decoys be too few to tell.
    scale = max(1.0, float((beyond - edge).mean())) if len(beyond) else 1.0
    return 0.1 * exp(-(x - edge) / scale)


def log_tails(words: NDArray[np.int8], matrix: NDArray[np.int32], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """(W, S) log of the probability that a word scores at least s along random letters; column s - lowest possible score."""
    n, width = words.shape
    lowest = _LOWEST * width
    chance = np.zeros((n, 11 * width - lowest + 1))
    chance[:, -lowest] = 1.0
    for codes in words.T:
        for code in np.unique(codes[codes >= 0]):
            rows, scores = codes == code, matrix[code, :20]
            # Nothing comes round to the other side: the columns reach from the lowest to the highest score of a whole word.
            steps = (background[scores == s].sum() * np.roll(chance[rows], s, axis=1) for s in np.unique(scores))
            chance[rows] = sum(steps)
    return np.asarray(np.log(np.maximum(np.cumsum(chance[:, ::-1], axis=1)[:, ::-1], 1e-300)))


@nb.njit(cache=True)
def _best_fits(
    query: NDArray[np.int8], words: NDArray[np.int8], matrix: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:  # pragma: no cover - compiled
    """Best score of each word along the query without gaps, identical residues there, and length of the word."""
    n, width = words.shape
    score = np.zeros(n, np.int32)
    same = np.zeros(n, np.int32)
    used = np.zeros(n, np.int32)
    for k in range(n):
        length = 0
        while length < width and words[k, length] >= 0:
            length += 1
        used[k] = length
        for start in range(len(query) - length + 1):
            s = 0
            for i in range(length):
                s += matrix[query[start + i], words[k, i]]
            if s > score[k]:
                score[k] = s
                count = 0
                for i in range(length):
                    count += query[start + i] == words[k, i]
                same[k] = count
    return score, same, used
