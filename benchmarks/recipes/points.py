"""What the point scorer learns from: proteins with ligands, the labels of their surface points, and those points in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.config import LabelConfig
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.io.runtime import progress_bar
from s2p.structure.alignment import labels_on_chain
from s2p.structure.reading import Structure
from s2p.surface.features import PointConfig, PointEncoder, atom_types, point_features, protein_points
from s2p.surface.points import SurfacePoints

__all__ = [
    "PointExample",
    "PointSet",
    "PointTrainConfig",
    "PreparedPoints",
    "ResidueArrays",
    "fit_encoder",
    "known_sites",
    "label_points",
    "perturbed",
    "point_set",
    "prepare_points",
]


@dataclass(frozen=True)
class PointTrainConfig:
    """Training of the point scorer; ours, chosen on validation clusters."""

    positive_distance: float = 2.5
    """Å: points this close to a ligand heavy atom are positive."""
    negative_distance: float = 5.0
    """Å: points farther than this from all are negative; those between are left out."""
    positives: int = 250
    """Positive points drawn from a protein, at most."""
    negatives: int = 800
    """Negative points drawn from a protein, at most."""
    n_components: int = 0
    """Principal components of the residue embeddings; they did not help on validation."""
    families: tuple[str, ...] = ("geometry", "chemistry", "language")
    """Families of features that are read, of these and ``embedding``."""
    min_atoms: int = 100
    """Atom types seen exposed less often have no propensity of their own."""
    prior_atoms: int = 20
    """Average atoms that are added to each type's counts."""
    folds: int = 4
    """For scores of proteins by networks that have not seen them: hard negatives, calibration of pockets."""
    hard_negatives: bool = True
    """Draw half the negatives of the second round in proportion to the scores of the first."""
    perturbed_copies: int = 0
    """Copies of every training protein with moved and missing side-chain atoms."""
    side_chain_noise: float = 0.5
    """Å: standard deviation, along each axis, of a side chain's shift in a copy."""
    drop_facing: float = 0.15
    """Share of the side-chain atoms facing a ligand that a copy lacks."""
    width: int = 128
    """Of the first hidden layer; the second is half as wide."""
    members: int = 3
    """Networks that are averaged."""
    dropout: float = 0.3
    lr: float = 2e-3
    weight_decay: float = 0.02
    batch_size: int = 1024
    epochs: int = 6
    seed: int = 0

    @classmethod
    def fast(cls) -> PointTrainConfig:
        """Seconds instead of minutes: for tests and notebooks."""
        return cls(
            positives=60, negatives=120, n_components=2, min_atoms=5, folds=2, width=16, members=1, epochs=3, batch_size=128
        )


ResidueArrays = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Key of a protein -> (N,) residue probabilities and (N, d) embeddings."""


@dataclass(frozen=True, eq=False)
class PointExample:
    """A protein with its ligands."""

    key: str
    cluster: str
    """Homologous proteins share it: they are never on both sides of a fold, and count less the more there are."""
    structure: Structure
    ligands: tuple[NDArray[np.float32], ...]
    """(L, 3) Å heavy atoms of each."""
    known: NDArray[np.bool_]
    """(N,) residues that bind something in this or another structure: no negatives come from them."""


def known_sites(structure: Structure, chains: Mapping[str, Sequence[LabelledChain]]) -> NDArray[np.bool_]:
    """(N,) residues labelled on any close homologue of their chain.

    Parameters
    ----------
    chains
        Per sequence of the structure, its close homologues (say 90 % identity, :func:`s2p.datasets.splits.homologous`).
    """
    known = np.zeros(len(structure.residues), bool)
    for chain in structure.chains:
        own, sequence = structure.residues.chain == chain, structure.sequence(chain)
        for other in chains.get(sequence, ()):
            known[own] |= labels_on_chain(sequence, other.sequence, np.flatnonzero(other.labels).tolist()) > 0
    return known


def label_points(cloud: SurfacePoints, example: PointExample, structure: Structure, config: PointTrainConfig) -> NDArray[np.int8]:
    """(P,) 1 near a ligand atom, 0 far from all, -1 between, or on residues that are known to bind something."""
    distance, _ = cKDTree(np.concatenate(example.ligands)).query(cloud.coord)
    labels = np.full(len(distance), -1, np.int8)
    far = distance > config.negative_distance
    labels[far & ~example.known[structure.atoms.residue_index[cloud.atom]]] = 0
    labels[distance <= config.positive_distance] = 1
    return labels


def fit_encoder(
    examples: Sequence[PointExample],
    embeddings: Sequence[NDArray[np.float32]],
    config: PointConfig,
    training: PointTrainConfig,
) -> PointEncoder:
    """Propensities of atom types, counted over exposed atoms, and principal components of embeddings.

    Rare types are drawn towards zero as if :attr:`PointTrainConfig.prior_atoms` average atoms had been seen too.
    """
    touching: Counter[str] = Counter()
    exposed: Counter[str] = Counter()
    for example in examples:
        types, kind = atom_types(example.structure)
        atoms = np.unique(protein_points(example.structure, config).atom)
        distance, _ = cKDTree(np.concatenate(example.ligands)).query(example.structure.atoms.coord[atoms])
        for counter, rows in ((exposed, atoms), (touching, atoms[distance <= LabelConfig.cutoff])):
            count = np.bincount(kind[rows], minlength=len(types))
            counter.update({name: int(n) for name, n in zip(types, count.tolist(), strict=True) if n})
    names = sorted(name for name, n in exposed.items() if n >= training.min_atoms)
    base = sum(touching.values()) / max(1, sum(exposed.values()))
    share = np.array(
        [(touching[name] + training.prior_atoms * base) / (exposed[name] + training.prior_atoms) for name in names], float
    )
    share, base = np.clip(share, 1e-4, 1 - 1e-4), min(max(base, 1e-4), 1 - 1e-4)
    propensity = np.log(share / (1 - share)) - np.log(base / (1 - base))
    rows = np.concatenate(list(embeddings)).astype(np.float64)
    mean = rows.mean(axis=0)
    variance, axes = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    n = training.n_components
    keep = axes[:, ::-1][:, :n] / np.sqrt(np.maximum(variance[::-1][:n], 1e-12))
    return PointEncoder(tuple(names), propensity.astype(np.float32), mean.astype(np.float32), keep.T.astype(np.float32))


@dataclass(frozen=True, eq=False)
class PreparedPoints:
    """A protein in numbers, P points and all their features."""

    example: PointExample
    cloud: SurfacePoints
    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    residue_probability: NDArray[np.float32]
    """(N,) of binding."""
    perturbed: bool


def prepare_points(
    example: PointExample,
    structure: Structure,
    encoder: PointEncoder,
    scores: tuple[NDArray[np.float32], NDArray[np.float32]],
    config: PointConfig,
    training: PointTrainConfig,
) -> PreparedPoints:
    """``structure`` is that of the example or a perturbed copy of it, ``scores`` are of its residues."""
    cloud = protein_points(structure, config)
    features = point_features(structure, cloud, encoder, *scores, config)
    labels = label_points(cloud, example, structure, training)
    return PreparedPoints(example, cloud, features, labels, scores[0], structure is not example.structure)


def perturbed(
    structure: Structure,
    ligands: Sequence[NDArray[np.float32]],
    training: PointTrainConfig,
    rng: np.random.Generator,
    residues: NDArray[np.bool_] | None = None,
) -> Structure:
    """The structure with noisy side chains, and with some ligand-facing side-chain atoms gone: a rough apo form or model.

    Parameters
    ----------
    residues
        (N,) whose side chains change; default all.
    """
    atoms = structure.atoms
    side = ~np.isin(atoms.name, ("N", "CA", "C", "O", "CB", "OXT"))
    if residues is not None:
        side &= residues[atoms.residue_index]
    # One shift a residue and a smaller one an atom, so that side chains move rather than break.
    shift = rng.normal(size=(len(structure.residues), 3)) * training.side_chain_noise
    moved = shift[atoms.residue_index] + rng.normal(size=atoms.coord.shape) * training.side_chain_noise / 3
    coord = np.where(side[:, None], atoms.coord + moved, atoms.coord).astype(np.float32)
    distance, _ = cKDTree(np.concatenate(list(ligands))).query(atoms.coord)
    gone = side & (distance <= LabelConfig.cutoff) & (rng.random(len(atoms)) < training.drop_facing)
    keep = ~gone
    return replace(
        structure,
        atoms=replace(
            atoms,
            coord=coord[keep],
            element=atoms.element[keep],
            name=atoms.name[keep],
            residue_index=atoms.residue_index[keep],
            b_factor=atoms.b_factor[keep],
        ),
    )


@dataclass(frozen=True, eq=False)
class PointSet:
    """A training set in numbers; every way of training on it shares them."""

    encoder: PointEncoder
    points: PointConfig
    originals: tuple[PreparedPoints, ...]
    copies: tuple[PreparedPoints, ...]
    """Perturbed, :attr:`PointTrainConfig.perturbed_copies` of each original."""


def point_set(
    examples: Sequence[PointExample],
    scores: ResidueArrays,
    *,
    points: PointConfig | None = None,
    training: PointTrainConfig | None = None,
    quiet: bool = False,
) -> PointSet:
    """Points, features and labels of proteins with ligands.

    Parameters
    ----------
    examples
        Of training clusters only.
    scores
        For every example the residue probabilities and embeddings of a language model that has *not* seen its cluster.

    Raises
    ------
    S2PError
        If scores are missing or do not fit.
    """
    points, training = points or PointConfig(), training or PointTrainConfig()
    for example in examples:
        if example.key not in scores:
            raise S2PError(f"{example.key}: no residue scores are given for this training protein")
        if len(scores[example.key][0]) != len(example.structure.residues):
            raise S2PError(f"{example.key}: residue scores of another length than the structure; score it again")
    encoder = fit_encoder(examples, [scores[e.key][1] for e in examples], points, training)
    rng = np.random.default_rng(training.seed)
    originals, copies = [], []
    for e in progress_bar(examples, "points", quiet):
        originals.append(prepare_points(e, e.structure, encoder, scores[e.key], points, training))
        for _ in range(training.perturbed_copies):
            other = perturbed(e.structure, e.ligands, training, rng)
            copies.append(prepare_points(e, other, encoder, scores[e.key], points, training))
    return PointSet(encoder, points, tuple(originals), tuple(copies))
