"""What Kalasanty has to beat: a ball at the protein's centre, and points drawn from its surface."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.config import PatchConfig
from s2p import __version__
from s2p.models.kalasanty.config import KalasantyPocketConfig
from s2p.models.kalasanty.grid import ball
from s2p.models.kalasanty.pockets import near_cavity
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure
from s2p.surface.points import surface_points

__all__ = ["CenterBall", "RandomSurfacePoints"]

RADIUS = 5.0
"""Å: a ball of it has about the volume of a drug-like ligand's site."""


class CenterBall:
    """One pocket: a ball around the mean of the heavy atoms."""

    name = "center-ball"
    version = __version__

    def predict(self, structure: Structure) -> Prediction:
        """The ball, whatever the protein."""
        center = structure.atoms.coord.mean(axis=0, dtype=np.float64)
        return _balls(structure, center[None], self.name)


class RandomSurfacePoints:
    """Balls around points drawn evenly from the solvent-accessible surface.

    The draw depends on the coordinates alone: the same structure gives the same points.

    Parameters
    ----------
    n
        Pockets.
    """

    name = "random-surface-points"
    version = __version__

    def __init__(self, n: int = PatchConfig.n_patches) -> None:
        self.n = n

    def predict(self, structure: Structure) -> Prediction:
        """Balls in the order in which their points were drawn; none on a protein without a surface."""
        atoms = structure.atoms
        cloud = surface_points(atoms.coord, atoms.element, np.arange(len(atoms)), n_points=PatchConfig.n_points)
        draw = np.random.default_rng(list(hashlib.sha256(atoms.coord.tobytes()).digest()))
        chosen = draw.permutation(len(cloud.coord))[: self.n]
        return _balls(structure, cloud.coord[chosen], self.name)


def _balls(structure: Structure, centers: NDArray[np.float64], name: str) -> Prediction:
    inside = ball(RADIUS).astype(np.float64)
    pockets = []
    for rank, center in enumerate(centers, start=1):
        points = center + inside
        atoms = near_cavity(structure, points, KalasantyPocketConfig.residue_distance)
        residues = np.unique(structure.atoms.residue_index[atoms])
        place = center.astype(np.float32)
        pockets.append(
            Pocket(rank, 1 / rank, float("nan"), residues, atoms, points.astype(np.float32), place, float(len(points)))
        )
    probabilities = np.zeros(len(structure.residues), np.float32)
    for pocket in reversed(pockets):
        probabilities[pocket.residues] = pocket.score
    none = np.zeros(len(probabilities), np.bool_)
    return Prediction(structure, probabilities, none, probabilities > 0, tuple(pockets), name, {"radius": RADIUS})
