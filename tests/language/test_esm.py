"""The language model: equal to fair-esm, windows, batches, weights."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from s2p.config import WindowConfig
from s2p.errors import WeightsError
from s2p.io.weights import weights_path
from s2p.language.esm import WEIGHTS_URL, ResidueModel, build_backbone, encode, load_backbone
from s2p.language.sequences import BACKBONES, PAD, predict_residues, token_batches, tokenize

NAME = "esm2_t6_8M_UR50D"


@pytest.fixture(scope="module")
def model() -> ResidueModel:
    torch.manual_seed(0)
    return ResidueModel(NAME).eval()


def sequence(n: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACDEFGHIKLMNPQRSTVWY"), n))


def test_tokens_are_those_of_fair_esm() -> None:
    from esm.data import Alphabet

    text = "ACDEFGHIKLMNPQRSTVWYXBUZO"
    _, _, expected = Alphabet.from_architecture("ESM-1b").get_batch_converter()([("x", text)])
    assert tokenize(text).tolist() == expected[0].tolist()
    assert tokenize("A?a").tolist()[2:4] == [tokenize("X")[1]] * 2


def test_encode_equals_fair_esm(model: ResidueModel) -> None:
    sequences = [sequence(90), sequence(40, 1)]
    tokens = torch.full((2, 92), PAD)
    for row, text in enumerate(sequences):
        tokens[row, : len(text) + 2] = torch.from_numpy(tokenize(text))
    with torch.inference_mode():
        theirs = model.backbone(tokens, repr_layers=[6])["representations"][6]
        ours = encode(model.backbone, tokens)
    kept = tokens != PAD
    torch.testing.assert_close(ours[kept], theirs[kept], atol=1e-4, rtol=0)


def test_nothing_of_a_call_stays_on_the_model(model: ResidueModel) -> None:
    """Threads share a model: what one call left there, another would read."""
    before = [vars(module).copy() for module in model.backbone.modules()]
    for length in (7, 31):
        encode(model.backbone, torch.full((1, length), 5))
    for module, known in zip(model.backbone.modules(), before, strict=True):
        assert all(vars(module)[key] is value for key, value in known.items())


def test_a_batch_gives_what_single_chains_give(model: ResidueModel) -> None:
    sequences = [sequence(n, n) for n in (33, 80, 80, 5, 1)]
    together = predict_residues(model, sequences, WindowConfig(token_budget=300))
    for text, (logits, hidden) in zip(sequences, together, strict=True):
        alone = predict_residues(model, [text])[0]
        np.testing.assert_allclose(logits, alone[0], atol=1e-5)
        np.testing.assert_allclose(hidden, alone[1], atol=1e-4)


def test_windows_cover_and_take_the_central_residue(model: ResidueModel) -> None:
    """With windows of 40 and overlap 20, residue 25 is deepest in window 0-40 (14 from its cut), residue 35 in 20-60."""
    text = sequence(70)
    config = WindowConfig(max_residues=40, overlap=20)
    logits, hidden = predict_residues(model, [text], config)[0]
    assert len(logits) == 70
    first = predict_residues(model, [text[:40]])[0]
    second = predict_residues(model, [text[20:60]])[0]
    last = predict_residues(model, [text[40:]])[0]
    np.testing.assert_allclose(hidden[:30], first[1][:30], atol=1e-4)
    np.testing.assert_allclose(logits[31:49], second[0][11:29], atol=1e-5)
    np.testing.assert_allclose(logits[51:], last[0][11:], atol=1e-5)


def test_a_chain_that_fits_is_one_pass(model: ResidueModel) -> None:
    text = sequence(60)
    a = predict_residues(model, [text], WindowConfig(max_residues=60, overlap=20))[0]
    b = predict_residues(model, [text], WindowConfig(max_residues=1022))[0]
    np.testing.assert_array_equal(a[0], b[0])


@given(st.lists(st.integers(1, 400), max_size=30), st.integers(50, 2000))
def test_batches_hold_every_chain_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_batches(lengths, budget))
    assert sorted(k for batch in batches for k in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * (max(lengths[k] for k in batch) + 2) <= budget


def test_every_size_is_known() -> None:
    assert set(BACKBONES) == {f"esm2_{size}_UR50D" for size in ("t6_8M", "t12_35M", "t30_150M", "t33_650M", "t36_3B", "t48_15B")}
    with pytest.raises(WeightsError, match="there is no ESM-2 called"):
        build_backbone("esm3")


@pytest.fixture
def fair_esm_file(tmp_path: Path, model: ResidueModel) -> Path:
    """A file in the layout fair-esm publishes: prefixed names and an argparse namespace beside them."""
    state = {f"encoder.sentence_encoder.{key}": value for key, value in model.backbone.state_dict().items()}
    state["encoder.lm_head.bias"] = torch.zeros(33)  # of pre-training, not used
    path = tmp_path / f"{NAME}.pt"
    torch.save({"model": state, "cfg": {"model": argparse.Namespace(encoder_layers=6)}}, path)
    return path


def test_weights_are_found_in_the_environment_folder(
    fair_esm_file: Path, model: ResidueModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S2P_WEIGHTS", str(fair_esm_file.parent))
    loaded = load_backbone(NAME)
    torch.testing.assert_close(loaded.state_dict()["layers.3.fc1.weight"], model.backbone.state_dict()["layers.3.fc1.weight"])


def test_safetensors_weights(tmp_path: Path, model: ResidueModel) -> None:
    state = {key: value.contiguous().clone() for key, value in model.backbone.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_backbone(NAME, tmp_path / "w.safetensors")
    torch.testing.assert_close(loaded.state_dict()["layers.0.fc2.bias"], state["layers.0.fc2.bias"])


def test_missing_damaged_and_unfit_weights(tmp_path: Path, fair_esm_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2P_WEIGHTS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    asked = []
    monkeypatch.setattr("s2p.io.downloads.download", lambda url, target, **_: asked.append((url, target)) or target)
    with pytest.raises(WeightsError, match="no such weights file"):
        load_backbone(NAME)
    with pytest.raises(WeightsError, match="were not found; put"):
        load_backbone(NAME, download=False)
    assert asked == [(WEIGHTS_URL.format(name=NAME), tmp_path / "hub" / "hub" / "checkpoints" / f"{NAME}.pt")]
    (tmp_path / "bad.pt").write_bytes(b"not a file of weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_backbone(NAME, tmp_path / "bad.pt")
    with pytest.raises(WeightsError, match="does not fit"):
        save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
        load_backbone(NAME, tmp_path / "other.safetensors")
    arrays = {key: value[..., :1].clone() for key, value in build_backbone(NAME).state_dict().items()}
    save_file(arrays, tmp_path / "narrow.safetensors")
    with pytest.raises(WeightsError, match="missing or of another size, first embed_tokens.weight"):
        load_backbone(NAME, tmp_path / "narrow.safetensors")
    with pytest.raises(WeightsError, match="is an adapter, which has no backbone"):
        load_backbone(NAME, weights_path("s2p-cryptic-8m"))


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickles_are_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Malicious()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError):
        load_backbone(NAME, tmp_path / "evil.pt")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_agrees_with_cpu(model: ResidueModel) -> None:
    text = sequence(200)
    cpu = predict_residues(model, [text])[0][0]
    gpu = predict_residues(model.to("cuda"), [text])[0][0]
    model.to("cpu")
    np.testing.assert_allclose(gpu, cpu, atol=0.1)
