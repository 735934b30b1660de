"""Helices and strands from CA coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2p.structure.arrays import Structure

__all__ = ["secondary_structure"]


def secondary_structure(structure: Structure) -> NDArray[np.str_]:
    """Secondary structure of each residue by P-SEA (Labesse et al. 1997), which needs CA atoms only.

    Returns
    -------
    (N,) ``a`` helix, ``b`` strand, ``c`` other; each chain on its own.
    """
    from biotite.structure import AtomArray, annotate_sse

    residues = structure.residues
    found = np.full(len(residues), "c", dtype="<U1")
    for chain in structure.chains:
        rows = np.flatnonzero(residues.chain == chain)
        atoms = AtomArray(len(rows))
        atoms.coord = residues.ca_coord[rows]
        atoms.atom_name[:], atoms.element[:], atoms.res_name[:] = "CA", "C", "ALA"
        atoms.res_id = np.arange(1, len(rows) + 1)
        # A run of fewer than five residues has none of the angles that the method looks at.
        if len(rows) >= 5:
            found[rows] = annotate_sse(atoms)
    found[~np.isin(found, ("a", "b"))] = "c"
    return found
