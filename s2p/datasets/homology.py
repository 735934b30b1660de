"""Search for homologous sequences, and clusters of them, if mmseqs2 is not installed.

A query's words (in an alphabet of ten classes of amino acids) are looked up in an index of the targets' words. If two of them
lie on neighbouring diagonals, the diagonals are scored without gaps, and the best targets are aligned. Index and alignments are
biotite's; the run time grows with the number of shared words, not of pairs.

Sources: the ten classes are those of Murphy, Wallqvist and Levy (Protein Eng. 13, 149, 2000); the statistics of gapped BLOSUM62
scores are those of Altschul and Gish (1996) as used by BLAST; two words on one diagonal as a filter are from gapped BLAST (1997).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2p.io.runtime import progress_bar

__all__ = ["Hit", "blosum62", "encode", "greedy_set_cover", "search"]

SMALL, LARGE = 100_000, 3_000_000
"""Residues up to which words have four and five letters of the reduced alphabet; one more for every tenfold size above."""
BAND = 16
"""Diagonals that count as neighbouring."""
E_VALUE, DIAGONAL_E_VALUE = 1e-3, 0.05
"""Largest E-value of a hit (mmseqs2's default), and of a candidate's best ungapped segment between two sequences."""
MAX_CANDIDATES = 300
"""Largest number of targets that a query is aligned with, those with the best ungapped segments first."""
GAPS = (-12, -1)
"""Score of the first and of each further column of a gap."""
GAPPED = (0.267, 0.041)
"""Karlin–Altschul lambda and K of BLOSUM62 with these gaps."""
UNGAPPED = (0.3176, 0.134)
"""The same without gaps."""
WHOLE, DROP, SHARE = 10_000, 100, 0.6
"""X-drops of the diagonals (none) and of a quick alignment, which must reach this share of the required score."""
_LETTERS = "ACDEFGHIKLMNPQRSTVWYBZX*"  # biotite's alphabet of proteins
_CLASSES = ("LVIM", "C", "A", "G", "ST", "P", "FYW", "EDNQ", "KR", "H")
_CLASS_OF = np.array([next((k for k, members in enumerate(_CLASSES) if letter in members), -1) for letter in _LETTERS])


class Hit(NamedTuple):
    """A local alignment."""

    query: int
    """Index of the query."""
    target: int
    score: int
    """BLOSUM62."""
    identity: float
    """Identical residues per column of the alignment."""
    length: int
    """Columns, gaps included."""
    query_span: int
    """Residues of the query from the first to the last aligned."""
    target_span: int


@lru_cache(maxsize=1)
def _matrix() -> Any:
    from biotite.sequence.align import SubstitutionMatrix

    return SubstitutionMatrix.std_protein_matrix()


def blosum62() -> NDArray[np.int32]:
    """(24, 24) scores in the order of :func:`encode`."""
    return np.ascontiguousarray(_matrix().score_matrix().astype(np.int32))


def encode(sequence: str) -> NDArray[np.int8]:
    """(n,) index of each letter; letters other than the twenty (and B, Z) become X."""
    unknown = _LETTERS.index("X")
    table = np.full(256, unknown, dtype=np.int8)
    table[[ord(letter) for letter in _LETTERS[:unknown]]] = np.arange(unknown)
    return table[np.frombuffer(sequence.upper().encode("ascii", errors="replace"), np.uint8)]


def search(queries: Sequence[str], targets: Sequence[str] | None = None) -> list[Hit]:
    """Targets that are more similar to each query than by chance, sorted by query and then by decreasing score.

    Without ``targets``, the queries are compared with each other, and every pair is reported once, with ``query < target``.
    """
    from biotite.sequence.align import KmerTable

    own = [_protein(s) for s in queries]
    other = own if targets is None else [_protein(s) for s in targets]
    lengths = np.array([len(s) for s in other], dtype=np.int64)
    n_letters = max(1, int(lengths.sum()))
    word = (4 if n_letters <= SMALL else 5) + max(0, int(np.ceil(np.log10(n_letters / LARGE))))
    index = np.flatnonzero(lengths >= word).tolist()
    if not index:
        return []
    reduced, unknown = zip(*(_reduced(other[k]) for k in index), strict=True)
    table = KmerTable.from_sequences(word, reduced, index, unknown)
    hits = []
    for k in progress_bar([k for k, s in enumerate(own) if len(s) >= word], "homologues"):
        letters, mask = _reduced(own[k])
        words = table.match(letters, ignore_mask=mask).astype(np.int64)
        if targets is None:
            words = words[words[:, 1] > k]
        least = _least_score(E_VALUE, len(own[k]), n_letters, GAPPED)
        found = [_align(k, own[k], other, *candidate, least) for candidate in _candidates(own[k], words, other, lengths)]
        hits += sorted((x for x in found if x is not None), key=lambda x: (-x.score, x.target))
    return hits


def _protein(sequence: str) -> Any:
    from biotite.sequence import ProteinSequence

    protein = ProteinSequence()
    protein.code = encode(sequence).astype(np.uint8)
    return protein


def _reduced(protein: Any) -> tuple[Any, NDArray[np.bool_]]:
    """The sequence as classes of amino acids, and which of its letters have no class."""
    from biotite.sequence import GeneralSequence, LetterAlphabet

    classes = _CLASS_OF[protein.code]
    reduced = GeneralSequence(LetterAlphabet("abcdefghij"))
    reduced.code = np.maximum(classes, 0).astype(np.uint8)
    return reduced, classes < 0


def _least_score(expected: float, n: int, m: int | NDArray[np.int64], statistics: tuple[float, float]) -> Any:
    """Score that is reached ``expected`` times by chance: E = K m n exp(-lambda S) solved for S."""
    decay, scale = statistics
    return np.log(scale * n * np.maximum(m, 1) / expected) / decay


def _candidates(
    query: Any, words: NDArray[np.int64], targets: Sequence[Any], lengths: NDArray[np.int64]
) -> list[tuple[int, tuple[int, int]]]:
    """Targets with a position on their best diagonal, from (W, 3) shared words: query position, target, target position."""
    from biotite.sequence.align import align_local_ungapped

    key = words[:, 1] * (1 << 32) + words[:, 2] - words[:, 0] + len(query)
    order = np.argsort(key, kind="stable")
    near = np.diff(key[order]) <= BAND
    order = order[np.r_[near, False] | np.r_[False, near]] if len(order) else order
    _, first = np.unique(key[order], return_index=True)
    least = _least_score(DIAGONAL_E_VALUE, len(query), lengths, UNGAPPED).tolist()
    best: dict[int, tuple[int, tuple[int, int]]] = {}
    for i, target, j in words[order[first]].tolist():
        score = align_local_ungapped(query, targets[target], _matrix(), (i, j), WHOLE, score_only=True, check_matrix=False)
        if score >= least[target] and (target not in best or score > best[target][0]):
            best[target] = score, (i, j)
    ranked = sorted(best, key=lambda target: -best[target][0])[:MAX_CANDIDATES]
    return [(target, best[target][1]) for target in ranked]


def _align(number: int, query: Any, targets: Sequence[Any], target: int, seed: tuple[int, int], least: float) -> Hit | None:
    """The best local alignment, if its score is at least ``least``."""
    from biotite.sequence.align import align_local_gapped, align_optimal

    other = targets[target]
    # Most candidates fail here, at a fraction of the cost of the alignment.
    if align_local_gapped(query, other, _matrix(), seed, DROP, GAPS, score_only=True) < SHARE * least:
        return None
    best = align_optimal(query, other, _matrix(), GAPS, local=True, max_number=1)[0]
    if best.score < least:
        return None
    a, b = best.trace.T
    both = (a >= 0) & (b >= 0)
    same = int((query.code[a[both]] == other.code[b[both]]).sum())
    spans = (int(np.ptp(column[both])) + 1 for column in (a, b))  # a local alignment begins and ends with a pair
    return Hit(number, target, int(best.score), same / len(a), len(a), *spans)


def greedy_set_cover(n: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of 0..n-1: repeatedly, the index with most free neighbours forms a group with them, as in mmseqs2's clustering.

    ``pairs`` are neighbours, in either order. Each group starts with its representative, and groups are in the order of the
    representatives; every index is in one group.
    """
    near: list[set[int]] = [set() for _ in range(n)]
    for a, b in pairs:
        near[a].add(b)
        near[b].add(a)
    taken = [False] * n
    heap = [(-len(near[k]), k) for k in range(n)]
    heapq.heapify(heap)
    groups = []
    while heap:
        size, k = heapq.heappop(heap)
        if taken[k]:
            continue
        free = sorted(x for x in near[k] if not taken[x])
        if len(free) < -size:
            heapq.heappush(heap, (-len(free), k))  # other groups took some since they were counted
            continue
        for x in (k, *free):
            taken[x] = True
        groups.append([k, *free])
    return sorted(groups)
