"""From positive residues to pockets: SAS points, mean shift, votes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s2p.config import ClusterConfig, PredictConfig, SurfaceConfig
from s2p.pockets.clustering import mean_shift, vote
from s2p.pockets.ranking import PocketModel, pocket_features, ranked
from s2p.prediction import Pocket
from s2p.structure.reading import Structure
from s2p.surface.points import SurfacePoints, surface_points
from s2p.surface.surroundings import Surroundings, members

__all__ = ["find_clusters", "positive_points", "published_pockets", "rank_clusters"]


def positive_points(
    structure: Structure, positive: NDArray[np.bool_], config: SurfaceConfig, coord: NDArray[np.floating] | None = None
) -> SurfacePoints:
    """SAS points of the positive residues; one without an exposed atom gives its CA (or first atom) as its point.

    Parameters
    ----------
    positive
        (N,) residues.
    coord
        (A, 3) Å of the atoms in another frame than the file's, in which the points are then made.

    Notes
    -----
    ``context="chain"`` lets only atoms of the same chain bury a point, as published; chains are then treated one by one.
    """
    atoms, residues = structure.atoms, structure.residues
    xyz = atoms.coord if coord is None else coord.astype(np.float32)
    usable = residues.standard[atoms.residue_index] if config.standard_only else np.ones(len(atoms), bool)
    wanted = usable & positive[atoms.residue_index]
    code = np.unique(residues.chain, return_inverse=True)[1][atoms.residue_index]
    if config.context == "complex":
        code = np.zeros_like(code)
    coords, owners = [], []
    for chain in members(code[usable]):
        own = np.flatnonzero(usable)[chain]
        asked = np.flatnonzero(wanted[own])
        cloud = surface_points(xyz[own], atoms.element[own], asked, n_points=config.n_points, probe_radius=config.probe_radius)
        coords.append(cloud.coord)
        owners.append(own[cloud.atom])
    exposed = np.zeros(len(residues), bool)
    exposed[atoms.residue_index[np.concatenate(owners)]] = True
    buried = positive & ~exposed
    # A buried residue is represented by its CA, or else by the first usable atom.
    rows = np.flatnonzero(usable & buried[atoms.residue_index])
    rank = np.where(atoms.name[rows] == "CA", 0, 1)
    rows = rows[np.lexsort((rows, rank, atoms.residue_index[rows]))]
    rows = rows[np.unique(atoms.residue_index[rows], return_index=True)[1]]
    coords.append(xyz[rows].astype(np.float64))
    owners.append(rows)
    atom = np.concatenate(owners)
    order = np.argsort(atom, kind="stable")
    return SurfacePoints(np.concatenate(coords)[order], atom[order])


def find_clusters(
    structure: Structure | Surroundings,
    positive: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    surface: SurfaceConfig | None = None,
    cluster: ClusterConfig | None = None,
) -> list[Pocket]:
    """Pockets of the positive residues, highest published score first; none without positive residues.

    Points of all chains are pooled and clustered once, so that a pocket may span chains. The structure may be given as its
    surroundings, where they have been made.
    """
    surface, cluster, around = surface or SurfaceConfig(), cluster or ClusterConfig(), Surroundings.of(structure)
    framed, atoms = cluster.frame == "principal", around.structure.atoms
    cloud = positive_points(around.structure, positive, surface, around.coord if framed else None)
    labels = mean_shift(cloud.coord, cluster.bandwidth, cluster.max_iterations, seeding=cluster.seeding).labels
    voters, voter_labels = vote(cloud.atom, labels)
    points = around.outside(cloud.coord) if framed else cloud.coord
    return rank_clusters(points, labels, voters, voter_labels, atoms.coord, atoms.residue_index, probabilities)


def rank_clusters(
    points: NDArray[np.float64],
    labels: NDArray[np.int64],
    atoms: NDArray[np.int64],
    atom_labels: NDArray[np.int64],
    coord: NDArray[np.float32],
    residue_of_atom: NDArray[np.int32],
    probabilities: NDArray[np.float32],
) -> list[Pocket]:
    """Atoms vote for their residue; clusters are scored and sorted, best first, as pockets without a rank and a volume.

    Parameters
    ----------
    points, labels
        (P, 3) Å and (P,): the cloud and its mean-shift labels.
    atoms, atom_labels
        (V,): the atoms with points and the majority label of each (see :func:`vote`).
    coord, residue_of_atom
        (A, 3) Å and (A,) of all atoms.
    probabilities
        (N,) of the residues.

    Notes
    -----
    Score: mean over the cluster's atoms of the residue's probability, so that residues count by atoms. Ties in rank:
    more atoms, then the lower label. Clusters without a residue are dropped (the published code keeps them).
    """
    residues, residue_labels = vote(residue_of_atom[atoms], atom_labels)
    found = []
    # One pass per pocket; there are tens at most.
    for label in np.unique(residue_labels).tolist():
        own = atoms[atom_labels == label]
        score = float(np.mean(probabilities[residue_of_atom[own]], dtype=np.float64))
        inside = residues[residue_labels == label].astype(np.int32)
        center = coord[own].mean(axis=0, dtype=np.float64)
        found.append(Pocket(0, score, score, inside, own.astype(np.int32), points[labels == label], center, float("nan")))
    return sorted(found, key=lambda cluster: (-cluster.score, -len(cluster.atoms)))


def published_pockets(
    structure: Structure,
    parts: Sequence[Surroundings],
    positive: NDArray[np.bool_],
    smoothed: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    model: PocketModel | None,
    config: PredictConfig,
) -> tuple[Pocket, ...]:
    """Mean shift on the surface points of the positive residues, in published order; the calibrated probability is ours.

    In the frame of the file (published) all chains are clustered together, otherwise each of the ``parts`` of chains in contact.
    Without a ``model`` of pockets the probability is the score, the mean over the pocket's atoms.
    """
    framed, surface, found = config.cluster.frame == "principal", config.surface, []
    for part in parts if framed or not parts else (Surroundings(structure),):
        own, frame, p = part.residues, part if framed else None, probabilities[part.residues]
        clusters = find_clusters(part, positive[own], p, surface, config.cluster)
        features, volumes = pocket_features(part.structure, clusters, p, smoothed[own], surface.probe_radius, frame)
        chance = model.probability(features) if model is not None else np.array([c.score for c in clusters])
        for cluster, probability, volume in zip(clusters, chance.tolist(), volumes.tolist(), strict=True):
            points, center = cluster.points.astype(np.float32), cluster.center.astype(np.float32)
            residues, atoms = own[cluster.residues], part.atoms[cluster.atoms]
            found.append(Pocket(0, cluster.score, probability, residues, atoms, points, center, volume))
    return ranked(structure, found)
