"""Scores of training proteins in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from safetensors.numpy import save_file

from benchmarks.recipes.point_cache import UnseenScores, check_unseen, read_unseen, write_unseen
from s2p.errors import S2PError, WeightsError


def entry(n: int, seed: int = 0) -> UnseenScores:
    draw = np.random.default_rng(seed)
    return UnseenScores(draw.random(n, dtype=np.float32), draw.normal(size=(n, 6)).astype(np.float32), draw.random(n) < 0.5)


def test_a_file_holds_the_scores_in_their_order(tmp_path: Path) -> None:
    scores = {"set/b": entry(5), "set/a": entry(3, 1)}
    again = read_unseen(write_unseen(scores, tmp_path / "unseen.safetensors"))
    assert list(again) == ["set/b", "set/a"]
    for key, one in scores.items():
        np.testing.assert_array_equal(again[key].probability, one.probability)
        np.testing.assert_array_equal(again[key].known, one.known)
        np.testing.assert_allclose(again[key].embeddings, one.embeddings, rtol=1e-3)
        assert again[key].embeddings.dtype == np.float32 and again[key].known.dtype == bool


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        read_unseen(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_unseen(tmp_path / "text.safetensors")
    save_file({"x": np.zeros(2, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="holds no scores"):
        read_unseen(tmp_path / "other.safetensors")


def test_scores_of_another_protein_are_named() -> None:
    structure = make_structure()
    check_unseen({"a": entry(48)}, [("a", structure)])
    with pytest.raises(S2PError, match="b: the file of scores has no such protein"):
        check_unseen({"a": entry(48)}, [("b", structure)])
    with pytest.raises(S2PError, match="a: scores of another length"):
        check_unseen({"a": entry(3)}, [("a", structure)])
