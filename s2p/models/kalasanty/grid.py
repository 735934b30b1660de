"""Input of Kalasanty: atoms as 18 channels on a cubic grid.

Channels are those of the public code's featuriser (tfbio), in its order, without Open Babel: chemical features come from a table
of the twenty residues, which was written with Open Babel 3.1 (charges by Gasteiger on GLY-X-GLY; HIS as HIE, ASP and GLU −1, LYS
and ARG +1). Grid points are cell centres; all coordinates are Å.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from s2p.structure.reading import Structure

__all__ = ["CHANNELS", "Box", "atom_channels", "atom_table", "central_box", "covering_box", "fill_box", "rotations", "turn_grid"]

CHANNELS = (
    *("B", "C", "N", "O", "P", "S", "Se", "halogen", "metal"),
    *("hyb", "heavyvalence", "heterovalence", "partialcharge"),
    *("hydrophobic", "aromatic", "acceptor", "donor", "ring"),
)
TABLE = Path(__file__).with_name("atoms.csv")
ELEMENTS = {5: 0, 6: 1, 7: 2, 8: 3, 15: 4, 16: 5, 34: 6} | dict.fromkeys((9, 17, 35, 53), 7)
METALS = (3, 4, *range(11, 14), *range(19, 32), *range(37, 51), *range(55, 84), *range(87, 104))


@dataclass(frozen=True)
class Box:
    """A cuboid of cells."""

    origin: tuple[float, float, float]
    """Centre of the first cell, Å."""
    shape: tuple[int, int, int]
    step: float
    """Å."""

    def coordinates(self, cells: ArrayLike) -> NDArray[np.float64]:
        """(V, 3) Å of the centres of (V, 3) cells."""
        return np.array(self.origin) + np.asarray(cells, np.float64).reshape(-1, 3) * self.step

    def cells(self, coord: ArrayLike) -> NDArray[np.int64]:
        """(A, 3) cell of each position; ties are rounded to even, as in NumPy."""
        x = (np.asarray(coord, np.float64).reshape(-1, 3) - np.array(self.origin)) / self.step
        return np.asarray(np.round(x), np.int64)

    def inside(self, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(A,) whether each cell is in the box."""
        return np.asarray(((cells >= 0) & (cells < np.array(self.shape))).all(axis=1))


def central_box(center: ArrayLike, n: int, step: float = 2.0) -> Box:
    """The cube of n³ cells around a point; with 36 cells of 2 Å it is the paper's 70 Å cube."""
    x, y, z = (np.asarray(center, np.float64) - (n - 1) * step / 2).tolist()
    return Box((x, y, z), (n, n, n), step)


def covering_box(coord: NDArray[np.floating], n: int, step: float = 2.0) -> tuple[Box, list[tuple[int, int, int]]]:
    """A box around the mean of (A, 3) atoms that contains all, and the first cells of half-overlapping n³ cubes that cover it.

    If the atoms fit into one cube, it is the box itself. Boxes and cubes are placed symmetrically about the mean.
    """
    x = np.asarray(coord, np.float64)
    center = x.mean(axis=0)
    stride = n // 2
    needed = 2 * np.ceil(np.abs(x - center).max(axis=0) / step + 0.5).astype(int)
    more = np.maximum(-(-(needed - n) // stride), 0)
    # With an odd number of further cells the mean would be in the middle of a cell instead of at a corner.
    more += (more * stride) % 2
    shape = n + more * stride
    a, b, c = shape.tolist()
    origin = center - (shape - 1) * step / 2
    first = [range(0, size - n + 1, stride) for size in (a, b, c)]
    starts = [(i, j, k) for i in first[0] for j in first[1] for k in first[2]]
    return Box((float(origin[0]), float(origin[1]), float(origin[2])), (a, b, c), step), starts


@cache
def atom_table() -> dict[tuple[str, str], tuple[float, ...]]:
    """(residue, atom) -> the 18 channels, for the 167 heavy atoms of the twenty residues."""
    table = {}
    with open(TABLE, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            chemistry = [float(row[key]) for key in ("hyb", "heavyvalence", "heterovalence", "gasteiger_charge")]
            chemistry += [float(row[key]) for key in ("hydrophobic", "aromatic", "acceptor", "donor", "ring")]
            table[row["res"], row["atom"]] = (*_one_hot(int(row["Z"])), *chemistry)
    return table


def _one_hot(z: int) -> tuple[float, ...]:
    values = [0.0] * 9
    place = 8 if z in METALS else ELEMENTS.get(z)
    if place is not None:
        values[place] = 1.0
    return tuple(values)


@cache
def _unknown(element: str) -> tuple[float, ...]:
    """Features of an atom that is not in the table: its element and sp3, nothing else."""
    import gemmi

    return (*_one_hot(gemmi.Element(element.capitalize()).atomic_number), 3.0, *(0.0,) * 8)


def atom_channels(structure: Structure) -> NDArray[np.float32]:
    """(A, 18) features of every heavy atom, in the order of :data:`CHANNELS`.

    The second oxygen at a chain's end (OXT) gets the features of O. Atoms of modified residues have their element and are sp3.
    """
    atoms, table = structure.atoms, atom_table()
    names = structure.residues.name[atoms.residue_index]
    known: dict[tuple[str, str, str], tuple[float, ...]] = {}
    rows = []
    for key in zip(names.tolist(), atoms.name.tolist(), atoms.element.tolist(), strict=True):
        if key not in known:
            residue, name, element = key
            known[key] = table.get((residue, "O" if name == "OXT" else name)) or _unknown(element)
        rows.append(known[key])
    return np.array(rows, np.float32).reshape(-1, len(CHANNELS))


def fill_box(channels: NDArray[np.float32], coord: ArrayLike, box: Box) -> NDArray[np.float32]:
    """(18, nx, ny, nz) sums of the features of the atoms in each cell; atoms outside the box are ignored."""
    cells = box.cells(coord)
    kept = box.inside(cells)
    grid = np.zeros((channels.shape[1], int(np.prod(box.shape))), np.float32)
    place, inverse = np.unique(np.ravel_multi_index(tuple(cells[kept].T), box.shape), return_inverse=True)
    if len(place):
        order = np.argsort(inverse, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(inverse[order]) != 0])
        grid[:, place] = np.add.reduceat(channels[kept][order], starts, axis=0).T
    return grid.reshape(-1, *box.shape)


@cache
def rotations() -> tuple[NDArray[np.int64], ...]:
    """The 24 rotation matrices (3, 3) that map a cube onto itself, the identity first; for column vectors."""
    found = np.rint(Rotation.create_group("O").as_matrix()).astype(np.int64)
    return tuple(sorted(found, key=lambda m: (-int(np.trace(m)), m.tolist())))


def turn_grid(grid: NDArray[np.float32], rotation: NDArray[np.int64]) -> NDArray[np.float32]:
    """A grid (…, n, n, n) rotated about its centre, equal to :func:`fill_box` of coordinates rotated about the box's centre."""
    first = grid.ndim - 3
    source = np.abs(rotation).argmax(axis=1)
    turned = np.transpose(grid, (*range(first), *(first + source)))
    flip = tuple(first + k for k in range(3) if rotation[k, source[k]] < 0)
    return np.flip(turned, flip)
