"""Pockets from votes: peaks against brute force, long and doubled sites, lists that do not end early, and motions of the file."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from synthetic import make_reading

from course.structures import moved
from s2p.config import ConfigError
from s2p.evaluation.cases import Truth, find_cases
from s2p.pockets.hits import dca
from s2p.pockets.ranking import PocketModel
from s2p.pockets.voting import (
    CANDIDATE_FEATURES,
    POCKET_FEATURES,
    VoteConfig,
    VoteModel,
    candidates,
    find_voted_pockets,
    grouped,
    peaks,
)
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation
from s2p.surface.points import SoftPoints
from s2p.surface.reading import Reading
from s2p.surface.surroundings import Surroundings, assemblies


def make_model(**options) -> VoteModel:
    """The higher, the likelier."""
    weights = [float(name == "log_height") for name in CANDIDATE_FEATURES]
    middle = PocketModel((0.0,) * len(weights), (1.0,) * len(weights), tuple(weights), -2.0)
    more = len(POCKET_FEATURES)
    atom = PocketModel((0.0,) * more, (1.0,) * more, tuple(float(name == "middle") for name in POCKET_FEATURES), 0.5)
    return VoteModel(middle, atom, VoteConfig(**options))


@cache
def example(name: str) -> Truth:
    return next(case.read() for case in find_cases("data/examples").cases if case.id == name)


def read_parts(
    truth: Truth, structure: Structure | None = None, ligands=None, **options
) -> tuple[list[Surroundings], list[Reading]]:
    parts = list(assemblies(structure or truth.structure))
    return parts, [make_reading(part, truth.ligands if ligands is None else ligands, **options) for part in parts]


def of_votes(votes: np.ndarray, p: np.ndarray, part: Surroundings, **fields) -> Reading:
    """What a single point at each vote would say, for a structure whose every atom may own it."""
    n = len(votes)
    cloud = SoftPoints(votes + np.array([0.0, 0.0, 3.0]), np.arange(n) % len(part.structure.atoms), np.ones(n))
    values = {"extent": np.full(n, 3.0), "residues": np.full(len(part.residues), 0.1)} | fields
    return Reading(cloud, p.astype(np.float32), votes.astype(np.float32), *(x.astype(np.float32) for x in values.values()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_peaks_are_tops_of_the_density_by_brute_force_wherever_the_votes_lie(seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes, weights = rng.uniform(-12, 12, (150, 3)), rng.uniform(0.1, 1, 150)
    config = VoteConfig()
    center, height = peaks(votes, weights, config)

    def density(x: np.ndarray) -> np.ndarray:
        d = np.linalg.norm(x[:, None] - votes[None], axis=2)
        return (weights * np.maximum(1 - (d / config.radius) ** 2, 0) ** 3).sum(axis=1)

    np.testing.assert_allclose(height, density(center), rtol=1e-9)
    assert all(a >= b for a, b in pairwise(height))
    assert height[0] >= density(votes).max()
    for shift in rng.normal(size=(10, 3)):
        assert (density(center + 0.1 * shift / np.linalg.norm(shift)) <= height * 1.002).all()
    apart = np.linalg.norm(center[:, None] - center[None], axis=2)[~np.eye(len(center), dtype=bool)]
    assert apart.min(initial=np.inf) > config.reach
    turn, order = Rotation.random(random_state=seed).as_matrix(), rng.permutation(150)
    after, same = peaks((votes @ turn.T + 5)[order], weights[order], config)
    np.testing.assert_allclose(after, center @ turn.T + 5, atol=1e-3)
    np.testing.assert_allclose(same, height, rtol=1e-6)


@pytest.mark.parametrize("name", ["4CUP", "1ake", "6WQA"])
def test_ligands_are_found_and_the_list_goes_on(name: str) -> None:
    truth = example(name)
    parts, readings = read_parts(truth)
    pockets = find_voted_pockets(make_model(), truth.structure, readings, parts)
    assert len(pockets) >= 5 and [p.rank for p in pockets] == list(range(1, len(pockets) + 1))
    assert all(a.score >= b.score for a, b in pairwise(pockets))
    n = len(truth.ligands)
    for ligand in truth.ligands:
        assert dca([p.center for p in pockets[:n]], ligand).min() < 1
        assert np.linalg.norm([p.center - ligand.mean(axis=0) for p in pockets[:n]], axis=1).min() < 1
    first = pockets[0]
    assert first.sites.shape == (len(first.sites), 3) and np.array_equal(first.sites[0], first.center)
    assert first.volume > 0 and len(first.atoms) and np.all(np.diff(first.residues) > 0)
    d = np.linalg.norm(truth.structure.atoms.coord[:, None] - first.points[None], axis=2).min(axis=1)
    assert set(np.unique(truth.structure.atoms.residue_index[d <= 4.5])) <= set(first.residues.tolist())


def test_likely_owners_of_member_points_join_a_pocket() -> None:
    truth = example("4CUP")
    parts, readings = read_parts(truth)
    few, more = (make_model(residue_cutoff=0.1, residue_threshold=t) for t in (0.5, 0.0))
    few, more = (find_voted_pockets(model, truth.structure, readings, parts) for model in (few, more))
    assert set(few[0].residues) < set(more[0].residues) and len(few) < len(more)
    assert all(readings[0].residues[p.residues].min() >= 0.5 for p in few)


def test_a_residue_is_in_one_pocket_of_an_assembly() -> None:
    truth = example("1ake")
    parts, readings = read_parts(truth)
    residues = np.concatenate([p.residues for p in find_voted_pockets(make_model(), truth.structure, readings, parts)])
    assert len(residues) == len(np.unique(residues)) > 0


def test_nothing_depends_on_the_order_of_the_points() -> None:
    truth = example("4CUP")
    parts, (reading,) = read_parts(truth)
    order = np.random.default_rng(1).permutation(len(reading.ligandability))
    cloud = SoftPoints(reading.cloud.coord[order], reading.cloud.atom[order], reading.cloud.share[order])
    other = Reading(cloud, reading.ligandability[order], reading.centers[order], reading.extent[order], reading.residues)
    a, b = (find_voted_pockets(make_model(), truth.structure, [r], parts) for r in (reading, other))
    assert [p.residues.tolist() for p in a] == [p.residues.tolist() for p in b]
    np.testing.assert_allclose([p.center for p in a], [p.center for p in b], atol=1e-3)
    np.testing.assert_allclose([p.probability for p in a], [p.probability for p in b], atol=1e-4)


def turned(reading: Reading, turn: np.ndarray, shift: np.ndarray, draw: np.random.Generator, step: float) -> Reading:
    """The reading of a structure that was turned and rounded: everything differs by about ``step``, and faint points go."""
    cloud, n = reading.cloud, len(reading.ligandability)
    share = np.clip(cloud.share + draw.normal(0, step, n), 0, 1)
    kept = share > 0
    points, votes = (x @ turn.T + shift + draw.normal(0, step, (n, 3)) for x in (cloud.coord, reading.centers))
    p, extent = reading.ligandability * (1 + draw.normal(0, step, n)), reading.extent + draw.normal(0, step, n)
    found = (x[kept].astype(np.float32) for x in (p, votes, extent))
    return Reading(SoftPoints(points[kept], cloud.atom[kept], share[kept]), *found, reading.residues)


@pytest.mark.parametrize("step", [0.0, 2e-3])
@pytest.mark.parametrize("name", ["4CUP", "1ake", "6WQA"])
def test_centres_turn_with_the_structure(name: str, step: float) -> None:
    truth, draw = example(name), np.random.default_rng(3)
    parts, readings = read_parts(truth)
    before = find_voted_pockets(make_model(), truth.structure, readings, parts)
    for _ in range(3):
        turn, shift = random_rotation(draw), draw.normal(0, 30, 3)
        other = moved(truth.structure, turn, shift, 3 if step else None)
        after = find_voted_pockets(
            make_model(), other, [turned(r, turn, shift, draw, step) for r in readings], list(assemblies(other))
        )
        centers = np.array([p.center for p in after])
        for pocket in before[:10]:
            k = int(np.linalg.norm(centers - (turn @ pocket.center + shift), axis=1).argmin())
            assert np.linalg.norm(centers[k] - (turn @ pocket.center + shift)) < 0.1
            assert after[k].probability == pytest.approx(pocket.probability, abs=0.01)
            assert step or after[k].residues.tolist() == pocket.residues.tolist()


def test_copies_far_apart_are_read_by_themselves() -> None:
    one = example("4CUP")
    far = moved(one.structure, np.eye(3), np.array([200.0, 0, 0]), None)
    chain = replace(far.residues, chain=np.full(len(far.residues), "Z"))
    both = Structure("both", *(_stack(a, b) for a, b in ((one.structure.atoms, far.atoms), (one.structure.residues, chain))), ())
    parts = list(assemblies(both))
    ligands = [one.ligands[0], one.ligands[0] + np.float32([200, 0, 0])]
    readings = [make_reading(part, [ligand]) for part, ligand in zip(parts, ligands, strict=True)]
    alone = find_voted_pockets(make_model(), one.structure, *reversed(read_parts(one)))
    pockets = find_voted_pockets(make_model(), both, readings, parts)
    assert len(pockets) == 2 * len(alone) and pockets[1].copy_of == 1
    assert pockets[0].probability == pytest.approx(pockets[1].probability, abs=1e-3)
    assert pockets[0].probability == pytest.approx(alone[0].probability, abs=1e-3)
    np.testing.assert_allclose(abs(pockets[0].center - pockets[1].center), [200, 0, 0], atol=0.05)


def _stack(first, second):  # type: ignore[no-untyped-def]
    both = {
        key: np.concatenate([value, vars(second)[key]]) for key, value in vars(first).items() if isinstance(value, np.ndarray)
    }
    if "residue_index" in both:
        both["residue_index"][len(first) :] += first.residue_index.max() + 1
    return replace(first, **both)


def test_identical_chains_in_contact_do_not_compete() -> None:
    truth = example("1ake")
    parts, readings = read_parts(truth)
    (part,), (reading,) = parts, readings
    found = candidates(reading, part)
    sites = [int(np.linalg.norm(found.center - x.mean(axis=0), axis=1).argmin()) for x in truth.ligands]
    assert len(set(sites)) == 2 and found.original[sites[0]] == found.original[sites[1]]
    lead = found.features[sites, CANDIDATE_FEATURES.index("log_lead")]
    assert (lead > 0.1).all() and (found.features[sites, CANDIDATE_FEATURES.index("rank")] == 0).all()


def test_a_long_ligand_is_one_pocket_of_several_sites() -> None:
    truth = example("6WQA")
    (part,) = assemblies(truth.structure)
    middle, draw = truth.ligands[0].mean(axis=0), np.random.default_rng(0)
    ends = np.concatenate([middle + draw.normal(0, 0.7, (60, 3)), middle + np.array([7.0, 0, 0]) + draw.normal(0, 0.7, (40, 3))])
    p = np.full(100, 0.9)
    said, votes = of_votes(ends, p, part), VoteConfig(crowd=0)
    (pocket,) = find_voted_pockets(make_model(crowd=0, join=8.0), truth.structure, [said], [part])
    assert len(pocket.sites) == 2 and len(pocket.points) == 100
    np.testing.assert_allclose(pocket.sites[1] - pocket.center, [7, 0, 0], atol=0.5)
    assert len(find_voted_pockets(make_model(crowd=0), truth.structure, [said], [part])) == 2
    assert len(grouped(candidates(said, part, votes), np.array([0.2, 0.1]), replace(votes, join=8.0))) == 1


def test_points_that_vote_apart_but_stand_together_make_a_candidate() -> None:
    truth = example("6WQA")
    (part,) = assemblies(truth.structure)
    middle, draw = truth.ligands[0].mean(axis=0), np.random.default_rng(0)
    away = np.repeat(np.array([[8.0, 0, 0], [-8.0, 0, 0], [0, 8.0, 0]]), 30, axis=0)
    votes, n = middle + away + draw.normal(0, 0.5, (90, 3)), 90
    cloud = SoftPoints(middle + draw.normal(0, 1.0, (n, 3)), np.arange(n), np.ones(n))
    said = Reading(
        cloud,
        np.full(n, 0.9, np.float32),
        votes.astype(np.float32),
        np.full(n, 3.0, np.float32),
        np.full(len(part.residues), 0.1, np.float32),
    )
    alone, both = (candidates(said, part, VoteConfig(crowd=crowd)) for crowd in (0, 5.0))
    assert len(alone.center) == 3 and np.linalg.norm(alone.center - middle, axis=1).min() > 6
    assert len(both.center) == 4 and np.linalg.norm(both.center[-1] - middle) < 1
    np.testing.assert_allclose(both.center[:3], alone.center, atol=1e-6)
    height = both.features[:, CANDIDATE_FEATURES.index("log_height")]
    assert (np.diff(height) <= 0).all() and height[-1] == pytest.approx(np.log(1e-3))
    near = candidates(said, part, VoteConfig(apart=20.0))
    assert len(near.center) == 3


def test_flat_and_empty_readings() -> None:
    structure = read_structure("data/examples/4CUP.cif")
    (part,) = assemblies(structure)
    reading = make_reading(part, [], false=0, faith=-20.0)
    assert find_voted_pockets(make_model(), structure, [reading], [part]) == ()
    assert candidates(reading, part).features.shape == (0, len(CANDIDATE_FEATURES))
    nobody = Reading(
        SoftPoints(np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0)),
        np.zeros(0, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros(0, np.float32),
        np.zeros(115, np.float32),
    )
    assert find_voted_pockets(make_model(), structure, [nobody], [part]) == ()
    flat = make_reading(part, [], false=0)
    pockets = find_voted_pockets(make_model(), structure, [flat], [part])
    assert len(pockets) >= 5 and all(np.isfinite([p.probability, p.volume, *p.center]).all() for p in pockets)
    few = find_voted_pockets(make_model(min_probability=1.0, least=2), structure, [flat], [part])
    assert len(few) == 2


def test_the_model_is_written_and_read() -> None:
    import json

    model = make_model(radius=2.5)
    assert VoteModel.from_dict(json.loads(json.dumps(model.to_dict()))) == model
    with pytest.raises(ConfigError, match="radius must be a number above 0"):
        VoteConfig(radius=0.0)
