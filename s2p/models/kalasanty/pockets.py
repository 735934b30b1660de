"""From Kalasanty's density to ranked cavities, and to the atoms and residues around them. Coordinates are in Å."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from s2p.models.kalasanty.config import KalasantyPocketConfig
from s2p.models.kalasanty.grid import Box
from s2p.structure.reading import Structure

__all__ = ["FEATURES", "Cavity", "cavity_features", "close_gaps", "find_cavities", "near_cavity", "residue_probabilities"]

FEATURES = ("log_score", "mean_density", "max_density")
"""Features from which a cavity's calibrated probability is computed."""


@dataclass(frozen=True, eq=False)
class Cavity:
    """A connected region of high density."""

    voxels: NDArray[np.int64]
    """(V, 3) cells of the grid, ascending."""
    score: float
    """Sum of the density over the voxels, for the ranking; neither paper nor code defines the "highest scores"."""
    mean: float
    maximum: float


def close_gaps(cavity: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Morphological closing by the cross of a cell and its six neighbours: fills holes and joins regions that nearly touch."""
    # Without the margin the erosion would remove voxels on the border, but cavities at the border have to be recognised later.
    padded = np.pad(cavity, 1)
    closed: NDArray[np.bool_] = ndimage.binary_closing(padded, ndimage.generate_binary_structure(3, 1))
    return closed[1:-1, 1:-1, 1:-1]


def find_cavities(density: NDArray[np.floating], step: float, config: KalasantyPocketConfig | None = None) -> list[Cavity]:
    """Cavities of a density, best first.

    Voxels above the threshold are taken, and gaps are closed. Voxels that touch, also at corners, are one cavity; cavities at the
    border of the grid and small ones are left out.

    ``density``: (nx, ny, nz) of 0 to 1; ``step``: Å, edge of a cell.
    """
    config = config or KalasantyPocketConfig()
    mask = np.asarray(density) > config.threshold
    if config.closing:
        mask = close_gaps(mask)
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    border = np.full(mask.shape, config.drop_border)
    border[1:-1, 1:-1, 1:-1] = False
    at_border = set(labels[border].tolist())
    cavities = []
    for label, place in enumerate(ndimage.find_objects(labels), start=1):
        voxels = np.argwhere(labels[place] == label) + np.array([part.start for part in place])
        if label in at_border or len(voxels) * step**3 < config.min_volume:
            continue
        inside = density[tuple(voxels.T)]
        cavities.append(Cavity(voxels, float(inside.sum()), float(inside.mean()), float(inside.max())))
    return sorted(cavities, key=lambda cavity: -cavity.score)


def cavity_features(cavities: list[Cavity]) -> NDArray[np.float64]:
    """(K, 3) in the order of :data:`FEATURES`."""
    rows = [(np.log(cavity.score), cavity.mean, cavity.maximum) for cavity in cavities]
    return np.array(rows, np.float64).reshape(-1, len(FEATURES))


def near_cavity(structure: Structure, points: NDArray[np.floating], distance: float) -> NDArray[np.int32]:
    """Atoms within ``distance`` (inclusive) of any of (V, 3) points, ascending."""
    reach, _ = cKDTree(points).query(structure.atoms.coord, distance_upper_bound=np.nextafter(distance, np.inf))
    return np.flatnonzero(np.isfinite(reach)).astype(np.int32)


def residue_probabilities(structure: Structure, density: NDArray[np.floating], box: Box, distance: float) -> NDArray[np.float32]:
    """(N,) highest density of a voxel within ``distance`` of a heavy atom of each residue, 0 without such a voxel; ours."""
    coord = structure.atoms.coord.astype(np.float64)
    best = np.zeros(len(structure.residues), np.float32)
    reach = int(np.ceil(distance / box.step))
    steps = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    for start in range(0, len(coord), 4096):  # bounds memory
        part = slice(start, start + 4096)
        cells = box.cells(coord[part])[:, None] + steps
        away = np.linalg.norm(np.array(box.origin) + cells * box.step - coord[part, None], axis=2)
        usable = (away <= distance) & ((cells >= 0) & (cells < np.array(box.shape))).all(axis=2)
        atom, which = np.nonzero(usable)
        values = density[tuple(cells[atom, which].T)]
        np.maximum.at(best, structure.atoms.residue_index[part][atom], values)
    return best
