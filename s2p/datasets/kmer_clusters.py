"""Clusters of sequences without mmseqs2: the homologues of :mod:`s2p.datasets.homology`, joined by greedy set cover as mmseqs2
does."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import numpy as np

from s2p.datasets.homology import Hits, HomologyConfig, search

__all__ = ["greedy_set_cover", "kmer_cluster", "kmer_homologous"]


def kmer_homologous(
    queries: Mapping[str, str],
    targets: Mapping[str, str],
    *,
    identity: float = 0.3,
    coverage: float = 0.5,
    config: HomologyConfig | None = None,
) -> dict[str, set[str]]:
    """As :func:`s2p.datasets.splits.homologous`, without mmseqs2."""
    hits = search(list(queries.values()), list(targets.values()), config)
    query_names, target_names = list(queries), list(targets)
    query_length, target_length = (np.array([len(s) for s in table.values()], dtype=int) for table in (queries, targets))
    shorter = np.minimum(query_length[hits.query], target_length[hits.target])
    found: dict[str, set[str]] = {}
    for k in np.flatnonzero((hits.identity >= identity) & (hits.length >= coverage * shorter)).tolist():
        found.setdefault(target_names[hits.target[k]], set()).add(query_names[hits.query[k]])
    return found


def kmer_cluster(
    sequences: Mapping[str, str], *, identity: float = 0.3, coverage: float = 0.8, config: HomologyConfig | None = None
) -> list[list[str]]:
    """As :func:`s2p.datasets.splits.cluster`, without mmseqs2."""
    names = list(sequences)
    length = np.array([len(s) for s in sequences.values()], dtype=int)
    hits = search(list(sequences.values()), None, config)
    groups = greedy_set_cover(len(names), _neighbours(hits, length, identity, coverage))
    return [[names[k] for k in group] for group in groups]


def _neighbours(
    hits: Hits, length: np.ndarray[tuple[int], np.dtype[np.int_]], identity: float, coverage: float
) -> list[tuple[int, int]]:
    """Pairs that are identical enough over enough of both sequences."""
    covered = np.minimum(hits.query_span / length[hits.query], hits.target_span / length[hits.target])
    keep = (hits.identity >= identity) & (covered >= coverage)
    return list(zip(hits.query[keep].tolist(), hits.target[keep].tolist(), strict=True))


def greedy_set_cover(n: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of 0..n-1: again and again the one with most free neighbours takes them all.

    Parameters
    ----------
    pairs
        Neighbours, in either order.

    Returns
    -------
    Groups with their representative first, in the order of the representatives; every index is in one of them.
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
            heapq.heappush(heap, (-len(free), k))  # others took some since it was counted
            continue
        for x in (k, *free):
            taken[x] = True
        groups.append([k, *free])
    return sorted(groups)
