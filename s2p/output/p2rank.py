"""The tables that P2Rank writes, for scripts that read them.

Columns, their order and the blanks around fields are those of P2Rank 2.4 (``…_predictions.csv`` and ``…_residues.csv``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2p.io.files import csv_text
from s2p.prediction import Prediction

__all__ = ["predictions_text", "residues_text"]


def predictions_text(prediction: Prediction, serial: NDArray[np.int64]) -> str:
    """A line for each pocket.

    ``score`` and ``probability`` are ours: of a ligand's centre, and of any of its atoms, near the pocket's centre. P2Rank's
    score has no upper bound. ``sas_points`` counts the pocket's surface points, ``surf_atom_ids`` are serial numbers.

    Parameters
    ----------
    serial
        (A,) of the protein's atoms.
    """
    ids = ["_".join(name.rpartition(":")[::2]) for name in prediction.structure.residues.ids()]
    measures = "name     ,  rank,   score, probability, sas_points, surf_atoms,   center_x,   center_y,   center_z"
    columns = f"{measures}, residue_ids, surf_atom_ids".split(",")
    rows = []
    for p in prediction.pockets:
        counts = (f"{n:>11}" for n in (len(p.points), len(p.atoms)))
        head = f"pocket{p.rank:<3}", f"{p.rank:>6}", f"{p.score:>8.4f}", f"{p.probability:>12.3f}", *counts
        own = (ids[i] for i in p.residues.tolist()), map(str, serial[p.atoms].tolist())
        rows.append((*head, *(f"{x:>11.4f}" for x in p.center.tolist()), *(f" {' '.join(names)}" for names in own)))
    return csv_text(rows, columns)


def residues_text(prediction: Prediction) -> str:
    """A line for each residue; ``score`` is the probability, ``zscore`` its distance from the mean in standard deviations."""
    r, p = prediction.structure.residues, prediction.probabilities.astype(float)
    z = (p - p.mean()) / (p.std() or 1.0)
    labels = np.array([name.rpartition(":")[2] for name in r.ids()])
    columns = r.chain, labels, r.name, p, z, p, prediction.pocket_of_residue
    rows = (
        (chain, f"{label:>5}", f" {name}", f"{score:>8.4f}", f"{zscore:>8.4f}", f"{chance:>7.3f}", f"{pocket:>6}")
        for chain, label, name, score, zscore, chance, pocket in zip(*(c.tolist() for c in columns), strict=True)
    )
    return csv_text(rows, "chain, residue_label, residue_name, score, zscore, probability, pocket".split(","))
