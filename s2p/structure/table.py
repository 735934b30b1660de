"""The atom records of a file as they stand, in columns: what every format is read into, and what the reading rules start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AtomTable"]


@dataclass(frozen=True, eq=False)
class AtomTable:
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

    def __len__(self) -> int:
        return len(self.coord)
