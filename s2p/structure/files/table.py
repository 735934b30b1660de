"""The atom records of a file as they stand, in columns: what every format is read into, and what the reading rules start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from s2p.errors import StructureError

__all__ = ["AtomTable", "Columns", "changes", "check_count", "codes", "joined"]


@dataclass(frozen=True, eq=False)
class Columns:
    """A table: a dataclass of equally long arrays."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, rows: NDArray[Any]) -> Self:
        """The rows of a mask, or of indices."""
        return replace(self, **{key: value[rows] for key, value in vars(self).items() if isinstance(value, np.ndarray)})


@dataclass(frozen=True, eq=False)
class AtomTable(Columns):
    """n atom records, in file order, hydrogens and waters included."""

    coord: NDArray[np.float64]
    """(n, 3) Å; NaN where the file gives no usable number."""
    name: NDArray[np.str_]
    """(n,) atom name without blanks."""
    element: NDArray[np.str_]
    """(n,) upper-case symbol; ``X`` where neither column nor name tells it."""
    altloc: NDArray[np.str_]
    """(n,) label of the conformer, ``""`` for none."""
    residue_name: NDArray[np.str_]
    """(n,) as written."""
    chain: NDArray[np.str_]
    """(n,) author chain id as written, ``""`` for none."""
    number: NDArray[np.int32]
    """(n,) author residue number."""
    insertion_code: NDArray[np.str_]
    """(n,) ``""`` for none."""
    segment: NDArray[np.str_]
    """(n,) segment id of a PDB file, ``""`` for none."""
    occupancy: NDArray[np.float32]
    """(n,) 1 where the file gives none."""
    b_factor: NDArray[np.float32]
    """(n,)."""
    het: NDArray[np.bool_]
    """(n,) whether it is a HETATM record."""
    model: NDArray[np.int32]
    """(n,) model number as written, 1 without models."""
    part: NDArray[np.int32]
    """(n,) how many TER, END or block borders come before, counted through the file."""
    block: NDArray[np.int32]
    """(n,) how many borders of another kind come before: END records (not ENDMDL) of a PDB file, data blocks of mmCIF."""
    label_chain: NDArray[np.str_]
    """(n,) ``label_asym_id`` of mmCIF, ``""`` for none."""
    label_number: NDArray[np.int32]
    """(n,) ``label_seq_id`` of mmCIF, 0 for none."""
    line: NDArray[np.int32]
    """(n,) line (or row) of the file, from 1, for messages."""
    notes: tuple[str, ...] = ()
    """Sentences about what was unusual in the file."""


def joined(tables: Sequence[AtomTable]) -> AtomTable:
    """Tables one after the other, each a part and a block of its own."""
    if len(tables) == 1:
        return tables[0]
    columns = {key: np.concatenate([getattr(t, key) for t in tables]) for key in vars(tables[0]) if key != "notes"}
    shift = np.repeat(np.arange(len(tables), dtype=np.int32), [len(t) for t in tables])
    columns["part"], columns["block"] = columns["part"] + shift, columns["block"] + shift
    return AtomTable(**columns, notes=tuple(note for t in tables for note in t.notes))


def check_count(found: int, most: int, what: str, path: Path) -> None:
    """Raise ``StructureError`` for a file that would take too much memory or time."""
    if found > most:
        raise StructureError(
            f"{path}: holds {found} {what}; at most {most} are read, so split it or leave out what is not needed"
        )


def codes(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) a number for each row, from 0 and without gaps, the same where all columns are the same."""
    total = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        code = np.unique(_number(column), return_inverse=True)[1].reshape(-1)
        if code.any():
            total = np.unique(total * (int(code.max()) + 1) + code, return_inverse=True)[1].reshape(-1)
    return total


def changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) whether a row differs from the one before in any column; the first one does."""
    change = np.zeros(max(len(columns[0]) - 1, 0), dtype=bool)
    for column in columns:
        number = _number(column)
        change |= number[1:] != number[:-1]
    return np.concatenate((np.ones(min(len(columns[0]), 1), dtype=bool), change))


def _number(column: NDArray[Any]) -> NDArray[Any]:
    """Short strings as numbers, which sort and compare many times faster."""
    if column.dtype.kind != "U" or not len(column):
        return column
    width = column.dtype.itemsize // 4
    letters = np.ascontiguousarray(column).view(np.uint32).reshape(len(column), width)
    if width > 8 or letters.max() > 255:
        return column
    packed = np.zeros((len(column), 8), np.uint8)
    packed[:, :width] = letters
    return packed.view(np.int64).ravel()
