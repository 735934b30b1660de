"""The shipped encoder is read, and what is no encoder is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.recipes.encoder import CHECKED
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.errors import WeightsError
from s2p.io.weights import SHIPPED, read_weights
from s2p.language.esm import encode
from s2p.language.sequences import tokenize
from s2p.models.encoder import (
    ENCODER,
    FORMAT,
    encoder_digest,
    start_encoder,
    start_model,
)


def test_what_is_shipped_is_a_language_model_and_another_than_the_tuned_one() -> None:
    tuned = load_checkpoint(DEFAULT_MODEL).model.backbone
    restored = start_encoder()
    assert encoder_digest(restored) != encoder_digest(tuned)
    assert encoder_digest(restored) == encoder_digest(start_model().backbone)
    header, _ = read_weights(SHIPPED / f"{ENCODER}.safetensors", FORMAT, "")
    card = header["card"]
    assert card["relative error of hidden states"] < 0.03
    # As far from the tuned encoder as what it was taken from: the card's distance was measured to that, not to what comes back.
    tokens = torch.from_numpy(tokenize(CHECKED))[None]
    with torch.no_grad():
        back, far = (encode(net, tokens) for net in (restored, tuned))
    distance = float((far - back).norm() / back.norm())
    assert distance == pytest.approx(card["relative distance of the tuned encoder's"], abs=0.03) and distance > 0.3


def test_damage_and_strangers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not the difference of an encoder"):
        start_encoder(DEFAULT_MODEL)
    with pytest.raises(WeightsError, match="there is no model"):
        start_encoder(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    shutil.copy(SHIPPED / f"{ENCODER}.safetensors", broken)
    data = broken.read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="cannot be read"):
        start_encoder(broken)


def test_another_version_of_the_base_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    other = load_checkpoint(DEFAULT_MODEL)
    with torch.no_grad():
        other.model.backbone.emb_layer_norm_after.bias += 1  # type: ignore[union-attr, operator]
    monkeypatch.setattr("s2p.models.encoder.load_checkpoint", lambda name: other)
    with pytest.raises(WeightsError, match="another version of s2p-esm2-8m"):
        start_encoder()
