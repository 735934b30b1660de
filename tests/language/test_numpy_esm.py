"""ESM-2 in NumPy: equal to the PyTorch path and to fair-esm in every layer, without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax

from s2p.checkpoint import load_checkpoint
from s2p.config import WindowConfig
from s2p.errors import WeightsError
from s2p.language import esm
from s2p.language.esm import ResidueModel
from s2p.language.numpy_esm import NumpyESM, attend, encode_layer, gelu
from s2p.language.sequences import BACKBONES, predict_residues, tokenize

NAME = "esm2_t6_8M_UR50D"
LETTERS = "ACDEFGHIKLMNPQRSTVWYXBUZO"


def sequence(n: int) -> str:
    return "".join(np.random.default_rng(n).choice(list(LETTERS), n))


def in_numpy(model: ResidueModel) -> NumpyESM:
    return NumpyESM(model.name, {key: value.numpy() for key, value in model.state_dict().items()}, model.heads)


@pytest.fixture(scope="module", params=["random", "shipped"])
def model(request: pytest.FixtureRequest) -> ResidueModel:
    if request.param == "shipped":
        return load_checkpoint("s2p-esm2-8m").model
    torch.manual_seed(0)
    made = ResidueModel(NAME, heads=("general", "cryptic")).eval()
    with torch.no_grad():  # as made, norms have weights of one, and neither they nor the maps to the output a bias
        for value in made.parameters():
            value.add_(0.02 * torch.randn_like(value))
    return made


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, s2p.language.numpy_esm; assert not {'torch', 'esm', 'numba', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("text", ["", "M", LETTERS, sequence(2), sequence(127), sequence(345), sequence(1500)], ids=len)
def test_every_layer_equals_the_pytorch_path_and_fair_esm(model: ResidueModel, text: str) -> None:
    ours, net, tokens = in_numpy(model), model.backbone, tokenize(text)
    with torch.no_grad():
        theirs = net(torch.from_numpy(tokens)[None], repr_layers=range(7))["representations"]
        x, expected = ours.embed(tokens), net.embed_tokens(torch.from_numpy(tokens))[None] * 0.88
        for k, layer in enumerate(ours.layers):
            np.testing.assert_allclose(x.T, expected[0], atol=1e-4)
            np.testing.assert_allclose(x.T, theirs[k][0], atol=1e-4)
            x, expected = encode_layer(layer, x, 20), esm.encode_layer(net.layers[k], expected, None)
        # Before the last norm values reach 90, and either path in float32 is up to 1e-4 off from float64 there.
        np.testing.assert_allclose(x.T, expected[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(ours.encode(tokens), theirs[6][0], atol=1e-4)


def test_predictions_equal_those_of_the_pytorch_path(model: ResidueModel) -> None:
    """Together: lengths from 1 to 1,500, in windows where they are too long for one pass, and no residue at all."""
    sequences = [sequence(n) for n in (1, 2, 5, 0, 60, 345, 1022, 1023, 1500)] + ["LETTERS AND X?", "é"]
    for head in model.heads:
        found = predict_residues(in_numpy(model), sequences, head=head)
        for text, ours, theirs in zip(sequences, found, predict_residues(model, sequences, head=head), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert a.dtype == np.float32 and a.shape == b.shape and len(a) == len(text)
                np.testing.assert_allclose(a, b, atol=1e-4)
    assert predict_residues(in_numpy(model), []) == []


def test_windows_are_those_of_the_pytorch_path(model: ResidueModel) -> None:
    text, config = sequence(150), WindowConfig(max_residues=40, overlap=15)
    found, expected = predict_residues(in_numpy(model), [text], config)[0], predict_residues(model, [text], config)[0]
    np.testing.assert_allclose(found[1], expected[1], atol=1e-4)


@pytest.mark.parametrize("name", ["esm2_t12_35M_UR50D"])
def test_other_sizes(name: str) -> None:
    torch.manual_seed(0)
    larger = ResidueModel(name).eval()
    expected = predict_residues(larger, [LETTERS])[0]
    np.testing.assert_allclose(predict_residues(in_numpy(larger), [LETTERS])[0][1], expected[1], atol=1e-4)


def test_low_rank_updates_are_folded_in() -> None:
    cryptic, ours = load_checkpoint("s2p-cryptic-8m").model, load_checkpoint("s2p-cryptic-8m", device=None).model
    with pytest.raises(WeightsError, match="not the weights of esm2_t6_8M_UR50D: .* missing"):
        in_numpy(cryptic)
    folded = {key.replace(".base.", "."): value.numpy() for key, value in cryptic.state_dict().items() if ".lora_" not in key}
    assert list(ours.state_dict()) == list(folded)
    for key, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, folded[key])
    for a, b in zip(*(predict_residues(model, [LETTERS])[0] for model in (ours, cryptic)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_gelu_is_exact() -> None:
    x = np.concatenate([np.linspace(-9, 9, 20001), [0.0, -0.0, 1e-20, -1e-20, 1e4, -1e4]])[:, None].repeat(2, axis=1)
    found = gelu(x.astype(np.float32))
    np.testing.assert_allclose(found, x * (1 + erf(x / 2**0.5)) / 2, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 128, 129, 300])
def test_attention_is_a_softmax_whatever_the_scores(n: int) -> None:
    """Scores beyond what fits into an exponential in single precision."""
    q, k, v = np.random.default_rng(n).normal(size=(3, 2, 8, n)).astype(np.float32)
    q *= 300
    scores = np.einsum("hpi,hpj->hij", q.astype(float), k.astype(float)) / 8**0.5
    np.testing.assert_allclose(attend(q, k, v), np.einsum("hij,hpj->hpi", softmax(scores, axis=-1), v), atol=2e-3)


def test_stored_in_half_precision_it_computes_in_single(model: ResidueModel) -> None:
    half = {key: value.half().numpy() for key, value in model.state_dict().items()}
    restored = {key: value.astype(np.float32) for key, value in half.items()}
    a, b = (predict_residues(NumpyESM(NAME, arrays, model.heads), [LETTERS])[0][1] for arrays in (half, restored))
    np.testing.assert_array_equal(a, b)


def test_unknown_names_and_unfit_arrays_are_told(model: ResidueModel) -> None:
    ours = in_numpy(model)
    with pytest.raises(WeightsError, match="there is no ESM-2 called 'esm3'"):
        replace(ours, name="esm3")
    with pytest.raises(WeightsError, match="no head 'nucleic'"):
        predict_residues(ours, ["M"], head="nucleic")
    with pytest.raises(WeightsError, match=r"1 arrays are missing or of another size, first head\.bias"):
        replace(ours, arrays={key: value for key, value in ours.arrays.items() if key != "head.bias"})
    assert ours.width == BACKBONES[NAME][1]
