"""Surroundings of a residue, against plain loops, and the head that reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure

from s2p.checkpoint import load_checkpoint, save_checkpoint
from s2p.config import PredictConfig
from s2p.predictor import Seq2Pocket
from s2p.residues.context import (
    CONTEXT_FEATURES,
    COUNT_RADII,
    LETTERS,
    MEAN_SIGMAS,
    ContextHead,
    context_features,
    context_logits,
)
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import moved, random_rotation
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
    assert made.points() is made.points() and made.cells(12.0) is made.cells(12.0)


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
