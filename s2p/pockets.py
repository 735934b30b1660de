"""From positive residues to clusters of surface points: SAS points, mean shift, votes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2p.clustering import Cluster, mean_shift, rank_clusters, vote
from s2p.config import ClusterConfig, SurfaceConfig
from s2p.structure import Structure
from s2p.surface import SurfacePoints, surface_points

__all__ = ["find_clusters", "positive_points"]


def positive_points(structure: Structure, positive: NDArray[np.bool_], config: SurfaceConfig) -> SurfacePoints:
    """SAS points of the positive residues; one without an exposed atom gives its CA (or first atom) as its point.

    Parameters
    ----------
    positive
        (N,) residues.

    Notes
    -----
    ``context="chain"`` lets only atoms of the same chain bury a point, as published; chains are then treated one by one.
    """
    atoms, residues = structure.atoms, structure.residues
    usable = residues.standard[atoms.residue_index] if config.standard_only else np.ones(len(atoms), bool)
    wanted = usable & positive[atoms.residue_index]
    code = np.unique(residues.chain, return_inverse=True)[1][atoms.residue_index]
    if config.context == "complex":
        code = np.zeros_like(code)
    coords, owners = [], []
    for group in np.unique(code[wanted]).tolist():
        own = np.flatnonzero(usable & (code == group))
        cloud = surface_points(
            atoms.coord[own],
            atoms.element[own],
            np.flatnonzero(wanted[own]),
            n_points=config.n_points,
            probe_radius=config.probe_radius,
        )
        coords.append(cloud.coord)
        owners.append(own[cloud.atom])
    exposed = np.zeros(len(residues), bool)
    if owners:
        exposed[atoms.residue_index[np.concatenate(owners)]] = True
    buried = positive & ~exposed
    # The CA stands for a buried residue, the first usable atom where there is no CA.
    rows = np.flatnonzero(usable & buried[atoms.residue_index])
    rank = np.where(atoms.name[rows] == "CA", 0, 1)
    rows = rows[np.lexsort((rows, rank, atoms.residue_index[rows]))]
    rows = rows[np.unique(atoms.residue_index[rows], return_index=True)[1]]
    coords.append(atoms.coord[rows].astype(np.float64))
    owners.append(rows)
    atom = np.concatenate(owners)
    order = np.argsort(atom, kind="stable")
    return SurfacePoints(np.concatenate(coords)[order], atom[order])


def find_clusters(
    structure: Structure,
    positive: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    surface: SurfaceConfig | None = None,
    cluster: ClusterConfig | None = None,
) -> list[Cluster]:
    """Pockets of the positive residues, best published score first; none if nothing is positive.

    Points of all chains are pooled and clustered once, so that a pocket may span chains.
    """
    surface, cluster = surface or SurfaceConfig(), cluster or ClusterConfig()
    cloud = positive_points(structure, positive, surface)
    labels = mean_shift(cloud.coord, cluster.bandwidth, cluster.max_iterations).labels
    members, member_labels = vote(cloud.atom, labels)
    atoms = structure.atoms
    return rank_clusters(cloud.coord, labels, members, member_labels, atoms.coord, atoms.residue_index, probabilities)
