"""Rigid motions of a structure, and the one that superposes two sets of points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from s2p.structure.arrays import Structure

__all__ = ["moved", "random_rotation", "superposition"]


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
