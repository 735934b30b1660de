"""What the stages of a prediction read of a structure's shape, made once: frame, cell lists, surface points."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from s2p.structure.cells import CellList, build_cells
from s2p.structure.reading import Structure
from s2p.structure.transforms import principal_frame
from s2p.surface.points import SoftPoints, soft_points

__all__ = ["Surroundings"]


class Surroundings:
    """Frame, atoms, cell lists and surface points of one structure, each made when it is first asked for.

    All of it lies in a frame that is fixed to the molecule (:func:`~s2p.structure.transforms.principal_frame`): spheres, rays
    and grids then stand in the same place on the molecule however its file is turned.

    Parameters
    ----------
    structure
        All its atoms count.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.origin, self.axes = principal_frame(structure.residues.ca_coord)
        self._cells: dict[float, CellList] = {}
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
        """(n, 3) coordinates of the frame, Å, where the file has them."""
        return np.asarray(coord @ self.axes.T + self.origin)

    def cells(self, size: float) -> CellList:
        """Cell list of the atoms with edges of ``size`` Å."""
        if size not in self._cells:
            self._cells[size] = build_cells(self.coord, size)
        return self._cells[size]

    def points(self, n_points: int = 24, probe_radius: float = 1.6) -> SoftPoints:
        """Surface points of all atoms, in the frame; see :func:`~s2p.surface.points.soft_points`."""
        key = (n_points, probe_radius)
        if key not in self._points:
            self._points[key] = soft_points(
                self.coord, self.structure.atoms.element, n_points=n_points, probe_radius=probe_radius
            )
        return self._points[key]

    @classmethod
    def of(cls, structure: Structure, made: Surroundings | None) -> Surroundings:
        """``made`` where it is this structure's, else new ones."""
        return made if made is not None and made.structure is structure else cls(structure)
