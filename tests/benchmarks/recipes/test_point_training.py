"""Training of the point scorer: labels by hand, and that it learns what is there to learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_structure

from benchmarks.recipes.point_training import calibrate, train_point_scorer
from benchmarks.recipes.points import PointExample, PointTrainConfig, fit_encoder, known_sites, label_points, perturbed
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.pockets.scored import find_point_pockets, score_points
from s2p.surface.features import PointConfig, protein_points
from s2p.surface.points import SurfacePoints
from s2p.surface.surroundings import Surroundings

FAST = PointTrainConfig.fast()


def example(k: int) -> tuple[PointExample, tuple[np.ndarray, np.ndarray]]:
    """Two helices with a ring between them; residues that touch it have a high probability, with noise."""
    rng = np.random.default_rng(k)
    structure = make_structure(f"p{k}")
    coord = (structure.atoms.coord + rng.normal(size=structure.atoms.coord.shape) * 0.1).astype(np.float32)
    structure = replace(structure, atoms=replace(structure.atoms, coord=coord))
    ligand = structure.ligands[0].coord + np.float32([0, 4.0, rng.uniform(-8, 8)])
    near = np.linalg.norm(structure.residues.ca_coord - ligand.mean(axis=0), axis=1) < 10
    probability = np.clip(near * 0.6 + rng.uniform(0, 0.3, len(near)), 0.01, 0.99).astype(np.float32)
    embeddings = rng.normal(size=(len(near), 5)).astype(np.float32)
    return PointExample(f"p{k}", f"c{k // 2}", structure, (ligand,), near), (probability, embeddings)


@pytest.fixture(scope="module")
def training_set() -> tuple[list[PointExample], dict[str, tuple[np.ndarray, np.ndarray]]]:
    pairs = [example(k) for k in range(8)]
    return [e for e, _ in pairs], {e.key: s for e, s in pairs}


def test_labels_by_hand() -> None:
    structure = make_structure()
    known = np.zeros(48, bool)
    known[3] = True
    here = PointExample("x", "c", structure, (np.array([[0, 0, 0]], np.float32), np.array([[100, 0, 0]], np.float32)), known)
    points = np.array([[2.4, 0, 0], [2.6, 0, 0], [5.1, 0, 0], [98, 0, 0], [50, 0, 0]])
    atom = np.flatnonzero(structure.atoms.residue_index == 0)[:1]
    owned = SurfacePoints(points, np.repeat(atom, 5))
    assert label_points(owned, here, structure, PointTrainConfig()).tolist() == [1, -1, 0, 1, 0]
    of_known = SurfacePoints(points, np.repeat(np.flatnonzero(structure.atoms.residue_index == 3)[:1], 5))
    assert label_points(of_known, here, structure, PointTrainConfig()).tolist() == [1, -1, -1, 1, -1]


def test_known_sites_are_carried_to_every_copy_of_a_chain() -> None:
    structure = make_structure()
    sequence = structure.sequence("A")
    assert structure.sequence("B") == sequence
    labels = np.zeros(22, np.uint8)
    labels[[0, 10]] = 1
    other = LabelledChain("y", sequence[2:], labels)  # two residues shorter
    known = known_sites(structure, {sequence: [other]})
    assert np.flatnonzero(known).tolist() == [2, 12, 26, 36]
    assert not known_sites(structure, {}).any()


def test_propensities_favour_the_atoms_that_touch_ligands(training_set) -> None:
    examples, scores = training_set
    config = replace(FAST, min_atoms=1, prior_atoms=1)
    encoder = fit_encoder(examples, [scores[e.key][1] for e in examples], PointConfig(), config)
    learned = dict(zip(encoder.types, encoder.propensity.tolist(), strict=True))
    touching, exposed = dict.fromkeys(learned, 0), dict.fromkeys(learned, 0)
    for e in examples:
        for atom in np.unique(protein_points(e.structure).atom).tolist():
            kind = f"{e.structure.residues.one_letter[e.structure.atoms.residue_index[atom]]}:{e.structure.atoms.name[atom]}"
            exposed[kind] += 1
            touching[kind] += np.linalg.norm(e.ligands[0] - e.structure.atoms.coord[atom], axis=1).min() <= 4.5
    base = sum(touching.values()) / sum(exposed.values())
    for kind, value in learned.items():
        share = (touching[kind] + base) / (exposed[kind] + 1)
        assert value == pytest.approx(np.log(share / (1 - share)) - np.log(base / (1 - base)), abs=1e-3)
    assert (
        len(fit_encoder(examples, [scores[e.key][1] for e in examples], PointConfig(), replace(FAST, min_atoms=10**6)).types) == 0
    )


def test_components_are_those_of_a_singular_value_decomposition(training_set) -> None:
    examples, scores = training_set
    rows = np.concatenate([scores[e.key][1] for e in examples]).astype(float)
    encoder = fit_encoder(examples, [scores[e.key][1] for e in examples], PointConfig(), replace(FAST, n_components=3))
    axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:3]
    unit = encoder.components / np.linalg.norm(encoder.components, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs((unit * axes).sum(axis=1)), 1, atol=1e-4)
    np.testing.assert_allclose(((rows - encoder.mean) @ encoder.components.T).std(axis=0), 1, atol=1e-3)


def test_a_perturbed_copy_keeps_the_backbone_and_loses_only_facing_side_chains() -> None:
    base = make_structure()
    names = np.where(base.atoms.name == "CB", "CG", base.atoms.name)  # something that counts as a side chain
    structure = replace(base, atoms=replace(base.atoms, name=names))
    ligand = structure.ligands[0].coord
    config = replace(PointTrainConfig(), drop_facing=1.0)
    other = perturbed(structure, [ligand], config, np.random.default_rng(0))
    distance = np.linalg.norm(structure.atoms.coord[:, None] - ligand[None], axis=2).min(axis=1)
    keep = ~((names == "CG") & (distance <= 4.5))
    assert 0 < (~keep).sum() == len(structure.atoms) - len(other.atoms)
    np.testing.assert_array_equal(other.atoms.name, names[keep])
    moved = np.linalg.norm(other.atoms.coord - structure.atoms.coord[keep], axis=1)
    assert (moved[other.atoms.name != "CG"] == 0).all()
    assert 0.3 < moved[other.atoms.name == "CG"].mean() < 1.6
    still = perturbed(structure, [ligand], replace(config, drop_facing=0.0, side_chain_noise=0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(still.atoms.coord, structure.atoms.coord)


def test_training_finds_the_sites_of_a_protein_it_has_not_seen(training_set) -> None:
    examples, scores = training_set
    scorer = train_point_scorer(examples, scores, training=replace(FAST, epochs=20, perturbed_copies=1), quiet=True)
    fresh, (probability, embeddings) = example(99)
    cloud, score = score_points(scorer, Surroundings(fresh.structure), probability, embeddings)
    labels = label_points(cloud, fresh, fresh.structure, FAST)
    assert score[labels == 1].mean() > 2 * score[labels == 0].mean()
    pocket = find_point_pockets(scorer, fresh.structure, probability, embeddings)[0]
    assert np.linalg.norm(fresh.ligands[0] - pocket.center, axis=1).min() < 4


def test_training_again_gives_the_same_scorer(training_set) -> None:
    examples, scores = training_set
    first, second = (train_point_scorer(examples, scores, training=FAST, quiet=True) for _ in range(2))
    for key, value in first.arrays().items():
        np.testing.assert_array_equal(second.arrays()[key], value)


def test_only_the_families_asked_for_are_read(training_set) -> None:
    examples, scores = training_set
    config = replace(FAST, families=("geometry",), hard_negatives=False)
    scorer = train_point_scorer(examples, scores, training=config, quiet=True)
    assert "enclosure" in scorer.features and not any("probability" in name or "donor" in name for name in scorer.features)
    calibrated = calibrate(scorer, examples[:4], scores)
    assert calibrated.pocket_model != scorer.pocket_model and calibrated.features == scorer.features


def test_what_cannot_be_trained_on_is_named(training_set) -> None:
    examples, scores = training_set
    with pytest.raises(S2PError, match="p0: no residue scores"):
        train_point_scorer(examples, {}, training=FAST)
    with pytest.raises(S2PError, match="p0: residue scores of another length"):
        train_point_scorer(examples, scores | {"p0": (np.zeros(3, np.float32), np.zeros((3, 5), np.float32))}, training=FAST)
    with pytest.raises(S2PError, match="1 clusters are too few"):
        train_point_scorer(examples[:2], scores, training=FAST)
