"""Settings of Vabs-Net with their defaults: the paper's values unless a comment states otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from s2p.config import Checked, Count, Natural, Positive, Share

__all__ = ["VabsNetConfig"]


@dataclass(frozen=True)
class VabsNetConfig(Checked):
    """Size and inputs of a Vabs-Net. Defaults are ours, for training on a CPU; the paper's network is in brackets."""

    layers: Count = 3  # (12)
    width: Count = 64  # (768)
    edge_width: Count = 16  # (128)
    heads: Count = 4  # (48)
    ffn_width: Count = 128  # (768)
    head_width: Count = 64  # (128)
    """Inside the output heads."""
    atom_neighbours: Count = 16
    """Nearest atoms an atom attends to, itself included (paper: 30; 90 for nucleic acids)."""
    residue_neighbours: Count = 24  # (30)
    n_gaussians: Count = 24
    """Of the distance encoding (public code: 128)."""
    atom_reach: Positive = 9.0
    """Å: range of the Gaussians of atom edges (public code)."""
    residue_reach: Positive = 14.0
    """Å: likewise of residue edges; ours, CA atoms are farther apart (paper: 9)."""
    equivariant: bool = True
    """Leave out directions in global axes, so that results do not depend on the pose (the paper's default keeps them)."""
    virtual_node: bool = True
    """One node at the centre that is connected to all others."""
    atom_track: bool = True
    residue_track: bool = True
    """Off only in ablations."""
    surface: bool = True
    """Read the exposure of atoms (ours); off in pre-training, where the area is a target."""
    language_width: Natural = 0
    """Width of a language model's features of each residue (paper: 1280, of ESM-2 650M); 0: none are read."""
    language_dropout: Share = 0.2
    dropout: Share = 0.1
    attention_dropout: Share = 0.1
    stochastic_depth: Share = 0.1
    """Rate in the last layer, decreasing linearly towards the first."""
    kinds: tuple[str, ...] = ("small",)
    """Kinds of ligand with a binding head, e.g. ``small`` (molecule) and ``nucleic``."""

    @classmethod
    def fast(cls) -> VabsNetConfig:
        """For tests and notebooks."""
        return cls(layers=2, width=16, edge_width=8, ffn_width=32, head_width=16, atom_neighbours=10, residue_neighbours=10)
