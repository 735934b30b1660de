"""Comparison of predicted pockets with true ligands: a row per site, and a row per protein."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.evaluation.config import BenchmarkConfig
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
from s2p.evaluation.rows import ComplexResult, ProteinRow, SiteRow
from s2p.pockets.hits import dca, dcc, site_center, site_overlaps
from s2p.prediction import Prediction
from s2p.structure.arrays import binding_residues

__all__ = ["evaluate_complex"]


def evaluate_complex(
    prediction: Prediction,
    ligands: Sequence[NDArray[np.floating]],
    *,
    name: str = "",
    cluster: str = "",
    ligand_names: Sequence[str] | None = None,
    sites: Sequence[NDArray[np.integer]] | None = None,
    config: BenchmarkConfig | None = None,
) -> ComplexResult:
    """Compare a prediction with each of the true sites of its structure.

    Parameters
    ----------
    ligands
        Heavy atoms (L, 3) Å of each; their number is the N of "top N". Copies of a ligand count separately. (0, 3) if only the
        residues of a site are known: then distances from the ligand are NaN, but not those from its residues.
    name, cluster
        Of the protein; default the name of the structure, and none.
    ligand_names
        One for each; default their numbers.
    sites
        Indices of the residues of each; default those near the ligand (:func:`s2p.structure.arrays.binding_residues`).
    """
    config = config or BenchmarkConfig()
    structure, pockets, n = prediction.structure, prediction.pockets, len(ligands)
    ca = structure.residues.ca_coord
    who: dict[str, Any] = {"predictor": prediction.model, "protein": name or structure.name, "cluster": cluster}
    centers = np.array([p.center for p in pockets], np.float64).reshape(-1, 3)
    centroids = np.array([site_center(x) for x in ligands]).reshape(-1, 3)
    residues = [p.residues for p in pockets]
    sites = [binding_residues(structure, x) for x in ligands] if sites is None else sites
    shared, joint = site_overlaps(sites, residues), site_to_pocket(sites, residues)
    # Without known residues, metrics of residues have no value.
    known, nothing = np.array([len(site) > 0 for site in sites], bool), np.zeros(0, np.int32)
    seen = np.array([len(x) > 0 for x in ligands], bool)
    to_atoms = np.array([dca(centers, x) if len(x) else [np.inf] * len(centers) for x in ligands]).reshape(n, len(centers))
    columns: dict[str, Any] = {
        "ligand": ligand_names if ligand_names is not None else [str(k + 1) for k in range(n)],
        "n_atoms": [len(ligand) for ligand in ligands],
        "n_residues": [len(site) for site in sites],
        "size": ["small" if len(site) < config.small_site else "large" for site in sites],
        "best_rank": np.where(seen, to_atoms.argmin(axis=1) + 1, 0) if len(centers) else np.zeros(n, int),
        "pockets_touching": (shared > 0).sum(axis=1),
        "best_overlap": np.where(known, best_overlap(sites, residues), np.nan),
        "best_iou": np.where(known, joint.max(axis=1, initial=0), np.nan),
        "dvo": _volume_overlaps(prediction, ligands, centers[:n], config),
        "gyration": [radius_of_gyration(ca[site]) for site in sites],
        "gyration_pocket": [radius_of_gyration(ca[residues[row.argmax()] if row.any() else nothing]) for row in shared],
    }
    middles = np.array([site_center(ca[site]) for site in sites]).reshape(-1, 3)
    limits = rank_limits(n, len(centers), config.extra_ranks)
    for rank, end in config.ranks.items():
        best = limits[rank]
        columns[f"dcc_{end}"] = np.where(seen, dcc(centers[:best], centroids), np.nan)
        columns[f"dcc_ca_{end}"] = np.where(known, dcc(centers[:best], middles), np.nan)
        columns[f"dca_{end}"] = np.where(seen, to_atoms[:, :best].min(axis=1, initial=np.inf), np.nan)
    columns = {key: column.tolist() if isinstance(column, np.ndarray) else column for key, column in columns.items()}
    rows = (SiteRow(**who, site=k, **{key: column[k] for key, column in columns.items()}) for k in range(n))
    strict, nearest = (detections(centers, centroids[seen], config.strict_hit, one_to_one=flag) for flag in (True, False))
    coverage, dice, iou = overlap_figures(np.concatenate([nothing, *sites]), np.concatenate([nothing, *residues]))
    names = ("tp", "fp", "fn", "tp_nearest", "fp_nearest", "fn_nearest")
    counts: dict[str, Any] = dict(zip(names, (*strict, *nearest), strict=True))
    protein = ProteinRow(
        **who,
        n_chains=len(structure.chains),
        n_residues=len(structure.residues),
        n_sites=n,
        n_pockets=len(pockets),
        pockets_on_sites=int((shared > 0).any(axis=0).sum()),
        touches=int((shared > 0).sum()),
        **counts,
        ap=pocket_average_precision(matched_pockets(joint, config.iou), n),
        coverage=coverage,
        dice=dice,
        iou=iou,
    )
    return ComplexResult(protein, tuple(rows))


def _volume_overlaps(
    prediction: Prediction, ligands: Sequence[NDArray[np.floating]], centers: NDArray[np.float64], config: BenchmarkConfig
) -> list[float]:
    """DVO of each ligand with the pocket, among those of the best ranks, whose centre is nearest to its centroid."""
    origin = prediction.structure.atoms.coord.mean(axis=0, dtype=np.float64)

    def cells(points: NDArray[np.floating]) -> NDArray[np.int64]:
        return voxels(points, config.grid_radius, origin, config.grid)

    def value(ligand: NDArray[np.floating]) -> float:
        if not len(ligand) or not len(centers):
            return 0.0 if len(ligand) else float("nan")
        points = prediction.pockets[int(np.linalg.norm(centers - site_center(ligand), axis=1).argmin())].points
        return volume_overlap(cells(ligand), cells(points)) if len(points) else float("nan")

    return [value(ligand) for ligand in ligands]
