"""The tables that P2Rank writes, for scripts that read them.

Columns, their order and the blanks around fields are those of P2Rank 2.4 (``…_predictions.csv`` and ``…_residues.csv``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    names = _labels(prediction)
    keys = [f"{c}_{label}" for c, label in zip(prediction.structure.residues.chain.tolist(), names, strict=True)]
    measures = "name     ,  rank,   score, probability, sas_points, surf_atoms,   center_x,   center_y,   center_z"
    lines = [f"{measures}, residue_ids, surf_atom_ids"]
    for p in prediction.pockets:
        x, y, z = p.center.tolist()
        lines.append(
            f"pocket{p.rank:<3},{p.rank:>6},{p.score:>8.4f},{p.probability:>12.3f},{len(p.points):>11},{len(p.atoms):>11},"
            f"{x:>11.4f},{y:>11.4f},{z:>11.4f}, {' '.join(keys[i] for i in p.residues.tolist())}, "
            f"{' '.join(map(str, serial[p.atoms].tolist()))}"
        )
    return "\n".join([*lines, ""])


def residues_text(prediction: Prediction) -> str:
    """A line for each residue; ``score`` is the probability, ``zscore`` its distance from the mean in standard deviations."""
    r, p = prediction.structure.residues, prediction.probabilities.astype(float)
    z = (p - p.mean()) / (p.std() or 1.0)
    columns = (r.chain, np.array(_labels(prediction)), r.name, p, z, p, prediction.pocket_of_residue)
    lines = ["chain, residue_label, residue_name, score, zscore, probability, pocket"]
    for chain, label, name, score, zscore, chance, pocket in zip(*(c.tolist() for c in columns), strict=True):
        lines.append(f"{chain},{label:>5}, {name},{score:>8.4f},{zscore:>8.4f},{chance:>7.3f},{pocket:>6}")
    return "\n".join([*lines, ""])


def _labels(prediction: Prediction) -> list[str]:
    """``45``, ``46A`` … for every residue."""
    r = prediction.structure.residues
    return [f"{number}{code}" for number, code in zip(r.number.tolist(), r.insertion_code.tolist(), strict=True)]
