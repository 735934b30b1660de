"""Weights and their card go into files and come back; what is no such file is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from s2p.errors import S2PError, WeightsError
from s2p.io import weights
from s2p.io.files import sha256_of
from s2p.io.weights import SHIPPED, checksum, digest, find_weights, read_weights, write_weights

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


def test_bfloat16_is_stored_as_numpy_can_read_it(tmp_path: Path) -> None:
    value = torch.linspace(-3, 3, 7).bfloat16()
    for half, dtype in ((False, torch.float32), (True, torch.float16)):
        write_weights(tmp_path / "m.safetensors", {"a": value}, {"format": "kind-1"}, {}, half=half)
        found = read_weights(tmp_path / "m.safetensors", "kind-1", "not it")[1]["a"]
        assert found.dtype == dtype and torch.equal(found.bfloat16(), value)
    assert digest([value]) == digest([value.float()])
    save_file({"a": value}, tmp_path / "other.safetensors", metadata={"s2p": json.dumps({"format": "kind-1", "card": {}})})
    with pytest.raises(WeightsError, match=r"other\.safetensors: arrays in a type that NumPy lacks .*store them in fp16 or fp32"):
        read_weights(tmp_path / "other.safetensors", "kind-1", "not it")


def test_a_folder_that_takes_no_files_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, why in (("nowhere", "No such file or directory"), ("file", "a file where a folder should be")):
        with pytest.raises(S2PError, match=rf"cannot write .*x\.safetensors.*{why}"):
            write_weights(tmp_path / folder / "x.safetensors", {"a": torch.zeros(3)}, {"format": "x"}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_kind_and_no_weights_at_all(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_weights(path, ARRAYS, {"format": "kind-1"}, {})
    with pytest.raises(WeightsError, match=r"m\.safetensors: not a kind-2; make one"):
        read_weights(path, "kind-2", "not a kind-2; make one")
    path.write_bytes(b"\x80\x04 a pickle, say")
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_weights(path, "kind-1", "")


def flip(path: Path, where: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[where] ^= bit
    path.write_bytes(data)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_weights(path, ARRAYS, {"format": "kind-1", "threshold": 0.62}, {})
    whole = path.read_bytes()
    for where in (len(whole) - 1, whole.index(b"0.62") + 2):  # a weight; the threshold
        path.write_bytes(whole)
        flip(path, where)
        with pytest.raises(WeightsError, match=r"weights are damaged \(their checksum differs\); download it again"):
            read_weights(path, "kind-1", "")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_no_numbers(tmp_path: Path, value: str) -> None:
    path = tmp_path / "m.safetensors"
    arrays = ARRAYS | {"c": torch.tensor([[1.0, float(value)]], dtype=torch.float16)}
    for write in (
        lambda: write_weights(path, arrays, {"format": "kind-1"}, {}),
        lambda: save_file(arrays, path, metadata={"s2p": '{"format": "kind-1"}'}),
    ):
        write()
        with pytest.raises(WeightsError, match=r"the checkpoint's weights are damaged \(not a number\); download it again"):
            read_weights(path, "kind-1", "")
    assert read_weights(path, "kind-1", "", gaps=("c",))[1].keys() == arrays.keys()  # one of a user, from before checksums


SHIPPED_FILES = sorted(SHIPPED.glob("*.safetensors"))


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=lambda path: path.stem)
def test_shipped_checkpoints_have_a_checksum(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file, or in the table, which knows copies under another name, too."""
    kind, gaps = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["format"], ("geometry.",)
    read_weights(path, kind, "", gaps=gaps)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    flip(copy, -100)
    with pytest.raises(WeightsError, match="weights are damaged"):
        read_weights(copy, kind, "", gaps=gaps)
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)  # as it lies in the package, with a header that is in no table
    copy.write_bytes(path.read_bytes())
    flip(copy, path.read_bytes().index(b'\\"name\\": \\"') + 14, 2)
    with pytest.raises(WeightsError, match="checksum differs"):
        read_weights(copy, kind, "", gaps=gaps)


def test_the_table_of_checksums_is_of_the_shipped_files() -> None:
    rows = [line.split() for line in weights.SUMS.read_text(encoding="utf-8").splitlines()]
    found = []
    for path in SHIPPED_FILES:
        with safe_open(path, framework="pt") as handle:
            metadata, arrays = handle.metadata(), {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        if "sha256" not in metadata:
            found.append([checksum(metadata["s2p"], arrays), sha256_of([metadata["s2p"].encode()]), path.name])
    assert rows == found


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
