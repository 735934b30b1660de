"""Search for homologous sequences without outside programs: shared words, then ungapped diagonals, then local alignment.

A query's words (in an alphabet of ten classes of amino acids) are looked up in an index of the targets' words. Where two of them
lie on neighbouring diagonals, the diagonal is scored without gaps; the best targets are aligned by Smith–Waterman with affine
gaps. Work grows with the number of shared words, not with the number of pairs.

Sources: the ten classes are those of Murphy, Wallqvist and Levy (Protein Eng. 13, 149, 2000); the statistics of gapped BLOSUM62
scores are those of Altschul and Gish (1996) as used by BLAST; two words on one diagonal as a filter are from gapped BLAST (1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numba as nb
import numpy as np
from numpy.typing import NDArray

from s2p.config import Checked, Count, Positive
from s2p.io.runtime import progress_bar

__all__ = ["Hits", "HomologyConfig", "blosum62", "encode", "search"]


@dataclass(frozen=True)
class HomologyConfig(Checked):
    """The search for homologues without mmseqs2; ours, checked against it."""

    word: Count = 4
    """Letters of a word, in the reduced alphabet, for small sets; one more for every tenfold size above ``word_residues``."""
    word_residues: Count = 300_000
    """Residues up to which words have ``word`` letters."""
    min_hits: Count = 2
    """Words on neighbouring diagonals that make a candidate."""
    diagonal_band: Count = 16
    """Diagonals that count as neighbouring."""
    diagonal_e_value: Positive = 0.05
    """A candidate's best stretch without gaps is expected at most this often between two chance sequences."""
    candidates: Count = 300
    """Targets a query is aligned with at most, those with the most words first."""
    e_value: Positive = 1e-3
    """Alignments expected by chance at most this often are hits (mmseqs2's default)."""


GAP_OPEN, GAP_EXTEND = 11, 1
GAPPED_LAMBDA, GAPPED_K = 0.267, 0.041
"""Karlin–Altschul parameters of BLOSUM62 with gaps of 11 + k."""
UNGAPPED_LAMBDA, UNGAPPED_K = 0.3176, 0.134
"""The same without gaps."""

_LETTERS = "ACDEFGHIKLMNPQRSTVWYBZX*"
_UNKNOWN = _LETTERS.index("X")
_CLASSES = ("LVIM", "C", "A", "G", "ST", "P", "FYW", "EDNQ", "KR", "H")


@dataclass(frozen=True, eq=False)
class Hits:
    """Local alignments, H of them, sorted by query and then by falling score."""

    query: NDArray[np.int32]
    """(H,), index of the query."""
    target: NDArray[np.int32]
    score: NDArray[np.int32]
    """(H,), BLOSUM62."""
    identity: NDArray[np.float64]
    """(H,), identical residues per column of the alignment."""
    length: NDArray[np.int32]
    """(H,), columns, gaps included."""
    query_span: NDArray[np.int32]
    """(H,), residues of the query from the first to the last aligned."""
    target_span: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.query)


@lru_cache(maxsize=1)
def blosum62() -> NDArray[np.int32]:
    """(24, 24) scores in the order of :func:`encode`."""
    from biotite.sequence.align import SubstitutionMatrix

    matrix = SubstitutionMatrix.std_protein_matrix()
    order = [matrix.get_alphabet1().encode(letter) for letter in _LETTERS]
    return np.ascontiguousarray(matrix.score_matrix()[np.ix_(order, order)].astype(np.int32))


def encode(sequence: str) -> NDArray[np.int8]:
    """(n,) index of each letter; what is none of the twenty (or B, Z) becomes X."""
    table = np.full(256, _UNKNOWN, dtype=np.int8)
    for k, letter in enumerate(_LETTERS[:_UNKNOWN]):
        table[ord(letter)] = k
    return table[np.frombuffer(sequence.upper().encode("ascii", errors="replace"), np.uint8)]


def search(queries: Sequence[str], targets: Sequence[str] | None = None, config: HomologyConfig | None = None) -> Hits:
    """Targets that resemble each query better than chance.

    Parameters
    ----------
    queries
        One-letter sequences.
    targets
        Default: the queries themselves; then every pair is reported once, with ``query < target``.
    config
        Length of the words, filters, and the E-value of a hit.
    """
    config = config or HomologyConfig()
    itself = targets is None
    q, q_start = _concatenate(queries)
    t, t_start = (q, q_start) if targets is None else _concatenate(targets)
    n_letters = max(1, len(t))
    word = config.word + max(0, int(np.ceil(np.log10(n_letters / config.word_residues))))
    q_words, t_words = (_words(x, start, word) for x, start in ((q, q_start), (t, t_start)))
    order = np.argsort(t_words, kind="stable")
    order = order[np.searchsorted(t_words, 0, sorter=order) :].astype(np.int32)  # words with an unknown letter are -1
    first = np.searchsorted(t_words[order], np.arange(len(_CLASSES) ** word + 1)).astype(np.int64)
    owner = np.repeat(np.arange(len(t_start) - 1, dtype=np.int32), np.diff(t_start))
    rows = []
    for k in progress_bar(range(len(q_start) - 1), "homologues"):
        sequence = q[q_start[k] : q_start[k + 1]]
        if not len(sequence):
            continue
        found = _candidates(
            sequence,
            q_words[q_start[k] : q_start[k + 1]],
            t,
            t_start,
            order,
            first,
            owner,
            k if itself else -1,
            blosum62(),
            config.diagonal_band,
            config.min_hits,
            config.diagonal_e_value,
        )
        best = found[np.argsort(-found[:, 1], kind="stable")][: config.candidates, 0]
        # E = K m n exp(-lambda S) solved for S.
        least = np.log(GAPPED_K * len(sequence) * n_letters / config.e_value) / GAPPED_LAMBDA
        block = _align_all(sequence, t, t_start, best, blosum62(), max(1, int(np.ceil(least))))
        rows.append(np.c_[np.full(len(block), k, np.int32), block])
    table = np.concatenate(rows) if rows else np.empty((0, 7), np.int32)
    table = table[np.lexsort((table[:, 1], -table[:, 2], table[:, 0]))]
    length = table[:, 4]
    return Hits(table[:, 0], table[:, 1], table[:, 2], table[:, 3] / np.maximum(length, 1), length, table[:, 5], table[:, 6])


def _concatenate(sequences: Sequence[str]) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    start = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    return encode("".join(sequences)), start


def _words(codes: NDArray[np.int8], start: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Number of the word that begins at each residue; -1 where it holds an unknown letter or runs out of its sequence."""
    reduced = np.full(len(_LETTERS), -1, dtype=np.int64)
    for k, letters in enumerate(_CLASSES):
        reduced[[_LETTERS.index(letter) for letter in letters]] = k
    digit = np.r_[reduced[codes], np.full(length, -1)]
    word = np.zeros(len(codes), dtype=np.int64)
    bad = np.zeros(len(codes), dtype=bool)
    for k in range(length):
        column = digit[k : k + len(codes)]
        bad |= column < 0
        word = word * len(_CLASSES) + column
    for k in range(1, length):
        ends = start[1:] - k
        bad[ends[ends >= start[:-1]]] = True
    word[bad] = -1
    return word


@nb.njit(cache=True)
def _candidates(query, words, t, t_start, order, first, owner, itself, matrix, band, min_hits, e_value):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(C, 2) targets with their best ungapped score, of those with ``min_hits`` words on neighbouring diagonals."""
    n = len(query)
    total = 0
    for i in range(n):
        if words[i] >= 0:
            total += first[words[i] + 1] - first[words[i]]
    key = np.empty(total, np.int64)
    h = 0
    width = np.int64(1) << 32
    for i in range(n):
        if words[i] < 0:
            continue
        for p in range(first[words[i]], first[words[i] + 1]):
            j = order[p]
            target = owner[j]
            if target > itself:
                key[h] = target * width + (j - t_start[target] - i + n)
                h += 1
    key = np.sort(key[:h])
    out = np.empty((len(t_start), 2), np.int32)
    count = 0
    run = 1
    scored = np.int64(-1)
    size_of_search = UNGAPPED_K * n / e_value
    for k in range(1, h):
        target = key[k] // width
        run = run + 1 if target == key[k - 1] // width and key[k] - key[k - 1] <= band else 1
        if run < min_hits:
            continue
        for previous in range(k - min_hits + 1, k + 1):
            if key[previous] <= scored:
                continue
            scored = key[previous]
            shift = scored % width - n
            begin = t_start[target]
            i = max(0, -shift)
            end = min(n, t_start[target + 1] - begin - shift)
            best = current = 0
            while i < end:
                current = max(0, current + matrix[query[i], t[begin + i + shift]])
                best = max(best, current)
                i += 1
            if best * UNGAPPED_LAMBDA >= np.log(size_of_search * (t_start[target + 1] - begin)):
                if count and out[count - 1, 0] == target:
                    out[count - 1, 1] = max(out[count - 1, 1], best)
                else:
                    out[count, 0] = target
                    out[count, 1] = best
                    count += 1
    return out[:count]


@nb.njit(cache=True)
def _align_all(query, t, t_start, which, matrix, least):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(H, 6) target, score, identities, columns, span in query and target of the alignments that score ``least``."""
    out = np.empty((len(which), 6), np.int32)
    count = 0
    for k in which:
        target = t[t_start[k] : t_start[k + 1]]
        # Most candidates fail here, at a fraction of the cost of the alignment that follows its path.
        if _best_score(query, target, matrix) >= least:
            score, same, columns, span, other = _local(query, target, matrix)
            out[count, 0] = k
            out[count, 1] = score
            out[count, 2] = same
            out[count, 3] = columns
            out[count, 4] = span
            out[count, 5] = other
            count += 1
    return out[:count]


@nb.njit(cache=True)
def _best_score(a, b, matrix):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Score of the best local alignment."""
    m = len(b)
    row = np.zeros(m + 1, np.int32)
    gap_b = np.full(m + 1, -1_000_000, np.int32)
    best = 0
    for i in range(len(a)):
        scores = matrix[a[i]]
        gap_a = -1_000_000
        diagonal = left = 0
        for j in range(1, m + 1):
            above = row[j]
            gap_b[j] = max(gap_b[j], above - GAP_OPEN) - GAP_EXTEND
            gap_a = max(gap_a, left - GAP_OPEN) - GAP_EXTEND
            left = max(0, diagonal + scores[b[j - 1]], gap_a, gap_b[j])
            row[j] = left
            best = max(best, left)
            diagonal = above
    return best


@nb.njit(cache=True)
def _local(a, b, matrix):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Smith–Waterman with affine gaps: score, identities, columns, span in a and b of the best local alignment.

    What is wanted of the path travels with the scores, so no table is kept: memory is linear.
    """
    m = len(b)
    row = np.zeros(m + 1, np.int32)
    gap_b = np.full(m + 1, -1_000_000, np.int32)
    # Identities, columns, first row and first column of the path that ends in each cell, and in each gap.
    path = np.zeros((m + 1, 4), np.int32)
    gap_path = np.zeros((m + 1, 4), np.int32)
    best = best_same = best_columns = span_a = span_b = 0
    for i in range(len(a)):
        gap_a = -1_000_000
        a0 = a1 = a2 = a3 = np.int32(0)
        diagonal = d0 = d1 = d2 = d3 = np.int32(0)
        for j in range(1, m + 1):
            above = row[j]
            u0, u1, u2, u3 = path[j, 0], path[j, 1], path[j, 2], path[j, 3]
            if above - GAP_OPEN >= gap_b[j]:
                gap_b[j] = above - GAP_OPEN
                gap_path[j, 0], gap_path[j, 1], gap_path[j, 2], gap_path[j, 3] = u0, u1, u2, u3
            gap_b[j] -= GAP_EXTEND
            gap_path[j, 1] += 1
            if row[j - 1] - GAP_OPEN >= gap_a:
                gap_a = row[j - 1] - GAP_OPEN
                a0, a1, a2, a3 = path[j - 1, 0], path[j - 1, 1], path[j - 1, 2], path[j - 1, 3]
            gap_a -= GAP_EXTEND
            a1 += 1
            if diagonal <= 0:
                d0, d1, d2, d3 = np.int32(0), np.int32(0), np.int32(i), np.int32(j - 1)
            score = diagonal + matrix[a[i], b[j - 1]]
            if score <= 0 and gap_a <= 0 and gap_b[j] <= 0:
                row[j] = 0
            elif score >= gap_a and score >= gap_b[j]:
                row[j] = score
                path[j, 0], path[j, 1], path[j, 2], path[j, 3] = d0 + (a[i] == b[j - 1]), d1 + 1, d2, d3
            elif gap_a >= gap_b[j]:
                row[j] = gap_a
                path[j, 0], path[j, 1], path[j, 2], path[j, 3] = a0, a1, a2, a3
            else:
                row[j] = gap_b[j]
                for k in range(4):
                    path[j, k] = gap_path[j, k]
            if row[j] > best:
                best, best_same, best_columns = row[j], path[j, 0], path[j, 1]
                span_a, span_b = i - path[j, 2] + 1, j - path[j, 3]
            diagonal, d0, d1, d2, d3 = above, u0, u1, u2, u3
    return best, best_same, best_columns, span_a, span_b
