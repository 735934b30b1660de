"""Predicted pockets against true ligands: a row per site, a row per protein, and summaries with intervals over clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.config import LabelConfig
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import Summary, summary_table
from s2p.evaluation.metrics import (
    best_overlap,
    detections,
    matched_pockets,
    pocket_average_precision,
    radius_of_gyration,
    rank_limits,
    site_to_pocket,
    volume_overlap,
    voxels,
)
from s2p.evaluation.residues import overlap_figures
from s2p.evaluation.rows import ProteinRow, SiteRow
from s2p.pockets.hits import dca, dcc, site_center, site_overlaps
from s2p.prediction import Prediction
from s2p.structure.cells import binding_residues

__all__ = ["ComplexResult", "evaluate_complex", "summarise"]


@dataclass(frozen=True, eq=False)
class ComplexResult:
    """One protein with S true ligands: a row for each and one for the protein."""

    sites: tuple[SiteRow, ...]
    protein: ProteinRow
    config: BenchmarkConfig


def evaluate_complex(
    prediction: Prediction,
    ligands: Sequence[NDArray[np.floating]],
    *,
    name: str = "",
    cluster: str = "",
    cutoff: float = LabelConfig.cutoff,
    ligand_names: Sequence[str] | None = None,
    config: BenchmarkConfig | None = None,
) -> ComplexResult:
    """Compare a prediction with the true ligands of its structure.

    Parameters
    ----------
    ligands
        Heavy atoms (L, 3) Å of each; their number is the N of "top N". Several copies of a ligand are several.
    name, cluster
        Of the protein; default the name of the structure, and none.
    cutoff
        Å, of binding residues.
    ligand_names
        One for each; default their numbers.
    """
    config = config or BenchmarkConfig()
    structure, pockets = prediction.structure, prediction.pockets
    who: dict[str, Any] = {"predictor": prediction.model, "protein": name or structure.name, "cluster": cluster}
    centers = np.array([p.center for p in pockets], np.float64).reshape(-1, 3)
    centroids = np.array([site_center(x) for x in ligands]).reshape(-1, 3)
    residues = [p.residues for p in pockets]
    sites = [binding_residues(structure, x, cutoff) for x in ligands]
    shared, joint = site_overlaps(sites, residues), site_to_pocket(sites, residues)
    columns: dict[str, Sequence[Any]] = {
        "ligand": ligand_names if ligand_names is not None else [str(k + 1) for k in range(len(ligands))],
        "n_atoms": [len(ligand) for ligand in ligands],
        "n_residues": [len(site) for site in sites],
        "size": ["small" if len(site) < config.small_site else "large" for site in sites],
        "dvo": _volume_overlaps(prediction, ligands, centers[: len(ligands)], config),
        **_distances(structure.residues.ca_coord, ligands, sites, centers, centroids, config),
        **_overlaps(structure.residues.ca_coord, sites, residues, shared, joint),
    }
    rows = [SiteRow(**who, site=k, **{key: column[k] for key, column in columns.items()}) for k in range(len(ligands))]
    strict, nearest = (detections(centers, centroids, config.strict_hit, one_to_one=flag) for flag in (True, False))
    nothing = np.zeros(0, np.int32)
    coverage, dice, iou = overlap_figures(np.concatenate([nothing, *sites]), np.concatenate([nothing, *residues]))
    protein = ProteinRow(
        **who,
        n_chains=len(structure.chains),
        n_residues=len(structure.residues),
        n_sites=len(ligands),
        n_pockets=len(pockets),
        pockets_on_sites=int((shared > 0).any(axis=0).sum()),
        touches=int((shared > 0).sum()),
        tp=strict.true_positives,
        fp=strict.false_positives,
        fn=strict.false_negatives,
        tp_nearest=nearest.true_positives,
        fp_nearest=nearest.false_positives,
        fn_nearest=nearest.false_negatives,
        ap=pocket_average_precision(matched_pockets(joint, config.iou), len(ligands)),
        coverage=coverage,
        dice=dice,
        iou=iou,
    )
    return ComplexResult(tuple(rows), protein, config)


def _distances(
    ca: NDArray[np.float32],
    ligands: Sequence[NDArray[np.floating]],
    sites: Sequence[NDArray[np.int32]],
    centers: NDArray[np.float64],
    centroids: NDArray[np.float64],
    config: BenchmarkConfig,
) -> dict[str, list[Any]]:
    """Distances of each site from the pockets of the top N, N+k and all, and the rank of the nearest: columns of its row."""
    middles = np.array([site_center(ca[site]) for site in sites]).reshape(-1, 3)
    to_atoms = np.array([dca(centers, x) for x in ligands]).reshape(len(ligands), len(centers))
    columns = {"best_rank": (to_atoms.argmin(axis=1) + 1).tolist() if len(centers) else [0] * len(ligands)}
    limits = rank_limits(len(ligands), len(centers), config.extra_ranks)
    for rank, end in config.ranks.items():
        best = limits[rank]
        columns[f"dcc_{end}"] = dcc(centers[:best], centroids).tolist()
        columns[f"dcc_ca_{end}"] = dcc(centers[:best], middles).tolist()
        columns[f"dca_{end}"] = to_atoms[:, :best].min(axis=1, initial=np.inf).tolist()
    return columns


def _overlaps(
    ca: NDArray[np.float32],
    sites: Sequence[NDArray[np.int32]],
    pockets: Sequence[NDArray[np.int32]],
    shared: NDArray[np.int64],
    joint: NDArray[np.float64],
) -> dict[str, list[Any]]:
    """How the pockets cover the residues of each site: columns of its row."""
    known = np.array([len(site) > 0 for site in sites], bool)
    most = [pockets[int(row.argmax())] if row.any() else np.zeros(0, np.int32) for row in shared]
    return {
        "pockets_touching": (shared > 0).sum(axis=1).tolist(),
        "best_overlap": np.where(known, best_overlap(sites, pockets), np.nan).tolist(),
        "best_iou": np.where(known, joint.max(axis=1, initial=0), np.nan).tolist(),
        "gyration": [radius_of_gyration(ca[site]) for site in sites],
        "gyration_pocket": [radius_of_gyration(ca[pocket]) for pocket in most],
    }


def _volume_overlaps(
    prediction: Prediction, ligands: Sequence[NDArray[np.floating]], centers: NDArray[np.float64], config: BenchmarkConfig
) -> list[float]:
    """DVO of each ligand and the pocket whose centre, among these of the best ranks, is nearest to its centroid."""
    origin = prediction.structure.atoms.coord.mean(axis=0, dtype=np.float64)

    def cells(points: NDArray[np.floating]) -> NDArray[np.int64]:
        return voxels(points, config.grid_radius, origin, config.grid)

    values = []
    for ligand in ligands:
        if not len(centers):
            values.append(0.0)
            continue
        points = prediction.pockets[int(np.linalg.norm(centers - site_center(ligand), axis=1).argmin())].points
        values.append(volume_overlap(cells(ligand), cells(points)) if len(points) else float("nan"))
    return values


def summarise(results: Sequence[ComplexResult], config: BenchmarkConfig | None = None) -> dict[str, Summary]:
    """Recalls, PFI, overlaps … over all sites, with intervals over clusters; see
    :func:`s2p.evaluation.intervals.summary_table`.

    Parameters
    ----------
    config
        Default: that of the first result. Ranks and overlaps were fixed when the results were made; distances of recalls and
        the bootstrap can be others.
    """
    rows = [row for result in results for row in result.sites]
    config = config or next((result.config for result in results), None)
    return summary_table(rows, [result.protein for result in results], config)
