"""Weights and their card go into files and come back; what is no such file is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from s2p.errors import WeightsError
from s2p.io.weights import SHIPPED, digest, find_weights, read_weights, write_weights

ARRAYS = {"a.x": torch.arange(6, dtype=torch.float16).reshape(2, 3), "b": torch.tensor([1.5])}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_weights(path, ARRAYS, {"format": "kind-1", "name": "m"}, {"licence": "MIT", "place": "Tromsø"})
    header, arrays = read_weights(path, "kind-1", "not it")
    assert header == {"format": "kind-1", "name": "m", "card": {"licence": "MIT", "place": "Tromsø"}}
    assert arrays.keys() == ARRAYS.keys()
    assert all(torch.equal(arrays[key], value) and arrays[key].dtype == value.dtype for key, value in ARRAYS.items())
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card == {"format": "kind-1", "name": "m", "licence": "MIT", "place": "Tromsø"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_another_kind_and_no_weights_at_all(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_weights(path, ARRAYS, {"format": "kind-1"}, {})
    with pytest.raises(WeightsError, match=r"m\.safetensors: not a kind-2; make one"):
        read_weights(path, "kind-2", "not a kind-2; make one")
    path.write_bytes(b"\x80\x04 a pickle, say")
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_weights(path, "kind-1", "")


def test_names_before_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kalasanty").write_bytes(b"")
    assert find_weights("kalasanty", "") == SHIPPED / "kalasanty.safetensors"
    (tmp_path / "mine.safetensors").write_bytes(b"")
    assert find_weights("mine.safetensors", "") == Path("mine.safetensors")
    with pytest.raises(WeightsError, match="there is no model 'nowhere': look elsewhere"):
        find_weights("nowhere", "look elsewhere")


def test_digest_tells_weights_apart() -> None:
    assert digest(ARRAYS.values()) == digest(value.clone() for value in ARRAYS.values())
    changed = ARRAYS["a.x"].clone()
    changed[1, 2] += 1
    assert digest([changed, ARRAYS["b"]]) != digest(ARRAYS.values())
