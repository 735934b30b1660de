"""A checkpoint finds its class."""

import importlib

import pytest
import torch

from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError, WeightsError
from s2p.loading import CLASSES, checkpoint_format, load_model
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyPocketConfig
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.predictor import KalasantyCheckpoint, KalasantyPredictor, save_kalasanty
from s2p.predictor import Seq2Pocket


@pytest.fixture
def kalasanty(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "k.safetensors"
    model = Kalasanty(KalasantyConfig(base=2))
    save_kalasanty(KalasantyCheckpoint("tiny", model, KalasantyPocketConfig(threshold=0.0, drop_border=False)), path)
    return path


def test_every_class_says_the_format_it_is_listed_under():
    for name, place in CLASSES.items():
        module, _, attribute = place.partition(":")
        found = importlib.import_module(module)
        assert callable(getattr(found, attribute).load)
        if name != "s2p-1":
            assert name == found.FORMAT


def test_models_are_told_by_their_header(kalasanty):
    assert checkpoint_format(DEFAULT_MODEL) == "s2p-1"
    assert checkpoint_format(kalasanty) == "s2p-kalasanty-1"
    assert isinstance(load_model(kalasanty, device="cpu"), KalasantyPredictor)
    assert isinstance(load_model(DEFAULT_MODEL, device="cpu"), Seq2Pocket)


def test_what_is_no_checkpoint_gets_the_usual_sentence(tmp_path):
    wrong = tmp_path / "x.safetensors"
    wrong.write_bytes(b"no weights")
    assert checkpoint_format(wrong) is None and checkpoint_format("nowhere") is None
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        load_model(wrong)
    with pytest.raises(WeightsError, match="there is no model 'nowhere'"):
        load_model("nowhere")


def test_a_model_without_a_language_model_takes_no_backbone(kalasanty):
    with pytest.raises(S2PError, match="drop --backbone"):
        load_model(kalasanty, backbone="esm2_t6_8M_UR50D")


def test_the_command_predicts_with_any_model(kalasanty, examples, tmp_path, capsys):
    from s2p.commands import main

    out = tmp_path / "out"
    inputs = [str(examples / name) for name in ("4CUP.cif", "1ubi.pdb.gz")]
    assert main(["predict", *inputs, "--model", str(kalasanty), "-o", str(out), "--device", "cpu", "--quiet"]) == 0
    assert "error" not in capsys.readouterr().err
    names = {path.name for path in out.iterdir()}
    assert {"summary.csv", "4CUP_pockets.csv", "4CUP_residues.csv", "1ubi_report.html"} <= names
    assert len((out / "4CUP_residues.csv").read_text().splitlines()) == 116
