"""Seq2Pocket with other settings, and with the clusterings it is compared with, as predictors for the benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from course.clusterings import AlternativeConfig, Method, cluster
from s2p import __version__
from s2p.config import DEFAULT_MODEL, ClusterConfig, PredictConfig
from s2p.errors import S2PError
from s2p.pockets.published import positive_points
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure
from s2p.surface.points import swept_volume

__all__ = ["ALTERNATIVES", "VARIANTS", "Variant", "cluster_ca"]

ALTERNATIVES: dict[str, tuple[Method, AlternativeConfig]] = {
    "dbscan-5": ("dbscan", AlternativeConfig(eps=5.0)),
    "dbscan-7": ("dbscan", AlternativeConfig(eps=7.0)),
    "mean-shift-ca-9": ("mean-shift", AlternativeConfig(bandwidth=9.0)),
    "mean-shift-ca-12": ("mean-shift", AlternativeConfig(bandwidth=12.0)),
    "bgmm": ("bgmm", AlternativeConfig()),
    "pca-agglomerative": ("pca-agglomerative", AlternativeConfig()),
    "hdbscan": ("hdbscan", AlternativeConfig()),
}
"""Clusterings of CA atoms (paper, and HDBSCAN) with the paper's sizes."""

VARIANTS = ("s2p-principal-frame", *(f"s2p-{name}" for name in ALTERNATIVES))
"""Names of the variants; the plain predictor and its common settings are in :mod:`benchmarks.peers`."""


def cluster_ca(base: Prediction, embeddings: NDArray[np.floating], method: Method, config: AlternativeConfig) -> Prediction:
    """The same predicted residues, clustered by their CA atoms.

    Parameters
    ----------
    base
        Its ``positive`` residues, smoothing included, are what is clustered, so that only the clustering differs.
    embeddings
        (N, d).

    Returns
    -------
    Pockets ranked by the mean probability of their residues' atoms, as the published score; the centre is the mean of the CA
    atoms (paper, comparison of clusterings), the points are the surface points of the residues. Residues that are noise
    are in no pocket.
    """
    structure, probabilities = base.structure, base.probabilities
    ca = structure.residues.ca_coord.astype(np.float64)
    chosen = replace(config, threshold=0.5)  # of "is predicted", which is 0 or 1
    labels = cluster(method, ca, base.positive.astype(np.float64), embeddings, chosen)
    cloud = positive_points(structure, base.positive, PredictConfig().surface)
    owner, of_atom = structure.atoms.residue_index[cloud.atom], structure.atoms.residue_index
    found = []
    for label in range(int(labels.max(initial=-1)) + 1):
        residues = np.flatnonzero(labels == label).astype(np.int32)
        inside = labels[owner] == label
        atoms = np.unique(cloud.atom[inside]).astype(np.int32)
        score = float(probabilities[of_atom[atoms]].mean()) if len(atoms) else float(probabilities[residues].mean())
        found.append((score, residues, atoms, cloud.coord[inside].astype(np.float32)))
    found.sort(key=lambda pocket: -pocket[0])
    pockets = tuple(
        Pocket(rank, score, score, residues, atoms, points, ca[residues].mean(axis=0).astype(np.float32), swept_volume(points))
        for rank, (score, residues, atoms, points) in enumerate(found, start=1)
    )
    return replace(base, pockets=pockets, settings=base.settings | {"clustering": method, "ranking": "published"})


class Variant:
    """Seq2Pocket with another frame or clustering, under a name of its own.

    Parameters
    ----------
    name
        One of :data:`VARIANTS`.
    model
        Checkpoint, by name or path; it runs on the CPU.

    Raises
    ------
    S2PError
        If there is no such variant or checkpoint.
    """

    def __init__(self, name: str, model: str | Path = DEFAULT_MODEL) -> None:
        if name not in VARIANTS:
            raise S2PError(f"there is no variant {name!r}; the variants are {', '.join(VARIANTS)}")
        self.name = name
        self.config = PredictConfig()
        if name == "s2p-principal-frame":
            self.config = PredictConfig(cluster=ClusterConfig(frame="principal"))
        self._alternative = ALTERNATIVES.get(name.removeprefix("s2p-"))
        from s2p.predictor import Seq2Pocket  # PyTorch: workers of other predictors do without

        self._predictor = Seq2Pocket.load(model, device="cpu")
        self.version = f"{__version__} ({self._predictor.name})"

    def predict(self, structure: Structure) -> Prediction:
        """Pockets of ``structure``, under this predictor's name."""
        scores = self._predictor.score(structure, self.config)
        prediction = self._predictor.pockets(structure, scores, self.config)
        if self._alternative is not None:
            prediction = cluster_ca(prediction, scores.embeddings, *self._alternative)
        return replace(prediction, model=self.name)
