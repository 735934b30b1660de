"""The recipe of Vabs-Net: which labels count, the stack, and one small run from data to a checkpoint that predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure

from benchmarks.recipes import vabsnet
from benchmarks.recipes.data import Data, Site
from benchmarks.recipes.vabsnet import Settings, fit_stack, labelled_chains, run
from benchmarks.studies import vabsnet as vabsnet_study
from course.pretraining import VabsNetPretrainConfig
from course.vabsnet_training import VabsNetTrainConfig
from s2p.datasets.labelled import Complex, LabelledChain
from s2p.errors import S2PError
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.predictor import VabsNetPredictor
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import read_structure


def test_only_chains_with_a_ligand_are_judged():
    structure = make_structure()
    labels = np.zeros(48, np.uint8)
    labels[30] = 1
    np.testing.assert_array_equal(labelled_chains(structure, labels), np.arange(48) >= 24)


def test_stack_finds_the_weights_labels_were_drawn_with():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 20_000))
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * a + 0.5 * b - 1)))).astype(np.uint8)
    stack = fit_stack(labels, a, b)
    assert (stack.network, stack.sequence, stack.bias) == pytest.approx((1.5, 0.5, -1), abs=0.1)
    # A model that is worse than nothing beside the other is left out, and the other alone is fitted again.
    alone = fit_stack(labels, a, -b)
    assert alone.sequence == 0 and alone.network == pytest.approx(1.4, abs=0.15)


def _site(examples: Path, name: str) -> Site:
    structure = read_structure(examples / name)
    ligands = [x.coord for x in structure.ligands if len(x.coord) > 5]
    source = Complex("bundled", name.split(".", maxsplit=1)[0], examples / name, (), (name,))
    return Site(source, structure, ligands, tuple(binding_residues(structure, x).astype(np.int64) for x in ligands))


def test_from_data_to_a_checkpoint(examples, tmp_path, monkeypatch):
    sites = [_site(examples, name) for name in ("1hpv.pdb.gz", "1ia1.pdb.gz")]
    chain = read_structure(examples / "1ubi.pdb.gz")
    pair = (LabelledChain("ubiquitin", chain.sequence(), (np.arange(76) % 9 == 0).astype(np.uint8), "ligysis_train"), chain)
    data = Data([], [pair], [pair], frozenset(), {"train": sites[:1], "validation": sites[1:]}, {"training_chains": 1})
    # No relatives, and no language models of the main recipe to score with.
    monkeypatch.setattr(vabsnet, "known_by_key", lambda d: {s.source.key: np.arange(198) == 5 for s in sites[:1]})
    monkeypatch.setattr(vabsnet, "unseen_logits", lambda *_: {"l0": np.ones(76, np.float32)})
    settings = Settings(replace(VabsNetConfig.fast(), language_width=1), VabsNetTrainConfig.fast(), VabsNetPretrainConfig.fast())
    out = tmp_path / "net.safetensors"
    run(data, out, tmp_path, tmp_path, settings)
    assert (tmp_path / "pretrained.safetensors").is_file() and (tmp_path / "finetune" / "log.csv").is_file()
    predictor = VabsNetPredictor.load(out, device="cpu")
    card = predictor.network.card
    assert len(card["epochs"]) == 2 and set(card["residues_ligysis_validation"]) == {"network", "base", "stacked"}
    assert card["pretraining"]["validation"]["still"] > 0.5
    gain, low, high, p = card["pockets_validation"]["published"]["gain, 95 % interval, p"]["dca < 4 Å, top N"]
    assert low <= gain <= high and 0 < p <= 1
    assert card["network_training"] == {"structures": 2, "residues": 76 + len(sites[0].structure.residues)}
    prediction = predictor.predict(sites[1].structure)
    assert np.isfinite(prediction.probabilities).all() and prediction.model == "net"
    with pytest.raises(S2PError, match="--no-language"):
        run(data, out, tmp_path, None, settings)


def test_residues_that_bind_in_a_relative_are_no_negatives(examples, monkeypatch):
    site = _site(examples, "1hpv.pdb.gz")
    labels = vabsnet.union(site)
    known = np.arange(len(labels)) < 30
    monkeypatch.setattr(vabsnet, "known_by_key", lambda d: {site.source.key: known})
    data = Data([], [], [], frozenset(), {"train": [site], "validation": []})
    (made,) = vabsnet.training_examples(data, VabsNetConfig.fast(), {})
    assert labels[:30].any() and not labels[:30].all()
    np.testing.assert_array_equal(made.judged, ~known | (labels == 1))


def test_parts_are_left_out_one_at_a_time_for_as_many_steps(examples, tmp_path, monkeypatch):
    sites = [_site(examples, name) for name in ("1hpv.pdb.gz", "1ia1.pdb.gz")]
    chain = read_structure(examples / "1ubi.pdb.gz")
    pair = (LabelledChain("ubiquitin", chain.sequence(), (np.arange(76) % 9 == 0).astype(np.uint8), "ligysis_train"), chain)
    data = Data([], [pair], [pair], frozenset(), {"train": sites[:1], "validation": sites[1:]}, {})
    monkeypatch.setattr(vabsnet, "known_by_key", lambda d: {s.source.key: np.zeros(198, bool) for s in sites[:1]})
    monkeypatch.setattr(vabsnet_study, "unseen_logits", lambda *_: {"l0": np.ones(76, np.float32)})
    names = "pre-trained, without the language model", "without the atom track", "a quarter of the structures"
    kept = (vabsnet_study.WHOLE, *names)
    monkeypatch.setattr(vabsnet_study, "ROWS", {name: vabsnet_study.ROWS[name] for name in kept})
    settings = Settings(replace(VabsNetConfig.fast(), language_width=1), VabsNetTrainConfig.fast())
    found = vabsnet_study.study(data, tmp_path, tmp_path, settings, VabsNetPretrainConfig.fast())
    assert list(found) == list(kept)
    assert found[vabsnet_study.WHOLE]["difference of the chains' auprc"][:3] == [0, 0, 0]
    assert [row["structures"] for row in found.values()] == [2, 2, 2, 1]
    logs = [tmp_path / name / "log.csv" for name in ("whole-network", "a-quarter-of-the-structures")]
    epochs = [len(log.read_text().splitlines()) - 1 for log in logs]
    assert epochs == [2, 8]  # of a quarter of the structures four times as many
    numbers = [row["parameters"] for row in found.values()]
    assert numbers[1] < numbers[0] == numbers[3]  # nothing reads the language model
    figures = [row["ligysis validation"]["auprc"] for row in found.values()]
    assert len(set(figures)) == 4 and all(0 < x <= 1 for x in figures)
    again = vabsnet_study.study(data, tmp_path, tmp_path, settings, VabsNetPretrainConfig.fast())
    assert again == found  # every training is found finished
