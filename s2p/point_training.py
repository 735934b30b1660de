"""Training of the point scorer: which points count, what they are labelled, perceptrons, hard negatives, calibration of pockets.

Residue probabilities and embeddings come from outside, and must be *out of fold*: scores that a language model gives its own
training proteins are over-confident, and a scorer trained on them would trust them too much.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.alignment import labels_on_chain
from s2p.config import BenchmarkConfig, LabelConfig, PointConfig, PointPocketConfig, PointTrainConfig
from s2p.datasets import LabelledChain
from s2p.errors import S2PError
from s2p.point_features import PointEncoder, atom_types, families, feature_names, point_features, protein_points
from s2p.point_network import train_network
from s2p.point_pockets import Peaks, peak_features, peaks
from s2p.point_scorer import PointScorer
from s2p.ranking import PocketModel, fit_pocket_model
from s2p.runtime import progress_bar
from s2p.structure import Structure
from s2p.surface import SurfacePoints

__all__ = [
    "PointExample",
    "ResidueArrays",
    "calibrate",
    "fit_encoder",
    "known_sites",
    "label_points",
    "perturbed",
    "train_point_scorer",
]

ResidueArrays = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Key of a protein -> (N,) residue probabilities and (N, d) embeddings."""

PREPARED = PocketModel((0.0,), (1.0,), (0.0,), 0.0)
"""Stands in until the pockets of the training proteins are known."""
HIT = BenchmarkConfig.strict_hit
"""Å: a pocket is right when a ligand atom is closer than this to its centre."""


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
        Per sequence of the structure, its close homologues (say 90 % identity, :func:`s2p.splits.homologous`).
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
class _Prepared:
    """A training protein in numbers."""

    example: PointExample
    cloud: SurfacePoints
    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    probability: NDArray[np.float32]
    """(P,) of the owner of each point."""
    perturbed: bool


def _prepare(
    example: PointExample,
    structure: Structure,
    encoder: PointEncoder,
    scores: tuple[NDArray[np.float32], NDArray[np.float32]],
    config: PointConfig,
    training: PointTrainConfig,
) -> _Prepared:
    cloud = protein_points(structure, config)
    features = point_features(structure, cloud, encoder, *scores, config)
    owner = structure.atoms.residue_index[cloud.atom]
    return _Prepared(
        example,
        cloud,
        features,
        label_points(cloud, example, structure, training),
        scores[0][owner],
        structure is not example.structure,
    )


def _sample(
    prepared: Sequence[_Prepared],
    weights: Sequence[float],
    columns: NDArray[np.int64],
    training: PointTrainConfig,
    rng: np.random.Generator,
    first_round: Mapping[str, NDArray[np.float32]] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Features, labels and weights of drawn points; with first-round scores, half the negatives are drawn in their proportion."""
    x, y, w = [], [], []
    for item, weight in zip(prepared, weights, strict=True):
        positive, negative = np.flatnonzero(item.labels == 1), np.flatnonzero(item.labels == 0)
        positive = rng.permutation(positive)[: training.positives]
        n = min(training.negatives, len(negative))
        # A perturbed copy has other points than the protein that was scored: its negatives are drawn evenly.
        hard = None if first_round is None or item.perturbed else first_round[item.example.key]
        if hard is None or not n:
            negative = rng.permutation(negative)[:n]
        else:
            chance = hard[negative].astype(float)
            chance = 0.5 / len(negative) + 0.5 * chance / max(float(chance.sum()), 1e-9)
            negative = rng.choice(negative, n, p=chance / chance.sum())
        rows = np.concatenate([positive, negative])
        x.append(item.features[rows][:, columns])
        y.append(np.repeat(np.array([1, 0], np.float32), [len(positive), len(negative)]))
        w.append(np.full(len(rows), weight, np.float32))
    return np.concatenate(x), np.concatenate(y), np.concatenate(w)


def perturbed(
    structure: Structure, ligands: Sequence[NDArray[np.float32]], training: PointTrainConfig, rng: np.random.Generator
) -> Structure:
    """The structure with noisy side chains, and with some ligand-facing side-chain atoms gone: a rough apo form or model."""
    atoms = structure.atoms
    side = ~np.isin(atoms.name, ("N", "CA", "C", "O", "CB", "OXT"))
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


def _build(
    prepared: Sequence[_Prepared],
    encoder: PointEncoder,
    points: PointConfig,
    pockets: PointPocketConfig,
    training: PointTrainConfig,
    seed: int,
    first_round: Mapping[str, NDArray[np.float32]] | None,
) -> PointScorer:
    names = np.array(feature_names(len(encoder.components)))
    columns = np.flatnonzero(np.isin(families(names.tolist()), training.families))
    sizes = Counter(item.example.cluster for item in prepared)
    weights = [sizes[item.example.cluster] ** -0.5 for item in prepared]
    x, y, w = _sample(prepared, weights, columns, training, np.random.default_rng(seed), first_round)
    net = train_network(x, y, w, training)
    return PointScorer(
        encoder, tuple(names[columns].tolist()), net.mean, net.scale, net.weights, net.biases, PREPARED, points, pockets
    )


def _pocket_rows(
    item: _Prepared, scores: NDArray[np.float32], config: PointPocketConfig
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features and hits of a protein's peaks, those on other known sites left out: nobody knows whether they are wrong."""
    found: Peaks = peaks(item.cloud.coord, scores, config)
    if not len(found.height):
        return peak_features(found, scores, item.probability), np.zeros(0, bool)
    distance, _ = cKDTree(np.concatenate(item.example.ligands)).query(found.center)
    hit = distance < HIT
    known = np.array([np.mean(item.labels[found.basin == k] == -1) > 0.5 for k in range(len(hit))])
    kept = hit | ~known
    return peak_features(found, scores, item.probability)[kept], hit[kept]


def _pocket_model(prepared: Sequence[_Prepared], scores: Sequence[NDArray[np.float32]], config: PointPocketConfig) -> PocketModel:
    sizes = Counter(item.example.cluster for item in prepared)
    rows, hits, weights = [], [], []
    for item, score in zip(prepared, scores, strict=True):
        features, hit = _pocket_rows(item, score, config)
        rows.append(features)
        hits.append(hit)
        weights.append(np.full(len(hit), 1 / sizes[item.example.cluster]))
    y = np.concatenate(hits)
    if y.all() or not y.any():
        raise S2PError("pockets cannot be calibrated: all of them, or none, are right; give more proteins with ligands")
    return fit_pocket_model(np.concatenate(rows), y, np.concatenate(weights), c=0.3)


def calibrate(scorer: PointScorer, examples: Sequence[PointExample], scores: ResidueArrays) -> PointScorer:
    """The scorer with its model of pockets fitted on other proteins, such as those of the validation clusters."""
    training = PointTrainConfig()
    prepared = [_prepare(e, e.structure, scorer.encoder, scores[e.key], scorer.points, training) for e in examples]
    model = _pocket_model(prepared, [scorer.scores(item.features) for item in prepared], scorer.pockets)
    return replace(scorer, pocket_model=model)


def train_point_scorer(
    examples: Sequence[PointExample],
    scores: ResidueArrays,
    *,
    points: PointConfig | None = None,
    pockets: PointPocketConfig | None = None,
    training: PointTrainConfig | None = None,
    quiet: bool = False,
) -> PointScorer:
    """Train on proteins with ligands.

    Parameters
    ----------
    examples
        Of training clusters only.
    scores
        For every example the residue probabilities and embeddings of a language model that has *not* seen its cluster.

    Notes
    -----
    First round: networks by cross-validation over clusters score every protein unseen. Second round: the same with negatives
    drawn where the first was wrong; the pockets of proteins scored unseen give the calibrated model of pockets. The networks
    that are returned are trained on everything.

    Raises
    ------
    S2PError
        If scores are missing or do not fit, or there are fewer clusters than folds.
    """
    points, pockets, training = points or PointConfig(), pockets or PointPocketConfig(), training or PointTrainConfig()
    for example in examples:
        if example.key not in scores:
            raise S2PError(f"{example.key}: no residue scores are given for this training protein")
        if len(scores[example.key][0]) != len(example.structure.residues):
            raise S2PError(f"{example.key}: residue scores of another length than the structure; score it again")
    clusters = sorted({e.cluster for e in examples}, key=lambda c: hashlib.sha256(c.encode()).hexdigest())
    if len(clusters) < training.folds:
        raise S2PError(f"{len(clusters)} clusters are too few for {training.folds} folds; give more training proteins")
    fold = {c: k % training.folds for k, c in enumerate(clusters)}
    encoder = fit_encoder(examples, [scores[e.key][1] for e in examples], points, training)
    rng = np.random.default_rng(training.seed)
    originals, copies = [], []
    for e in progress_bar(examples, "points", quiet):
        originals.append(_prepare(e, e.structure, encoder, scores[e.key], points, training))
        for _ in range(training.perturbed_copies):
            other = perturbed(e.structure, e.ligands, training, rng)
            copies.append(_prepare(e, other, encoder, scores[e.key], points, training))
    unseen: dict[str, NDArray[np.float32]] | None = None
    for number in range(1 + training.hard_negatives):
        found: dict[str, NDArray[np.float32]] = {}
        for k in progress_bar(range(training.folds), f"round {number + 1}", quiet):
            inside = [item for item in (*originals, *copies) if fold[item.example.cluster] != k]
            part = _build(inside, encoder, points, pockets, replace(training, members=1), training.seed + k, unseen)
            found |= {i.example.key: part.scores(i.features) for i in originals if fold[i.example.cluster] == k}
        last, unseen = unseen, found
    assert unseen is not None
    model = _pocket_model(originals, [unseen[item.example.key] for item in originals], pockets)
    return replace(_build([*originals, *copies], encoder, points, pockets, training, training.seed, last), pocket_model=model)
