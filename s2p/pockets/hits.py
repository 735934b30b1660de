"""Comparison of pockets with ligands: distances of centres, shared residues, and which pocket finds which ligand.

It is here and not in :mod:`s2p.evaluation`, because reports use it too; the conventions are those of
:mod:`s2p.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2p.prediction import Prediction
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import Ligand

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HIT", "dca", "dcc", "ligand_hits", "ligand_table", "pocket_fragmentation_index", "site_center", "site_overlaps"]

HIT = 4.0
"""Å: a pocket finds a ligand if its centre is closer than this to a heavy atom of the ligand (DCA)."""


def site_center(coord: ArrayLike) -> NDArray[np.float64]:
    """Mean of (n, 3) coordinates, (3,) Å, NaN without any.

    Two conventions for a true site: the CA atoms of its residues (the paper) or the heavy atoms of the ligand (benchmarks of
    LIGYSIS, P2Rank and others). They differ by 3 to 6 Å, because residues surround a ligand on one side only: state which.
    """
    x = np.asarray(coord, np.float64).reshape(-1, 3)
    return x.mean(axis=0) if len(x) else np.full(3, np.nan)


def dcc(predicted_centers: ArrayLike, true_centers: ArrayLike) -> NDArray[np.float64]:
    """Distance from each of (S, 3) true centres to the nearest of (P, 3) predicted ones, which are those of the ranks that count.

    (S,) Å, infinite without a prediction (Kalasanty's code uses 70·√3 Å, the diagonal of its box).
    """
    p, t = np.reshape(predicted_centers, (-1, 3)), np.reshape(true_centers, (-1, 3))
    if not len(p):
        return np.full(len(t), np.inf)
    return np.asarray(np.linalg.norm(t[:, None] - p[None], axis=2).min(axis=1))


def dca(predicted_centers: ArrayLike, ligand_coord: ArrayLike) -> NDArray[np.float64]:
    """Distance from each predicted centre to the closest heavy atom of a ligand, (P,) Å."""
    p, atoms = np.reshape(predicted_centers, (-1, 3)), np.reshape(ligand_coord, (-1, 3))
    return np.asarray(np.linalg.norm(p[:, None] - atoms[None], axis=2).min(axis=1))


def site_overlaps(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> NDArray[np.int64]:
    """(S, P) number of residues that each true site shares with each pocket; both are lists of residue indices of one protein."""
    sets = [set(np.asarray(p).tolist()) for p in pockets]
    counts = [[len(set(np.asarray(site).tolist()) & s) for s in sets] for site in true_sites]
    return np.array(counts, dtype=np.int64).reshape(len(true_sites), len(pockets))


def pocket_fragmentation_index(true_sites: Sequence[ArrayLike], pockets: Sequence[ArrayLike]) -> float:
    """PFI (paper): predicted pockets per true site, over the sites that at least one pocket touches; 1 is perfect.

    Sites and pockets are lists of residue indices of one protein; they touch when they share a residue. NaN if no site is
    touched. PFI alone rewards one giant pocket: report it with the DCC recall and :func:`~s2p.evaluation.metrics.share_missed`.
    Over many proteins the paper pools sites; do not average the values of proteins.
    """
    count = (site_overlaps(true_sites, pockets) > 0).sum(axis=1)
    return float(count[count > 0].mean()) if count.any() else float("nan")


@dataclass(frozen=True)
class LigandHit:
    """A ligand and its pocket: the best-ranked one that finds it or, if none does, the one with the nearest centre."""

    ligand: str
    n_atoms: int
    """Heavy atoms."""
    n_residues: int
    """Residues that bind it (:func:`s2p.structure.arrays.binding_residues`)."""
    found: bool
    pocket: int
    """Rank; 0 if no pocket was predicted."""
    dca: float
    """Å from the pocket's centre to the closest heavy atom of the ligand; NaN without pockets."""
    dcc: float
    """Å from the pocket's centre to the ligand's centroid; NaN without pockets."""
    covered: float
    """Share of the binding residues that are in the pocket."""
    cutoff: float = HIT
    """Å: what ``dca`` has to be below for the ligand to be ``found``."""


def ligand_hits(prediction: Prediction, ligands: Sequence[Ligand] | None = None, *, cutoff: float = HIT) -> list[LigandHit]:
    """Which pocket finds which ligand; parameters are those of :func:`ligand_table`."""
    hits = []
    centers = np.array([p.center for p in prediction.pockets], float).reshape(-1, 3)
    for ligand in relevant_ligands(prediction.structure) if ligands is None else ligands:
        site = binding_residues(prediction.structure, ligand.coord)
        found, rank, closest, centroid, covered = False, 0, float("nan"), float("nan"), 0.0
        if len(centers):
            distance = dca(centers, ligand.coord.astype(float))
            found = bool((distance < cutoff).any())
            k = int(np.argmax(distance < cutoff) if found else np.argmin(distance))
            rank, closest = prediction.pockets[k].rank, float(distance[k])
            centroid = float(np.linalg.norm(ligand.coord.astype(float).mean(axis=0) - centers[k]))
            covered = float(np.isin(site, prediction.pockets[k].residues).mean()) if len(site) else 0.0
        hits.append(LigandHit(ligand.id, len(ligand.coord), len(site), found, rank, closest, centroid, covered, cutoff))
    return hits


def ligand_table(prediction: Prediction, ligands: Sequence[Ligand] | None = None, *, cutoff: float = HIT) -> pd.DataFrame:
    """Table of ligands and the pockets that find them: a row for each ligand.

    Parameters
    ----------
    ligands
        Default: :func:`s2p.structure.ligands.relevant_ligands` of the structure. No model reads the ligands.
    cutoff
        Å, strict: a pocket finds a ligand if its centre is closer than this to a heavy atom of the ligand.

    Returns
    -------
    The columns are the attributes of :class:`LigandHit`: ``ligand``, ``n_atoms``, ``n_residues``, ``found``, ``pocket`` (rank),
    ``dca`` and ``dcc`` (Å), ``covered`` and ``cutoff`` (Å).

    Examples
    --------
    >>> import s2p
    >>> prediction = s2p.predict("data/examples/4CUP.cif", device="cpu")
    >>> s2p.ligand_table(prediction)[["ligand", "found", "pocket"]].to_dict("records")
    [{'ligand': 'ZYB A:2971', 'found': True, 'pocket': 1}]
    """
    import pandas as pd

    return pd.DataFrame(ligand_hits(prediction, ligands, cutoff=cutoff), columns=list(LigandHit.__dataclass_fields__))
