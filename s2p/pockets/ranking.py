"""Ranking of pockets: a calibrated probability of each from a logistic regression on its features, and symmetric copies
among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.prediction import Pocket, Prediction, sigmoid
from s2p.structure.reading import Structure
from s2p.surface.points import swept_volume
from s2p.surface.surroundings import Surroundings

__all__ = ["PocketModel", "joined", "limits", "originals", "places", "pocket_features", "ranked"]

SMALLEST = 20
"""Least number of residues of an assembly in which pockets are predicted."""
CALIBRATED = 85
"""Residues in the longest chain of the smallest protein of the calibration; all of its proteins had a ligand."""
BACKBONE = ("N", "CA", "C", "O", "OXT")
UNCALIBRATED = "the probability of a pocket is the mean over its residues, not calibrated"
"""Note for a model without a calibrated model of pockets, such as a fine-tuned one."""
BARE = 0.4
"""Share of residues without a side chain beyond CB above which side chains count as missing (alanine and glycine: some 15 %)."""

FEATURES = (
    "mean_probability",  # the published score
    "max_probability",
    "log_sum_probability",  # over residues
    "log_points",
    "log_volume",  # Å³
    "points_per_atom",  # exposure: few points per atom in a narrow pocket
    "burial_8",  # protein atoms within 8 Å of a point, mean / 100 (P2Rank's protrusion)
    "burial_8_top",  # the same, 90th percentile
    "smoothed_share",  # of the residues
)


def pocket_features(
    structure: Structure,
    clusters: Sequence[Pocket],
    probabilities: NDArray[np.float32],
    smoothed: NDArray[np.bool_],
    probe_radius: float = 1.6,
    surroundings: Surroundings | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(K, F) features of the pockets in the order of :data:`FEATURES`, and (K,) volumes in Å³.

    Volumes are counted on a grid in the frame of ``surroundings``, or without them in the file's.
    """
    if not clusters:
        return np.zeros((0, len(FEATURES))), np.zeros(0)
    rows, volumes, atoms = [], [], cKDTree(structure.atoms.coord)
    for cluster in clusters:
        p, points = probabilities[cluster.residues], cluster.points
        burial = atoms.query_ball_point(points, 8.0, return_length=True) / 100
        volume = swept_volume(points if surroundings is None else surroundings.inside(points), probe_radius)
        logs = np.log1p(p.sum()), np.log1p(len(points)), np.log1p(volume)
        exposed, smooth = len(points) / len(cluster.atoms), smoothed[cluster.residues].mean()
        rows.append([cluster.score, p.max(), *logs, exposed, burial.mean(), np.percentile(burial, 90), smooth])
        volumes.append(volume)
    return np.array(rows, np.float64), np.array(volumes)


def limits(structure: Structure, parts: Sequence[Surroundings], *, calibrated: bool = True) -> tuple[str, ...]:
    """At most one sentence: why the probabilities for a structure with these assemblies are less reliable."""
    n, atoms = len(structure.residues), structure.atoms
    largest = max(len(part.residues) for part in parts)
    if largest < SMALLEST:
        whose = (
            f"{n} residue{'s' if n > 1 else ''}"
            if len(parts) == 1
            else f"groups of touching chains of {largest} residues at most"
        )
        return (f"{whose}: too small for a pocket, which needs {SMALLEST}, so that none is predicted",)
    beyond = ~np.isin(atoms.name, (*BACKBONE, "CB"))
    bare = n - len(np.unique(atoms.residue_index[beyond]))
    if bare > BARE * n and len(atoms) > n:  # reading adds its own note for models of CA atoms only
        return (f"{bare} of {n} residues have no side chain beyond CB: pockets and their probabilities are rough",)
    searched = [part.structure.residues.chain.tolist() for part in parts if len(part.residues) >= SMALLEST]
    longest = min(max(Counter(chains).values()) for chains in searched)
    if calibrated and longest < CALIBRATED and len(atoms) > n:
        whose = "the longest chain" if len(parts) == 1 else "the longest chain of one of the assemblies"
        return (
            f"{whose} has {longest} residues: probabilities were calibrated on proteins with a chain of {CALIBRATED} or more",
        )
    return ()


@dataclass(frozen=True)
class PocketModel:
    """Logistic regression on standardised pocket features."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K, F) -> (K,) calibrated probability that a ligand atom lies within 4 Å of the pocket's centre."""
        return sigmoid((features - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.intercept)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PocketModel:
        """From the JSON of a checkpoint."""
        return cls(tuple(values["mean"]), tuple(values["scale"]), tuple(values["weights"]), float(values["intercept"]))


ALIKE = 0.5
"""Least intersection over union of the residues of two pockets that are copies, counted as positions in the protein."""
WORD = 5
"""Residues of a word. Two chains are aligned if more than half of the words of the shorter one occur in the other."""


def ranked(structure: Structure, pockets: Iterable[Pocket]) -> tuple[Pocket, ...]:
    """The pockets, the highest score first, with ranks and :attr:`~s2p.prediction.Pocket.copy_of`."""
    # Copies whose scores differ by rounding errors stay in the file's order.
    return numbered(structure, sorted(pockets, key=lambda p: -round(p.score, 6)))


def numbered(structure: Structure, ordered: Sequence[Pocket]) -> tuple[Pocket, ...]:
    """The pockets in this order, with ranks and the pockets of which they are copies."""
    first = originals(places(structure), [p.residues for p in ordered])
    return tuple(replace(p, rank=k + 1, copy_of=0 if first[k] == k else first[k] + 1) for k, p in enumerate(ordered))


SAME = 0.5
"""Least share of common residues, of the smaller pocket, for which a general and a cryptic pocket are one site."""


def joined(general: Prediction, cryptic: Prediction, *, calibrated: bool) -> Prediction:
    """General and cryptic sites of a structure in one list.

    A general pocket that shares at least half of the residues of the smaller of both with a cryptic one stays as it is, marked
    as ``both``. The other cryptic pockets are added: each before the first general one that is less probable, if their
    probabilities are ``calibrated``, or else after all, because a mean over residues cannot be compared with a calibrated
    probability. Both kinds keep their own order. A residue is positive if it is in either.
    """
    met: set[int] = set()
    found = []
    for p in general.pockets:
        sizes = [max(1, min(len(p.residues), len(other.residues))) for other in cryptic.pockets]
        shared = [len(np.intersect1d(p.residues, other.residues)) for other in cryptic.pockets]
        same = {k for k, size in enumerate(sizes) if shared[k] >= SAME * size}
        found.append(replace(p, site="both") if same else p)
        met |= same
    added = [p for k, p in enumerate(cryptic.pockets) if k not in met]
    ordered: list[Pocket] = []
    for p in found:
        while calibrated and added and added[0].probability > p.probability:
            ordered.append(added.pop(0))
        ordered.append(p)
    notes = (*general.notes, *cryptic.notes)
    if added and not calibrated:
        why = "" if UNCALIBRATED in general.notes else ", whose probabilities are calibrated"
        notes += (f"cryptic pockets without a general pocket at their place follow the general ones{why}",)
    positive = general.positive | cryptic.positive
    sure = (general.positive & ~general.smoothed) | (cryptic.positive & ~cryptic.smoothed)
    return replace(
        general,
        positive=positive,
        smoothed=positive & ~sure,
        pockets=numbered(general.structure, ordered + added),
        settings=general.settings | {"sites": "both", "cryptic": {"model": cryptic.model} | cryptic.settings},
        notes=tuple(dict.fromkeys(notes)),
        parts={"cryptic": cryptic.probabilities},
    )


def originals(place: NDArray[np.int64], pockets: Sequence[NDArray[np.int32]]) -> list[int]:
    """Index of the first pocket of which each is a symmetric copy; for the others their own index.

    Two pockets are copies if they share at least half of their residues, by position in the protein, and fewer than half of the
    shared ones are in the same chain. This is true for the sites of two identical subunits and the interfaces of a ring, but not
    for neighbouring pockets. ``place`` (N,) are the :func:`places` of the residues, ``pockets`` the residue indices of each
    pocket.
    """
    sets = [frozenset(place[residues].tolist()) for residues in pockets]
    first: list[int] = []
    for k, own in enumerate(sets):
        for other in dict.fromkeys(first):
            common, shared = len(own & sets[other]), len(np.intersect1d(pockets[k], pockets[other]))
            if common >= ALIKE * len(own | sets[other]) and shared < common / 2:
                first.append(other)
                break
        else:
            first.append(k)
    return first


def places(structure: Structure) -> NDArray[np.int64]:
    """(N,) position in a protein, the same for the residues of identical chains; similar chains are aligned."""
    found = np.zeros((len(structure.residues), 2), np.int64)
    known: list[tuple[str, set[str]]] = []
    # The longest first, independent of the order in the file: the others are aligned to it.
    for sequence, chain in sorted(((structure.sequence(c), c) for c in structure.chains), key=lambda x: (-len(x[0]), x[0])):
        own = structure.residues.chain == chain
        words = {sequence[k : k + WORD] for k in range(len(sequence) - WORD + 1)}
        number, position = len(known), np.arange(len(sequence))
        for k, (other, theirs) in enumerate(known):
            if sequence == other or 2 * len(words & theirs) > min(len(words), len(theirs)):
                from s2p.structure.alignment import align  # a single chain needs none

                number, aligned = k, align(sequence, other)
                position = np.where(aligned < 0, -1 - position, aligned)  # a residue without a counterpart gets its own position
                break
        else:
            known.append((sequence, words))
        found[own] = np.stack([np.full(len(sequence), number), position], axis=1)
    return np.asarray(np.unique(found, axis=0, return_inverse=True)[1].reshape(-1), np.int64)
