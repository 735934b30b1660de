"""Every knob of the pipeline, with its default: the paper's values unless a comment says otherwise.

Sources: Seq2Pocket (Škrhák, Polák, Novotný, Hoksza 2026, bioRxiv 2026.01.28.702257) and its public code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "DEFAULT_MODEL",
    "ClusterConfig",
    "LabelConfig",
    "PredictConfig",
    "ReadConfig",
    "SmoothingConfig",
    "SurfaceConfig",
    "WindowConfig",
]

DEFAULT_MODEL = "s2p-esm2-8m"


@dataclass(frozen=True)
class ReadConfig:
    """Limits of the structure reader."""

    max_bytes: int = 256 << 20
    """Largest file, after decompression, that is read (bytes): protects against gzip bombs. With the limits below, reading stays
    under 2 GB of memory."""
    max_atoms: int = 800_000
    """Most atom records, of all models together."""
    max_values: int = 20_000_000
    """Most values of an mmCIF file, of all tables together."""
    max_chain_residues: int = 60_000
    """Most residues of one mmCIF chain, or, over several, root of the sum of squares: so gemmi's time grows (a few s here)."""
    max_chain_parts: int = 100_000
    """Most pieces of chains, from one change of the chain id to the next, in a model; likewise."""


@dataclass(frozen=True)
class LabelConfig:
    """What counts as a binding residue."""

    cutoff: float = 4.5
    """A residue binds when a heavy atom of it is within this distance (Å) of a ligand heavy atom; our choice."""
    min_ligand_atoms: int = 5
    """Smaller molecules (heavy atoms) are not taken as ligands of interest; our choice."""
    max_peptide_residues: int = 29
    """A chain of at most this many residues that touches a longer one is a peptide ligand (BioLiP: fewer than 30)."""
    bond_tolerance: float = 0.4
    """Å: two non-metal atoms are bonded when closer than the sum of their covalent radii and this (CCDC's usual 0.4)."""


@dataclass(frozen=True)
class WindowConfig:
    """How chains longer than the language model's context are cut."""

    max_residues: int = 1022
    """Residues in one pass: 1024 tokens less the two special ones."""
    overlap: int = 256
    """Residues shared by neighbouring windows (0 = the published chunks)."""
    token_budget: int = 4096
    """Tokens, padding included, in one batch."""


@dataclass(frozen=True)
class SmoothingConfig:
    """Embedding-supported smoothing at inference (paper, section on smoothing)."""

    radius: float = 15.0
    """Residues with CA closer than this (Å, strict) to a predicted residue are candidates."""
    threshold: float = 0.4
    """A candidate is added when the classifier's probability is above this."""


@dataclass(frozen=True)
class SurfaceConfig:
    """Solvent-accessible-surface points."""

    n_points: int = 50
    """Points on the sphere around each atom."""
    probe_radius: float = 1.6
    """Å."""
    standard_only: bool = False
    """Drop atoms of modified residues, as the published code does."""
    context: Literal["chain", "complex"] = "chain"
    """Which atoms bury a point: those of its own chain (published) or of all chains that were read."""


@dataclass(frozen=True)
class ClusterConfig:
    """Mean shift on SAS points."""

    bandwidth: float = 9.0
    """Å."""
    max_iterations: int = 300
    seeding: Literal["bins", "points"] = "bins"
    """Where mean shift starts: bins of a grid through the origin (published), or every point (not moved by translation)."""
    frame: Literal["raw", "principal"] = "raw"
    """Coordinates in which surface points and seeds are made: the file's (published), or the principal axes of the CA atoms,
    so that pockets hardly depend on how the structure lies in space."""


@dataclass(frozen=True)
class PredictConfig:
    """The whole pipeline. ``None`` means: the value tuned on validation and stored in the checkpoint.

    Examples
    --------
    >>> import s2p
    >>> config = s2p.PredictConfig(threshold=0.5, use_smoothing=False)
    >>> s2p.predict("data/examples/4CUP.cif", config=config, device="cpu").settings["threshold"]
    0.5
    """

    threshold: float | None = None
    """Residues with a probability above this are predicted as binding (paper: 0.7 for its own model)."""
    smoothing_threshold: float | None = None
    use_context: bool = True
    """Let the structure-context head, where the checkpoint has one, correct the language model's probabilities (ours)."""
    use_smoothing: bool = True
    ranking: Literal["surface", "published"] | None = None
    """``published``: clusters of predicted residues' surface points, by mean residue probability; ``surface``: peaks of the
    learned point score over the whole surface, by calibrated probability (ours). ``None``: the checkpoint's, but ``published``
    where thresholds, smoothing, surface or cluster settings are given, since only those pockets depend on them."""
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)

    @classmethod
    def published(cls) -> PredictConfig:
        """Thresholds, ranking and surface exactly as in the published code (parity mode)."""
        return cls(
            threshold=0.7,
            smoothing_threshold=0.4,
            use_context=False,
            ranking="published",
            surface=SurfaceConfig(standard_only=True),
            windows=WindowConfig(overlap=0),
        )
