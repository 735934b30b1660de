"""Clusterings that the paper compares with its own of surface points, and predictors that use them.

The clusterings need nothing but the CA coordinates of predicted residues and, one of them, embeddings.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from s2p import __version__
from s2p.config import DEFAULT_MODEL, Checked, Count, Natural, Positive, PredictConfig, Share
from s2p.errors import S2PError
from s2p.pockets.clustering import mean_shift
from s2p.pockets.published import positive_points
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure
from s2p.surface.points import swept_volume

__all__ = [
    "ALTERNATIVES",
    "METHODS",
    "AlternativeConfig",
    "Dbscan5",
    "MeanShiftCa12",
    "Method",
    "Variant",
    "cluster",
    "cluster_ca",
    "merge_clusters",
]


@dataclass(frozen=True)
class AlternativeConfig(Checked):
    """The clusterings of CA atoms that the paper compares with its own."""

    threshold: Share = 0.7
    """Residues with a probability above this are clustered."""
    min_samples: Count = 3
    """Residues of a dense neighbourhood (DBSCAN, HDBSCAN) and of the smallest HDBSCAN cluster."""
    eps: Positive = 5.0
    """Neighbourhood of DBSCAN, Å (paper: 5 and 7)."""
    bandwidth: Positive = 9.0
    """Window of mean shift, Å (paper: 9 and 12)."""
    min_weight: Share = 0.1
    """Components of a mixture with a weight above this are counted as clusters."""
    weight_of: Literal["largest", "total"] = "largest"
    """What ``min_weight`` is a fraction of. ``total`` is published, and can never give more than nine clusters."""
    n_embedding_components: Count = 5
    """Principal components of the embeddings that join the CA coordinates."""
    merge_distance: Positive | None = None
    """Clusters with centres closer than this (Å) are merged; ``None``: none are."""
    seed: Natural = 0


Method = Literal["dbscan", "mean-shift", "bgmm", "pca-agglomerative", "hdbscan"]
METHODS: tuple[Method, ...] = get_args(Method)

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


def cluster(
    method: Method,
    ca_coord: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    embeddings: NDArray[np.floating] | None = None,
    config: AlternativeConfig | None = None,
) -> NDArray[np.int64]:
    """Cluster the predicted residues of a structure.

    Parameters
    ----------
    method
        ``dbscan``; ``mean-shift`` (flat kernel, binned seeds); ``bgmm``: variational Gaussian mixture with round components,
        fitted twice, the first time to count them; ``pca-agglomerative``: principal components of the embeddings beside the CA
        coordinates (not scaled), clusters counted by ``bgmm``, then single linkage; ``hdbscan`` (not in the paper).
    ca_coord
        (N, 3) Å.
    probabilities
        (N,); residues above ``config.threshold`` are clustered.
    embeddings
        (N, d), for ``pca-agglomerative`` only.

    Returns
    -------
    (N,) labels 0, 1 ... from the largest cluster to the smallest (equal: by first residue); -1 is noise or not predicted.

    Raises
    ------
    S2PError
        If the method is unknown or lacks the embeddings.

    Notes
    -----
    Paper, comparison of clusterings; published sizes and thresholds are in :class:`~course.clusterings.AlternativeConfig`.
    """
    config = config or AlternativeConfig()
    if method not in METHODS:
        raise S2PError(f"unknown clustering {method!r}; the methods are {', '.join(METHODS)}")
    labels = np.full(len(ca_coord), -1, np.int64)
    kept = np.flatnonzero(np.asarray(probabilities) > config.threshold)
    x = np.asarray(ca_coord, dtype=np.float64)[kept]
    if not len(kept):
        return labels
    if method == "dbscan":
        from sklearn.cluster import DBSCAN

        found = DBSCAN(eps=config.eps, min_samples=config.min_samples).fit_predict(x)
    elif method == "mean-shift":
        found = mean_shift(x, config.bandwidth).labels  # scikit-learn's labels, sooner
    elif method == "bgmm":
        n_components = _count_components(x, config)
        found = np.zeros(len(x), np.int64) if n_components == 1 else _mixture(x, n_components, config).predict(x)
    elif method == "pca-agglomerative":
        if embeddings is None:
            raise S2PError("the clustering 'pca-agglomerative' needs embeddings")
        found = _pca_agglomerative(x, np.asarray(embeddings, dtype=np.float64)[kept], config)
    elif len(kept) < config.min_samples:
        found = labels[kept]  # scikit-learn's HDBSCAN refuses fewer points than a cluster has
    else:
        from sklearn.cluster import HDBSCAN

        # A single dense pocket is a common answer here, which HDBSCAN rules out unless told.
        found = HDBSCAN(min_cluster_size=config.min_samples, allow_single_cluster=True, copy=True).fit_predict(x)
    if config.merge_distance is not None:
        found = merge_clusters(x, found, config.merge_distance)
    labels[kept] = _largest_first(found)
    return labels


def merge_clusters(x: NDArray[np.floating], labels: NDArray[np.integer], distance: float) -> NDArray[np.int64]:
    """Join clusters whose centres are closer than ``distance`` Å, chains of such neighbours included.

    Parameters
    ----------
    x, labels
        (n, 3) Å and (n,); -1 is noise and stays noise (the published code makes a cluster of it).
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    merged = np.full(len(labels), -1, np.int64)
    own = labels >= 0
    if own.any():
        names, code = np.unique(labels[own], return_inverse=True)
        centers = np.array([x[own][code == k].mean(axis=0) for k in range(len(names))])
        merged[own] = connected_components(cdist(centers, centers) < distance, directed=False)[1][code]
    return merged


def _mixture(x: NDArray[np.float64], n_components: int, config: AlternativeConfig) -> Any:
    """A fitted mixture of round Gaussians; that it has not quite converged does not matter for a count or a label."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return BayesianGaussianMixture(n_components=n_components, covariance_type="spherical", random_state=config.seed).fit(x)


def _count_components(x: NDArray[np.float64], config: AlternativeConfig) -> int:
    """Components that keep some weight in a mixture with one component fewer than points (distinct ones: others add nothing)."""
    n_components = min(len(x) - 1, len(np.unique(x, axis=0)))
    if n_components < 2:
        return 1
    weights = _mixture(x, n_components, config).weights_
    scale = weights.max() if config.weight_of == "largest" else 1.0
    return max(1, int((weights > config.min_weight * scale).sum()))


def _pca_agglomerative(x: NDArray[np.float64], embeddings: NDArray[np.float64], config: AlternativeConfig) -> NDArray[np.int64]:
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.decomposition import PCA

    if len(x) < 2:
        return np.zeros(len(x), np.int64)
    features = x
    if np.ptp(embeddings, axis=0).any():  # equal embeddings have no components
        n_components = min(config.n_embedding_components, *embeddings.shape)
        features = np.concatenate([PCA(n_components, svd_solver="full").fit_transform(embeddings), x], axis=1)
    count = _count_components(features, config)
    labels: NDArray[np.int64] = AgglomerativeClustering(n_clusters=count, linkage="single").fit_predict(features)
    return labels


def _largest_first(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Renumber clusters by size, then first member, without gaps; -1 stays."""
    names, first, code, count = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -count))
    order = order[names[order] >= 0]
    rank = np.full(len(names), -1, np.int64)
    rank[order] = np.arange(len(order))
    renumbered: NDArray[np.int64] = rank[code]
    return renumbered


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
    """Seq2Pocket with another clustering, under a name of its own, on the CPU; :func:`s2p.load` takes the classes below.

    Parameters
    ----------
    model
        Checkpoint, by name or path.
    """

    alternative: str
    """A key of :data:`ALTERNATIVES`."""

    def __init__(self, model: str | Path = DEFAULT_MODEL) -> None:
        from s2p.predictor import Seq2Pocket  # PyTorch: whoever only reads the table does without

        self.name = f"s2p-{self.alternative}"
        self._predictor = Seq2Pocket.load(model, device="cpu")
        self.version = f"{__version__} ({self._predictor.name})"

    def predict(self, structure: Structure) -> Prediction:
        """Pockets of ``structure``, under this predictor's name."""
        scores = self._predictor.score(structure)
        prediction = self._predictor.pockets(structure, scores)
        prediction = cluster_ca(prediction, scores.embeddings, *ALTERNATIVES[self.alternative])
        return replace(prediction, model=self.name)


class Dbscan5(Variant):
    """DBSCAN of CA atoms, 5 Å."""

    alternative = "dbscan-5"


class MeanShiftCa12(Variant):
    """Mean shift of CA atoms, 12 Å."""

    alternative = "mean-shift-ca-12"
