"""Residues that touch DNA or RNA in a complex."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.errors import StructureError
from s2p.structure.reading import Structure

__all__ = ["NucleicKind", "nucleic_contacts"]

NucleicKind = Literal["dna", "rna"]
RADII = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80, "P": 1.80}
"""Å, van der Waals (Bondi 1964)."""
OTHER_RADIUS = 1.80
"""Å, of what else there is in proteins and nucleotides (selenium, halogens)."""
GAP = 0.5
"""Å: atoms closer than the sum of their radii and this touch (paper)."""


def nucleic_contacts(structure: Structure, kind: NucleicKind | None = None) -> NDArray[np.uint8]:
    """(N,) 1 for every residue with a heavy atom that touches a nucleic acid of the structure.

    Two atoms touch when they are closer than the sum of their van der Waals radii and 0.5 Å (paper, data sets; strict).

    Parameters
    ----------
    kind
        ``dna`` or ``rna``: count nucleotides of one kind only. One is RNA if it has the atom O2', as ribose does; this also tells
        modified nucleotides and old files that call both ``A``.

    Raises
    ------
    StructureError
        If the structure holds no such nucleotide: without one, nothing can be said of any residue.
    """
    chosen = [
        ligand
        for ligand in structure.ligands
        if ligand.kind == "nucleic" and (kind is None or (kind == "rna") == bool(np.isin(("O2'", "O2*"), ligand.atom_name).any()))
    ]
    if not chosen:
        what = "DNA or RNA" if kind is None else kind.upper()
        raise StructureError(f"{structure.name}: there is no {what} in it, so that no binding residues can be read from it")
    coord = np.concatenate([ligand.coord for ligand in chosen]).astype(np.float64)
    radius = _radii(np.concatenate([ligand.element for ligand in chosen]))
    own = _radii(structure.atoms.element)
    touches = np.zeros(len(own), dtype=np.bool_)
    for size in np.unique(radius):
        tree = cKDTree(coord[radius == size])
        distance, _ = tree.query(structure.atoms.coord.astype(np.float64), distance_upper_bound=own.max() + size + GAP)
        touches |= distance < own + size + GAP
    labels = np.zeros(len(structure.residues), np.uint8)
    labels[structure.atoms.residue_index[touches]] = 1
    return labels


def _radii(element: NDArray[np.str_]) -> NDArray[np.float64]:
    names, inverse = np.unique(element, return_inverse=True)
    return np.array([RADII.get(name, OTHER_RADIUS) for name in names.tolist()])[inverse]
