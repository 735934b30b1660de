"""Rigid motions of a structure, the one that superposes two sets of points, a frame of the molecule's own, and torsions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from s2p.structure.reading import Structure

__all__ = ["dihedral", "moved", "principal_frame", "random_rotation", "superposition"]

TIE = 1e-3
"""Two spreads count as equal, and their axes as free to turn, where they differ by less than this share of the largest."""
LEAN = 1e-4
"""A skewness below this is no tail; coordinates rounded to 0.001 Å move it by 1e-5 at most."""
MOMENTS = 5
"""Moments along the sequence that are asked where the shape alone does not decide."""


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


def principal_frame(ca_coord: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Origin (3,) and axes (3, 3) (columns, right-handed) that move with a molecule: ``(x - origin) @ axes``.

    Parameters
    ----------
    ca_coord
        (N, 3) Å of the CA atoms, in the order of the residues.

    Notes
    -----
    The axes are the principal ones, longest first. The first two point to the side of the longer tail (positive third moment),
    the last follows. Where a molecule is round or alike at both ends, as an exact dimer is, rounding errors would choose. There
    the order of the residues decides, through moments of the positions with Legendre polynomials of the place in the sequence,
    which hardly feel rounding. Only points on a line have no frame.
    """
    x = np.asarray(ca_coord, dtype=np.float64)
    origin = x.mean(axis=0)
    x = x - origin
    spread, axes = np.linalg.eigh(x.T @ x)
    spread, axes = spread[::-1], axes[:, ::-1]
    place = np.linspace(-1, 1, len(x))
    # (MOMENTS, 3) from where the chain begins to where it ends, from its middle to both ends, and so on.
    moments = np.polynomial.legendre.legvander(place, MOMENTS)[:, 1:].T @ x
    size = float(np.sqrt(spread[0] * len(x)))
    start = 0
    for end in range(1, 4):
        if end < 3 and spread[end - 1] - spread[end] < TIE * spread[0]:
            continue  # the next axis belongs to the same group of equal ones
        if end - start > 1:
            axes[:, start:end] = _within(axes[:, start:end], moments, 1e-3 * size)
        start = end
    inside = x @ axes
    skew = (inside**3).mean(axis=0) / np.maximum((inside**2).mean(axis=0), 1e-12) ** 1.5
    lean = moments @ axes
    for k in range(2):
        clear = lean[np.abs(lean[:, k]) > 1e-3 * size, k]
        tail = skew[k] if abs(skew[k]) > LEAN or not len(clear) else clear[0]
        axes[:, k] *= -1.0 if tail < 0 else 1.0
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    return origin, axes


def _within(basis: NDArray[np.float64], moments: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Axes (3, g) of the space that the orthonormal columns of ``basis`` span, along moments longer than ``least`` in it."""
    chosen: list[NDArray[np.float64]] = []
    for vector in [*(basis @ basis.T @ m for m in moments), *(1e3 * least * basis.T)]:
        rest = vector - sum((axis * (axis @ vector) for axis in chosen), np.zeros(3))
        if len(chosen) < basis.shape[1] and np.linalg.norm(rest) > least:
            chosen.append(rest / np.linalg.norm(rest))
    return np.stack(chosen, axis=1) if len(chosen) == basis.shape[1] else basis


def moved(
    structure: Structure, rotation: NDArray[np.floating], shift: NDArray[np.floating], decimals: int | None = 3
) -> Structure:
    """The structure, ligands included, turned by (3, 3) ``rotation`` and then moved by (3,) ``shift`` Å.

    Coordinates are rounded to 0.001 Å, as a file would, or to so many ``decimals``; ``None``: not at all.
    """

    def there(x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = x.astype(np.float64) @ np.transpose(rotation) + shift
        return (y if decimals is None else np.round(y, decimals)).astype(np.float32)

    return replace(
        structure,
        atoms=replace(structure.atoms, coord=there(structure.atoms.coord)),
        residues=replace(structure.residues, ca_coord=there(structure.residues.ca_coord)),
        ligands=tuple(replace(ligand, coord=there(ligand.coord)) for ligand in structure.ligands),
    )


def superposition(
    fixed: NDArray[np.floating], moving: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(3, 3) rotation, (3,) shift and RMSD in Å that take (n, 3) ``moving`` onto ``fixed``: x -> rotation @ x + shift."""
    import gemmi

    first, second = ([gemmi.Position(*xyz) for xyz in np.asarray(x, float).tolist()] for x in (fixed, moving))
    result = gemmi.superpose_positions(first, second)
    return np.array(result.transform.mat.tolist()), np.array(result.transform.vec.tolist()), float(result.rmsd)


def dihedral(
    a: NDArray[np.floating], b: NDArray[np.floating], c: NDArray[np.floating], d: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(n,) torsions in radians, IUPAC sign, of four (n, 3) points each."""
    axis = c - b
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    v = (a - b) - ((a - b) * axis).sum(axis=1, keepdims=True) * axis
    w = (d - c) - ((d - c) * axis).sum(axis=1, keepdims=True) * axis
    x, y = (v * w).sum(axis=1), (np.cross(axis, v) * w).sum(axis=1)
    return np.asarray(np.arctan2(y, x))
