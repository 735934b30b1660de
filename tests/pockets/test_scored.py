"""Pockets from scored points: peaks by hand and against brute force, and that nothing depends on the frame."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from builders import make_structure
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s2p.pockets.ranking import PocketModel, PointPocketConfig, PointScorer
from s2p.pockets.scored import POCKET_FEATURES, find_point_pockets, peak_features, peaks, score_points
from s2p.surface.features import PointEncoder, feature_names
from s2p.surface.surroundings import Surroundings

NEVER = PointPocketConfig(merge=1.0)


def blob(center: tuple[float, float, float], n: int, seed: int, spread: float = 1.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * spread + np.array(center)


def make_scorer(**options) -> PointScorer:
    """Likes points with many atoms around."""
    names = feature_names(1)
    weight = np.zeros((1, len(names), 1), np.float32)
    weight[0, names.index("atoms_8"), 0] = 4.0
    mean = np.zeros(len(names), np.float32)
    mean[names.index("atoms_8")] = 25
    scale = np.full(len(names), 10, np.float32)
    encoder = PointEncoder((), np.zeros(0, np.float32), np.zeros(3, np.float32), np.ones((1, 3), np.float32))
    n = len(POCKET_FEATURES)
    model = PocketModel((0.0,) * n, (1.0,) * n, (1.0,) + (0.0,) * (n - 1), 0.0)
    config = PointPocketConfig(**options)
    return PointScorer(encoder, names, mean, scale, (weight,), (np.zeros((1, 1, 1), np.float32),), model, pockets=config)


def test_two_blobs_are_two_peaks_the_denser_first() -> None:
    points = np.concatenate([blob((0, 0, 0), 30, 1), blob((30, 0, 0), 60, 2)])
    scores = np.full(90, 0.9)
    found = peaks(points, scores)
    assert len(found.height) == 2 and found.height[0] > found.height[1]
    np.testing.assert_array_equal(found.basin, np.repeat([1, 0], [30, 60]))
    np.testing.assert_allclose(found.center[0], (30, 0, 0), atol=1)
    np.testing.assert_allclose(found.center[1], (0, 0, 0), atol=1)


def test_heights_are_those_of_brute_force() -> None:
    points, rng = blob((0, 0, 0), 200, 3, 6.0), np.random.default_rng(0)
    scores = rng.uniform(0.1, 1, 200)
    found = peaks(points, scores, NEVER)
    d = np.linalg.norm(points[:, None] - points[None], axis=2)
    height = (scores**NEVER.power * np.exp(-0.5 * (d / NEVER.sigma) ** 2) * (d <= 3 * NEVER.sigma)).sum(axis=1)
    top = [k for k in range(200) if height[k] >= height[d[k] <= NEVER.reach].max()]
    np.testing.assert_allclose(found.height, np.sort(height[top])[::-1], rtol=1e-9)


def test_points_below_the_floor_are_in_no_basin_but_a_faint_protein_has_its_peak() -> None:
    points = np.concatenate([blob((0, 0, 0), 20, 1), blob((30, 0, 0), 20, 2)])
    found = peaks(points, np.repeat([0.9, 0.01], 20))
    np.testing.assert_array_equal(found.basin, np.repeat([0, -1], 20))
    assert len(peaks(points, np.full(40, 0.01)).height) == 2
    assert len(peaks(points, np.zeros(40)).height) == 0
    assert len(peaks(np.zeros((0, 3)), np.zeros(0)).height) == 0


def test_a_bridge_of_high_scores_joins_two_peaks_and_a_faint_one_does_not() -> None:
    ends = [blob((0, 0, 0), 40, 1, 1.0), blob((14, 0, 0), 40, 2, 1.0)]
    bridge = np.stack([np.linspace(0, 14, 60), np.zeros(60), np.zeros(60)], axis=1)
    points = np.concatenate([*ends, bridge])
    faint = np.concatenate([np.full(80, 0.9), np.full(60, 0.1)])
    assert len(peaks(points, faint, PointPocketConfig(merge=0.5)).height) == 2
    assert len(peaks(points, np.full(140, 0.9), PointPocketConfig(merge=0.5)).height) == 1
    assert len(peaks(points, np.full(140, 0.9), NEVER).height) == 2


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_turning_the_points_turns_the_pockets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, scores = rng.uniform(-15, 15, (150, 3)), rng.uniform(0.1, 1, 150)
    turn, shift = Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3) * 20
    before, after = peaks(points, scores), peaks(points @ turn.T + shift, scores)
    np.testing.assert_array_equal(after.basin, before.basin)
    np.testing.assert_allclose(after.center, before.center @ turn.T + shift, atol=1e-6)


def test_features_of_peaks_by_hand() -> None:
    points = np.concatenate([blob((0, 0, 0), 12, 1), blob((30, 0, 0), 3, 2)])
    scores = np.concatenate([np.full(12, 0.8), np.full(3, 0.4)]).astype(np.float32)
    probability = np.concatenate([np.linspace(0, 0.55, 12), np.full(3, 0.2)]).astype(np.float32)
    found = peaks(points, scores)
    first, second = (dict(zip(POCKET_FEATURES, row, strict=True)) for row in peak_features(found, scores, probability).tolist())
    assert first["top_score"] == pytest.approx(0.8) and second["top_ten_score"] == pytest.approx(0.4)
    assert first["log_relative_height"] == 0 > second["log_relative_height"]
    assert first["log_lead"] == pytest.approx(-second["log_lead"])
    assert first["log_strong_points"] == pytest.approx(np.log(13)) and second["log_strong_points"] == 0
    assert first["log_score_sum"] == pytest.approx(np.log(12 * 0.64), rel=1e-4)
    assert first["probability"] == pytest.approx(0.275, abs=1e-3) and first["top_probability"] == pytest.approx(0.55)
    assert (first["rank"], second["rank"]) == (0, 1)


def test_pockets_of_a_structure() -> None:
    structure = make_structure()
    p, e = np.full(48, 0.3, np.float32), np.zeros((48, 3), np.float32)
    scorer = make_scorer()
    cloud, scores = score_points(scorer, Surroundings(structure), p, e)
    pockets = find_point_pockets(scorer, structure, p, e)
    assert pockets and [q.rank for q in pockets] == list(range(1, len(pockets) + 1))
    assert all(a.probability >= b.probability for a, b in itertools.pairwise(pockets))
    first = pockets[0]
    best = cloud.coord[np.argmax(scores)]
    assert np.linalg.norm(first.points - best, axis=1).min() < 1e-3
    assert first.volume > 0 and len(first.atoms) and np.all(np.diff(first.residues) > 0)
    d = np.linalg.norm(structure.atoms.coord[:, None] - first.points[None], axis=2).min(axis=1)
    np.testing.assert_array_equal(first.residues, np.unique(structure.atoms.residue_index[d <= 4.5]))


def test_predicted_residues_around_a_pocket_join_it() -> None:
    structure = make_structure()
    p, e = np.full(48, 0.3, np.float32), np.zeros((48, 3), np.float32)
    scorer = make_scorer(member=0.999)
    alone = find_point_pockets(scorer, structure, p, e)
    joined = find_point_pockets(scorer, structure, p, e, np.ones(48, bool))
    assert len(alone) == len(joined)
    assert all(set(a.residues) <= set(b.residues) for a, b in zip(alone, joined, strict=True))
    assert sum(len(q.residues) for q in joined) > sum(len(q.residues) for q in alone)


def test_unlikely_pockets_are_left_out_but_for_the_first() -> None:
    structure = make_structure()
    p, e = np.full(48, 0.3, np.float32), np.zeros((48, 3), np.float32)
    assert len(find_point_pockets(make_scorer(min_probability=1.0), structure, p, e)) == 1
