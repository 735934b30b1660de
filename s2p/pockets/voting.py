"""From the surface network's output to pockets: points vote for the centre of a ligand, and votes are summed.

Every surface point predicts where the centroid of a ligand would be, and how likely a ligand is at all. The density of these
votes has a peak at every predicted site (Hough voting; Ballard 1981 for the idea). These peaks are
candidates. So are the peaks of the density of likely points themselves, because points of a long site vote for several
centres. Candidates of one site become one pocket with several ``sites``, and two logistic regressions give the probability that
each is right. Centres and probabilities are computed from sums in which the weight of every point changes smoothly, so that both
hardly change when a file is rotated and its coordinates are rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.config import Checked, Count, NonNegative, Positive, Share
from s2p.pockets.ranking import PocketModel, originals, places, ranked
from s2p.prediction import Pocket
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import Structure
from s2p.surface.kernels import build_cells, climbed, highest
from s2p.surface.points import swept_volume
from s2p.surface.reading import Reading
from s2p.surface.surroundings import Surroundings, assemblies

Array = NDArray[np.float64]

__all__ = ["Candidates", "VoteConfig", "VoteModel", "candidates", "find_voted_pockets", "grouped", "peaks", "pocket_features"]

CANDIDATE_FEATURES = (
    "log_height",  # density of votes at the centre
    "log_narrow",  # that of half the width, minus the height: sharpness of the peak
    "log_wide",  # that of twice the width, minus the height
    "log_relative_height",  # height minus that of the highest candidate
    "log_lead",  # height minus that of the highest candidate that is not a copy of this one
    "log_relative_wide",
    "log_wide_lead",
    "rank",  # logarithm of the rank by height among candidates that are not copies of each other
    "ligandability",  # logit of the mean over the points that vote here
    "top_ligandability",  # logit of the mean over the ten best
    "highest",  # logit of the best of the whole assembly
    "log_points",  # logarithm of the number of points that vote here
    "spread",  # Å, of the votes around the centre
    "vote_length",  # Å from the points to the centre
    "extent",  # Å
    "agreement",  # share of the votes of points around the centre that go to it
    "log_around",  # ligandability of the points around the centre, wherever they vote
    "log_around_lead",
    "residue_probability",  # logit of the mean over the owners of the points that vote here
    "top_residue_probability",
    "crowd",  # number of atoms around, per 100
    "lopsided",  # 0: atoms on all sides, 1: on one
    "clearance",  # Å to the closest atom
    "log_atoms",  # of the assembly, identical chains counted once
)
POCKET_FEATURES = (*CANDIDATE_FEATURES, "log_sites", "middle", "middle_lead", "middle_rank")
"""Features of a candidate, and of a pocket: those of its first site, with the logit of that site's probability."""


@dataclass(frozen=True)
class VoteConfig(Checked):
    """From votes to pockets; ours. Radius, crowd and join were chosen on validation clusters; the others are first guesses."""

    power: Positive = 1.0
    """Weight of a vote: the share of the point that is exposed, times its ligandability to this power."""
    floor: Share = 0.003
    """Weight that is subtracted from each vote, so that the weakest ones are removed."""
    radius: Positive = 4.0
    """Å: a vote d Å from a place counts there by (1 - d²/radius²)³, and beyond this distance not at all."""
    reach: Positive = 4.0
    """Å: a candidate is higher than every vote within this distance."""
    crowd: NonNegative = 5.0
    """Å: radius of the density of the points themselves, whose peaks are candidates too; 0: only peaks of the votes are."""
    apart: Positive = 1.5
    """Å: a peak of the points is a candidate only if it is further than this from every peak of the votes."""
    most: Count = 40
    """Largest number of candidates of an assembly, multiplied by the number of copies if it has identical chains."""
    gather: Positive = 5.0
    """Å: points whose votes land this close to a site of a pocket, and nearer to it than to others, are its members."""
    join: NonNegative = 5.0
    """Å: candidates this close to a better one are sites of its pocket."""
    residue_cutoff: Positive = 4.5
    """Å: residues with a heavy atom this close to a member point belong to the pocket, or to a better one that they line."""
    residue_threshold: Share = 0.5
    """Residues with at least this probability to bind that own a member point belong to the pocket, too."""
    member: Share = 0.3
    """Members have at least this share of the ligandability of the pocket's best point."""
    least: Count = 5
    """Number of pockets of an assembly that are reported even if they are unlikely."""
    min_probability: Share = 0.02
    """Other pockets are reported only with at least this probability."""


@dataclass(frozen=True)
class VoteModel:
    """Models of the probability that a candidate is right, and settings of candidates."""

    middle: PocketModel
    """Probability that a ligand's centroid lies within 4 Å of a candidate, by which candidates are joined and ordered."""
    atom: PocketModel
    """Probability that a ligand's atom lies within 4 Å of the centre of a pocket, reported as the pocket's probability."""
    config: VoteConfig = field(default_factory=VoteConfig)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VoteModel:
        """The inverse of :meth:`to_dict`; ``KeyError`` or ``TypeError`` if something is missing or unknown."""
        middle, atom = (PocketModel.from_dict(values[name]) for name in ("middle", "atom"))
        return cls(middle, atom, VoteConfig(**values["config"]))


STEPS = 200
"""Largest number of steps of mean shift; it stops when no centre moves by :data:`STILL` Å."""
STILL = 1e-5


def peaks(votes: NDArray[np.floating], weights: NDArray[np.floating], config: VoteConfig | None = None) -> tuple[Array, Array]:
    """Peaks of the density of (P, 3) votes, Å, with (P,) weights, the highest first: (K, 3) positions and (K,) densities.

    The votes that are highest within ``config.reach`` move by mean shift to the maximum of the density, which is between votes
    and depends smoothly on them. Of maxima closer than ``config.reach``, the highest is kept.
    """
    config = config or VoteConfig()
    counted = np.flatnonzero(weights > 0)
    if not len(counted):
        return np.zeros((0, 3)), np.zeros(0)
    cells = build_cells(votes[counted], config.radius)
    weight = np.asarray(weights, np.float64)[counted][cells.order]
    height = climbed(cells.coord, cells, weight)[:, 0]
    narrow = build_cells(cells.coord, config.reach)
    places = narrow.coord[highest(narrow, height[narrow.order])]
    for _ in range(STEPS):
        found = climbed(places, cells, weight)
        still = np.abs(found[:, 1:] - places).max() < STILL
        places = found[:, 1:]
        if still:
            break
    height = climbed(places, cells, weight)[:, 0]
    order = np.argsort(-height, kind="stable")
    places, height = places[order], height[order]
    close = cKDTree(places).query_ball_point(places, config.reach)
    kept = np.ones(len(places), bool)
    for k, others in enumerate(close):
        kept[k] = not any(kept[j] for j in others if j < k)
    return places[kept], height[kept]


def vote_weights(reading: Reading, config: VoteConfig) -> Array:
    """(P,) weights of the points of a reading."""
    faith = np.asarray(reading.ligandability, np.float64) ** config.power
    return reading.cloud.share * np.maximum(faith - config.floor, 0.0)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Possible positions of ligands in one assembly, those with most votes first."""

    center: Array
    """(K, 3) Å."""
    members: tuple[NDArray[np.int64], ...]
    """Indices of the points that vote for each."""
    original: NDArray[np.int64]
    """(K,) index of the candidate of which each is a symmetric copy; for others their own index."""
    features: Array
    """(K, F) in the order of :data:`CANDIDATE_FEATURES`."""


def candidates(reading: Reading, part: Surroundings, config: VoteConfig | None = None) -> Candidates:
    """Candidates of an assembly, with features; empty if no point is likely."""
    config, structure = config or VoteConfig(), part.structure
    weights, place = vote_weights(reading, config), places(structure)
    distinct = len(np.unique(place)) / len(place)
    most = round(config.most / distinct)
    center, height = (x[:most] for x in _places(reading, weights, config))
    if not len(center):
        return Candidates(center, (), np.zeros(0, np.int64), np.zeros((0, len(CANDIDATE_FEATURES))))
    members = _members(reading, center, weights > 0, config)
    residues = [binding_residues(structure, reading.cloud.coord[own], config.residue_cutoff) for own in members]
    original = np.array(originals(place, residues), np.int64)
    own = _own_features(reading, part, center, weights, config)
    columns = _compared(height, own, original) | own
    whole = {"highest": _logit(reading.ligandability.max(initial=0)), "log_atoms": np.log(len(structure.atoms) * distinct)}
    columns |= {name: np.full(len(center), value) for name, value in whole.items()}
    return Candidates(center, members, original, np.stack([columns[name] for name in CANDIDATE_FEATURES], axis=1))


def _places(reading: Reading, weights: Array, config: VoteConfig) -> tuple[Array, Array]:
    """(K, 3) peaks of the votes, and peaks of the points that are not near these; (K,) densities of the votes there."""
    center, height = peaks(reading.centers, weights, config)
    if config.crowd and len(center):
        crowds, _ = peaks(reading.cloud.coord, weights, replace(config, radius=config.crowd))
        center = np.concatenate([center, crowds[cKDTree(center).query(crowds)[0] > config.apart]])
        cells = build_cells(reading.centers[weights > 0], config.radius)
        height = climbed(center, cells, weights[weights > 0][cells.order])[:, 0]
        center, height = (x[np.argsort(-height, kind="stable")] for x in (center, height))
    return center, height


def _members(reading: Reading, center: Array, counted: NDArray[np.bool_], config: VoteConfig) -> tuple[NDArray[np.int64], ...]:
    """Points that vote for each centre, each assigned to the nearest one, without those much weaker than the best."""
    distance, nearest = cKDTree(center).query(reading.centers, distance_upper_bound=config.gather)
    members = []
    for k in range(len(center)):
        own = np.flatnonzero((nearest == k) & np.isfinite(distance) & counted)
        p = reading.ligandability[own]
        members.append(own[p >= config.member * p.max(initial=0.0)])
    return tuple(members)


def _logit(p: Any) -> Array:
    q = np.clip(np.asarray(p, np.float64), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(q / (1 - q)))


def _compared(height: Array, own: Mapping[str, Array], original: NDArray[np.int64]) -> dict[str, Array]:
    """Features of candidates relative to the others."""
    log = np.log(height + 1e-3)
    wide, around = own["log_wide"] + log, own["log_around"]
    above = [len(np.unique(original[(log > x) & (original != original[k])])) for k, x in enumerate(log.tolist())]
    return {
        "log_height": log,
        "log_relative_height": log - log.max(),
        "log_lead": lead(log, original, np.log(1e-3)),
        "log_relative_wide": wide - wide.max(),
        "log_wide_lead": lead(wide, original, np.log(1e-3)),
        "log_around_lead": lead(around, original, np.log(1e-1)),
        "rank": np.log1p(above),
    }


def lead(values: Array, original: NDArray[np.int64], least: float) -> Array:
    """(K,) values minus the highest of those that are not copies, which is ``least`` at least."""
    others = np.where(original[:, None] == original[None], least, np.maximum(values, least)[None])
    return np.asarray(values - others.max(axis=1))


NEAR = 10.0
"""Å: radius within which points and atoms around a centre are counted."""


def _bump(d2: Array, radius: float) -> Array:
    """Kernel of squared distances: 1 at 0, smoothly 0 from ``radius`` Å on."""
    return np.asarray(np.maximum(1 - d2 / radius**2, 0.0) ** 3)


def _own_features(reading: Reading, part: Surroundings, center: Array, weights: Array, config: VoteConfig) -> dict[str, Array]:
    """Features that do not depend on the other candidates, (K,) each: sums over nearby points and atoms."""
    atoms = part.structure.atoms
    points, votes, p = reading.cloud.coord, reading.centers, reading.ligandability.astype(np.float64)
    binding = reading.residues[atoms.residue_index[reading.cloud.atom]].astype(np.float64)
    flight = np.linalg.norm(votes - points, axis=1)
    landed, standing = cKDTree(votes).query_ball_point(center, 2 * config.radius), cKDTree(points).query_ball_point(center, NEAR)
    coord = atoms.coord.astype(np.float64)
    tree = cKDTree(coord)
    walls, clearance = tree.query_ball_point(center, NEAR), tree.query(center)[0]
    rows = []
    for k, c in enumerate(center):
        i, j, a = (np.array(x[k], np.int64) for x in (landed, standing, walls))
        d2 = ((votes[i] - c) ** 2).sum(axis=1)
        kernel, broad = _bump(d2, config.radius), weights[i] * _bump(d2, 2 * config.radius)
        near = weights[i] * kernel
        total, narrow, wide = near.sum() + 1e-12, weights[i] @ _bump(d2, config.radius / 2), broad.sum()
        here = weights[j] * _bump(((points[j] - c) ** 2).sum(axis=1), NEAR)
        home = _bump(((votes[j] - c) ** 2).sum(axis=1), config.radius)
        arm = coord[a] - c
        r2 = (arm**2).sum(axis=1)
        pull = _bump(r2, NEAR)
        rows.append(
            {
                "log_narrow": np.log((narrow + 1e-3) / (total + 1e-3)),
                "log_wide": np.log((wide + 1e-3) / (total + 1e-3)),
                "ligandability": _logit(near @ p[i] / total),
                "top_ligandability": _logit(np.sort(p[i] * kernel)[-10:].mean()),
                "log_points": np.log1p(reading.cloud.share[i] @ kernel),
                "spread": np.sqrt(broad @ d2 / (wide + 1e-12)),
                "vote_length": near @ flight[i] / total,
                "extent": near @ reading.extent[i] / total,
                "agreement": here @ home / (here.sum() + 1e-3),
                "log_around": np.log(here.sum() + 1e-1),
                "residue_probability": _logit(near @ binding[i] / total),
                "top_residue_probability": _logit(np.max(binding[i] * np.sqrt(kernel), initial=0.0)),
                "crowd": pull.sum() / 100,
                "lopsided": np.linalg.norm((pull / np.sqrt(r2 + 1e-6)) @ arm) / (pull.sum() + 1e-6),
                "clearance": min(clearance[k], 8.0),
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def grouped(found: Candidates, chance: Array, config: VoteConfig) -> list[list[int]]:
    """Candidates of each pocket by decreasing ``chance`` (K,); pockets in the order of their best candidate.

    A candidate joins the pocket whose best candidate is nearest, if that is within ``config.join`` Å.
    """
    pockets: list[list[int]] = []
    for k in np.argsort(-np.round(chance, 6), kind="stable").tolist():
        founders = [group[0] for group in pockets]
        distance = np.linalg.norm(found.center[founders] - found.center[k], axis=1)
        near = int(np.argmin(distance)) if founders else -1
        if founders and distance[near] < config.join:
            pockets[near].append(k)
        else:
            pockets.append([k])
    return pockets


def pocket_features(found: Candidates, groups: Sequence[Sequence[int]], chance: Array) -> Array:
    """(G, F) of pockets in the order of :data:`POCKET_FEATURES`; ``groups`` and ``chance`` are those of :func:`grouped`."""
    first = np.array([group[0] for group in groups], np.int64)
    middle, original = _logit(chance[first]), found.original[first]
    ahead = [len(np.unique(original[:g][original[:g] != original[g]])) for g in range(len(groups))]
    columns = np.log([len(group) for group in groups]), middle, lead(middle, original, -6.0), np.log1p(ahead)
    return np.column_stack([found.features[first], *columns])


def find_voted_pockets(
    model: VoteModel, structure: Structure, readings: Sequence[Reading], parts: Sequence[Surroundings] | None = None
) -> tuple[Pocket, ...]:
    """Pockets of a structure from the readings of its surface, most likely first.

    Parameters
    ----------
    readings
        Of each of the parts.
    parts
        :func:`~s2p.surface.surroundings.assemblies` of the structure, where they have been made.

    Notes
    -----
    A pocket's score, which gives its rank, is the probability that a ligand's centroid lies within 4 Å of the centre; its
    ``probability`` is that a ligand's atom does. Both are computed for each assembly as if it were alone. At least
    ``model.config.least`` pockets of each assembly are reported, if there are so many, and beyond those the likely ones.
    """
    pockets: list[Pocket] = []
    for part, reading in zip(assemblies(structure, parts), readings, strict=True):
        pockets += _part_pockets(model, part, reading)
    return ranked(structure, pockets)


def _part_pockets(model: VoteModel, part: Surroundings, reading: Reading) -> list[Pocket]:
    """Pockets of one assembly, not ranked yet; residues and atoms are those of the file."""
    config, found = model.config, candidates(reading, part, model.config)
    middle = model.middle.probability(found.features)
    groups = grouped(found, middle, config)
    if not groups:
        return []
    chance = model.atom.probability(pocket_features(found, groups, middle))
    owner, free = part.structure.atoms.residue_index[reading.cloud.atom], np.ones(len(part.residues), bool)
    pockets: list[Pocket] = []
    for group, p in zip(groups, chance.tolist(), strict=True):
        if len(pockets) >= config.least and p < config.min_probability:
            continue
        own = np.sort(np.concatenate([found.members[k] for k in group]))
        coord, sites, owners = reading.cloud.coord[own], found.center[group].astype(np.float32), np.unique(owner[own])
        bound = np.union1d(
            binding_residues(part.structure, coord, config.residue_cutoff),
            owners[reading.residues[owners] >= config.residue_threshold],
        )
        bound = bound[free[bound]]
        if not len(bound):
            continue
        free[bound] = False
        volume, points = swept_volume(part.inside(coord)), coord.astype(np.float32)
        atoms = part.atoms[np.unique(reading.cloud.atom[own])]
        score = float(middle[group[0]])
        pockets.append(Pocket(0, score, p, part.residues[bound], atoms, points, sites[0], volume, sites=sites))
    return pockets
