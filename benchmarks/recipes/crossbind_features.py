"""Evolutionary and structural numbers of residues, 54 of them as in CrossBind's paper, with stand-ins for those of an alignment.

A network reads them if its ``feature_width`` says so. Nothing that is shipped or compared does, and predictions do not make them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from course.span_masking import dihedral
from s2p.datasets.homology import blosum62, encode
from s2p.models.crossbind.filter import exposure
from s2p.structure.reading import Structure
from s2p.structure.secondary import secondary_structure

__all__ = ["backbone_angles", "residue_features"]

STATES = "HBEGITSC"


def residue_features(structure: Structure) -> NDArray[np.float32]:
    """The 54 numbers of each residue.

    Returns
    -------
    (L, 54): 40 columns in place of a profile (BLOSUM62's row of the residue, scaled to 0 … 1, for the PSSM, zeros for the HMM: no
    alignment is needed, and none of what one would add is there), sine of φ and ψ, cosine of φ and ψ (0 where an angle is not
    defined), relative accessible area up to 1, and nine columns of secondary structure, one of them 1: eight states and unknown.
    From CA atoms (P-SEA) only helix H, strand E and other C can be told; residues without CA are unknown.
    """
    n = len(structure.residues)
    scores = blosum62()[:20, :20].astype(np.float64)
    scaled = np.vstack([(scores - scores.min()) / (scores.max() - scores.min()), np.zeros((1, 20))])
    codes = encode("".join(structure.residues.one_letter.tolist()))
    profile = np.hstack([scaled[np.minimum(codes, 20)], np.zeros((n, 20))])
    angles = backbone_angles(structure)
    circle = np.nan_to_num(np.hstack([np.sin(angles), np.cos(angles)]))
    state = np.zeros((n, len(STATES) + 1))
    column = [STATES.index({"a": "H", "b": "E", "c": "C"}[letter]) for letter in secondary_structure(structure).tolist()]
    state[np.arange(n), np.where(structure.residues.has_ca, column, len(STATES))] = 1
    return np.hstack([profile, circle, exposure(structure).clip(0, 1)[:, None], state]).astype(np.float32)


def backbone_angles(structure: Structure) -> NDArray[np.float64]:
    """(L, 2) φ and ψ in radians; NaN at chain ends and breaks, and where an atom is missing."""
    atoms, n = structure.atoms, len(structure.residues)
    place = {}
    for name in ("N", "CA", "C"):
        place[name] = np.full((n, 3), np.nan)
        own = atoms.name == name
        place[name][atoms.residue_index[own]] = atoms.coord[own]
    found = np.full((n, 2), np.nan)
    chain = structure.residues.chain
    # 2 Å: a peptide bond is 1.33 Å long, and anything much longer is a gap.
    joined = (chain[1:] == chain[:-1]) & (np.linalg.norm(place["N"][1:] - place["C"][:-1], axis=1) < 2.0)
    rows = np.flatnonzero(joined)
    found[rows + 1, 0] = dihedral(place["C"][rows], place["N"][rows + 1], place["CA"][rows + 1], place["C"][rows + 1])
    found[rows, 1] = dihedral(place["N"][rows], place["CA"][rows], place["C"][rows], place["N"][rows + 1])
    return found
