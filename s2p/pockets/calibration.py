"""What a pocket looks like in numbers, and a learned, calibrated chance that a ligand sits there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2p.prediction import sigmoid
from s2p.structure.cells import count_neighbours
from s2p.structure.reading import Structure
from s2p.surface.features import BACKBONE
from s2p.surface.points import swept_volume
from s2p.surface.surroundings import Surroundings

if TYPE_CHECKING:
    from s2p.pockets.published import Cluster

__all__ = ["FEATURES", "SMALLEST", "PocketModel", "limits", "pocket_features"]

SMALLEST = 20
"""Residues of an assembly in which pockets are looked for: what is smaller has no inside."""
CALIBRATED = 85
"""Residues of the longest chain of the smallest protein that pockets were calibrated on; all of them held a ligand."""
BARE = 0.4
"""Share of residues without a side chain beyond CB from which on they count as missing (alanine and glycine: some 15 %)."""

FEATURES = (
    "mean_probability",  # the published score
    "max_probability",
    "log_sum_probability",  # over residues
    "log_points",
    "log_volume",  # Å³
    "points_per_atom",  # exposure: few points per atom in a narrow pocket
    "burial_8",  # protein atoms within 8 Å of a point, mean / 100 (P2Rank's protrusion)
    "burial_8_top",  # the same, 90th percentile
    "smoothed_share",  # of the residues
)


def pocket_features(
    structure: Structure,
    clusters: Sequence[Cluster],
    probabilities: NDArray[np.float32],
    smoothed: NDArray[np.bool_],
    probe_radius: float = 1.6,
    surroundings: Surroundings | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(K, F) features of the pockets in the order of :data:`FEATURES`, and (K,) volumes in Å³.

    Volumes are counted on a grid in the frame of ``surroundings``, or without them in the file's.
    """
    if not clusters:
        return np.zeros((0, len(FEATURES))), np.zeros(0)
    rows, volumes = [], []
    for cluster in clusters:
        p, points = probabilities[cluster.residues], cluster.points
        burial = count_neighbours(points, structure.atoms.coord, 8.0) / 100
        volume = swept_volume(points if surroundings is None else surroundings.inside(points), probe_radius)
        logs = np.log1p(p.sum()), np.log1p(len(points)), np.log1p(volume)
        exposed, smooth = len(points) / len(cluster.atoms), smoothed[cluster.residues].mean()
        rows.append([cluster.score, p.max(), *logs, exposed, burial.mean(), np.percentile(burial, 90), smooth])
        volumes.append(volume)
    return np.array(rows, np.float64), np.array(volumes)


def limits(structure: Structure, parts: Sequence[Surroundings]) -> tuple[str, ...]:
    """At most one sentence: why the probabilities of a structure with these assemblies mean less than they say."""
    n, atoms = len(structure.residues), structure.atoms
    if max(len(part.residues) for part in parts) < SMALLEST:
        return (f"{n} residue{'s' if n > 1 else ''}: too small for a pocket, so that none is predicted",)
    beyond = ~np.isin(atoms.name, (*BACKBONE, "CB"))
    bare = n - len(np.unique(atoms.residue_index[beyond]))
    if bare > BARE * n and len(atoms) > n:  # the reader has a note on models of CA atoms alone
        return (f"{bare} of {n} residues have no side chain beyond CB: pockets and their probabilities are rough",)
    longest = min(int(np.unique(part.structure.residues.chain, return_counts=True)[1].max()) for part in parts)
    if longest < CALIBRATED and len(atoms) > n:
        whose = "the longest chain" if len(parts) == 1 else "the longest chain of one of the assemblies"
        return (
            f"{whose} has {longest} residues: probabilities were calibrated on proteins with a chain of {CALIBRATED} or more",
        )
    return ()


@dataclass(frozen=True)
class PocketModel:
    """Logistic regression on standardised pocket features."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K, F) -> (K,) calibrated probability that a ligand atom lies within 4 Å of the pocket's centre."""
        return sigmoid((features - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.intercept)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PocketModel:
        """From the JSON of a checkpoint."""
        return cls(tuple(values["mean"]), tuple(values["scale"]), tuple(values["weights"]), float(values["intercept"]))
