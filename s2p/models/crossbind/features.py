"""Residue features for CrossBind's head: ProteinMPNN's view of the backbone, exposure, and nearby charges (not in the paper)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from s2p.models.crossbind.filter import exposure
from s2p.structure.reading import Structure
from s2p.surface.mpnn import WIDTH, Encoder, encode

__all__ = ["N_FEATURES", "structure_features", "surroundings"]

CHARGES = {"K": 1.0, "R": 1.0, "D": -1.0, "E": -1.0}
RADII = (8.0, 12.0, 18.0)
"""Å between CA atoms: radii of the neighbourhoods for the averages."""
N_FEATURES = WIDTH + 1 + 4 * len(RADII)


def structure_features(structure: Structure, encoder: Encoder) -> NDArray[np.float32]:
    """(L, 141) features of the residues: 128 of ProteinMPNN's encoder, and their :func:`surroundings`."""
    return np.concatenate([encode(encoder, structure), surroundings(structure)], axis=1).astype(np.float32)


def surroundings(structure: Structure) -> NDArray[np.float64]:
    """(L, 13) relative accessible area, and for each of :data:`RADII` the mean charge of the residues around (the residue
    included), the means of charge times area and of area, and the logarithm of the number of these residues.
    """
    residues = structure.residues
    ca, bare = residues.ca_coord.astype(np.float64), exposure(structure)
    charge = np.array([CHARGES.get(letter, 0.0) for letter in residues.one_letter.tolist()])
    values = np.stack([charge, charge * bare, bare], axis=1)
    itself = np.arange(len(ca))
    pairs = cKDTree(ca).query_pairs(max(RADII), output_type="ndarray")
    one, other = np.concatenate([pairs, pairs[:, ::-1], np.stack([itself, itself], axis=1)]).T
    distance = np.linalg.norm(ca[one] - ca[other], axis=1)
    columns: list[NDArray[Any]] = [bare[:, None]]
    for radius in RADII:
        near = distance < radius
        around = coo_array((np.ones(near.sum()), (one[near], other[near])), shape=(len(ca), len(ca))).tocsr()
        count = np.bincount(one[near], minlength=len(ca))[:, None]
        columns += [(around @ values) / count, np.log(count)]
    return np.concatenate(columns, axis=1)
