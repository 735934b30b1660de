"""Checkpoints on disk: adapters, the weights they belong to, and the surface network that goes with some."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from s2p.checkpoint import Checkpoint, load_checkpoint, load_surface, save_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.errors import WeightsError
from s2p.io.weights import SURFACE, write_weights
from s2p.language.esm import ResidueModel
from s2p.language.lora import add_lora, base_checksum, lora_parameters, merge_lora
from s2p.language.numpy_esm import NumpyESM
from s2p.language.sequences import predict_residues

NAME = "esm2_t6_8M_UR50D"
SEQUENCES = ["MKWVHFAAGILPTRSNQDEYC", "ACDEFGHIKLMNPQRSTVWY"]


def adapted(seed: int = 0) -> ResidueModel:
    """Random weights with updates that matter."""
    torch.manual_seed(seed)
    model = ResidueModel(NAME).eval()
    add_lora(model.backbone, 4, 8.0, ("q_proj", "v_proj", "fc1"))
    with torch.no_grad():
        for p in lora_parameters(model.backbone):
            p.normal_(std=0.05)
    return model


def write_base(model: ResidueModel, path: Path) -> Path:
    """The weights below the updates, as a file."""
    state = {key.replace(".base.", "."): value for key, value in model.backbone.state_dict().items() if ".lora_" not in key}
    save_file({key: value.clone() for key, value in state.items()}, path)
    return path


def checkpoint(model: ResidueModel) -> Checkpoint:
    return Checkpoint("mine", model, None, None, 0.5, 0.4, "published")


def scores(model: ResidueModel) -> np.ndarray:
    return np.concatenate([logits for logits, _ in predict_residues(model, SEQUENCES)])


def header_of(path: Path) -> dict[str, object]:
    with safe_open(path, framework="pt") as handle:
        return json.loads(handle.metadata()["s2p"])


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-6), (True, 1e-2)])
def test_an_adapter_predicts_what_the_merged_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool, tolerance: float
) -> None:
    model, path = adapted(), tmp_path / "adapter.safetensors"
    base = write_base(model, tmp_path / f"{NAME}.safetensors")
    sha = base_checksum(model.backbone)
    monkeypatch.setenv("S2P_WEIGHTS", str(tmp_path))
    save_checkpoint(checkpoint(model), path, half=half)
    about = {"base": NAME, "sha256": sha, "rank": 4, "alpha": 8.0, "targets": ["q_proj", "v_proj", "fc1"]}
    assert header_of(path)["adapter"] == about
    # 6 layers of two maps 320 -> 320 and one 320 -> 1280, and the head: a share of the weights' size.
    assert path.stat().st_size < (4 if not half else 2) * 6 * 4 * (4 * 320 + 1600) + 20_000 < base.stat().st_size / 10
    loaded = load_checkpoint(path).model
    merge_lora(model.backbone)
    np.testing.assert_allclose(scores(loaded), scores(model), atol=tolerance)
    assert (scores(loaded) != scores(model)).any() == half
    # What was loaded is stored as an adapter of the same weights again, bit by bit.
    save_checkpoint(load_checkpoint(path), tmp_path / "again.safetensors", half=half)
    assert header_of(tmp_path / "again.safetensors") == header_of(path)
    assert np.array_equal(scores(load_checkpoint(tmp_path / "again.safetensors").model), scores(loaded))
    # And whole once it is merged.
    save_checkpoint(checkpoint(model), tmp_path / "whole.safetensors", half=False)
    monkeypatch.delenv("S2P_WEIGHTS")
    assert np.array_equal(scores(load_checkpoint(tmp_path / "whole.safetensors").model), scores(model))


def test_an_adapter_of_a_shipped_checkpoint(tmp_path: Path) -> None:
    model, path = load_checkpoint(DEFAULT_MODEL).model, tmp_path / "adapter.safetensors"
    plain = scores(model)
    assert model.base == DEFAULT_MODEL
    add_lora(model.backbone, 2, 8.0)
    torch.nn.init.normal_(lora_parameters(model.backbone)[1], std=0.05)
    save_checkpoint(checkpoint(model), path, half=False)
    loaded = load_checkpoint(path)
    np.testing.assert_allclose(scores(loaded.model), scores(model), atol=1e-5)
    assert np.abs(scores(loaded.model) - plain).max() > 1e-3 and header_of(path)["adapter"]["base"] == DEFAULT_MODEL  # type: ignore[index]
    ours = load_checkpoint(path, device=None).model
    assert isinstance(ours, NumpyESM)
    np.testing.assert_allclose(scores(ours), scores(model), atol=1e-4)
    with torch.no_grad():
        next(p for name, p in model.backbone.named_parameters() if name.endswith("base.weight")).add_(1)  # type: ignore[union-attr]
    save_checkpoint(checkpoint(model), path)
    for device in ("cpu", None):
        with pytest.raises(WeightsError, match=rf"is an adapter of {DEFAULT_MODEL} with the SHA-256 .* --backbone FILE$"):
            load_checkpoint(path, device=device)


def test_numpy_is_for_the_small_model_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are modules of PyTorch, also where NumPy would do."""
    monkeypatch.setenv("S2P_WEIGHTS", str(tmp_path))
    model = adapted()
    write_base(model, tmp_path / f"{NAME}.safetensors")
    save_checkpoint(checkpoint(model), tmp_path / "adapter.safetensors")
    save_checkpoint(checkpoint(ResidueModel("esm2_t12_35M_UR50D")), tmp_path / "larger.safetensors")
    for name in ("adapter", "larger"):
        assert isinstance(load_checkpoint(tmp_path / f"{name}.safetensors", device=None).model, ResidueModel)
    whole = load_checkpoint(DEFAULT_MODEL, device=None)
    assert isinstance(whole.model, NumpyESM) and whole.surface is not None
    save_checkpoint(whole, tmp_path / "again.safetensors")
    np.testing.assert_array_equal(scores(load_checkpoint(tmp_path / "again.safetensors", device=None).model), scores(whole.model))


def test_wrong_and_missing_bases_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2P_WEIGHTS", str(tmp_path))
    model, path = adapted(), tmp_path / "adapter.safetensors"
    right, wrong = write_base(model, tmp_path / "right.safetensors"), write_base(adapted(1), tmp_path / "wrong.safetensors")
    model.base = "own"
    save_checkpoint(checkpoint(model), path)
    with pytest.raises(
        WeightsError, match=r"adapter.safetensors is an adapter of own: the weights of own were not found.*--backbone$"
    ):
        load_checkpoint(path)
    with pytest.raises(WeightsError, match=r"is an adapter of own with the SHA-256 .*wrong.safetensors is .*--backbone FILE$"):
        load_checkpoint(path, backbone=wrong)
    with pytest.raises(WeightsError, match=r"is not an adapter .*right.safetensors would not be used"):
        load_checkpoint(DEFAULT_MODEL, backbone=right)
    given = load_checkpoint(path, backbone=right).model
    right.rename(tmp_path / "own.safetensors")
    assert np.array_equal(scores(load_checkpoint(path).model), scores(given))


def test_a_damaged_adapter_is_refused(tmp_path: Path) -> None:
    model, path = adapted(), tmp_path / "adapter.safetensors"
    base = write_base(model, tmp_path / "base.safetensors")
    save_checkpoint(checkpoint(model), path)
    with safe_open(path, framework="pt") as handle:
        arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    arrays.pop(min(arrays))
    save_file(arrays, path, metadata={"s2p": json.dumps(header_of(path))})
    with pytest.raises(WeightsError, match="damaged, 1 arrays are missing"):
        load_checkpoint(path, backbone=base)
    header, sha256 = header_of(path), base_checksum(load_checkpoint(DEFAULT_MODEL).model.backbone)
    header["adapter"] |= {"base": DEFAULT_MODEL, "sha256": sha256}  # type: ignore[operator]
    save_file(arrays, path, metadata={"s2p": json.dumps(header)})
    with pytest.raises(WeightsError, match="damaged, 1 arrays are missing"):
        load_checkpoint(path, device=None)


def test_the_surface_network_goes_with_the_embeddings_that_it_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load_checkpoint(DEFAULT_MODEL)
    assert shipped.surface is not None and shipped.ranking == "surface"
    assert load_checkpoint("s2p-cryptic-8m").surface is None  # of other sites
    # Another head on the same language model may use it, another language model not.
    with torch.no_grad():
        shipped.model.head.weight.add_(0.1)
    save_checkpoint(shipped, tmp_path / "head.safetensors")
    assert load_checkpoint(tmp_path / "head.safetensors").surface is not None
    with torch.no_grad():
        next(shipped.model.backbone.parameters()).add_(0.1)
    save_checkpoint(shipped, tmp_path / "body.safetensors")
    other = load_checkpoint(tmp_path / "body.safetensors")
    assert other.surface is None and other.ranking == "published"
    monkeypatch.setattr("s2p.checkpoint.SURFACE", tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match=r"none.safetensors: cannot be read"):  # never another method without a word
        load_checkpoint(DEFAULT_MODEL)


def test_a_damaged_surface_network_is_named(tmp_path: Path) -> None:
    model, path = load_checkpoint(DEFAULT_MODEL).model, tmp_path / "surface.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"surface.safetensors: cannot be read"):
        load_surface(model, path)
    with safe_open(SURFACE, framework="pt") as handle:
        arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
        header = json.loads(handle.metadata()["s2p"])
    write_weights(path, arrays, {key: value for key, value in header.items() if key != "votes"}, {})
    with pytest.raises(WeightsError, match=r"damaged or of another version \('votes'\)"):
        load_surface(model, path)
    arrays.pop("0.type.w")
    write_weights(path, arrays, header, {})
    with pytest.raises(WeightsError, match="the surface network is damaged"):
        load_surface(model, path)
