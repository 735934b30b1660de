"""Results of a prediction for a true site and for a protein: the columns of ``sites.csv`` and ``proteins.csv``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ComplexResult", "ProteinRow", "SiteRow"]

NAN = float("nan")


@dataclass(frozen=True)
class SiteRow:
    """One true site (one copy of one ligand, or one line of a label file) under one predictor.

    Distances in Å, infinite without pockets; those from a ligand are NaN if only the site's residues are known.
    """

    predictor: str
    protein: str
    cluster: str
    site: int
    """From 0, in the order of the data set."""
    ligand: str
    n_atoms: int
    """Heavy atoms."""
    n_residues: int
    """Residues that bind it; if 0, metrics of residues are NaN."""
    size: str
    """``small`` (fewer residues than :attr:`BenchmarkConfig.small_site`) or ``large``."""
    dcc_n: float
    """From the ligand's centroid to the nearest pocket centre of the top N, N the true sites of the protein."""
    dcc_n_plus: float
    """Likewise, top N+k (:attr:`BenchmarkConfig.extra_ranks`, 2 unless set)."""
    dcc_all: float
    dcc_ca_n: float
    """As ``dcc_n``, from the mean of the CA atoms of the site's residues (the paper's centre)."""
    dcc_ca_n_plus: float
    dcc_ca_all: float
    dca_n: float
    """From the ligand's closest heavy atom to the nearest pocket centre of the top N."""
    dca_n_plus: float
    dca_all: float
    best_rank: int
    """Rank of the pocket with the smallest DCA; 0 without pockets, or without a ligand."""
    pockets_touching: int
    """Pockets that share a residue with the site."""
    best_overlap: float
    """Largest share of the site's residues in one pocket."""
    best_iou: float
    """Largest intersection over union of residues with one pocket."""
    dvo: float
    """Volume overlap with the pocket of ``dcc_n`` (the nearest of the top N); NaN if the predictor gives no points."""
    gyration: float
    """Radius of gyration of the CA atoms of the site, Å."""
    gyration_pocket: float
    """The same for the pocket with ``best_overlap``; NaN if none touches the site."""


@dataclass(frozen=True)
class ProteinRow:
    """One protein under one predictor."""

    predictor: str
    protein: str
    cluster: str
    n_chains: int
    n_residues: int
    n_sites: int
    n_pockets: int
    pockets_on_sites: int
    """Pockets that share a residue with a true site."""
    touches: int
    """Pairs of a pocket and a true site that share a residue."""
    tp: int
    """True positives at DCC <= :attr:`BenchmarkConfig.strict_hit` of the top N, each site once
    (:func:`s2p.evaluation.metrics.detections`)."""
    fp: int
    fn: int
    tp_nearest: int
    """The same, with each pocket compared with its nearest site (Kalasanty)."""
    fp_nearest: int
    fn_nearest: int
    ap: float
    """Average precision of the ranked pockets, matched to sites by residues."""
    coverage: float
    """Of the residues of all sites by the residues of all pockets; likewise ``dice`` and ``iou``."""
    dice: float
    iou: float
    status: str = "ok"
    """``ok``, ``error``, ``timeout`` or ``died``; after the last three every site counts as missed."""
    message: str = ""
    seconds: float = NAN
    """Wall time of the prediction alone."""
    peak_mb: float = NAN
    """Peak memory of the predictor's process with its libraries, or of a program that it ran."""
    first: bool = False
    """First prediction of a process, in which libraries are still being loaded: not part of the typical time."""
    auprc: float = NAN
    """Of residues, by the trapezoid rule; the four metrics below are of residues, too."""
    average_precision: float = NAN
    auc: float = NAN
    mcc: float = NAN
    f1: float = NAN


@dataclass(frozen=True, eq=False)
class ComplexResult:
    """One protein under one predictor: its row, and one for each of its true sites."""

    protein: ProteinRow
    sites: tuple[SiteRow, ...]
