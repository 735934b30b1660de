"""The cache of embeddings: the same numbers as the model, once per chain and model, safe against damage and company."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import s2p.language.cache
from s2p.config import WindowConfig
from s2p.errors import S2PError
from s2p.language.cache import embed_residues, model_key
from s2p.language.esm import ResidueModel
from s2p.language.sequences import predict_residues

NAME = "esm2_t6_8M_UR50D"
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GSHMLEDP", "ACDEFGHIKLMNPQRSTVWYACDEFGHIK"]


@pytest.fixture(scope="module")
def model() -> ResidueModel:
    torch.manual_seed(0)
    return ResidueModel(NAME).eval()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sequences that went through the language model."""
    seen: list[str] = []

    def counted(model, sequences, *rest):
        seen.extend(sequences)
        return predict_residues(model, sequences, *rest)

    monkeypatch.setattr(s2p.language.cache, "predict_residues", counted)
    return seen


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


def test_numbers_are_those_of_the_model(model: ResidueModel, tmp_path: Path, calls: list[str]) -> None:
    asked = [*SEQUENCES, SEQUENCES[1]]
    for _ in range(2):
        for (logits, embeddings), s in zip(embed_residues(model, asked, tmp_path), asked, strict=True):
            expected_logits, expected = predict_residues(model, [s])[0]
            np.testing.assert_allclose(embeddings, expected, rtol=2**-10, atol=1e-5)
            np.testing.assert_allclose(logits, expected_logits, atol=1e-5)
    assert sorted(calls) == sorted(SEQUENCES)
    more = [*SEQUENCES, "MKV"]  # only what is new is computed
    assert [len(logits) for logits, _ in embed_residues(model, more, tmp_path)] == [len(s) for s in more]
    assert calls[len(SEQUENCES) :] == ["MKV"] and len(entries(tmp_path)) == 2


def test_half_precision_is_mapped_small_and_the_same_on_the_second_run(model: ResidueModel, tmp_path: Path) -> None:
    first = embed_residues(model, SEQUENCES, tmp_path)
    second = embed_residues(model, SEQUENCES, tmp_path)
    for (l1, e1), (l2, e2) in zip(first, second, strict=True):
        assert e1.dtype == np.float16 and not e1.flags.owndata and not e1.flags.writeable
        np.testing.assert_array_equal(e1, e2)
        np.testing.assert_array_equal(l1, l2)
    size, numbers = sum(p.stat().st_size for p in entries(tmp_path)), sum(e.size for _, e in first)
    assert size < 2.2 * numbers


@pytest.mark.parametrize("renewed", [True, False], ids=["index renewed", "index written at the end"])
def test_an_interrupted_run_is_resumed(
    model: ResidueModel, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, renewed: bool
) -> None:
    """Killed, there is what the last index names; stopped with Ctrl-C, everything that was computed."""
    windows = WindowConfig(max_residues=40, overlap=8, token_budget=42)
    expected = embed_residues(model, SEQUENCES, tmp_path / "whole", windows)
    computed = s2p.language.cache.predict_residues
    calls.clear()

    def interrupted(model, sequences, *rest):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return computed(model, sequences, *rest)

    monkeypatch.setattr(s2p.language.cache, "predict_residues", interrupted)
    if renewed:
        save, saved = s2p.language.cache._save, []
        monkeypatch.setattr(s2p.language.cache, "INDEX_SECONDS", -1.0)
        # The last call, of ``finally``, does not come when a process is killed.
        monkeypatch.setattr(s2p.language.cache, "_save", lambda *x: saved.append(save(*x)) if len(saved) < 1 else None)
    with pytest.raises((KeyboardInterrupt, TypeError)):
        embed_residues(model, SEQUENCES, tmp_path, windows)
    monkeypatch.undo()
    done = [SEQUENCES[2]] if renewed else [SEQUENCES[2], SEQUENCES[0]]
    again: list[str] = []
    monkeypatch.setattr(
        s2p.language.cache, "predict_residues", lambda m, s, *rest: again.extend(s) or predict_residues(m, s, *rest)
    )
    found = embed_residues(model, SEQUENCES, tmp_path, windows)
    assert sorted(again) == sorted(set(SEQUENCES) - set(done))
    for (_, a), (_, b) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_disk_without_room_is_told_before_it_is_full(
    model: ResidueModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(S2PError, match=r"embeddings need 0.0 GB and 0.0 GB are free; choose another folder"):
        embed_residues(model, SEQUENCES, tmp_path)
    assert not entries(tmp_path)


def test_the_key_follows_everything_that_changes_the_numbers(model: ResidueModel) -> None:
    torch.manual_seed(0)
    other = ResidueModel(NAME).eval()
    assert model_key(other) == model_key(model)
    with torch.no_grad():
        other.backbone.layers[3].fc1.bias[7] += 1e-3
    keys = {
        model_key(model),
        model_key(other),
        model_key(model, windows=WindowConfig(overlap=0)),
    }
    assert len(keys) == 3
    with torch.no_grad():  # less than fp16 would show
        other.backbone.layers[3].fc1.bias.copy_(model.backbone.layers[3].fc1.bias)
        other.head.weight[0, 5] *= 1 + 1e-5
    assert model_key(other) not in keys
    # How chains are batched does not count.
    with torch.no_grad():
        other.head.weight.copy_(model.head.weight)
    assert model_key(other, windows=WindowConfig(token_budget=99)) == model_key(model)


def test_two_models_share_a_folder(model: ResidueModel, tmp_path: Path, calls: list[str]) -> None:
    torch.manual_seed(1)
    other = ResidueModel(NAME).eval()
    a, b = (embed_residues(m, SEQUENCES[:1], tmp_path)[0][1] for m in (model, other))
    assert len(calls) == 2 and not np.allclose(a, b, atol=0.1)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def shorten(path: Path) -> None:
    """Fewer rows than the index says."""
    np.save(path, np.load(path)[1:])


def narrow(path: Path) -> None:
    """Rows of another model."""
    np.save(path, np.load(path)["embedding"])


def garble(path: Path) -> None:
    path.with_suffix(".json").write_text("[3]")


@pytest.mark.parametrize(
    "harm", [truncate, shorten, narrow, garble, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"x" * 99)]
)
def test_a_damaged_entry_is_computed_again_with_a_note(model: ResidueModel, tmp_path: Path, calls: list[str], harm) -> None:
    expected = embed_residues(model, SEQUENCES[:1], tmp_path)[0][1].copy()
    (path,) = entries(tmp_path)
    harm(path)
    notes: list[str] = []
    found = embed_residues(model, SEQUENCES[:1], tmp_path, note=notes.append)[0][1]
    np.testing.assert_array_equal(found, expected)
    assert len(calls) == 2
    assert len(notes) == 1 and path.stem in notes[0] and "computed again" in notes[0]
    embed_residues(model, SEQUENCES[:1], tmp_path, note=notes.append)
    assert len(calls) == 2, "it has been computed into another file"


def test_several_writers_share_a_folder(model: ResidueModel, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: embed_residues(model, SEQUENCES, tmp_path, quiet=True), range(4)))
    for result in results[1:]:
        for (_, a), (_, b) in zip(result, results[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=2**-9, atol=1e-6)
    assert not list(tmp_path.rglob("*.tmp"))
    notes: list[str] = []
    embed_residues(model, SEQUENCES, tmp_path, note=notes.append)
    assert notes == []


def test_long_chains_are_stored_whole(model: ResidueModel, tmp_path: Path) -> None:
    windows = WindowConfig(max_residues=20, overlap=8, token_budget=64)
    long = SEQUENCES[2] * 2
    for _ in range(2):
        _, found = embed_residues(model, [long], tmp_path, windows)[0]
        np.testing.assert_allclose(found, predict_residues(model, [long], windows)[0][1], rtol=2**-10, atol=1e-5)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: ResidueModel) -> None:
    monkeypatch.setenv("S2P_CACHE", str(tmp_path / "chosen"))
    embed_residues(model, SEQUENCES[:1])
    assert len(entries(tmp_path / "chosen" / "embeddings")) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(S2PError, match="cannot write into"):
        embed_residues(model, SEQUENCES[:1], tmp_path / "file")
