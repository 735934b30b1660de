"""Settings of PocketGen with their defaults: a small configuration for training on a CPU; the paper's values are in brackets.

Source: PocketGen (Zhang et al. 2024) and its public code; settings that neither states, or that differ, are marked as ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Share
from s2p.errors import ConfigError
from s2p.models.pocketgen.atoms import LETTERS

__all__ = ["DesignConfig", "PocketConfig", "PocketGenConfig"]


@dataclass(frozen=True)
class PocketConfig(Checked):
    """Which residues are designed, and which are input."""

    cutoff: Positive = 3.5
    """Å: residues with a heavy atom this close to one of the ligand are the pocket."""
    context: Positive = 8.0
    """Å: residues with a heavy atom this close to one of the ligand are input (published: 10)."""
    max_residues: Count = 32
    """Largest number of residues in a pocket; if there are more, those nearest to the ligand are designed (ours)."""
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
    """Nearest residues by CA to which a residue attends, in addition to itself and the ligand (published: 8)."""
    top_atoms: Count = 3
    """Atoms of a neighbour that an atom attends to."""
    n_gaussians: Count = 16
    """Of distances from 0 to ``reach`` Å (published: 64)."""
    reach: Positive = 10.0
    max_step: Positive = 3.0
    """Å: longest displacement of an atom in a layer. The vector is shortened; clipping its components, as in the public code,
    would depend on the orientation of the axes."""
    ffn_gaussians: Count = 16
    ffn_reach: Positive = 7.0
    dropout: Share = 0.1
    language_width: Natural = 320
    """Of the frozen protein language model (ESM-2 8M; published: 1280 of ESM-2 650M); 0 for none."""
    language_heads: Count = 20
    surroundings_width: Count = 512
    """Width of the heads that read the surroundings of a residue (ours)."""
    surroundings_heads: Count = 3
    """Number of those heads, whose outputs are averaged."""
    trace_width: Count = 512
    """Width of the network that places CA atoms for those heads (ours)."""
    structure_share: Share = 1.0
    """Factor of the structure network's contribution to the logits of the types, which is added to the heads that are fitted
    first (ours). It is 1 in training and was chosen on validation, because this part overfits on few complexes."""
    passes: Count = 3
    """How often the network is applied, each time to its previous output."""


@dataclass(frozen=True)
class DesignConfig(Checked):
    """Sampling of designs."""

    n: Count = 8
    temperature: NonNegative = 1.0
    """Temperature of the types; 0 takes the most likely ones. The public code divides logits by 3 without stating it."""
    seed: Natural = 0
    idealise: bool = True
    ban: str = ""
    """One-letter codes of types that are not used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = ", ".join(sorted(set(self.ban) - set(LETTERS)))
        if unknown or set(LETTERS) <= set(self.ban):
            said = f"{unknown} is no amino acid" if unknown else "all amino acids are banned"
            raise ConfigError(f"ban={self.ban!r}: {said}; give some of the letters {LETTERS}, like CM")
