"""Settings of Kalasanty with their defaults: the paper's values unless a comment states otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from s2p.config import Checked, Count, NonNegative, Positive, Range, Share

__all__ = ["KalasantyConfig", "KalasantyPocketConfig"]


@dataclass(frozen=True)
class KalasantyConfig(Checked):
    """Size of Kalasanty's network and box. Defaults are ours, for a CPU; :meth:`published` has the paper's."""

    box: Count = 24
    """Cells along each edge; the product of ``pools`` must divide it."""
    step: Positive = 2.0
    """Å, edge of a cell (paper)."""
    base: Count = 8
    """Channels of the first block; each next one has twice as many."""
    pools: tuple[int, ...] = (2, 2, 2, 3)
    normalise: bool = True
    """Batch normalisation after every convolution."""
    scale_floor: NonNegative | None = 0.2
    """Divide channels by their root mean square over occupied cells, at least this; ``None``: raw sums, as published."""
    output_bias: float = -4.0
    """Initial bias of the last convolution: most of a box is not cavity."""

    @classmethod
    def published(cls) -> KalasantyConfig:
        """A 70 Å cube of 36³ cells; 23,546,977 parameters."""
        return cls(box=36, base=32, pools=(2, 2, 3, 3), normalise=False, scale_floor=None, output_bias=0.0)


@dataclass(frozen=True)
class KalasantyPocketConfig(Checked):
    """Settings from a density to pockets (public code, unless a comment states otherwise)."""

    threshold: Share = 0.5
    """Voxels with a density above this are cavity (paper; 0.3 to 0.8 made hardly a difference there)."""
    closing: bool = True
    """Close gaps between voxels that share a face."""
    drop_border: bool = True
    """Leave out cavities that touch the border of the grid."""
    min_volume: NonNegative = 50.0
    """Å³; smaller cavities are left out."""
    residue_distance: Positive = 4.5
    """Å from a heavy atom to a voxel's centre within which the atom belongs to the pocket."""
    tiles: bool = True
    """Cover proteins larger than the box with overlapping boxes (ours); off: ignore atoms outside a single box, as published."""
    turns: Annotated[int, Range(1, 24)] = 1
    """Number of the cube's 24 rotations whose densities are averaged (ours); with all 24 the result rotates with the protein."""
    max_cells: Count = 50_000_000
    """Largest number of grid cells of a structure (memory)."""
