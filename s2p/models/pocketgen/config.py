"""Every knob of PocketGen, with its default: the small configuration that a processor trains, and the paper's in words.

Source: PocketGen (Zhang et al. 2024) and its public code; what neither states, or where we differ, is marked as ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Share

__all__ = ["DesignConfig", "PocketConfig", "PocketGenConfig"]


@dataclass(frozen=True)
class PocketConfig(Checked):
    """Which residues are designed and which are seen."""

    cutoff: Positive = 3.5
    """Å: residues with a heavy atom this close to one of the ligand are the pocket."""
    context: Positive = 8.0
    """Å: residues with a heavy atom this close to one of the ligand are seen (published: 10)."""
    max_residues: Count = 32
    """Largest pocket; of more residues those nearest to the ligand are designed (ours)."""
    ligand_features: Literal["rules", "rdkit"] = "rules"
    """Roles of the ligand's atoms: by rules on elements and distances (ours), or RDKit's feature families, as published."""


@dataclass(frozen=True)
class PocketGenConfig(Checked):
    """Shape of the network."""

    width: Count = 64
    """Of an atom's features (published: 128), divided 3:1:2:2 among atom name, slot, residue type and residue number."""
    heads: Count = 4
    layers: Count = 2
    """Published: 4."""
    neighbours: Count = 12
    """Nearest residues by CA that a residue attends to, beside itself and the ligand (published: 8)."""
    top_atoms: Count = 3
    """Atoms of a neighbour that an atom attends to."""
    n_gaussians: Count = 16
    """Of distances from 0 to ``reach`` Å (published: 64)."""
    reach: Positive = 10.0
    max_step: Positive = 3.0
    """Å: longest displacement of an atom in a layer. The vector is shortened; to clip its components, as the public code does,
    depends on how the axes lie."""
    ffn_gaussians: Count = 16
    ffn_reach: Positive = 7.0
    dropout: Share = 0.1
    language_width: Natural = 320
    """Of the frozen protein language model (ESM-2 8M; published: 1280 of ESM-2 650M); 0 for none."""
    language_heads: Count = 20
    surroundings_width: Count = 512
    """Of the heads that read what surrounds a place (ours)."""
    surroundings_heads: Count = 3
    """So many of those, of which the mean is taken."""
    trace_width: Count = 512
    """Of the network that places CA atoms for those heads (ours)."""
    structure_share: Share = 1.0
    """Factor of what the structure network adds to the logits of the types, beyond the heads that are fitted first (ours): it is
    trained at 1 and chosen on validation, for on few complexes this part learns by heart."""
    passes: Count = 3
    """Times the network is applied, each to what it gave before."""


@dataclass(frozen=True)
class DesignConfig(Checked):
    """Sampling of designs."""

    n: Count = 8
    temperature: NonNegative = 1.0
    """Of the types; 0 takes the likeliest. The public code divides by 3 without saying so."""
    seed: Natural = 0
    idealise: bool = True
