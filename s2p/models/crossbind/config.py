"""Settings of CrossBind with their defaults: the paper's values unless a comment states otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from s2p.config import Checked, Count, Natural, Positive, Share

__all__ = ["CrossBindConfig", "CrossBindFilterConfig"]


@dataclass(frozen=True)
class CrossBindConfig(Checked):
    """Size and inputs of a CrossBind network. Defaults are ours, for training on a CPU; :meth:`published` has the paper's."""

    cell: Positive = 0.4
    """Å, side of a voxel of the finest level (public code: 0.1, at which no two atoms of a protein are neighbours)."""
    levels: Count = 5
    """Of the U-Net; each doubles the voxel's side."""
    width: Count = 8
    """Channels of the finest level and of an atom's features; level k has k times as many."""
    slots: Count = 14
    """Largest number of atoms of a residue that are read."""
    structure: bool = True
    """Read the point cloud; off only in comparisons."""
    atom_attention: bool = True
    """Weigh a residue's atoms; off only in comparisons."""
    language_width: Natural = 320
    """Width of a language model's embedding of each residue; 0: none is read."""
    feature_width: Natural = 0
    """Number of evolutionary and structural features of each residue (paper: 54)."""
    head_widths: tuple[int, int] = (128, 64)
    """Inside the output head."""

    @classmethod
    def published(cls) -> CrossBindConfig:
        """The paper's size and inputs, with embeddings of ESM-2 650M."""
        return cls(cell=0.1, levels=7, width=32, language_width=1280, feature_width=54)

    @classmethod
    def fast(cls) -> CrossBindConfig:
        """For tests and notebooks."""
        return cls(levels=4, width=4, head_widths=(16, 8))


@dataclass(frozen=True)
class CrossBindFilterConfig(Checked):
    """The residue propensity filter: a residue that differs from all its neighbours is changed if its type supports that."""

    neighbours: Literal["geodesic", "sequence"] = "geodesic"
    """Which four neighbours are compared: the nearest on the surface (paper), or two on either side (public code)."""
    cutoff: Positive = 0.8
    """A log2 propensity above this raises, one below minus this lowers (paper)."""
    raise_by: Positive = 1.2
    """Factor (public code)."""
    lower_by: Positive = 0.8
    """Factor (public code)."""
    decision: Share = 0.5
    """Probability above which a residue counts as binding; ours may be the threshold of a checkpoint."""
    min_exposure: Share = 0.05
    """Relative accessible area above which a residue is on the surface."""
    normal_radius: Positive = 10.0
    """Å around a side chain's centre: the mean of the CA atoms there gives its direction."""
