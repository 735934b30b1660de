"""Scores of training complexes by the half of the training that has not seen them, and what relatives are known to bind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_structure

from benchmarks.recipes.data import Data, Site
from benchmarks.recipes.unseen import (
    BACKBONE,
    known_by_key,
    out_of_fold,
    score_complexes,
)
from s2p.datasets.labelled import Complex, LabelledChain
from s2p.language.esm import ResidueModel
from s2p.language.sequences import predict_residues


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
    assert np.flatnonzero(known_by_key(data)["set/x"]).tolist() == [2, 30]
    found = score_complexes(halves, {}, [site])["set/x"]
    for ours, expected in zip(found, out_of_fold(halves, {}, structure, "c|set/x"), strict=True):
        np.testing.assert_array_equal(ours, expected)
