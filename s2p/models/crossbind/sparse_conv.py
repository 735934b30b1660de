"""Convolutions on the occupied voxels of a grid, in plain PyTorch without compiled extensions, on CPU and GPU.

A submanifold convolution computes outputs at occupied voxels only, so the data stay sparse; a strided one makes voxels of twice
the width that contain an occupied voxel, and its transpose returns to the finer voxels. Source: Graham, Engelcke and van der
Maaten 2018, "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks" (arXiv 1711.10275), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from s2p.errors import S2PError

__all__ = ["Level", "SparseDeconv", "StridedConv", "SubmanifoldConv", "Voxels", "build_levels", "voxelise"]

OFFSETS = tuple(product((-1, 0, 1), repeat=3))
"""Offsets of a 3 x 3 x 3 kernel, with the centre in the middle."""
CENTRE = len(OFFSETS) // 2
MAX_KEY = 1 << 62


@dataclass(frozen=True, eq=False)
class Level:
    """The occupied voxels of one size, their neighbours, and their parents in the next coarser level."""

    cells: Tensor
    """(V, 3) int64, sorted, no two equal."""
    pairs: tuple[tuple[int, Tensor, Tensor], ...]
    """For each offset of the kernel except the centre: its index in :data:`OFFSETS`, and voxels (source, destination) with
    ``cells[source] = cells[destination] + offset``. Offsets without a pair are left out."""
    parent: Tensor
    """(V,) index in the coarser level."""
    children: tuple[Tensor, ...]
    """For each offset of a 2 x 2 x 2 kernel, the indices of the voxels at this position in their parent."""
    n_parents: int


@dataclass(frozen=True, eq=False)
class Voxels:
    """Points sorted into voxels."""

    cells: Tensor
    """(V, 3) int64, sorted, no two equal."""
    owner: Tensor
    """(P,) voxel of each point."""

    def mean(self, features: Tensor) -> Tensor:
        """(P, d) of the points -> (V, d), the mean of the points in each voxel."""
        total = features.new_zeros(len(self.cells), features.shape[1]).index_add(0, self.owner, features)
        count = torch.bincount(self.owner, minlength=len(self.cells))
        return total / count[:, None].to(total.dtype)


def _number(cells: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """(V,) number of each cell, in the order of the cells; and corner and size of the numbered box, with a margin of one cell.

    :class:`S2PError` if the cells are too far apart to be numbered.
    """
    low = cells.amin(0) - 1
    size = [int(n) for n in cells.amax(0) - low + 2]
    if size[0] * size[1] * size[2] > MAX_KEY:
        raise S2PError("the atoms lie too far apart for voxels of this size; check the coordinates or take larger voxels")
    x, y, z = (cells - low).unbind(1)
    return (x * size[1] + y) * size[2] + z, low, size


def voxelise(coord: Tensor, cell: float, group: Tensor | None = None, *, spacing: int = 1) -> Voxels:
    """Sort points into cubic voxels.

    Parameters
    ----------
    coord
        (P, 3) Å, P at least 1.
    cell
        Side of a voxel (Å).
    group
        (P,) int64 from 0: points of different groups (e.g. proteins) are placed so far apart that they never share voxels or have
        neighbouring ones.
    spacing
        Groups are moved by multiples of this number of cells, 2^(levels - 1), so that coarser levels treat each one as if alone.

    Raises
    ------
    S2PError
        If the points are too far apart to be numbered.
    """
    cells = torch.floor(coord.double() / cell).to(torch.int64)
    if group is not None and int(group.max()) > 0:
        # The corner of each group, rounded down to a multiple of the spacing, moves to 0; then groups are put in a row.
        n = int(group.max()) + 1
        low = cells.new_full((n, 3), torch.iinfo(torch.int64).max).scatter_reduce(0, group[:, None].expand(-1, 3), cells, "amin")
        cells = cells - (torch.div(low, spacing, rounding_mode="floor") * spacing)[group]
        width = (int(cells[:, 0].max()) // spacing + 3) * spacing
        cells[:, 0] += group * width
    keys, low, size = _number(cells)
    keys, owner = torch.unique(keys, return_inverse=True)
    yz = size[1] * size[2]
    unique = torch.stack([keys // yz, keys % yz // size[2], keys % size[2]], dim=1) + low
    return Voxels(unique, owner)


def build_levels(cells: Tensor, n: int) -> list[Level]:
    """Levels of a U-Net, the finest first.

    Parameters
    ----------
    cells
        (V, 3) int64, sorted and distinct, as :func:`voxelise` gives them.
    n
        Number of levels.
    """
    levels = []
    for _ in range(n):
        keys, _, size = _number(cells)
        pairs = []
        for place, (dx, dy, dz) in enumerate(OFFSETS[:CENTRE]):
            wanted = keys + (dx * size[1] + dy) * size[2] + dz
            at = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
            destination = torch.nonzero(keys[at] == wanted).flatten()
            if len(destination):
                # If a voxel has a neighbour at an offset, the neighbour has the voxel at the opposite offset.
                pairs.append((place, at[destination], destination))
                pairs.append((len(OFFSETS) - 1 - place, destination, at[destination]))
        above = torch.div(cells, 2, rounding_mode="floor")
        keys, parent = torch.unique(_number(above)[0], return_inverse=True)
        parity = (cells - 2 * above) @ cells.new_tensor([4, 2, 1])
        children = tuple(torch.nonzero(parity == k).flatten() for k in range(8))
        levels.append(Level(cells, tuple(pairs), parent, children, len(keys)))
        cells = above.new_empty(len(keys), 3).index_copy(0, parent, above)
    return levels


def _weight(places: int, inside: int, outside: int, *, terms: int) -> nn.Parameter:
    """Random weights that preserve the variance of rectified inputs over ``terms`` products per output."""
    return nn.Parameter(torch.randn(places, inside, outside) * (2.0 / terms) ** 0.5)


class SubmanifoldConv(nn.Module):
    """3 x 3 x 3 convolution without bias, at occupied voxels only: ``conv3d`` on the occupied ones of a dense grid."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        # Atoms have few neighbouring voxels (only themselves at the finest levels): with all 27, weights would be far too small.
        self.weight = _weight(len(OFFSETS), inside, outside, terms=2 * inside)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(V, inside) -> (V, outside)."""
        out = x @ self.weight[CENTRE]
        for place, source, destination in level.pairs:
            out = out.index_add(0, destination, x[source] @ self.weight[place])
        return out


class StridedConv(nn.Module):
    """2 x 2 x 2 convolution of stride 2 without bias: one level coarser."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.weight = _weight(8, inside, outside, terms=2 * inside)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(V, inside) of ``level`` -> (n_parents, outside) of the next."""
        out = x.new_zeros(level.n_parents, self.weight.shape[2])
        for place, rows in enumerate(level.children):
            out = out.index_add(0, level.parent[rows], x[rows] @ self.weight[place])
        return out


class SparseDeconv(nn.Module):
    """Transpose of :class:`StridedConv`: returns to exactly the voxels of the finer level."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.weight = _weight(8, inside, outside, terms=inside)  # each voxel has one parent

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(n_parents, inside) -> (V, outside) of ``level``."""
        out = x.new_zeros(len(level.cells), self.weight.shape[2])
        for place, rows in enumerate(level.children):
            out = out.index_add(0, rows, x[level.parent[rows]] @ self.weight[place])
        return out
