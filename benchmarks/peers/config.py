"""How other pocket finders are run, and the baselines beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from s2p.config import Checked, Count, NonNegative, Positive, Range

__all__ = ["CavityConfig", "PatchConfig", "PeerConfig"]


@dataclass(frozen=True)
class PeerConfig(Checked):
    """How outside tools are run (:mod:`benchmarks.peers`); what they compute is left at their own defaults."""

    timeout: Positive = 900.0
    """Seconds after which a tool that has not answered for one structure is stopped."""
    threads: Count = 1
    """Threads a tool may use."""
    residue_distance: Positive = 4.5
    """Å from a heavy atom to a point of a pocket: what its atoms are, and its residues where the tool names none."""


@dataclass(frozen=True)
class PatchConfig(Checked):
    """The baseline of random surface patches."""

    radius: Positive = 8.0
    """Å: a patch is about as large as the site of a drug-like ligand."""
    n_patches: Count = 10
    n_points: Count = 20
    """Surface points on each atom's sphere."""
    probe_radius: Positive = 1.6
    """Å."""


@dataclass(frozen=True)
class CavityConfig(Checked):
    """The baseline of the largest cavity on a grid."""

    spacing: Positive = 1.0
    """Å between grid points."""
    probe_radius: Positive = 1.4
    """Å, a water molecule."""
    min_enclosed: Annotated[int, Range(0, 7)] = 6
    """Of seven lines through a point, those that must meet protein on both sides."""
    min_volume: NonNegative = 30.0
    """Å³, about the volume of a water molecule in the liquid; smaller cavities are left out."""
    max_cavities: Count = 20
    residue_distance: Positive = 4.5
    """Å from a heavy atom to a point of the cavity."""
    max_cells: Count = 50_000_000
    """Grid points beyond which a structure is refused (memory)."""
