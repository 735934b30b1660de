"""In which order a batch is worked on, and how long it will still take: from the sizes of files, before any is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from s2p.batch.inputs import Item

__all__ = ["Clock", "estimate_residues", "groups", "longest_first"]

BYTES_PER_RESIDUE = 800
"""Of PDB and mmCIF files: eight atoms a residue, 80 to 100 bytes a line, and headers."""
COMPRESSION = 4
"""How many times smaller .gz and BinaryCIF files are, about."""
UNKNOWN = 300
"""Residues assumed of what is still to be downloaded."""


def estimate_residues(item: Item) -> int:
    """Residues of an input, guessed from the size of its file; 1 where there is none, so that it counts as an input."""
    if item.error:
        return 1
    if item.path is None:
        return UNKNOWN
    try:
        size = item.path.stat().st_size
    except OSError:
        return 1
    small = item.path.name.lower().endswith((".gz", ".bcif"))
    return 1 + size * (COMPRESSION if small else 1) // BYTES_PER_RESIDUE


def longest_first(sizes: Sequence[int]) -> list[int]:
    """Indices from the largest to the smallest, equals in their order.

    Neighbours are of similar length, so that batches hold little padding; what might not fit into memory is met at once and
    not after a night; and no process is left with a large one at the end.
    """
    return sorted(range(len(sizes)), key=lambda k: -sizes[k])


def groups(order: Sequence[int], sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """``order`` cut into runs of at most ``budget`` residues, but one item at least."""
    group: list[int] = []
    held = 0
    for index in order:
        if group and held + sizes[index] > budget:
            yield group
            group, held = [], 0
        group.append(index)
        held += sizes[index]
    if group:
        yield group


class Clock:
    """Seconds until a batch is done, from how fast it was so far.

    Parameters
    ----------
    total
        Residues of all inputs, estimated.
    now
        Seconds from some zero; a test brings its own.
    """

    def __init__(self, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._left = total
        self._worked = 0
        self._now = now
        self._start = now()

    def done(self, residues: int, *, skipped: bool = False) -> None:
        """Count an input as done; one that ``--resume`` skipped says nothing about the speed."""
        self._left = max(self._left - residues, 0)
        self._worked += 0 if skipped else residues

    def remaining(self) -> float | None:
        """Seconds, or ``None`` before anything is known."""
        if not self._worked:
            return None
        return self._left * (self._now() - self._start) / self._worked
