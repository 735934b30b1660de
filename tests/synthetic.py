"""Readings of a surface as a network would give them that knows the ligands, but for some noise and some sites that are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from s2p.prediction import sigmoid
from s2p.surface.points import SoftPoints
from s2p.surface.reading import Reading
from s2p.surface.surroundings import Surroundings


def make_reading(
    part: Surroundings, ligands: Sequence[np.ndarray], *, seed: int = 0, noise: float = 0.5, false: int = 3, faith: float = 0.0
) -> Reading:
    """``ligands``: (L, 3) in the file's coordinates; ``false`` ones look like faint ligands; ``faith`` is added to all logits."""
    draw = np.random.default_rng(seed)
    soft = part.points()
    cloud = SoftPoints(part.outside(soft.coord), soft.atom, soft.share)
    atoms = part.structure.atoms
    crowd = np.array(cKDTree(atoms.coord).query_ball_point(cloud.coord, 8.0, return_length=True))
    hollow = np.argsort(-crowd)[draw.integers(0, len(crowd) // 5, false)]
    targets = [*((np.asarray(x, float), 3.0) for x in ligands), *((cloud.coord[[k]], draw.normal(0, 1)) for k in hollow)]
    logit, vote, extent = np.full(len(crowd), -5.0), cloud.coord.copy(), np.full(len(crowd), 3.0)
    for coord, height in targets:
        distance = cKDTree(coord).query(cloud.coord)[0]
        own = height - 1.5 * np.maximum(distance - 3.5, 0)
        nearer = own > logit
        logit[nearer], vote[nearer] = own[nearer], coord.mean(axis=0)
        extent[nearer] = np.sqrt(((coord - coord.mean(axis=0)) ** 2).sum(axis=1).mean())
    length = np.linalg.norm(vote - cloud.coord, axis=1, keepdims=True)
    vote += draw.normal(size=vote.shape) * noise * (0.5 + 0.3 * length)
    p = sigmoid(logit + faith + draw.normal(size=len(logit)) * noise)
    residues = np.zeros(len(part.residues))
    np.maximum.at(residues, atoms.residue_index[cloud.atom], p)
    return Reading(cloud, *(x.astype(np.float32) for x in (p, vote, extent, residues)))
