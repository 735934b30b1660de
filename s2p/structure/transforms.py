"""Rotations, and the rigid motion that superposes two sets of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["random_rotation", "superposition"]


def random_rotation(draw: np.random.Generator, column: int = 0) -> NDArray[np.float64]:
    """(3, 3) proper rotation, all equally likely.

    Parameters
    ----------
    column
        The one that changes its sign where the matrix drawn would mirror: which one does not matter, but recorded draws depend
        on it.
    """
    q, r = np.linalg.qr(draw.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, column] *= np.sign(np.linalg.det(q))
    return np.asarray(q)


def superposition(
    fixed: NDArray[np.floating], moving: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(3, 3) rotation, (3,) shift and RMSD in Å that take (n, 3) ``moving`` onto ``fixed``: x -> rotation @ x + shift."""
    import gemmi

    first, second = ([gemmi.Position(*xyz) for xyz in np.asarray(x, float).tolist()] for x in (fixed, moving))
    result = gemmi.superpose_positions(first, second)
    return np.array(result.transform.mat.tolist()), np.array(result.transform.vec.tolist()), float(result.rmsd)
