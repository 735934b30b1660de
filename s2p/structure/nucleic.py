"""Residues that touch DNA or RNA in a structure: the rule of CrossBind's labels, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.errors import StructureError
from s2p.structure.arrays import Ligand, Structure

__all__ = ["GAP", "NucleicKind", "nucleic_contacts", "nucleic_kind", "touching"]

NucleicKind = Literal["dna", "rna"]
RADII = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80, "P": 1.80}  # Å, van der Waals (Bondi 1964).
OTHER_RADIUS = 1.80  # Å, of other elements in proteins and nucleotides (selenium, halogens).
GAP = 0.5  # Å: atoms closer than the sum of their radii and this touch (paper).
DEOXY = frozenset({"DA", "DC", "DG", "DT", "DU", "DI"})
SUGAR, RIBOSE = {"C2'", "C2*"}, {"O2'", "O2*"}
"""Names of an atom of both sugars, and of the oxygen that ribose has and deoxyribose lacks."""


def nucleic_kind(names: Sequence[str], atoms: Iterable[str]) -> NucleicKind:
    """Kind of a chain with nucleotides of these names and atoms of these names.

    It is DNA if at least half of the nucleotides are called ``DA``, ``DC`` ..., because RNA may contain a few modified ones; or
    if there are sugars and none has the O2' of ribose, because old files call both kinds ``A``.
    """
    found = set(atoms)
    named = 2 * sum(name.strip() in DEOXY for name in names) >= len(names)
    return "dna" if named or (found & SUGAR and not found & RIBOSE) else "rna"


def nucleic_contacts(structure: Structure, kind: NucleicKind | None = None) -> NDArray[np.uint8]:
    """(N,) 1 for every residue with a heavy atom that touches a nucleic acid of the structure, or of one ``kind`` only.

    Two atoms touch when they are closer than the sum of their van der Waals radii and 0.5 Å (paper, data sets; strict).
    :class:`StructureError` if the structure contains no such nucleic acid: then nothing is known about any residue.
    """
    chains: dict[str, list[Ligand]] = {}
    for ligand in structure.ligands:
        if ligand.kind == "nucleic":
            chains.setdefault(ligand.chain, []).append(ligand)
    chosen = [x for own in chains.values() if kind in (None, _kind_of(own)) for x in own]
    if not chosen:
        what = "DNA or RNA" if kind is None else kind.upper()
        raise StructureError(f"{structure.name}: there is no {what} in it, so it does not show which residues bind it")
    atoms = (np.concatenate([getattr(ligand, name) for ligand in chosen]) for name in ("coord", "element"))
    return touching(structure, *atoms)


def _kind_of(chain: Sequence[Ligand]) -> NucleicKind:
    return nucleic_kind([x.name for x in chain], np.concatenate([x.atom_name for x in chain]).tolist())


def touching(structure: Structure, coord: NDArray[np.floating], element: NDArray[np.str_]) -> NDArray[np.uint8]:
    """(N,) 1 for every residue with an atom closer to one at ``coord`` (M, 3) Å than the sum of their radii and 0.5 Å."""
    radius, own = _radii(element), _radii(structure.atoms.element)
    touches = np.zeros(len(own), dtype=np.bool_)
    for size in np.unique(radius):
        tree = cKDTree(coord[radius == size].astype(np.float64))
        distance, _ = tree.query(structure.atoms.coord.astype(np.float64), distance_upper_bound=own.max() + size + GAP)
        touches |= distance < own + size + GAP
    labels = np.zeros(len(structure.residues), np.uint8)
    labels[structure.atoms.residue_index[touches]] = 1
    return labels


def _radii(element: NDArray[np.str_]) -> NDArray[np.float64]:
    names, inverse = np.unique(element, return_inverse=True)
    return np.array([RADII.get(name, OTHER_RADIUS) for name in names.tolist()])[inverse]
