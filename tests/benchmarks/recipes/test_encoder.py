"""The encoder that training started from comes back from its difference to what it became."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks.recipes.encoder import encoder_difference, main
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.language.esm import build_backbone, encode
from s2p.language.sequences import tokenize
from s2p.models.encoder import restore_encoder, start_encoder


def used(encoder: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value for key, value in encoder.state_dict().items() if value.is_floating_point()}


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    """An encoder and what became of it in training: every weight a little changed."""
    torch.manual_seed(0)
    start, tuned = build_backbone("esm2_t6_8M_UR50D").eval(), build_backbone("esm2_t6_8M_UR50D").eval()
    before = used(start)
    for key, value in used(tuned).items():
        value.copy_(before[key] + 0.02 * torch.randn_like(value))
    return start, tuned


def test_an_encoder_comes_back_from_its_difference(pair: tuple[nn.Module, nn.Module]) -> None:
    start, tuned = pair
    table = encoder_difference(tuned, start)
    stored = sum(x.numel() * x.element_size() for x in table.values())
    assert stored < 0.53 * sum(x.numel() for x in used(start).values())  # bytes: four bits a weight
    restored = used(restore_encoder(tuned, table))
    for key, truth in used(start).items():
        far = (used(tuned)[key] - truth).norm()
        assert (restored[key] - truth).norm() < 0.12 * far, key
    tokens = torch.from_numpy(tokenize("MKTAYIAKQRQISFVKSHFSRQLEERLG"))[None]
    with torch.no_grad():
        truth, back, far = (encode(x, tokens) for x in (start, restore_encoder(tuned, table), tuned))
    assert (back - truth).norm() < 0.2 * (far - truth).norm()


def test_nothing_changes_where_nothing_differs(pair: tuple[nn.Module, nn.Module]) -> None:
    tuned = pair[1]
    before = {key: value.clone() for key, value in used(tuned).items()}
    same = used(restore_encoder(tuned, encoder_difference(tuned, tuned)))
    assert all(torch.allclose(same[key], value, atol=1e-3) for key, value in before.items())
    assert all(torch.equal(value, before[key]) for key, value in used(tuned).items())  # the copy was changed, not the encoder


def test_the_command_writes_what_is_loaded_again(pair: tuple[nn.Module, nn.Module], tmp_path: Path, capsys) -> None:
    weights, out = tmp_path / "esm.safetensors", tmp_path / "own.safetensors"
    tuned = load_checkpoint(DEFAULT_MODEL).model.backbone
    rng = torch.Generator().manual_seed(1)
    changed = {
        key: value + 0.003 * torch.randn(value.shape, generator=rng) if value.is_floating_point() else value.clone()
        for key, value in tuned.state_dict().items()
    }
    save_file(changed, weights)
    assert main([str(weights), "-o", str(out)]) == 0
    assert "relative error of hidden states 0.0" in capsys.readouterr().out
    back = used(start_encoder(out))
    key = "layers.3.fc1.weight"
    assert (back[key] - changed[key]).norm() < 0.12 * (used(tuned)[key] - changed[key]).norm()
    assert main([str(tmp_path / "none.pt"), "-o", str(out)]) == 1
    assert "no such weights file" in capsys.readouterr().err


def test_steps_fit_in_half_a_byte(pair: tuple[nn.Module, nn.Module]) -> None:
    table = encoder_difference(pair[1], pair[0])
    codes = table["layers.0.fc1.weight"].numpy()
    halves = np.stack([codes & 15, codes >> 4])
    assert halves.min() >= 1 and halves.max() == 15 and 7 < halves.mean() < 9
