"""Groups atom records into residues, selects conformers, and finds duplicates.

Atoms of one residue may be anywhere in a file, and two residues may have the same id. Therefore atoms with the same model, chain,
number and residue name are one residue, unless an atom name is repeated at another position, as in another molecule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.structure.arrays import AtomTable, changes, codes

__all__ = ["Grouped", "group_atoms"]

BACKBONE = ("N", "CA", "C")
ALTERNATIVE = 1.5
"""Å: atoms of one name within this distance are alternatives of each other, not atoms of two molecules (no bond is longer, and
no two atoms of different molecules are so close)."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """R residues, chain by chain in the order of the file, ligands included, and the A atoms of theirs that stay."""

    atoms: AtomTable  # Sorted by residue.
    row: NDArray[np.int64]  # (A,) residue of each atom, ascending.
    start: NDArray[np.int64]  # (R,) first atom of each residue.
    again: NDArray[np.bool_]  # (R,) whether an earlier residue has its chain, number and name.

    def column(self, name: str) -> NDArray[Any]:
        """(R,) a column of the table."""
        values: NDArray[Any] = getattr(self.atoms, name)[self.start]
        return values

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(R,) number of atoms."""
        return np.asarray(np.diff(self.start, append=len(self.row)))

    @cached_property
    def backbone(self) -> NDArray[np.int64]:
        """(3, R) index of N, CA and C, -1 for none."""
        return np.stack([self.of_name(name, element=name[0]) for name in BACKBONE])

    def of_name(self, *names: str, element: str = "") -> NDArray[np.int64]:
        """(R,) index of the first atom of one of some names, and of an element, in each residue; -1 for none."""
        wanted = np.isin(self.atoms.name, names) if len(names) > 1 else self.atoms.name == names[0]
        found = np.flatnonzero(wanted & (self.atoms.element == element) if element else wanted)[::-1]
        index = np.full(len(self.start), -1, np.int64)
        index[self.row[found]] = found
        return index

    def distance(self, i: int, j: int) -> float:
        """Å between the nearest atoms of two residues."""
        a, b = (self.atoms.coord[self.row == k] for k in (i, j))
        return float(np.linalg.norm(a[:, None] - b[None], axis=-1).min())

    def take(self, residues: NDArray[np.int64]) -> Grouped:
        """Some of the residues, in the order given."""
        sizes = self.sizes[residues]
        row = np.repeat(np.arange(len(residues)), sizes)
        start = np.cumsum(sizes) - sizes
        atoms = self.atoms.take(np.arange(len(row)) + (self.start[residues] - start)[row])
        return Grouped(atoms, row, start, self.again[residues])


def group_atoms(table: AtomTable, chain_rank: NDArray[np.int64], notes: list[str]) -> Grouped:
    """Residues of a table without hydrogens and waters, one conformer of each; what is left out is noted.

    ``chain_rank``: (n,) chains are put in this order.
    """
    instance, again = _instances(table)
    first = np.unique(instance, return_index=True)[1]
    order = np.lexsort((first, chain_rank[first]))
    row = np.argsort(order)[instance]
    sort = np.argsort(row, kind="stable")
    table, row = table.take(sort), row[sort]
    again = again[order]
    start = np.flatnonzero(changes(row))
    same_place = changes(*(getattr(table, key)[start] for key in ("model", "block", "chain", "number", "insertion_code")))
    keep = _one_conformer(row, (np.cumsum(same_place | again) - 1)[row], table)
    name = codes(table.name[keep])
    once = _occurrence(row[keep] * len(table) + name) == 0  # files with duplicated atoms exist
    if not once.all():
        notes.append(f"{int((~once).sum())} atoms that occur twice in a residue were left out")
    keep[keep] = once
    segment = np.full(len(start), "", dtype=table.segment.dtype)
    named = np.flatnonzero(table.segment != "")[::-1]
    segment[row[named]] = table.segment[named]  # some programs write it for some atoms of a residue only
    table = replace(table, segment=segment[row])
    kept = np.flatnonzero(np.bincount(row[keep], minlength=len(start)))
    whole = Grouped(table.take(keep), row[keep], np.searchsorted(row[keep], np.arange(len(start))), again)
    return whole if len(kept) == len(start) else whole.take(kept)


def _instances(table: AtomTable) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(n,) residue of each atom, and (R,) whether it is a second one of its name."""
    keys = ("model", "block", "label_chain", "chain", "number", "insertion_code", "residue_name", "label_number")
    columns = [getattr(table, key) for key in keys]
    spot = codes(table.name, table.altloc)
    width = int(spot.max(initial=0)) + 1
    run = np.cumsum(changes(*columns)) - 1
    turn = _occurrence(run * width + spot)
    if turn.any():  # a name that comes again begins the next residue, unless atoms of both take turns
        step = len(table) + 1
        later = np.maximum.accumulate(run * step + turn)
        mixed = np.zeros(int(run[-1]) + 1, dtype=bool)
        mixed[run[_occurrence(later * width + spot) > 0]] = True
        run = codes(np.where(mixed[run], run * step + turn, later))
    first = np.unique(run, return_index=True)[1]
    group = codes(*(column[first] for column in columns))
    n_groups = int(group.max(initial=-1)) + 1
    if n_groups == len(first):
        return run, np.zeros(len(first), dtype=bool)
    opening = np.unique(group, return_index=True)[1]  # first run of each group
    of_atom = group[run]
    _, reference, inverse = np.unique(of_atom * width + spot, return_index=True, return_inverse=True)
    reference = reference[inverse.reshape(-1)]
    moved = np.linalg.norm(table.coord - table.coord[reference], axis=1) > ALTERNATIVE
    backbone = np.isin(table.name, BACKBONE)
    # A residue of the protein is told by its backbone, whose atoms no alternative side chain moves.
    has_backbone = np.zeros(n_groups, dtype=bool)
    has_backbone[of_atom[backbone]] = True
    counted = backbone | ~has_backbone[of_atom]
    size = np.bincount(run[counted], minlength=len(first))
    shared = np.bincount(run[counted & (run[reference] != run)], minlength=len(first))
    gone = np.bincount(run[counted & moved], minlength=len(first))
    copy = (shared >= np.minimum(size[opening][group], np.where(has_backbone[group], 2, 3))) & (2 * gone > shared)
    sort = np.argsort(group, kind="stable")
    number = np.cumsum((copy | np.isin(np.arange(len(first)), opening))[sort]) - 1
    instance = np.empty(len(first), np.int64)
    instance[sort] = number
    again = np.zeros(int(number.max()) + 1, dtype=bool)
    again[instance[copy]] = True
    return instance[run], again


def _occurrence(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) how often the same key came before."""
    order = np.argsort(key, kind="stable")
    new = changes(key[order])
    place = np.arange(len(key))
    count = np.empty(len(key), np.int64)
    count[order] = place - place[new][np.cumsum(new) - 1]
    return count


def _one_conformer(row: NDArray[np.int64], group: NDArray[np.int64], table: AtomTable) -> NDArray[np.bool_]:
    """Mask of the atoms that belong to the residue's best conformer, or to none in particular.

    ``group`` joins residues of one number: with micro-heterogeneity they are conformers of each other.
    """
    keep = np.ones(len(row), dtype=bool)
    alternative = np.flatnonzero(table.altloc != "")
    if not len(alternative):
        return keep
    label = codes(table.altloc[alternative])
    n_labels = int(label.max()) + 1
    conformer = row[alternative] * n_labels + label
    ids, first, inverse = np.unique(conformer, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    mean = np.round(np.bincount(inverse, weights=table.occupancy[alternative]) / np.bincount(inverse), 4)
    owner = group[alternative][first]
    order = np.lexsort((first, -mean, owner))
    best = order[np.r_[True, np.diff(owner[order]) != 0]]
    chosen = np.full(int(group.max()) + 1, -1, dtype=np.int64)
    chosen[owner[best]] = ids[best]
    keep[alternative] = conformer == chosen[group[alternative]]
    # Of several residues that share a number, only the one of the chosen conformer stays.
    named = chosen[group] >= 0
    all_alternative = np.zeros(int(row.max()) + 1, dtype=bool)
    all_alternative[row[alternative]] = True
    keep &= ~(named & all_alternative[row] & (row != chosen[group] // n_labels))
    return keep
