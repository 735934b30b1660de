"""The atoms of a protein as input of CrossBind: coordinates for voxels, types for features, and a slot in their residue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2p.models.crossbind.config import CrossBindConfig
from s2p.structure.reading import Structure

__all__ = ["N_ELEMENTS", "N_TYPES", "Cloud", "cloud_of"]

LETTERS = "GAVLIMCSTNQDEKRHFYWPX"
"""Residue types in the order of the public code; all but the twenty standard types are X."""
ELEMENTS = ("N", "C", "O", "S", "H", "other")
N_TYPES, N_ELEMENTS = len(LETTERS), len(ELEMENTS)
_TYPES = {letter: k for k, letter in enumerate(LETTERS)}
_ELEMENTS = {symbol: k for k, symbol in enumerate(ELEMENTS)}


@dataclass(frozen=True, eq=False)
class Cloud:
    """Atoms of one protein, or of several (``group``), A of them in L residues."""

    coord: NDArray[np.float64]
    """(A, 3) Å; the coordinates of each protein are centred on their mean."""
    residue_type: NDArray[np.int64]
    """(A,)."""
    element: NDArray[np.int64]
    """(A,)."""
    residue: NDArray[np.int64]
    """(A,), 0 to L - 1, ascending."""
    slot: NDArray[np.int64]
    """(A,) index of the atom in its residue."""
    group: NDArray[np.int64]
    """(A,) protein of the atom."""
    n_residues: int


def cloud_of(structure: Structure, config: CrossBindConfig | None = None) -> Cloud:
    """The point cloud of a structure.

    Every residue keeps its first ``slots`` heavy atoms in file order, without a terminal OXT. Residues with fewer than three
    atoms are kept too (the public code drops them), so that every residue is predicted.
    """
    slots = (config or CrossBindConfig()).slots
    atoms, letters = structure.atoms, structure.residues.one_letter
    kept = np.flatnonzero(atoms.name != "OXT")
    owner = atoms.residue_index[kept].astype(np.int64)
    first = np.searchsorted(owner, owner)
    slot = np.arange(len(owner)) - first
    few = slot < slots
    kept, owner, slot = kept[few], owner[few], slot[few]
    types = np.array([_TYPES.get(letter, _TYPES["X"]) for letter in letters.tolist()], dtype=np.int64)
    element = np.array([_ELEMENTS.get(x, _ELEMENTS["other"]) for x in atoms.element[kept].tolist()], dtype=np.int64)
    coord = atoms.coord[kept].astype(np.float64)
    return Cloud(
        coord - coord.mean(axis=0), types[owner], element, owner, slot, np.zeros(len(kept), np.int64), len(structure.residues)
    )
