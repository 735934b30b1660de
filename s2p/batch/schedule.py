"""In which order a batch is worked on: from the sizes of files, before any is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from s2p.batch.inputs import Item

__all__ = ["estimate_residues", "groups", "longest_first"]

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
