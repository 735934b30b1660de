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
from s2p.surface.points import swept_volume
from s2p.surface.surroundings import Surroundings

if TYPE_CHECKING:
    from s2p.pockets.published import Cluster

__all__ = ["FEATURES", "PocketModel", "pocket_features"]

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
    cloud = np.concatenate([c.points for c in clusters])
    burial = count_neighbours(cloud, structure.atoms.coord, 8.0) / 100
    own_frame = [c.points if surroundings is None else surroundings.inside(c.points) for c in clusters]
    volumes = np.array([swept_volume(points, probe_radius) for points in own_frame])
    rows = []
    for cluster, near, volume in zip(
        clusters, np.split(burial, np.cumsum([len(c.points) for c in clusters])[:-1]), volumes.tolist(), strict=True
    ):
        p = probabilities[cluster.residues]
        rows.append(
            [
                cluster.score,
                float(p.max()),
                float(np.log1p(p.sum())),
                float(np.log1p(len(cluster.points))),
                float(np.log1p(volume)),
                len(cluster.points) / len(cluster.atoms),
                float(near.mean()),
                float(np.percentile(near, 90)),
                float(smoothed[cluster.residues].mean()),
            ]
        )
    return np.array(rows), volumes


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
