"""Embedding-supported smoothing (paper): residues near predicted ones are added if a classifier of their embeddings agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from s2p.errors import WeightsError

__all__ = ["Smoother", "candidates", "neighbour_mean", "neighbours", "smooth", "smoother_logits"]

CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Smoother:
    """Does residue i belong to the pocket around it? Linear(2d, w) ReLU Linear(w, w) ReLU Linear(w, 1).

    Its input is [e_i ; mean of e_j over the predicted residues j near i] (paper, smoothing). ``arrays`` holds weights and biases
    as :class:`s2p.training.smoother.SmootherModule` learns and names them; :class:`WeightsError` if they do not fit together.
    """

    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        try:
            arrays = {f"{name}.{part}": self.arrays[f"{name}.{part}"] for name in LAYERS for part in ("weight", "bias")}
            (width, dim), *_ = sizes = [x.shape for x in arrays.values()]
        except (KeyError, ValueError) as error:
            raise WeightsError(f"the smoother is damaged ({error})") from None
        if sizes != [(width, dim), (width,), (width, width), (width,), (1, width), (1,)] or len(self.arrays) > len(arrays):
            raise WeightsError(f"the smoother is damaged (arrays of {sizes})")
        object.__setattr__(self, "arrays", {key: value.astype(np.float32) for key, value in arrays.items()})

    @property
    def width(self) -> int:
        """Width of the hidden layers."""
        return len(self.arrays["layers.0.bias"])


LAYERS = ("layers.0", "layers.3", "layers.6")
"""Linear maps of a :class:`Smoother`, by their places among activations and dropout."""


def neighbours(
    rows: NDArray[np.int64], ca_coord: NDArray[np.float32], members: NDArray[np.int64], radius: float
) -> sparse.csr_matrix:
    """(R, M) ones where one of the ``members`` is another residue closer than ``radius`` (Å, CA, strict) to one of ``rows``.

    ``rows`` (R,) and ``members`` (M,) are residue indices, ``ca_coord`` is (N, 3) Å; columns ascend within a row.
    """
    pairs = cKDTree(ca_coord[rows]).sparse_distance_matrix(cKDTree(ca_coord[members]), radius, output_type="ndarray")
    close = (pairs["v"] < radius) & (rows[pairs["i"]] != members[pairs["j"]])
    i, j = pairs["i"][close], pairs["j"][close]
    return sparse.csr_matrix((np.ones(len(i), np.float32), (i, j)), shape=(len(rows), len(members)))


def neighbour_mean(
    rows: NDArray[np.int64],
    ca_coord: NDArray[np.float32],
    members: NDArray[np.int64],
    radius: float,
    embeddings: NDArray[np.floating],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Mean embedding of the :func:`neighbours` of each row; ``embeddings`` is (N, d).

    Returns the (H,) positions in ``rows`` with at least one such member, the (H, d) means, and the (H,) numbers of members.
    """
    near = neighbours(rows, ca_coord, members, radius)
    count = np.diff(near.indptr).astype(np.int64)
    has = np.flatnonzero(count)
    means = (near[has] @ embeddings[members].astype(np.float32)) / count[has, None]
    return has, means.astype(np.float32), count[has]


def candidates(
    ca_coord: NDArray[np.float32], positive: NDArray[np.bool_], embeddings: NDArray[np.floating], radius: float = 15.0
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Residues that smoothing may add: those with a predicted residue closer than ``radius`` (Å, strict).

    Parameters
    ----------
    ca_coord, positive, embeddings
        (N, 3) Å, (N,) residues predicted from the sequence, and (N, d).

    Returns
    -------
    (C,) residue indices ascending, (C, 2d) classifier inputs, (C,) numbers of predicted residues in reach.
    """
    members = np.flatnonzero(positive)
    others = np.flatnonzero(~positive)
    if not len(members) or not len(others):
        return np.zeros(0, np.int64), np.zeros((0, 2 * embeddings.shape[1]), np.float32), np.zeros(0, np.int64)
    has, context, count = neighbour_mean(others, ca_coord, members, radius, embeddings)
    found = others[has]
    return found, np.concatenate([embeddings[found], context], axis=1), count


def smooth(
    smoother: Smoother,
    ca_coord: NDArray[np.float32],
    positive: NDArray[np.bool_],
    embeddings: NDArray[np.float32],
    *,
    radius: float = 15.0,
    threshold: float = 0.4,
) -> NDArray[np.bool_]:
    """(N,) residues to add to ``positive``; all candidates are classified with the same ``positive``, in one batch.

    Parameters are those of :func:`candidates`; ``threshold`` is on the classifier's probability (strict).
    """
    added = np.zeros(len(positive), dtype=bool)
    found, x, _ = candidates(ca_coord, positive, embeddings, radius)
    added[found[smoother_logits(smoother, x) > float(np.log(threshold / (1 - threshold)))]] = True
    return added


def smoother_logits(smoother: Smoother, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) logits of (n, 2d) inputs."""
    out = np.zeros(len(x), np.float32)
    for start in range(0, len(x), CHUNK):
        h = x[start : start + CHUNK]
        for name in LAYERS:
            h = (np.maximum(h, 0) if name != LAYERS[0] else h) @ smoother.arrays[f"{name}.weight"].T
            h += smoother.arrays[f"{name}.bias"]
        out[start : start + CHUNK] = h[:, 0]
    return out
