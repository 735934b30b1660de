"""Every knob of PocketGen, with its default: the small configuration that a processor trains; :meth:`PocketGenConfig.published`.

Source: PocketGen (Zhang et al. 2024) and its public code; what neither states, or where we differ, is marked as ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DesignConfig", "IdealConfig", "PocketConfig", "PocketGenConfig", "PocketGenTrainConfig"]


@dataclass(frozen=True)
class PocketConfig:
    """Which residues are designed and which are seen."""

    cutoff: float = 3.5
    """Å: residues with a heavy atom this close to one of the ligand are the pocket."""
    context: float = 8.0
    """Å: residues with a heavy atom this close to one of the ligand are seen (published: 10)."""
    max_residues: int = 32
    """Largest pocket; of more residues those nearest to the ligand are designed (ours)."""
    ligand_features: Literal["rules", "rdkit"] = "rules"
    """Roles of the ligand's atoms: by rules on elements and distances (ours), or RDKit's feature families, as published."""


@dataclass(frozen=True)
class PocketGenConfig:
    """Shape of the network."""

    width: int = 64
    """Of an atom's features (published: 128), divided 3:1:2:2 among atom name, slot, residue type and residue number."""
    heads: int = 4
    layers: int = 2
    """Published: 4."""
    neighbours: int = 12
    """Nearest residues by CA that a residue attends to, beside itself and the ligand (published: 8)."""
    top_atoms: int = 3
    """Atoms of a neighbour that an atom attends to."""
    n_gaussians: int = 16
    """Of distances from 0 to ``reach`` Å (published: 64)."""
    reach: float = 10.0
    max_step: float = 3.0
    """Å: longest displacement of an atom in a layer. The vector is shortened; to clip its components, as the public code does,
    depends on how the axes lie."""
    ffn_gaussians: int = 16
    ffn_reach: float = 7.0
    dropout: float = 0.1
    language_width: int = 320
    """Of the frozen protein language model (ESM-2 8M; published: 1280 of ESM-2 650M); 0 for none."""
    language_heads: int = 20
    surroundings_width: int = 512
    """Of the heads that read what surrounds a place (ours)."""
    surroundings_heads: int = 3
    """So many of those, of which the mean is taken."""
    trace_width: int = 512
    """Of the network that places CA atoms for those heads (ours)."""
    structure_share: float = 1.0
    """Factor of what the structure network adds to the logits of the types, beyond the heads that are fitted first (ours): it is
    trained at 1 and chosen on validation, for on few complexes this part learns by heart."""
    passes: int = 3
    """Times the network is applied, each to what it gave before."""

    @classmethod
    def published(cls) -> PocketGenConfig:
        """The paper's."""
        return cls(width=128, layers=4, neighbours=8, n_gaussians=64, language_width=1280)


@dataclass(frozen=True)
class PocketGenTrainConfig:
    """Training. The paper's: rate 1e-4, batches of 64, 300,000 steps on 100,000 complexes."""

    steps: int = 3000
    """May be raised later: a run goes on. One on fewer proteins lost its way at 3,474, where the loss of places rose to 20 Å."""
    batch: int = 4
    lr: float = 1e-3
    warmup_steps: int = 100
    plateau_steps: int = 600
    """After these the rate falls with the root of the step: a run may be stopped, and gone on with, at any step."""
    ema_decay: float = 0.995
    """Of the moving average of the weights, which is what is kept (ours)."""
    clip_norm: float = 5.0
    """Published: 400."""
    weight_decay: float = 0.01
    """Published: none."""
    max_passes: int = 1
    """Passes without gradients before the one with them are drawn from 0 to this (published: 1 to 3)."""
    known_types: float = 0.35
    """Share of batches that are given the residue types and learn to place their atoms (ours): what a design ends with."""
    decoys: int = 36
    """Pockets around a stretch of the protein itself, that takes the ligand's place, for each protein (ours): for the heads."""
    whole_decoys: int = 12
    """So many of them for the network."""
    decoy_share: float = 0.7
    """Share of the examples drawn that are such pockets."""
    geometry_weight: float = 2.0
    ligand_noise: float = 0.5
    """Å: the ligand starts at its pose and a normal displacement."""
    seed: int = 0
    save_minutes: float = 2.0


@dataclass(frozen=True)
class IdealConfig:
    """Clean-up of designed atoms: a few hundred gradient steps on bonds, angles, planes, hands and clashes (ours)."""

    steps: int = 400
    lr: float = 0.2
    """Å."""
    bond: float = 30.0
    angle: float = 5.0
    """Weights of bond lengths and of other rigid distances, 1/Å^2; that of clashes is 1."""
    restraint: float = 0.02
    """Of the distance from where the network put an atom, falling to 0."""
    clash: float = 3.0
    """Å: atoms that are not bonded are pushed apart when nearer; hydrogen bonds are shorter, so polar pairs may come to 2.6."""
    polar: float = 2.6
    within: float = 2.5
    """Å: likewise, of atoms of one residue or of two that are bonded."""
    flatten: float = 3.0
    """Of the fourth coordinate, before it is dropped."""
    hand: float = 0.3
    """Weight of a chiral centre's volume, Å^3."""


@dataclass(frozen=True)
class DesignConfig:
    """Sampling of designs."""

    n: int = 8
    temperature: float = 1.0
    """Of the types; 0 takes the likeliest. The public code divides by 3 without saying so."""
    seed: int = 0
    idealise: bool = True
