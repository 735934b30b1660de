"""Every knob of the pipeline, with its default: the paper's values unless a comment says otherwise.

Sources: Seq2Pocket (Škrhák, Polák, Novotný, Hoksza 2026, bioRxiv 2026.01.28.702257) and its public code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "AlternativeConfig",
    "AnnotationConfig",
    "AttentionConfig",
    "BatchConfig",
    "BenchmarkConfig",
    "CavityConfig",
    "ClusterConfig",
    "ContextTrainConfig",
    "DownloadConfig",
    "EmbeddingCacheConfig",
    "EnhanceConfig",
    "FetchConfig",
    "FinetuneConfig",
    "HomologyConfig",
    "LabelConfig",
    "PatchConfig",
    "PeerConfig",
    "PointConfig",
    "PointPocketConfig",
    "PointStudyConfig",
    "PointTrainConfig",
    "PredictConfig",
    "ReadConfig",
    "RobustnessConfig",
    "SketchConfig",
    "SmootherAblationConfig",
    "SmootherSearchConfig",
    "SmootherTrainConfig",
    "SmoothingConfig",
    "SurfaceConfig",
    "SweepConfig",
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
    max_peptide_residues: int = 29
    """A chain of at most this many residues that touches a longer one is a peptide ligand (BioLiP: fewer than 30)."""
    bond_tolerance: float = 0.4
    """Å: two non-metal atoms are bonded when closer than the sum of their covalent radii and this (CCDC's usual 0.4)."""


@dataclass(frozen=True)
class AnnotationConfig:
    """What a file of labels must hold to be trained on."""

    min_residues: int = 2
    """Shorter chains are refused: one residue has no neighbour to learn from."""
    allow_empty: bool = False
    """Take chains without a binding residue; off, because an empty field is a mistake more often than a fact."""
    merge_pockets: bool = False
    """Take several lines of one chain as its pockets and join them; off, because they are a mistake in a file of chains."""


@dataclass(frozen=True)
class EnhanceConfig:
    """Which chains are one protein, where no accession says so (spec of the enhanced sc-PDB; identity and coverage ours)."""

    identity: float = 0.95
    coverage: float = 0.8
    """Share of both sequences that the alignment covers."""
    include_ions: bool = True
    """Count the ions of the structures too, as the enhanced sc-PDB does."""


@dataclass(frozen=True)
class DownloadConfig:
    """Downloads of data sets; ours."""

    timeout: float = 30.0
    """Seconds without an answer before a connection is given up."""
    attempts: int = 5
    """Connections in a row that may break without a single byte before the download is given up."""
    pause: float = 1.0
    """Seconds before the next attempt; doubled each time."""
    max_bytes: int = 64 << 30
    """Largest file accepted (bytes)."""
    max_unpacked_bytes: int = 256 << 30
    """Largest archive accepted, unpacked (bytes)."""
    max_members: int = 2_000_000
    """Most files in one archive."""


@dataclass(frozen=True)
class HomologyConfig:
    """The search for homologues without mmseqs2; ours, checked against it."""

    word: int = 4
    """Letters of a word, in the reduced alphabet, for small sets; one more for every tenfold size above ``word_residues``."""
    word_residues: int = 300_000
    """Residues up to which words have ``word`` letters."""
    min_hits: int = 2
    """Words on neighbouring diagonals that make a candidate."""
    diagonal_band: int = 16
    """Diagonals that count as neighbouring."""
    diagonal_e_value: float = 0.05
    """A candidate's best stretch without gaps is expected at most this often between two chance sequences."""
    candidates: int = 300
    """Targets a query is aligned with at most, those with the most words first."""
    e_value: float = 1e-3
    """Alignments expected by chance at most this often are hits (mmseqs2's default)."""


@dataclass(frozen=True)
class SketchConfig:
    """What a checkpoint keeps of its training chains; ours."""

    word_length: int = 15
    """Residues of a stored word."""
    max_words: int = 4
    """Words of a chain."""
    max_bytes: int = 300_000
    """Size of the whole sketch as text; with very many chains fewer words are kept."""
    e_value: float = 1e-3
    """A chain counts as seen when its words would score as well by chance at most this often."""


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
class PointConfig:
    """Surface points of the whole protein and what they see; ours."""

    n_points: int = 24
    """Points on the sphere around each atom."""
    probe_radius: float = 1.6
    """Å."""
    near: float = 6.0
    """Å: atoms this close, weighted by 1 - d/near, make the near averages (P2Rank's neighbourhood)."""
    far: float = 10.0
    """Å: likewise the far averages."""
    n_rays: int = 40
    """Directions, in opposite pairs, in which walls are looked for."""


@dataclass(frozen=True)
class PointPocketConfig:
    """From scored surface points to pockets; ours, tuned on validation clusters."""

    floor: float = 0.03
    """Points that score less are no part of any pocket."""
    sigma: float = 3.0
    """Å: width of the Gaussian that smooths the scores."""
    power: float = 2.5
    """Scores are raised to this before they are summed (P2Rank: 2)."""
    reach: float = 8.0
    """Å: a peak is higher than every point within this distance."""
    touch: float = 3.0
    """Å: points this close lead from one peak to another."""
    merge: float = 0.85
    """Peaks are one pocket where the way between them stays above this share of the lower peak; 1: never."""
    gather: float = 6.0
    """Å: points this close to the peak make the centre."""
    center_power: float = 2.0
    """Weight of a point in the centre: its score to this power."""
    member: float = 0.3
    """Points of a pocket score at least this share of its best."""
    residue_cutoff: float = 4.5
    """Å: residues with a heavy atom this close to a point of the pocket belong to it."""
    min_probability: float = 0.02
    """Less likely pockets are not reported."""


@dataclass(frozen=True)
class PointTrainConfig:
    """Training of the point scorer; ours, chosen on validation clusters."""

    positive_distance: float = 2.5
    """Å: points this close to a ligand heavy atom are positive."""
    negative_distance: float = 5.0
    """Å: points farther than this from all are negative; those between are left out."""
    positives: int = 250
    """Positive points drawn from a protein, at most."""
    negatives: int = 800
    """Negative points drawn from a protein, at most."""
    n_components: int = 0
    """Principal components of the residue embeddings; they did not help on validation."""
    families: tuple[str, ...] = ("geometry", "chemistry", "language")
    """Families of features that are read, of these and ``embedding``."""
    min_atoms: int = 100
    """Atom types seen exposed less often have no propensity of their own."""
    prior_atoms: int = 20
    """Average atoms that are added to each type's counts."""
    folds: int = 4
    """For scores of proteins by networks that have not seen them: hard negatives, calibration of pockets."""
    hard_negatives: bool = True
    """Draw half the negatives of the second round in proportion to the scores of the first."""
    perturbed_copies: int = 0
    """Copies of every training protein with moved and missing side-chain atoms."""
    side_chain_noise: float = 0.5
    """Å: standard deviation, along each axis, of a side chain's shift in a copy."""
    drop_facing: float = 0.15
    """Share of the side-chain atoms facing a ligand that a copy lacks."""
    width: int = 128
    """Of the first hidden layer; the second is half as wide."""
    members: int = 3
    """Networks that are averaged."""
    dropout: float = 0.3
    lr: float = 2e-3
    weight_decay: float = 0.02
    batch_size: int = 1024
    epochs: int = 6
    seed: int = 0

    @classmethod
    def fast(cls) -> PointTrainConfig:
        """Seconds instead of minutes: for tests and notebooks."""
        return cls(
            positives=60, negatives=120, n_components=2, min_atoms=5, folds=2, width=16, members=1, epochs=3, batch_size=128
        )


@dataclass(frozen=True)
class PointStudyConfig:
    """What the studies of the point scorer compare; what they do not change is as in the shipped scorer, but smaller."""

    n_components: int = 4
    """Principal components of the residue embeddings, where they are read."""
    positives: int = 64
    """Points drawn from a protein, fewer than for the shipped scorer: some thirty scorers are trained."""
    negatives: int = 192
    members: int = 1
    """Networks of a scorer."""
    trees: int = 50
    tree_depth: int = 20
    """Of the random forest, at most."""
    leaf: int = 5
    """Points in a leaf of the random forest, at least."""
    boosting_iterations: int = 200
    group_thresholds: tuple[float, ...] = (0.3, 0.5)
    """Points that score more are grouped by mean shift or single linkage."""
    group_bandwidth: float = 9.0
    """Å, of mean shift (the published pockets' bandwidth)."""
    group_linkage: float = 3.0
    """Å: points this close are in one group of single linkage."""
    curve_clusters: tuple[int, ...] = (25, 50, 100)
    """Training clusters of the learning curve, beside all."""
    curve_draws: int = 3
    """Random choices of so many clusters."""


@dataclass(frozen=True)
class RobustnessConfig:
    """Structures that differ from the one with the ligand."""

    side_chain_noise: float = 0.5
    """Å: standard deviation, along each axis, of the shift of a side chain that touches a ligand."""
    drop_facing: float = 0.3
    """Share of the side-chain atoms touching a ligand that are left out."""
    identity: float = 0.95
    """Another structure is of the same protein when so many aligned residues are equal."""
    coverage: float = 0.8
    """Share of the chain that touches the ligand that must be aligned."""
    site_observed: float = 0.8
    """Share of the site's residues that the other structure must hold."""
    fit_radius: float = 20.0
    """Å around the ligand: CA atoms this close are superposed, so that other domains may move."""
    empty: float = 4.0
    """Å: no atom of another ligand may come this close to where the ligand was."""
    same_crystal: float = 0.05
    """Å: a site whose atoms differ less is of the same crystal with its ligand taken out, and no other form."""
    seed: int = 0


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


@dataclass(frozen=True)
class BatchConfig:
    """How many structures are in work at once; none of it changes a result."""

    gather: int = 8192
    """Residues gathered, of similar length, before the language model runs; it takes them in batches of
    :attr:`WindowConfig.token_budget`."""
    held: int = 32768
    """Residues of structures that are read, waiting or being finished at any time: what bounds the memory."""
    queue: int = 3
    """Tasks waiting for each worker process, so that none has to wait for the language model."""
    cluster_task: int = 8192
    """Residues of one task on a cluster."""
    cluster_queue: int = 3
    """Tasks given to a scheduler at any time, for each thread of its workers."""
    retries: int = 2
    """Times a task on a cluster is tried again after an error; one whose worker is lost is, as often as the scheduler allows."""


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
    label_smoothing: float = 0.0
    """Share of each label moved to the other class: 1 becomes 1 - share, 0 becomes share (noisy negatives)."""
    ema_decay: float = 0.0
    """Decay a step of the moving average of the weights that is validated and kept; 0: the weights themselves."""
    lora_rank: int = 0
    """Rank of the low-rank updates that are trained in place of the backbone's weights; 0: the weights themselves."""
    lora_alpha: float = 16.0
    """The update is scaled by this over the rank."""
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    """Linear maps of each layer that get an update: of the attention, and ``fc1`` and ``fc2``."""
    eight_bit: bool = False
    """AdamW with 8-bit states (bitsandbytes) on CUDA; elsewhere the states stay fp32."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the products in training. ``auto``: fp32 on the CPU; on CUDA bf16, or fp16 with scaled losses before Ampere."""
    checkpointing: bool = False
    """Recompute the layers in the backward pass instead of storing them: a third slower, far less memory."""
    micro_tokens: int | None = None
    """Batches larger than this (tokens, padding included) go through in parts whose gradients add up; ``None``: whole, and
    halved when CUDA runs out of memory."""
    save_minutes: float = 5.0
    """A state to go on from is written this often within an epoch, and after each."""
    seed: int = 0

    @classmethod
    def published(cls) -> FinetuneConfig:
        """Two epochs of the head, one of everything, one chain a batch, 8-bit AdamW lr 1e-4 eps 1e-4, no dropout."""
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
            eight_bit=True,
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


@dataclass(frozen=True)
class SmootherSearchConfig:
    """What a random search over the smoothing classifier draws from: our grid for 320-dimensional embeddings.

    The paper's, for its larger models: width 256 to 2048, dropout 0.1, 0.3 and 0.5, rate 1e-5 to 1e-3, batch 256 to 4096.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    dropouts: tuple[float, ...] = (0.1, 0.3, 0.5)
    lr_range: tuple[float, float] = (1e-4, 3e-3)
    """Learning rates are drawn evenly on a logarithmic scale between these."""
    batch_sizes: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    seed: int = 0


@dataclass(frozen=True)
class SmootherAblationConfig:
    """What the ablation of the smoothing classifier compares, one change from the training configuration at a time."""

    context_radii: tuple[float, ...] = (10.0, 15.0)
    """Å."""
    negative_radii: tuple[float, ...] = (10.0, 15.0)
    """Å; the figures are given over the negatives within each of these."""
    seeds: tuple[int, ...] = (0, 1, 2)


@dataclass(frozen=True)
class EmbeddingCacheConfig:
    """Embeddings of chains kept on disk."""

    half: bool = True
    """Store fp16, half the size; the embeddings of ESM-2 come out of a layer norm and fit it."""
    max_bytes: int = 8 << 30
    """The entries used least recently are deleted when the cache exceeds this (bytes)."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """How predictors are compared."""

    strict_hit: float = 4.0
    """Å: a distance below this is a hit (DCC and DCA)."""
    loose_hit: float = 12.0
    """Å: likewise, the paper's cutoff for DCC."""
    extra_ranks: int = 2
    """k of "top N+k": pockets that count beyond one for each of the N true sites (paper: 2)."""
    small_site: int = 10
    """Sites with fewer residues are the small ones (paper)."""
    iou: float = 0.5
    """Least intersection over union of residues at which a pocket matches a site; our choice, usual in object detection."""
    grid: float = 2.0
    """Å, spacing of the grid on which volumes are compared (Kalasanty)."""
    grid_radius: float = 2.0
    """Å around a ligand atom or a pocket's point that count as volume (Kalasanty's dilation of the cavity)."""
    n_bootstrap: int = 1000
    seed: int = 0
    timeout: float = 300.0
    """Seconds for one prediction before its process is ended."""
    load_timeout: float = 600.0
    """Seconds for a predictor to load."""


@dataclass(frozen=True)
class SweepConfig:
    """Values that `s2p sweep` tries, one parameter at a time, the others at their defaults."""

    bandwidth: tuple[float, ...] = (6.0, 7.0, 9.0, 12.0, 15.0)
    """Å (paper)."""
    probe_radius: tuple[float, ...] = (1.4, 1.6, 2.0)
    """Å (paper)."""
    n_points: tuple[int, ...] = (20, 50, 100)
    """Surface points on the sphere around an atom (paper)."""
    threshold: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    smoothing_threshold: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
    smoothing_radius: tuple[float, ...] = (6.0, 10.0, 15.0, 20.0)
    """Å; the paper compares 10 and 15."""
    eps: tuple[float, ...] = (5.0, 7.0)
    """Å, of DBSCAN on CA atoms (paper)."""
    ca_bandwidth: tuple[float, ...] = (9.0, 12.0)
    """Å, of mean shift on CA atoms (paper)."""


@dataclass(frozen=True)
class ContextTrainConfig:
    """Training of the structure-context head (ours)."""

    width: int = 64
    members: int = 4
    """Networks that are averaged."""
    dropout: float = 0.2
    lr: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int = 2048
    max_epochs: int = 40
    patience: int = 5
    seed: int = 0


@dataclass(frozen=True)
class AttentionConfig:
    """Contacts read from attention maps (Rao et al. 2021, with CA in place of CB)."""

    distance: float = 8.0
    """Residues with CA atoms closer than this (Å) touch."""
    separation: int = 6
    """Positions between the two residues of a pair that is judged, at least: nearer ones touch in any helix."""
    heads: int = 2
    """Heads whose maps are averaged; ours, the best of 1 to 8 on the bundled proteins."""


@dataclass(frozen=True)
class PlotConfig:
    """Charts of predictions and benchmarks."""

    contact_distance: float = 8.0
    """Residues with CA atoms closer than this (Å) touch: the usual definition of a contact map."""
    contact_separation: int = 3
    """Positions between the two residues of a contact at least; nearer ones always touch."""
    calibration_bins: int = 10
    dcc_max: float = 20.0
    """Å, end of the axis of DCC curves."""
    dcc_cutoffs: tuple[float, ...] = (4.0, 12.0)
    """Å, cutoffs of DCC that are marked; the last is the paper's."""


@dataclass(frozen=True)
class ExplorerConfig:
    """Ranges (from, to, step) of the explorer's sliders."""

    threshold: tuple[float, float, float] = (0.05, 0.95, 0.01)
    smoothing_threshold: tuple[float, float, float] = (0.05, 0.95, 0.01)
    bandwidth: tuple[float, float, float] = (4.0, 16.0, 0.5)
    """Å."""
    probe_radius: tuple[float, float, float] = (1.0, 2.4, 0.1)
    """Å."""


@dataclass(frozen=True)
class PeerConfig:
    """How outside tools are run (:mod:`benchmarks.peers`); what they compute is left at their own defaults."""

    timeout: float = 900.0
    """Seconds after which a tool that has not answered for one structure is stopped."""
    threads: int = 1
    """Threads a tool may use."""
    residue_distance: float = 4.5
    """Å from a heavy atom to a point of a pocket: what its atoms are, and its residues where the tool names none."""


@dataclass(frozen=True)
class PatchConfig:
    """The baseline of random surface patches."""

    radius: float = 8.0
    """Å: a patch is about as large as the site of a drug-like ligand."""
    n_patches: int = 10
    n_points: int = 20
    """Surface points on each atom's sphere."""
    probe_radius: float = 1.6
    """Å."""


@dataclass(frozen=True)
class CavityConfig:
    """The baseline of the largest cavity on a grid."""

    spacing: float = 1.0
    """Å between grid points."""
    probe_radius: float = 1.4
    """Å, a water molecule."""
    min_enclosed: int = 6
    """Of seven lines through a point, those that must meet protein on both sides."""
    min_volume: float = 30.0
    """Å³, about the volume of a water molecule in the liquid; smaller cavities are left out."""
    max_cavities: int = 20
    residue_distance: float = 4.5
    """Å from a heavy atom to a point of the cavity."""
    max_cells: int = 50_000_000
    """Grid points beyond which a structure is refused (memory)."""
