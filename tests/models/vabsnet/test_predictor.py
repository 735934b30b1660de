"""Vabs-Net behind the predictors' protocol: saving, loading, stacking, and what follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import s2p
from course.vabsnet_training import save_vabsnet
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.errors import WeightsError
from s2p.evaluation.guard import CARD_KEY
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.network import VabsNet
from s2p.models.vabsnet.predictor import Stack, VabsNetCheckpoint, VabsNetPredictor, language_features, load_vabsnet
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
    assert loaded.network.stack == checkpoint.stack
    assert loaded.network.card == {"licence": "x"}
    structure = read_structure(examples / "1hpv.pdb.gz")
    direct = VabsNetPredictor(checkpoint).predict(structure, PredictConfig(ranking="published"))
    again = loaded.predict(structure, PredictConfig(ranking="published"))
    np.testing.assert_array_equal(again.probabilities, direct.probabilities)
    assert again.settings["threshold"] == 0.3 and again.model == "vabsnet"
    # Smoothing and clustering see the network's residues.
    assert ((again.probabilities > 0.3) <= again.positive).all()


def test_stack_of_nothing_but_the_sequence_is_the_base(checkpoint, examples):
    structure = read_structure(examples / "1ubi.pdb.gz")
    alone = VabsNetPredictor(replace(checkpoint, stack=Stack(0.0, 1.0, 0.0)))
    np.testing.assert_allclose(
        alone.score(structure).probabilities, Seq2Pocket(checkpoint.base).score(structure).sequence, atol=1e-5
    )
    mixed = VabsNetPredictor(checkpoint).score(structure)
    assert np.abs(mixed.probabilities - alone.score(structure).probabilities).max() > 0.01
    np.testing.assert_array_equal(mixed.sequence_logits, alone.score(structure).sequence_logits)


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
