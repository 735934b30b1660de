"""Every knob of Kalasanty, with its default: the paper's values unless a comment says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Range, Share

__all__ = ["KalasantyConfig", "KalasantyPocketConfig", "KalasantyTrainConfig"]


@dataclass(frozen=True)
class KalasantyConfig(Checked):
    """Size of Kalasanty's network and box. Defaults are ours, for a CPU; :meth:`published` holds the paper's."""

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
    """Of the last convolution at the start: most of a box is no cavity."""

    @classmethod
    def published(cls) -> KalasantyConfig:
        """A 70 Å cube of 36³ cells; 23,546,977 parameters."""
        return cls(box=36, base=32, pools=(2, 2, 3, 3), normalise=False, scale_floor=None, output_bias=0.0)


@dataclass(frozen=True)
class KalasantyTrainConfig(Checked):
    """Training of Kalasanty. Defaults are ours, for the small network; :meth:`published` holds the paper's."""

    epochs: Count = 24
    """Times every structure gives one box."""
    batch: Count = 4
    lr: Positive = 3e-3
    warmup_steps: Natural = 20
    decay: bool = True
    """Let the rate fall to 0, linearly, over the run."""
    smoothing: Positive = 0.01
    """ε of the Dice loss (paper)."""
    cross_entropy: NonNegative = 3.0
    """Weight of the cross-entropy beside the Dice loss; 0: Dice alone, as published."""
    positive_weight: NonNegative = 10.0
    """Of a cavity's voxels in the cross-entropy."""
    penalty: NonNegative = 0.0
    """λ of the penalty λ Σ w² on kernels (paper: 1e-5; the public code's default is 1e-3)."""
    rotate: bool = True
    """Turn every box by one of the 24 rotations that map a cube onto itself (public code)."""
    shift: NonNegative = 5.0
    """Å: the box is moved by up to this along each axis, to either side (public code: to one side)."""
    moving_box: bool = True
    """Place boxes anywhere on a protein larger than the box; off: at its centre, as published."""
    toward_site: Share = 0.75
    """Share of moving boxes that are placed around a site; the others lie anywhere on the protein."""
    seed: Natural = 0

    @classmethod
    def published(cls) -> KalasantyTrainConfig:
        """10,000 epochs of 150 batches of 10 there; an epoch here is one pass over the structures."""
        return cls(
            epochs=10_000, batch=10, lr=1e-6, warmup_steps=0, decay=False, cross_entropy=0.0, penalty=1e-5, moving_box=False
        )


@dataclass(frozen=True)
class KalasantyPocketConfig(Checked):
    """From a density to pockets (public code, unless a comment says otherwise)."""

    threshold: Share = 0.5
    """Voxels with a density above this are cavity (paper; 0.3 to 0.8 made hardly a difference there)."""
    closing: bool = True
    """Close gaps between voxels that share a face."""
    drop_border: bool = True
    """Leave out cavities that touch the border of the grid."""
    min_volume: NonNegative = 50.0
    """Å³; smaller cavities are left out."""
    residue_distance: Positive = 4.5
    """Å from a heavy atom to a voxel's centre: what belongs to a pocket."""
    tiles: bool = True
    """Cover proteins larger than the box with overlapping boxes; off: drop atoms outside of the one box, as published. Ours."""
    turns: Annotated[int, Range(1, 24)] = 1
    """Of the 24 rotations of the cube, so many densities are averaged; with 24 the result turns with the protein. Ours."""
    max_cells: Count = 50_000_000
    """Cells of the grid beyond which a structure is refused (memory)."""
