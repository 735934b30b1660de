"""Contacts: which residues touch a ligand, a pocket or any other set of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from s2p.config import LabelConfig
from s2p.structure.arrays import Atoms, Structure

__all__ = ["binding_residues"]


def binding_residues(
    structure: Structure | Atoms, ligand_coord: ArrayLike, cutoff: float = LabelConfig.cutoff
) -> NDArray[np.int32]:
    """Residues with a heavy atom within ``cutoff`` of a ligand heavy atom.

    Parameters
    ----------
    structure
        Or its ``atoms``.
    ligand_coord
        (L, 3) heavy-atom coordinates, Å.
    cutoff
        Å, inclusive.

    Returns
    -------
    (K,) int32
        0-based residue indices, ascending.
    """
    atoms = structure.atoms if isinstance(structure, Structure) else structure
    ligand = np.asarray(ligand_coord, dtype=np.float64).reshape(-1, 3)
    if not len(ligand) or not len(atoms):
        return np.empty(0, dtype=np.int32)
    distance, _ = cKDTree(ligand).query(atoms.coord.astype(np.float64), distance_upper_bound=np.nextafter(cutoff, np.inf))
    return np.unique(atoms.residue_index[distance <= cutoff]).astype(np.int32)
