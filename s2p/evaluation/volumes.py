"""DVO: how much of a true and a predicted volume is shared, on the grid of Kalasanty (2 Å)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2p.evaluation.config import BenchmarkConfig

__all__ = ["volume_overlap", "voxels"]

_HALF = 1 << 20
"""Cells on either side of the origin that fit into a number: two million Å."""


def voxels(
    points: ArrayLike,
    radius: float = BenchmarkConfig.grid_radius,
    origin: ArrayLike = (0.0, 0.0, 0.0),
    spacing: float = BenchmarkConfig.grid,
) -> NDArray[np.int64]:
    """Cells of a cubic grid whose centres lie within ``radius`` (inclusive) of a point.

    Parameters
    ----------
    points
        (n, 3) Å: heavy atoms of a ligand, or points of a pocket.
    radius
        Å; Kalasanty dilates the points of a cavity by 2 Å.
    origin
        (3,) centre of a cell. That of the protein makes the figure independent of where the molecule lies.
    spacing
        Å.

    Returns
    -------
    (V,) a number for each cell, ascending.
    """
    x = (np.asarray(points, np.float64).reshape(-1, 3) - np.asarray(origin, np.float64)) / spacing
    reach = int(np.ceil(radius / spacing))
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    cells = np.rint(x).astype(np.int64)[:, None] + steps[None]
    # A hair more than the radius, so that rounding of coordinates does not decide about points on the grid.
    inside = np.linalg.norm(cells - x[:, None], axis=2) <= radius / spacing + 1e-9
    i, j, k = (cells[inside] + _HALF).T
    return np.unique((i * 2 * _HALF + j) * 2 * _HALF + k)


def volume_overlap(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Shared over joint volume of two sets of :func:`voxels`; 0 if one is empty (no prediction), NaN if both are."""
    shared = len(np.intersect1d(true, predicted, assume_unique=True))
    joint = len(true) + len(predicted) - shared
    return shared / joint if joint else float("nan")
