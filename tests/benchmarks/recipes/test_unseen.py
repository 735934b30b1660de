"""Scores of training complexes by the half of the training that has not seen them, and the file of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_structure
from safetensors.numpy import save_file

from benchmarks.recipes.data import Data, Site
from benchmarks.recipes.unseen import (
    BACKBONE,
    UnseenScores,
    check_unseen,
    main,
    out_of_fold,
    read_unseen,
    score_complexes,
    unseen_scores,
    write_unseen,
)
from s2p.datasets.labelled import Complex, LabelledChain
from s2p.errors import S2PError, WeightsError
from s2p.language.esm import ResidueModel, predict_residues


@pytest.fixture(scope="module")
def halves() -> list[ResidueModel]:
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(ResidueModel(BACKBONE, 0.0).eval())
    return models


def test_each_chain_is_scored_by_the_half_without_it(halves: list[ResidueModel]) -> None:
    structure = make_structure()
    sequence = structure.sequence("A")
    logits, embeddings = out_of_fold(halves, {"c|set/x|A": 1, "c|set/x|B": 0}, structure, "c|set/x")
    own = structure.residues.chain == "A"
    for mask, model in ((own, halves[1]), (~own, halves[0])):
        expected, vectors = predict_residues(model, [sequence])[0]
        np.testing.assert_allclose(logits[mask], expected, atol=1e-5)
        np.testing.assert_allclose(embeddings[mask], vectors, atol=1e-5)


def test_known_residues_come_from_close_relatives_only(halves: list[ResidueModel]) -> None:
    structure = make_structure(n=36).select_chains(["A"])
    letters = list("MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPI")
    structure.residues.one_letter[:] = letters
    site = Site(Complex("set", "x", Path("none"), (), ("c1",)), structure, [], ())
    labels = np.zeros(36, np.uint8)
    labels[[2, 30]] = 1
    near, far = LabelledChain("near", "".join(letters), labels), LabelledChain("far", "".join(letters[::-1]), 1 - labels)
    data = Data([near, far], [], [], frozenset(), {"train": [site]})
    found = unseen_scores(score_complexes(halves, {}, [site]), data)
    assert np.flatnonzero(found["set/x"].known).tolist() == [2, 30]
    logits, embeddings = out_of_fold(halves, {}, structure, "c|set/x")
    np.testing.assert_allclose(found["set/x"].probability, 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_array_equal(found["set/x"].embeddings, embeddings)


def test_without_the_recipe_there_is_nothing_to_score_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--work", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "folds.json is missing: run `python -m benchmarks.recipes.seq2pocket`" in capsys.readouterr().err


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
