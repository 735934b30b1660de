"""Geometry shared by the stages of a prediction, computed once for the chains in contact: frame, atoms, points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.structure.reading import Structure
from s2p.surface.points import SoftPoints, soft_points

__all__ = ["Surroundings", "assemblies", "principal_frame"]

CONTACT = 8.0
"""Å between heavy atoms of two chains in contact: far enough for models of CA atoms, and for a ligand that lies between them."""

TIE = 1e-3
"""Two spreads along axes count as equal, and these axes as undefined, if they differ by less than this share of the largest."""
LEAN = 1e-4
"""A skewness below this counts as 0; coordinates rounded to 0.001 Å change it by 1e-5 at most."""
MOMENTS = 5
"""Number of moments along the sequence that are used if the shape alone does not define the axes."""


class Surroundings:
    """Frame, atoms and surface points of one structure, each computed on first use.

    All coordinates are in a frame that is fixed to the molecule (:func:`principal_frame`): spheres and grids are then at the same
    place on the molecule for any orientation of the file. All atoms of the structure are used.

    Parameters
    ----------
    whole
        Structure of the whole file.
    part
        (N,) residues that are used, and their (A,) atoms, ascending indices in the file; default: all.
    """

    def __init__(self, whole: Structure, part: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None) -> None:
        self.whole = whole
        self.structure = whole if part is None else whole.part(*part)
        if part is None:
            part = np.arange(len(whole.residues), dtype=np.int32), np.arange(len(whole.atoms), dtype=np.int32)
        self.residues, self.atoms = part
        self.origin, self.axes = principal_frame(self.structure.residues.ca_coord)
        self._points: dict[tuple[int, float], SoftPoints] = {}

    @cached_property
    def coord(self) -> NDArray[np.float64]:
        """(A, 3) atoms, Å, in the frame."""
        return self.inside(self.structure.atoms.coord)

    @cached_property
    def ca_coord(self) -> NDArray[np.float64]:
        """(N, 3) CA atoms, Å, in the frame."""
        return self.inside(self.structure.residues.ca_coord)

    def inside(self, coord: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, 3) coordinates of the file, Å, in the frame."""
        return np.asarray((coord.astype(np.float64) - self.origin) @ self.axes)

    def outside(self, coord: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) coordinates in the frame, Å, transformed to those of the file."""
        return np.asarray(coord @ self.axes.T + self.origin)

    def points(self, n_points: int = 24, probe_radius: float = 1.6) -> SoftPoints:
        """Surface points of all atoms, in the frame; see :func:`~s2p.surface.points.soft_points`."""
        key = (n_points, probe_radius)
        if key not in self._points:
            element = self.structure.atoms.element
            self._points[key] = soft_points(self.coord, element, n_points=n_points, probe_radius=probe_radius)
        return self._points[key]

    @staticmethod
    def of(structure: Structure | Surroundings) -> Surroundings:
        """The surroundings of a structure; an argument that already is one is returned."""
        return structure if isinstance(structure, Surroundings) else Surroundings(structure)


def assemblies(structure: Structure, made: Sequence[Surroundings] | None = None) -> Sequence[Surroundings]:
    """The parts of a structure whose chains are in contact, one after the other; ``made`` where it is of this structure.

    Predictions for a part do not depend on the others, because a file may contain copies, or other proteins, far away.
    """
    if made is not None and all(part.whole is structure for part in made):
        return made
    group = _in_contact(structure)
    if (group == group[0]).all():
        return [Surroundings(structure)]
    parts = zip(members(group), members(group[structure.atoms.residue_index]), strict=True)
    return [Surroundings(structure, part) for part in sorted(parts, key=lambda part: part[0][0])]


def members(group: NDArray[np.integer]) -> list[NDArray[np.int32]]:
    """Ascending indices of the members of each group that occurs, from an (n,) array of the groups' numbers."""
    order = np.argsort(group, kind="stable")
    return np.split(order.astype(np.int32), np.flatnonzero(np.diff(group[order])) + 1)


def _in_contact(structure: Structure) -> NDArray[np.int64]:
    """(N,) number of the group of chains that a residue belongs to."""
    chain = np.unique(structure.residues.chain, return_inverse=True)[1]
    clouds = [structure.atoms.coord[own].astype(np.float64) for own in members(chain[structure.atoms.residue_index])]
    low, high = (np.stack([f(c, axis=0) for c in clouds]) for f in (np.min, np.max))
    group = np.arange(len(clouds))
    for a in range(len(clouds)):
        # Atoms of two chains in contact lie where their boxes meet.
        first, last = np.maximum(low[a], low) - CONTACT, np.minimum(high[a], high) + CONTACT
        for b in np.flatnonzero((first <= last).all(axis=1) & (group != group[a])).tolist():
            one, other = (x[((x >= first[b]) & (x <= last[b])).all(axis=1)] for x in (clouds[a], clouds[b]))
            if len(one) and len(other) and cKDTree(one).count_neighbors(cKDTree(other), CONTACT):
                group[group == group[b]] = group[a]
    return np.asarray(group[chain])


def principal_frame(ca_coord: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Origin (3,) and axes (3, 3) (columns, right-handed) that move with a molecule: ``(x - origin) @ axes``.

    ``ca_coord`` (N, 3) Å are its CA atoms, in the order of the residues.

    Notes
    -----
    The axes are the principal ones, longest first. The first two point to the side of the longer tail (positive third moment),
    the last follows. If a molecule is round or symmetric, such as an exact dimer, rounding errors would decide. Then the
    order of the residues decides, through moments of the positions with Legendre polynomials of the position in the sequence,
    which rounding hardly changes. Only points on a line have no frame.
    """
    x = np.asarray(ca_coord, dtype=np.float64)
    origin = x.mean(axis=0)
    x = x - origin
    spread, axes = np.linalg.eigh(x.T @ x)
    spread, axes = spread[::-1], axes[:, ::-1]
    place = np.linspace(-1, 1, len(x))
    # (MOMENTS, 3) from the start to the end of the sequence, from its middle to both ends, and so on.
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
