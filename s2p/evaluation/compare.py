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
from s2p.evaluation.residues import coverage, dice, iou
from s2p.evaluation.rows import ProteinRow, SiteRow
from s2p.pockets.hits import dca, dcc, site_center, site_overlaps
from s2p.prediction import Prediction
from s2p.structure.contacts import binding_residues

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
    joint = site_to_pocket(sites, residues)
    distances = _distances(prediction, ligands, sites, centers, centroids, config)
    overlaps = _overlaps(prediction, sites, joint)
    volumes = _volume_overlaps(prediction, ligands, centers[: len(ligands)], config)
    rows = [
        SiteRow(
            **who,
            site=k,
            ligand=str(k + 1) if ligand_names is None else ligand_names[k],
            n_atoms=len(ligand),
            n_residues=len(sites[k]),
            size="small" if len(sites[k]) < config.small_site else "large",
            dvo=volumes[k],
            **distances[k],
            **overlaps[k],
        )
        for k, ligand in enumerate(ligands)
    ]
    strict, nearest = (detections(centers, centroids, config.strict_hit, one_to_one=flag) for flag in (True, False))
    shared = site_overlaps(sites, residues) > 0
    bound, found = _union(sites), _union(residues)
    protein = ProteinRow(
        **who,
        n_chains=len(structure.chains),
        n_residues=len(structure.residues),
        n_sites=len(ligands),
        n_pockets=len(pockets),
        pockets_on_sites=int(shared.any(axis=0).sum()),
        touches=int(shared.sum()),
        tp=strict.true_positives,
        fp=strict.false_positives,
        fn=strict.false_negatives,
        tp_nearest=nearest.true_positives,
        fp_nearest=nearest.false_positives,
        fn_nearest=nearest.false_negatives,
        ap=pocket_average_precision(matched_pockets(joint, config.iou), len(ligands)),
        coverage=coverage(bound, found),
        dice=dice(bound, found),
        iou=iou(bound, found),
    )
    return ComplexResult(tuple(rows), protein, config)


def _distances(
    prediction: Prediction,
    ligands: Sequence[NDArray[np.floating]],
    sites: Sequence[NDArray[np.int32]],
    centers: NDArray[np.float64],
    centroids: NDArray[np.float64],
    config: BenchmarkConfig,
) -> list[dict[str, Any]]:
    """Distances of each site from the pockets of the top N, N+k and all, and the rank of the nearest: columns of its row."""
    ca = prediction.structure.residues.ca_coord.astype(np.float64)
    middles = np.array([site_center(ca[site]) for site in sites]).reshape(-1, 3)
    to_atoms = np.array([dca(centers, x) for x in ligands]).reshape(len(ligands), len(centers))
    found: list[dict[str, Any]] = [{"best_rank": int(row.argmin()) + 1 if len(centers) else 0} for row in to_atoms]
    limits = rank_limits(len(ligands), len(centers), config.extra_ranks)
    for rank, end in config.ranks.items():
        best = limits[rank]
        by_centroid, by_residues = dcc(centers[:best], centroids), dcc(centers[:best], middles)
        by_atom = to_atoms[:, :best].min(axis=1, initial=np.inf)
        for k, columns in enumerate(found):
            columns[f"dcc_{end}"] = float(by_centroid[k])
            columns[f"dcc_ca_{end}"] = float(by_residues[k])
            columns[f"dca_{end}"] = float(by_atom[k])
    return found


def _overlaps(prediction: Prediction, sites: Sequence[NDArray[np.int32]], joint: NDArray[np.float64]) -> list[dict[str, Any]]:
    """How the pockets cover the residues of each site: columns of its row."""
    ca = prediction.structure.residues.ca_coord.astype(np.float64)
    residues = [pocket.residues for pocket in prediction.pockets]
    shared, overlap = site_overlaps(sites, residues), best_overlap(sites, residues)
    found = []
    for k, site in enumerate(sites):
        most = residues[int(shared[k].argmax())] if shared[k].any() else np.zeros(0, np.int32)
        found.append(
            {
                "pockets_touching": int((shared[k] > 0).sum()),
                "best_overlap": float(overlap[k]) if len(site) else np.nan,
                "best_iou": float(joint[k].max(initial=0)) if len(site) else np.nan,
                "gyration": radius_of_gyration(ca[site]),
                "gyration_pocket": radius_of_gyration(ca[most]),
            }
        )
    return found


def _union(sets: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.unique(np.concatenate([np.zeros(0, np.int32), *sets]))


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
