"""Surroundings of a residue, against plain loops, the head that reads them; candidates of the smoother, and what it adds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from course.structures import moved
from s2p.checkpoint import load_checkpoint, save_checkpoint
from s2p.config import PredictConfig
from s2p.predictor import Seq2Pocket
from s2p.residues import (
    CONTEXT_FEATURES,
    COUNT_RADII,
    LETTERS,
    MEAN_SIGMAS,
    ContextHead,
    Smoother,
    candidates,
    context_features,
    context_logits,
    smooth,
    smoother_logits,
)
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation
from s2p.surface.points import accessible_area
from s2p.surface.surroundings import Surroundings


@pytest.fixture(scope="module")
def protein(examples: Path) -> Structure:
    return read_structure(examples / "1hpv.pdb.gz")


@pytest.fixture(scope="module")
def logits(protein: Structure) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(len(protein.residues)).astype(np.float32)


@pytest.fixture(scope="module")
def table(protein: Structure, logits: np.ndarray) -> dict[str, np.ndarray]:
    features = context_features(protein, logits)
    assert features.shape == (len(logits), len(CONTEXT_FEATURES)) and features.dtype == np.float32
    return dict(zip(CONTEXT_FEATURES, features.T, strict=True))


def inside(distance: np.ndarray, radius: float) -> np.ndarray:
    """1 up to an Å inside of the radius, 0 from an Å outside on, straight between them."""
    return np.interp(distance, [radius - 1, radius + 1], [1, 0])


def test_counts_and_means_by_brute_force(protein, logits, table):
    ca = protein.residues.ca_coord.astype(float)
    distance = np.linalg.norm(ca[:, None] - ca[None], axis=2)
    for radius in COUNT_RADII:
        np.testing.assert_allclose(table[f"ca_{radius:g}"], (inside(distance, radius).sum(axis=1) - 1) / 10, atol=1e-5)
    for sigma in MEAN_SIGMAS:
        weight = np.exp(-(distance**2) / (2 * sigma**2)) * inside(distance, 2 * sigma)
        weight /= weight.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(table[f"logit_mean_{sigma:g}"], weight @ logits, atol=1e-5)
        np.testing.assert_allclose(table[f"area_mean_{sigma:g}"], weight @ table["area"], atol=1e-5)
    pull = logits[:, None] + inside(distance, 8.0) * (logits[None] - logits[:, None])
    np.testing.assert_allclose(table["logit_max_8"], pull.max(axis=1), atol=1e-5)
    one_hot = np.array([[letter == x for x in LETTERS] for letter in protein.residues.one_letter], float)
    np.testing.assert_array_equal(np.stack([table[x] for x in LETTERS], axis=1), one_hot)
    np.testing.assert_allclose(np.stack([table[f"{x}_mean_8"] for x in LETTERS], axis=1), weight @ one_hot, atol=1e-5)


def test_half_spheres_share_the_neighbours(protein, table):
    ca = protein.residues.ca_coord.astype(float)
    near = inside(np.linalg.norm(ca[:, None] - ca[None], axis=2), 13).sum(axis=1) - 1
    np.testing.assert_allclose(table["half_sphere_up"] + table["half_sphere_down"], near / 10, atol=1e-5)
    # Exposed side chains look away from the protein.
    assert np.corrcoef(table["side_chain_area"], table["half_sphere_up"])[0, 1] < -0.4


def test_area_is_that_of_shrake_and_rupley(protein, table):
    atoms = protein.atoms
    area = accessible_area(atoms.coord, atoms.element, n_points=960, probe_radius=1.6)
    expected = np.bincount(atoms.residue_index, area, len(protein.residues)) / 100
    assert np.corrcoef(table["area"], expected)[0, 1] > 0.98  # twenty-four points an atom against 960
    assert np.abs(table["area"] - expected).mean() < 0.08


def test_points_by_brute_force(protein, logits, table):
    """Of some residues: the crowd around each of their points, in shares, its mean and its top, and the chance of no point."""
    around = Surroundings(protein)
    cloud = around.points(24, 1.6)
    owner = protein.atoms.residue_index[cloud.atom]
    buried = np.setdiff1d(np.arange(len(logits)), owner)
    for residue in [*range(0, len(logits), 23), *buried[:1]]:
        share, values = cloud.share[owner == residue], []
        for point in cloud.coord[owner == residue]:
            to = around.coord - point
            distance = np.linalg.norm(to, axis=1)
            count = inside(distance, 10.0)
            unit = (to / distance[:, None] * count[:, None]).sum(axis=0) / count.sum()
            values.append((count.sum() / 100, 1 - np.linalg.norm(unit)))
        none = np.exp(-share.sum() * 20 / 24)
        assert table["no_points"][residue] == pytest.approx(none, abs=1e-5)
        for name, column in zip(("protrusion", "enclosure"), np.array(values).reshape(-1, 2).T, strict=True):
            mean = (share @ column) / share.sum() * (1 - none) if len(share) else 0.0
            assert table[f"{name}_mean"][residue] == pytest.approx(mean, abs=1e-5)
            assert table[f"{name}_top"][residue] == pytest.approx((share * column).max(initial=0.0), abs=1e-5)


@pytest.mark.parametrize("decimals", [None, 3])
def test_turning_the_structure_changes_nothing_but_rounding(protein, logits, decimals):
    draw = np.random.default_rng(3)
    a = context_features(protein, logits)
    scale = a.std(axis=0) + 1e-3
    for _ in range(3):
        turned = moved(protein, random_rotation(draw), draw.normal(0, 30, 3), decimals)
        drift = np.abs(a - context_features(turned, logits)) / scale
        assert drift.max() < (1e-3 if decimals is None else 0.05)


def test_surroundings_that_were_made_are_used(protein, logits):
    made = Surroundings(protein)
    np.testing.assert_array_equal(context_features(made, logits), context_features(protein, logits))
    assert made.points() is made.points() and made.cells is made.cells


@pytest.mark.parametrize("n", [1, 2])
def test_tiny_chains(n):
    structure = make_structure(n=n)
    features = context_features(structure, np.zeros(2 * n, np.float32))
    assert features.shape == (2 * n, len(CONTEXT_FEATURES)) and np.isfinite(features).all()


def test_in_a_checkpoint(protein, tmp_path):
    checkpoint = load_checkpoint("s2p-esm2-8m")
    head = ContextHead(width=8, members=3)
    save_checkpoint(replace(checkpoint, context=head), tmp_path / "x.safetensors", half=False)
    predictor = Seq2Pocket(load_checkpoint(tmp_path / "x.safetensors"))
    scores = predictor.score(protein)
    expected = context_logits(head, context_features(protein, scores.sequence_logits))
    np.testing.assert_allclose(scores.probabilities, 1 / (1 + np.exp(-expected)), atol=1e-6)
    without = predictor.score(protein, PredictConfig(use_context=False))
    np.testing.assert_allclose(without.probabilities, 1 / (1 + np.exp(-without.sequence_logits)), atol=1e-6)
    assert predictor.pockets(protein, scores).settings["context"] is True
    assert predictor.pockets(protein, scores, PredictConfig(use_context=False)).settings["context"] is False


def by_loops(ca, positive, embeddings, radius):
    rows = []
    for i in range(len(ca)):
        near = [j for j in range(len(ca)) if positive[j] and np.linalg.norm(ca[i].astype(float) - ca[j].astype(float)) < radius]
        if not positive[i] and near:
            rows.append((i, np.concatenate([embeddings[i], embeddings[near].mean(axis=0)]), len(near)))
    return rows


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_candidates_equal_a_loop(n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    ca = draw.uniform(-20, 20, (n, 3)).astype(np.float32)
    positive = draw.random(n) < 0.3
    embeddings = draw.normal(size=(n, 5)).astype(np.float32)
    index, x, count = candidates(ca, positive, embeddings, 15.0)
    expected = by_loops(ca, positive, embeddings, 15.0)
    assert index.tolist() == [i for i, *_ in expected]
    assert count.tolist() == [c for *_, c in expected]
    np.testing.assert_allclose(x, np.array([v for _, v, _ in expected]).reshape(-1, 10), atol=1e-5)


def test_radius_is_strict() -> None:
    ca = np.array([[0, 0, 0], [15, 0, 0], [14.9, 0, 0]], np.float32)
    index, *_ = candidates(ca, np.array([True, False, False]), np.ones((3, 2), np.float32), 15.0)
    assert index.tolist() == [2]


def test_dropout_is_off_even_in_train_mode() -> None:
    torch.manual_seed(0)
    smoother = Smoother(4, 16, 0.5).train()
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    np.testing.assert_array_equal(smoother_logits(smoother, x), smoother_logits(smoother, x))


def test_all_candidates_see_the_same_positives() -> None:
    """A chain of residues 10 Å apart with a classifier that always says yes: only the direct neighbours are added."""
    smoother = Smoother(2, 4, 0.0)
    with torch.no_grad():
        for parameter in smoother.parameters():
            parameter.zero_()
        list(smoother.parameters())[-1].fill_(5.0)
    ca = np.stack([np.arange(6) * 10.0, np.zeros(6), np.zeros(6)], axis=1).astype(np.float32)
    added = smooth(smoother, ca, np.array([True] + [False] * 5), np.ones((6, 2), np.float32))
    assert np.flatnonzero(added).tolist() == [1]


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_smoothing_takes_the_shortcut_to_the_same_logits(share: float) -> None:
    """Applying half of the first layer to the predicted residues, then averaging, is averaging, then applying it."""
    torch.manual_seed(1)
    smoother = Smoother(8, 32, 0.5).train()
    draw = np.random.default_rng(0)
    ca = draw.uniform(0, 60, (400, 3)).astype(np.float32)
    positive = draw.random(400) < share
    embeddings = draw.normal(size=(400, 8)).astype(np.float32)
    index, x, _ = candidates(ca, positive, embeddings, 15.0)
    logits = smoother_logits(smoother, x)
    for threshold in np.quantile(1 / (1 + np.exp(-logits)), [0.1, 0.5, 0.9]):
        close = np.abs(logits - np.log(threshold / (1 - threshold))) < 1e-5
        added = smooth(smoother, ca, positive, embeddings, threshold=float(threshold))
        expected = np.isin(np.arange(400), index[logits > np.log(threshold / (1 - threshold))])
        unsure = np.isin(np.arange(400), index[close])
        assert close.sum() < 5
        np.testing.assert_array_equal(added[~unsure], expected[~unsure])


def test_nothing_or_everything_positive_adds_nothing() -> None:
    smoother = Smoother(2, 4)
    ca, embeddings = np.zeros((3, 3), np.float32), np.ones((3, 2), np.float32)
    for value in (False, True):
        assert not smooth(smoother, ca, np.full(3, value), embeddings).any()
