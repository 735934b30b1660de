"""Kalasanty's density as a Gaussian cube file, written and read; ``s2p predict --format cube,ccp4`` writes maps as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.io.files import write_text
from s2p.models.kalasanty.grid import Box
from s2p.output.maps import BOHR, cube_text

__all__ = ["read_cube", "write_cube"]


def write_cube(path: str | Path, density: NDArray[np.floating], box: Box) -> Path:
    """Write a Gaussian cube file, which PyMOL, VMD and ChimeraX read; see :func:`s2p.output.maps.cube_text`."""
    if density.shape != box.shape:
        raise ValueError(f"a density of {density.shape} cells for a box of {box.shape}")
    return write_text(Path(path), cube_text(density, box.origin, box.step))


def read_cube(path: str | Path) -> tuple[NDArray[np.float32], Box]:
    """The density of a cube file on a cubic grid, and its box.

    Raises
    ------
    S2PError
        If the file is no such cube file.
    """
    try:
        words = Path(path).read_text(encoding="utf-8").split("\n", 2)[2].split()
        n_atoms, origin = int(words[0]), [float(word) / BOHR for word in words[1:4]]
        sizes = [int(words[k]) for k in (4, 8, 12)]
        vectors = np.array([[float(word) for word in words[k : k + 3]] for k in (5, 9, 13)]) / BOHR
        values = np.array(words[16 + 5 * abs(n_atoms) :], np.float32)
        density = values.reshape(sizes)
    except (OSError, IndexError, ValueError) as error:
        raise S2PError(f"{path}: cannot be read as a cube file ({error})") from None
    step = float(vectors[0, 0])
    if not np.allclose(vectors, step * np.eye(3), atol=1e-6):
        raise S2PError(f"{path}: its cells are no cubes along the axes; only such grids are read")
    return density, Box((origin[0], origin[1], origin[2]), (sizes[0], sizes[1], sizes[2]), step)
