"""Vabs-Net behind the predictors' protocol: saving, loading, stacking, and what follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import s2p
from benchmarks.recipes.vabsnet import fit_blend
from course.vabsnet_training import save_vabsnet
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.errors import WeightsError
from s2p.evaluation.guard import CARD_KEY
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.network import VabsNet
from s2p.models.vabsnet.predictor import Blend, Stack, VabsNetCheckpoint, VabsNetPredictor, language_features, load_vabsnet
from s2p.pockets.hits import dca
from s2p.prediction import Predictor
from s2p.predictor import Seq2Pocket
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import read_structure


@pytest.fixture(scope="module")
def checkpoint() -> VabsNetCheckpoint:
    torch.manual_seed(0)
    model = VabsNet(replace(VabsNetConfig.fast(), language_width=321)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_((value + 0.1 * torch.randn_like(value)).half().float())
    return VabsNetCheckpoint("vabsnet", model, load_checkpoint(DEFAULT_MODEL), Stack(0.8, 0.3, -0.1), 0.3, card={"licence": "x"})


def test_round_trip_and_prediction(checkpoint, tmp_path, examples):
    path = tmp_path / "net.safetensors"
    save_vabsnet(checkpoint, path)
    loaded = VabsNetPredictor.load(path, device="cpu")
    assert isinstance(loaded, Predictor) and loaded.name == "vabsnet"
    assert loaded.network.stack == checkpoint.stack and loaded.network.blend == Blend()
    assert loaded.network.card == {"licence": "x"}
    structure = read_structure(examples / "1hpv.pdb.gz")
    direct = VabsNetPredictor(checkpoint).predict(structure, PredictConfig(ranking="published"))
    again = loaded.predict(structure, PredictConfig(ranking="published"))
    np.testing.assert_array_equal(again.probabilities, direct.probabilities)
    assert again.settings["threshold"] == 0.3 and again.model == "vabsnet"
    # Smoothing and clustering see the network's residues.
    assert ((again.probabilities > 0.3) <= again.positive).all()


def test_stack_of_nothing_but_the_context_is_the_base(checkpoint, examples):
    structure = read_structure(examples / "1ubi.pdb.gz")
    alone = VabsNetPredictor(replace(checkpoint, stack=Stack(0.0, 1.0, 0.0)))
    np.testing.assert_allclose(
        alone.score(structure).probabilities, Seq2Pocket(checkpoint.base).score(structure).probabilities, atol=1e-5
    )
    mixed = VabsNetPredictor(checkpoint).score(structure)
    assert np.abs(mixed.probabilities - alone.score(structure).probabilities).max() > 0.01
    np.testing.assert_array_equal(mixed.sequence_logits, alone.score(structure).sequence_logits)


def test_blend_has_the_spread_of_the_language_model(checkpoint, examples):
    rng = np.random.default_rng(0)
    sequence, stacked = rng.normal(1, 3, 500), rng.normal(-2, 0.5, 500)
    whole = fit_blend(sequence, stacked, 1.0)(sequence, stacked)
    assert (whole.mean(), whole.std()) == pytest.approx((sequence.mean(), sequence.std()), rel=1e-5)
    assert np.corrcoef(whole, stacked)[0, 1] == pytest.approx(1)
    half = fit_blend(sequence, stacked, 0.5)(sequence, stacked)
    np.testing.assert_allclose(half, (sequence + whole) / 2, atol=1e-5)
    np.testing.assert_array_equal(Blend()(sequence, stacked), sequence.astype(np.float32))
    # What the points read is the blend, and only that: the pockets move, the probabilities do not.
    structure = read_structure(examples / "1ubi.pdb.gz")
    plain, blended = (VabsNetPredictor(replace(checkpoint, blend=b)).score(structure) for b in (Blend(), Blend(1.0, 2.0, 0.5)))
    np.testing.assert_array_equal(plain.probabilities, blended.probabilities)
    p = blended.probabilities.astype(float)
    np.testing.assert_allclose(blended.sequence_logits, 2 * np.log(p / (1 - p)) + 0.5, atol=1e-3)


def test_language_features():
    logits, embeddings = np.arange(3.0), np.ones((3, 4))
    config = VabsNetConfig.fast()
    assert language_features(config, logits, embeddings).shape == (3, 0)
    np.testing.assert_array_equal(language_features(replace(config, language_width=1), logits, embeddings)[:, 0], logits)
    assert language_features(replace(config, language_width=5), logits, embeddings).shape == (3, 5)
    with pytest.raises(WeightsError, match="reads 7 numbers"):
        language_features(replace(config, language_width=7), logits, embeddings)


def test_what_cannot_be_loaded(checkpoint, tmp_path):
    with pytest.raises(WeightsError, match="there is no model"):
        load_vabsnet("nowhere")
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(WeightsError, match="not a Vabs-Net"):
        load_vabsnet(other)
    other.write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_vabsnet(other)
    moved = replace(checkpoint, base=load_checkpoint(DEFAULT_MODEL))
    with torch.no_grad():
        next(moved.base.model.backbone.parameters()).add_(1)
    path = tmp_path / "net.safetensors"
    save_vabsnet(moved, path)
    with pytest.raises(WeightsError, match="another version"):
        load_vabsnet(path)


def test_the_shipped_network_knows_a_site_it_has_not_seen(examples):
    predictor = s2p.load("vabsnet", device="cpu")
    assert isinstance(predictor, VabsNetPredictor)
    card = predictor.network.card
    assert card["licence"] == "GPL-3.0" and CARD_KEY in card and 0 < predictor.network.threshold < 1
    structure = read_structure(examples / "1hpv.pdb.gz")
    (ligand,) = (x.coord for x in structure.ligands if len(x.coord) > 5)
    site = binding_residues(structure, ligand)
    labels = np.isin(np.arange(len(structure.residues)), site).astype(np.uint8)
    prediction = predictor.predict(structure)
    assert auprc_trapezoid(labels, prediction.probabilities) > 3 * labels.mean()
    assert dca([prediction.pockets[0].center], ligand)[0] < 4


def test_it_is_a_small_file(checkpoint, tmp_path: Path):
    path = tmp_path / "net.safetensors"
    save_vabsnet(checkpoint, path)
    assert path.stat().st_size < 200_000
