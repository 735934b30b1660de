"""A density on a grid in file formats of other programs: Gaussian cube and CCP4.

Values are (nx, ny, nz) on cubic cells; ``origin`` is the centre of the first cell and ``step`` the edge of a cell, Å.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOHR", "ccp4_bytes", "cube_text"]

BOHR = 1.889725989
"""Bohr radii in one Å."""


def cube_text(values: NDArray[np.floating], origin: Sequence[float], step: float) -> str:
    """The text of a Gaussian cube file, which PyMOL, VMD and ChimeraX read: lengths in Bohr, z running fastest.

    The format requires an atom: a hydrogen at the origin of the grid is written, as in the public code of Kalasanty.
    """
    x, y, z = (value * BOHR for value in origin)
    head = ["density of binding cavities", "written by s2p; Bohr; loops: x, y, z", f"{1:5d}{x:14.8f}{y:14.8f}{z:14.8f}"]
    for size, vector in zip(values.shape, (step * BOHR * np.eye(3)).tolist(), strict=True):
        head.append(f"{size:5d}" + "".join(f"{value:14.8f}" for value in vector))
    head.append(f"{1:5d}{0.0:14.8f}{x:14.8f}{y:14.8f}{z:14.8f}")
    lines = []
    for row in np.asarray(values, np.float64).reshape(-1, values.shape[2]).tolist():
        lines += ["".join(f"{value:16.8E}" for value in row[k : k + 6]) for k in range(0, len(row), 6)]
    return "\n".join([*head, *lines]) + "\n"


def ccp4_bytes(values: NDArray[np.floating], origin: Sequence[float], step: float) -> bytes:
    """The content of a CCP4 (MRC 2014) map, which ChimeraX, PyMOL and VMD read.

    A grid may start anywhere, so its position is in the ORIGIN words of the header (50 to 52, Å), and the start indices are 0;
    a program that reads only the start indices shows the map at the origin.
    """
    import gemmi

    ccp4 = gemmi.Ccp4Map()
    ccp4.grid = gemmi.FloatGrid(np.asarray(values, np.float32))
    nx, ny, nz = values.shape
    ccp4.grid.unit_cell.set(nx * step, ny * step, nz * step, 90, 90, 90)
    ccp4.grid.spacegroup = gemmi.SpaceGroup("P 1")
    ccp4.update_ccp4_header(2)  # float32
    for word, value in enumerate(origin, start=50):
        ccp4.set_header_float(word, value)
    ccp4.set_header_str(57, "written by s2p")
    with TemporaryDirectory(prefix="s2p-map-") as folder:  # gemmi writes to a path only
        path = Path(folder, "map.ccp4")
        ccp4.write_ccp4_map(str(path))
        return path.read_bytes()
