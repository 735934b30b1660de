"""The residue propensity filter: it changes a residue that differs from all its neighbours if its type supports that.

Source: "CrossBind" (AAAI 2024), residue propensity filter. Its algorithm is in a supplement that is not public, and the public
code differs from the text (neighbours in the sequence instead of on the surface, other cutoffs); both neighbourhoods are here,
with the paper's cutoffs and the code's factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.models.crossbind.config import CrossBindFilterConfig
from s2p.structure.reading import Structure
from s2p.surface.points import accessible_area

__all__ = ["LETTERS", "exposure", "filter_probabilities", "geodesic_neighbours", "log_propensities", "sequence_neighbours"]

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
N_NEIGHBOURS = 4
BACKBONE = ("N", "CA", "C", "O", "OXT")
_MAX_AREA = dict(
    zip(
        LETTERS, (129, 167, 193, 223, 240, 104, 224, 197, 236, 201, 224, 195, 159, 225, 274, 155, 172, 174, 285, 263), strict=True
    )
)
"""Å², largest accessible area of a residue (Tien et al. 2013, theoretical)."""


def log_propensities(sequence: str, table: dict[str, float]) -> NDArray[np.float64]:
    """(L,) log2 ξ of each residue; 0 for letters other than the twenty."""
    return np.log2([table.get(letter, 1.0) for letter in sequence])


def filter_probabilities(
    probabilities: NDArray[np.floating],
    log_propensity: NDArray[np.floating],
    neighbours: NDArray[np.int64],
    config: CrossBindFilterConfig | None = None,
) -> NDArray[np.float32]:
    """Raise a residue below the threshold with four neighbours above it if its type binds often; lower it in the reverse case.

    Parameters
    ----------
    probabilities, log_propensity
        (L,); neither is changed, and all decisions are made on the given probabilities.
    neighbours
        (L, 4) residues that are compared; -1 if there are not enough, and then the residue is not changed.

    Returns
    -------
    (L,) probabilities, at most 1.
    """
    config = config or CrossBindFilterConfig()
    p = np.asarray(probabilities, np.float32)
    above = p > config.decision
    known = (neighbours >= 0).all(axis=1)
    votes = above[neighbours].sum(axis=1)
    rises = known & ~above & (votes == N_NEIGHBOURS) & (log_propensity > config.cutoff)
    falls = known & above & (votes == 0) & (log_propensity < -config.cutoff)
    out = p.copy()
    out[rises] = np.minimum(1.0, config.raise_by * p[rises])
    out[falls] = config.lower_by * p[falls]
    return out


def sequence_neighbours(chain: NDArray[np.str_]) -> NDArray[np.int64]:
    """(L, 4) two residues on either side in the chain; rows of -1 for the two at either end.

    Parameters
    ----------
    chain
        (L,) chain of each residue; residues of a chain are contiguous.
    """
    n = len(chain)
    index = np.arange(n)[:, None] + np.array([-2, -1, 1, 2])
    inside = (index >= 0) & (index < n)
    same = inside & (chain[index.clip(0, max(n - 1, 0))] == chain[:, None])
    return np.where(same.all(axis=1)[:, None], index, -1)


def exposure(structure: Structure) -> NDArray[np.float64]:
    """(L,) accessible area of each residue over the largest of its type (200 Å² for types other than the twenty)."""
    area = accessible_area(structure.atoms.coord, structure.atoms.element)
    total = np.bincount(structure.atoms.residue_index, weights=area, minlength=len(structure.residues))
    largest = np.array([_MAX_AREA.get(letter, 200) for letter in structure.residues.one_letter.tolist()], dtype=np.float64)
    share: NDArray[np.float64] = total / largest
    return share


def geodesic_neighbours(structure: Structure, config: CrossBindFilterConfig | None = None) -> NDArray[np.int64]:
    """(L, 4) nearest residues along the surface; rows of -1 for buried residues, or all if fewer than five are on the surface.

    The distance of two surface residues is ``|x_i - x_j| (2 - n_i · n_j)``: the straight distance, up to three times as long if
    the surface faces another way. x is the centre of the side chain (of all atoms if there is none), n points to it from the mean
    of the CA atoms around it.
    """
    config = config or CrossBindFilterConfig()
    atoms, n = structure.atoms, len(structure.residues)
    found = np.full((n, N_NEIGHBOURS), -1, dtype=np.int64)
    surface = np.flatnonzero(exposure(structure) > config.min_exposure)
    if len(surface) <= N_NEIGHBOURS:
        return found
    side = ~np.isin(atoms.name, BACKBONE)
    side |= ~np.isin(atoms.residue_index, atoms.residue_index[side])
    count = np.bincount(atoms.residue_index[side], minlength=n)
    weighted = [np.bincount(atoms.residue_index[side], weights=atoms.coord[side, k], minlength=n) for k in range(3)]
    centre = np.stack(weighted, axis=1) / count[:, None]
    ca = structure.residues.ca_coord.astype(np.float64)
    around = cKDTree(ca).query_ball_point(centre[surface], config.normal_radius)
    inside = np.array([ca[rows].mean(axis=0) if rows else centre[i] for i, rows in zip(surface, around, strict=True)])
    normal = centre[surface] - inside
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    tree = cKDTree(centre[surface])
    straight, _ = tree.query(centre[surface], k=N_NEIGHBOURS + 1)
    # This distance is at least the straight one and at most three times as long, which limits the search.
    for row, near in enumerate(tree.query_ball_point(centre[surface], 3 * straight[:, -1] + 1e-9)):
        others = np.array([k for k in sorted(near) if k != row])
        distance = np.linalg.norm(centre[surface[others]] - centre[surface[row]], axis=1) * (2 - normal[others] @ normal[row])
        found[surface[row]] = surface[others[np.argsort(distance, kind="stable")[:N_NEIGHBOURS]]]
    return found
