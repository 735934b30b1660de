"""Predicted pockets against true ligands: a row per site, a row per protein, and summaries with intervals over clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2p.config import LabelConfig
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import Summary
from s2p.evaluation.metrics import (
    best_overlap,
    dca,
    dcc,
    detections,
    matched_pockets,
    pocket_average_precision,
    radius_of_gyration,
    rank_limits,
    site_center,
    site_overlaps,
    site_size,
    site_to_pocket,
)
from s2p.evaluation.residues import coverage, dice, iou
from s2p.evaluation.rows import ProteinRow, SiteRow
from s2p.evaluation.summaries import summary_table
from s2p.evaluation.volumes import volume_overlap, voxels
from s2p.prediction import Pocket, Prediction
from s2p.structure.contacts import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import Ligand

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HIT", "ComplexResult", "LigandHit", "Summary", "evaluate_complex", "ligand_hits", "ligand_table", "summarise"]

HIT = BenchmarkConfig.strict_hit
"""Å: a pocket finds a ligand when its centre is closer than this to a heavy atom of the ligand (DCA)."""


@dataclass(frozen=True)
class LigandHit:
    """A ligand of the structure and the pocket that speaks for it.

    That is the best-ranked pocket that finds the ligand (:data:`HIT`), or the one with the nearest centre if none does.
    """

    ligand: str
    n_atoms: int
    """Heavy atoms."""
    n_residues: int
    """Residues that bind it (:func:`s2p.structure.contacts.binding_residues`)."""
    found: bool
    pocket: int
    """Rank; 0 if no pocket was predicted."""
    dca: float
    """Å from the pocket's centre to the closest heavy atom of the ligand; NaN without pockets."""
    dcc: float
    """Å from the pocket's centre to the ligand's centroid; NaN without pockets."""
    covered: float
    """Share of the binding residues that are in the pocket."""


def ligand_hits(prediction: Prediction, ligands: Sequence[Ligand] | None = None) -> list[LigandHit]:
    """Which pocket finds which ligand; by default :func:`s2p.structure.ligands.relevant_ligands` of the structure, which no model
    sees."""
    hits = []
    centers = np.array([p.center for p in prediction.pockets], float).reshape(-1, 3)
    for ligand in relevant_ligands(prediction.structure) if ligands is None else ligands:
        site = binding_residues(prediction.structure, ligand.coord)
        found, rank, closest, centroid, covered = False, 0, float("nan"), float("nan"), 0.0
        if len(centers):
            distance = dca(centers, ligand.coord.astype(float))
            found = bool((distance < HIT).any())
            k = int(np.argmax(distance < HIT) if found else np.argmin(distance))
            rank, closest = prediction.pockets[k].rank, float(distance[k])
            centroid = float(np.linalg.norm(ligand.coord.astype(float).mean(axis=0) - centers[k]))
            covered = float(np.isin(site, prediction.pockets[k].residues).mean()) if len(site) else 0.0
        hits.append(LigandHit(ligand.id, len(ligand.coord), len(site), found, rank, closest, centroid, covered))
    return hits


def ligand_table(prediction: Prediction, ligands: Sequence[Ligand] | None = None) -> pd.DataFrame:
    """:func:`ligand_hits` as a data frame, one row a ligand, one column an attribute of :class:`LigandHit`."""
    import pandas as pd

    return pd.DataFrame(ligand_hits(prediction, ligands), columns=list(LigandHit.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class ComplexResult:
    """One protein with S true ligands: a row for each and one for the protein."""

    sites: tuple[SiteRow, ...]
    protein: ProteinRow

    @property
    def dcc(self) -> dict[str, NDArray[np.float64]]:
        """For the top N, N+2 and all pockets: (S,) Å from each ligand's centroid to the nearest pocket centre."""
        return self._by_rank("dcc")

    @property
    def dca(self) -> dict[str, NDArray[np.float64]]:
        """Likewise, from the ligand's closest heavy atom."""
        return self._by_rank("dca")

    @property
    def best_rank(self) -> NDArray[np.int64]:
        """(S,) rank of the pocket whose centre is nearest to an atom of the ligand; 0 without pockets."""
        return np.array([row.best_rank for row in self.sites], np.int64)

    @property
    def n_pockets(self) -> int:
        """Of the prediction."""
        return self.protein.n_pockets

    def _by_rank(self, measure: str) -> dict[str, NDArray[np.float64]]:
        columns = {"N": "n", "N+2": "n_plus", "all": "all"}
        return {key: np.array([getattr(row, f"{measure}_{name}") for row in self.sites]) for key, name in columns.items()}


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
    prediction
        By any predictor.
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
    ca = structure.residues.ca_coord.astype(np.float64)
    centers = np.array([p.center for p in pockets], np.float64).reshape(-1, 3)
    centroids = np.array([site_center(x) for x in ligands]).reshape(-1, 3)
    residues = [p.residues for p in pockets]
    sites = [binding_residues(structure, x, cutoff) for x in ligands]
    middles = np.array([site_center(ca[site]) for site in sites]).reshape(-1, 3)
    limits = list(rank_limits(len(ligands), len(pockets), config.extra_ranks).values())
    to_atoms = np.array([dca(centers, x) for x in ligands]).reshape(len(ligands), len(pockets))
    shared, overlap = site_overlaps(sites, residues), best_overlap(sites, residues)
    joint = site_to_pocket(sites, residues)
    volumes = _volume_overlaps(prediction, ligands, centers[: limits[0]], config)
    by_centroid = [dcc(centers[:k], centroids) for k in limits]
    by_residues = [dcc(centers[:k], middles) for k in limits]
    by_atom = [to_atoms[:, :k].min(axis=1, initial=np.inf) for k in limits]
    name = name or structure.name
    rows = []
    for k, (ligand, site) in enumerate(zip(ligands, sites, strict=True)):
        touched = bool(shared[k].any())
        rows.append(
            SiteRow(
                prediction.model,
                name,
                cluster,
                k,
                str(k + 1) if ligand_names is None else ligand_names[k],
                len(ligand),
                len(site),
                site_size(len(site), config.small_site),
                *_three(by_centroid, k),
                *_three(by_residues, k),
                *_three(by_atom, k),
                int(to_atoms[k].argmin()) + 1 if pockets else 0,
                int((shared[k] > 0).sum()),
                float(overlap[k]) if len(site) else np.nan,
                float(joint[k].max(initial=0)) if len(site) else np.nan,
                volumes[k],
                radius_of_gyration(ca[site]),
                radius_of_gyration(ca[residues[int(shared[k].argmax())]]) if touched else np.nan,
            )
        )
    strict, nearest = (detections(centers, centroids, config.strict_hit, one_to_one=flag) for flag in (True, False))
    bound, found = _union(sites), _union(residues)
    matched = matched_pockets(joint, config.iou)
    protein = ProteinRow(
        prediction.model,
        name,
        cluster,
        len(structure.chains),
        len(ca),
        len(ligands),
        len(pockets),
        int((shared > 0).any(axis=0).sum()),
        int((shared > 0).sum()),
        *(strict.true_positives, strict.false_positives, strict.false_negatives),
        *(nearest.true_positives, nearest.false_positives, nearest.false_negatives),
        pocket_average_precision(matched, -np.arange(len(pockets)), len(ligands)),
        coverage(bound, found),
        dice(bound, found),
        iou(bound, found),
    )
    return ComplexResult(tuple(rows), protein)


def _three(columns: Sequence[NDArray[np.float64]], k: int) -> tuple[float, float, float]:
    """Top N, N+2 and all of site ``k``."""
    n, n_plus, every = (float(column[k]) for column in columns)
    return n, n_plus, every


def _union(sets: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.unique(np.concatenate([np.zeros(0, np.int32), *sets]))


def _volume_overlaps(
    prediction: Prediction, ligands: Sequence[NDArray[np.floating]], centers: NDArray[np.float64], config: BenchmarkConfig
) -> list[float]:
    """DVO of each ligand and the pocket whose centre, among these of the best ranks, is nearest to its centroid."""
    origin = prediction.structure.atoms.coord.mean(axis=0, dtype=np.float64)
    filled: dict[int, NDArray[np.int64]] = {}

    def cells(k: int, pocket: Pocket) -> NDArray[np.int64]:
        if k not in filled:
            filled[k] = voxels(pocket.points, config.grid_radius, origin, config.grid)
        return filled[k]

    values = []
    for ligand in ligands:
        if not len(centers):
            values.append(0.0)
            continue
        nearest = int(np.linalg.norm(centers - site_center(ligand), axis=1).argmin())
        pocket = prediction.pockets[nearest]
        true = voxels(ligand, config.grid_radius, origin, config.grid)
        values.append(volume_overlap(true, cells(nearest, pocket)) if len(pocket.points) else float("nan"))
    return values


def summarise(
    results: Sequence[ComplexResult], *, n_bootstrap: int = BenchmarkConfig.n_bootstrap, seed: int = BenchmarkConfig.seed
) -> dict[str, Summary]:
    """Recalls, PFI, overlaps … over all sites, with intervals over clusters; see
    :func:`s2p.evaluation.summaries.summary_table`."""
    rows = [row for result in results for row in result.sites]
    return summary_table(rows, [result.protein for result in results], n_bootstrap=n_bootstrap, seed=seed)
