"""Every knob of the pipeline, with its default: the paper's values unless a comment says otherwise.

Sources: Seq2Pocket (Škrhák, Polák, Novotný, Hoksza 2026, bioRxiv 2026.01.28.702257) and its public code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "AlternativeConfig",
    "ClusterConfig",
    "FetchConfig",
    "FinetuneConfig",
    "LabelConfig",
    "PredictConfig",
    "ReadConfig",
    "SmootherTrainConfig",
    "SmoothingConfig",
    "SurfaceConfig",
    "WindowConfig",
]

DEFAULT_MODEL = "s2p-esm2-8m"


@dataclass(frozen=True)
class ReadConfig:
    """Limits of the structure reader."""

    max_bytes: int = 1 << 30
    """Largest file, after decompression, that is read (bytes): protects against gzip bombs."""


@dataclass(frozen=True)
class FetchConfig:
    """Downloads of structures."""

    timeout: float = 20.0
    """Seconds without an answer before a download is given up."""
    max_bytes: int = 200 << 20
    """Largest download accepted (bytes)."""
    pdb_url: str = "https://files.rcsb.org/download/{id}.cif.gz"
    alphafold_api: str = "https://alphafold.ebi.ac.uk/api/prediction/{accession}"


@dataclass(frozen=True)
class LabelConfig:
    """What counts as a binding residue."""

    cutoff: float = 4.5
    """A residue binds when a heavy atom of it is within this distance (Å) of a ligand heavy atom; our choice."""
    min_ligand_atoms: int = 5
    """Smaller molecules (heavy atoms) are not taken as ligands of interest; our choice."""


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
class AlternativeConfig:
    """The clusterings of CA atoms that the paper compares with its own."""

    threshold: float = 0.7
    """Residues with a probability above this are clustered."""
    min_samples: int = 3
    """Residues of a dense neighbourhood (DBSCAN, HDBSCAN) and of the smallest HDBSCAN cluster."""
    eps: float = 5.0
    """Neighbourhood of DBSCAN, Å (paper: 5 and 7)."""
    bandwidth: float = 9.0
    """Window of mean shift, Å (paper: 9 and 12)."""
    min_weight: float = 0.1
    """Components of a mixture with a weight above this are counted as clusters."""
    weight_of: Literal["largest", "total"] = "largest"
    """What ``min_weight`` is a fraction of. ``total`` is published, and can never give more than nine clusters."""
    n_embedding_components: int = 5
    """Principal components of the embeddings that join the CA coordinates."""
    merge_distance: float | None = None
    """Clusters with centres closer than this (Å) are merged; ``None``: none are."""
    seed: int = 0


@dataclass(frozen=True)
class PredictConfig:
    """The whole pipeline. ``None`` means: the value tuned on validation and stored in the checkpoint."""

    threshold: float | None = None
    """Residues with a probability above this are predicted as binding (paper: 0.7 for its own model)."""
    smoothing_threshold: float | None = None
    use_smoothing: bool = True
    ranking: Literal["surface", "published"] | None = None
    """``published``: mean residue probability over the pocket's atoms; ``surface``: the learned pocket probability."""
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
            ranking="published",
            surface=SurfaceConfig(standard_only=True),
            windows=WindowConfig(overlap=0),
        )


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tuning of the residue model. Defaults are ours for the 8M encoder; :meth:`published` holds the paper's."""

    head_epochs: int = 3
    """Epochs with the backbone frozen."""
    full_epochs: int = 3
    """Epochs with everything trainable."""
    head_lr: float = 1e-3
    backbone_lr: float = 1e-4
    layer_decay: float = 0.9
    """Learning-rate factor per layer away from the head."""
    weight_decay: float = 0.01
    adam_eps: float = 1e-8
    dropout: float = 0.1
    warmup_fraction: float = 0.05
    clip_norm: float = 1.0
    token_budget: int = 4096
    max_residues: int = 1022
    """Longer training chains are cropped at random to this length."""
    pos_weight: float | None = None
    """Weight of the positive class; ``None``: n / (2 n_pos) over the training set."""
    patience: int = 3
    """Epochs of unfrozen training without a better validation AUPRC before stopping."""
    seed: int = 0

    @classmethod
    def published(cls) -> FinetuneConfig:
        """Two epochs of the head, one of everything, one chain a batch, AdamW lr 1e-4 eps 1e-4, no dropout."""
        return cls(
            head_epochs=2,
            full_epochs=1,
            head_lr=1e-4,
            backbone_lr=1e-4,
            layer_decay=1.0,
            adam_eps=1e-4,
            dropout=0.0,
            warmup_fraction=0.0,
            clip_norm=float("inf"),
            token_budget=1,
        )

    @classmethod
    def fast(cls) -> FinetuneConfig:
        """Seconds instead of hours: for tests and notebooks."""
        return cls(head_epochs=2, full_epochs=1, token_budget=2048, max_residues=256)


@dataclass(frozen=True)
class SmootherTrainConfig:
    """Training of the smoothing classifier (spec of the paper; width searched there over 256..2048)."""

    width: int = 256
    dropout: float = 0.3
    lr: float = 3e-4
    weight_decay: float = 0.01
    batch_size: int = 1024
    max_epochs: int = 150
    patience: int = 10
    context_radius: float = 15.0
    """Binding residues this close (Å, CA, strict) form the context mean."""
    negative_radius: float = 10.0
    """Non-binding residues this close (Å, CA, strict) to a binding one are the negatives."""
    include_self: bool = False
    """Let a positive's own embedding into its context mean, as published (a leak: absent at inference)."""
    pos_weight_factor: float = 2.0
    """Times the balanced weight n / (2 n_pos)."""
    seed: int = 0

    @classmethod
    def fast(cls) -> SmootherTrainConfig:
        """Seconds instead of minutes: for tests and notebooks."""
        return cls(width=64, max_epochs=8, patience=3)
