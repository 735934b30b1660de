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
from s2p.residues.context import CONTEXT_FEATURES, COUNT_RADII, LETTERS, MEAN_SIGMAS, context_features
from s2p.residues.context_head import ContextHead, context_logits
from s2p.structure.reading import Structure, read_structure
from s2p.surface.points import accessible_area


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


def test_counts_and_means_by_brute_force(protein, logits, table):
    ca = protein.residues.ca_coord.astype(float)
    distance = np.linalg.norm(ca[:, None] - ca[None], axis=2)
    for radius in COUNT_RADII:
        expected = ((distance <= radius).sum(axis=1) - 1) / 10
        np.testing.assert_allclose(table[f"ca_{radius:g}"], expected, atol=1e-6)
    for sigma in MEAN_SIGMAS:
        weight = np.exp(-(distance**2) / (2 * sigma**2)) * (distance <= 2 * sigma)
        weight /= weight.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(table[f"logit_mean_{sigma:g}"], weight @ logits, atol=1e-5)
        np.testing.assert_allclose(table[f"area_mean_{sigma:g}"], weight @ table["area"], atol=1e-5)
    np.testing.assert_allclose(table["logit_max_8"], np.where(distance <= 8, logits, -np.inf).max(axis=1), atol=1e-6)
    one_hot = np.array([[letter == x for x in LETTERS] for letter in protein.residues.one_letter], float)
    np.testing.assert_array_equal(np.stack([table[x] for x in LETTERS], axis=1), one_hot)
    np.testing.assert_allclose(np.stack([table[f"{x}_mean_8"] for x in LETTERS], axis=1), weight @ one_hot, atol=1e-5)


def test_half_spheres_share_the_neighbours(protein, table):
    ca = protein.residues.ca_coord.astype(float)
    near = (np.linalg.norm(ca[:, None] - ca[None], axis=2) <= 13).sum(axis=1) - 1
    np.testing.assert_allclose(table["half_sphere_up"] + table["half_sphere_down"], near / 10, atol=1e-6)
    # Exposed side chains look away from the protein.
    assert np.corrcoef(table["side_chain_area"], table["half_sphere_up"])[0, 1] < -0.4


def test_area_is_that_of_shrake_and_rupley(protein, table):
    atoms = protein.atoms
    area = accessible_area(atoms.coord, atoms.element, n_points=960, probe_radius=1.6)
    expected = np.bincount(atoms.residue_index, area, len(protein.residues)) / 100
    assert np.corrcoef(table["area"], expected)[0, 1] > 0.97  # twenty points an atom against 960
    assert np.abs(table["area"] - expected).mean() < 0.1


def test_points_by_brute_force(protein, logits, monkeypatch):
    import s2p.residues.context as context

    seen = {}

    def remember(*arguments):
        seen["points"] = arguments[0]
        seen["values"] = compiled(*arguments)
        return seen["values"]

    compiled = context._around_points
    monkeypatch.setattr(context, "_around_points", remember)
    context_features(protein, logits)
    coord = protein.atoms.coord.astype(float)
    for k in range(0, len(seen["points"]), 97):
        to = coord - seen["points"][k]
        distance = np.linalg.norm(to, axis=1)
        inside = distance <= context.SHELL
        mean = (to[inside] / distance[inside, None]).mean(axis=0)
        np.testing.assert_allclose(seen["values"][k], [inside.sum() / 100, 1 - np.linalg.norm(mean)], atol=1e-6)


def test_turning_the_structure_changes_little(protein, logits):
    """Counts and means not at all; what comes from the fixed sphere of surface points by its coarseness."""
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0].astype(np.float32)
    turn *= np.sign(np.linalg.det(turn))
    turned = replace(
        protein,
        atoms=replace(protein.atoms, coord=protein.atoms.coord @ turn.T),
        residues=replace(protein.residues, ca_coord=protein.residues.ca_coord @ turn.T),
    )
    a, b = context_features(protein, logits), context_features(turned, logits)
    scale = a.std(axis=0) + 1e-3
    drift = np.abs(a - b).mean(axis=0) / scale
    exact = [k for k, name in enumerate(CONTEXT_FEATURES) if name.startswith(("logit", "ca_", *LETTERS))]
    assert drift[exact].max() < 1e-3
    assert drift.max() < 0.5


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
