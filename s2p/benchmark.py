"""Predicted pockets against true ligands: a row per site, and summaries with intervals over clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2p.config import LabelConfig
from s2p.labels import binding_residues, relevant_ligands
from s2p.metrics import best_overlap, dca, dcc, pocket_fragmentation_index
from s2p.prediction import Prediction
from s2p.structure import Ligand

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HIT", "ComplexResult", "LigandHit", "Summary", "evaluate_complex", "ligand_hits", "ligand_table", "summarise"]

KEPT = ("N", "N+2", "all")
HIT = 4.0
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
    """Residues that bind it (:func:`s2p.labels.binding_residues`)."""
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
    """Which pocket finds which ligand; by default :func:`s2p.labels.relevant_ligands` of the structure, which no model sees."""
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
    """One protein with S true ligands."""

    name: str
    cluster: str
    dcc: dict[str, NDArray[np.float64]]
    """For the top N, N+2 and all pockets: (S,) Å from each ligand's centroid to the nearest pocket centre."""
    dca: dict[str, NDArray[np.float64]]
    """Likewise, from the ligand's closest heavy atom to the nearest pocket centre."""
    best_rank: NDArray[np.int64]
    """(S,) rank of the pocket whose centre is nearest to an atom of the ligand; 0 without pockets."""
    pfi: float
    """Pockets per touched site; NaN if none is touched."""
    overlap: NDArray[np.float64]
    """(S,) largest share of the site's residues in one pocket."""
    n_pockets: int


def evaluate_complex(
    prediction: Prediction,
    ligands: Sequence[NDArray[np.floating]],
    *,
    name: str = "",
    cluster: str = "",
    cutoff: float = LabelConfig.cutoff,
) -> ComplexResult:
    """Compare a prediction with the heavy atoms (L, 3) Å of the true ligands; N is their number."""
    centers = np.array([p.center for p in prediction.pockets]).reshape(-1, 3)
    centroids = np.array([np.mean(x, axis=0) for x in ligands])
    kept = {"N": len(ligands), "N+2": len(ligands) + 2, "all": len(centers)}
    to_atoms = np.array([dca(centers, x) for x in ligands]).reshape(len(ligands), -1)
    sites = [binding_residues(prediction.structure, x, cutoff) for x in ligands]
    pockets = [p.residues for p in prediction.pockets]
    return ComplexResult(
        name or prediction.structure.name,
        cluster,
        {key: dcc(centers[:k], centroids) for key, k in kept.items()},
        {key: to_atoms[:, :k].min(axis=1, initial=np.inf) for key, k in kept.items()},
        to_atoms.argmin(axis=1) + 1 if len(centers) else np.zeros(len(ligands), np.int64),
        pocket_fragmentation_index(sites, pockets),
        best_overlap(sites, pockets),
        len(pockets),
    )


@dataclass(frozen=True)
class Summary:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def summarise(results: Sequence[ComplexResult], *, n_bootstrap: int = 1000, seed: int = 0) -> dict[str, Summary]:
    """Recalls, PFI and overlap over all sites, with bootstrap intervals over clusters of homologous proteins."""
    groups: dict[str, list[int]] = {}
    for k, result in enumerate(results):
        groups.setdefault(result.cluster, []).append(k)
    members = list(groups.values())
    draw = np.random.default_rng(seed)
    samples = [[k for g in draw.integers(0, len(members), len(members)) for k in members[g]] for _ in range(n_bootstrap)]

    def figure(values: Sequence[NDArray[np.float64]]) -> Summary:
        total = np.array([np.nansum(v) for v in values])
        count = np.array([np.isfinite(v).sum() for v in values])
        spread = [total[s].sum() / max(1, count[s].sum()) for s in samples]
        return Summary(float(total.sum() / max(1, count.sum())), *(float(x) for x in np.percentile(spread, [2.5, 97.5])))

    table = {}
    for kept in KEPT:
        for measure, cutoff in (("dcc", 4.0), ("dcc", 12.0), ("dca", 4.0)):
            hits = [(getattr(r, measure)[kept] < cutoff).astype(float) for r in results]
            table[f"{measure} < {cutoff:g} Å, top {kept}"] = figure(hits)
    table["PFI"] = figure([np.array([r.pfi]) for r in results])
    table["best residue overlap"] = figure([r.overlap for r in results])
    table["pockets per protein"] = figure([np.array([float(r.n_pockets)]) for r in results])
    return table
