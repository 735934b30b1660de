"""The recipe of CrossBind's whole network: variants, choices on validation, and what goes into a checkpoint."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes import crossbind, crossbind_network
from benchmarks.recipes.crossbind_complexes import NucleicComplex
from benchmarks.recipes.crossbind_network import (
    VARIANTS,
    Held,
    choose,
    learned_chains,
    logits_of,
    measure,
    pooled,
    read_held,
    ship,
    simple_scores,
    train_variant,
)
from course.contrast import ContrastConfig
from course.crossbind_training import CrossBindExample, CrossBindTrainConfig
from s2p.checkpoint import load_mpnn
from s2p.evaluation.guard import CARD_KEY, trained_on, training_sketch
from s2p.io.weights import SHIPPED, read_weights
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig
from s2p.models.crossbind.features import structure_features
from s2p.models.crossbind.predictor import FOREIGN, FORMAT, CrossBindPredictor, load_crossbind
from s2p.structure.nucleic import nucleic_contacts
from s2p.structure.reading import read_structure

FAST = CrossBindTrainConfig(segment_steps=4, cross_steps=4, batch=1, max_residues=64, validate_every=4, language_dropout=0.3)
MODEL = replace(CrossBindConfig.fast(), language_width=320)
TABLE = dict.fromkeys("ACDEFGHIKLMNPQRSTVWY", 1.0) | {"R": 3.0, "K": 2.0, "L": 0.4}


@pytest.fixture(scope="module")
def held(examples: Path) -> list[Held]:
    """Pieces of a DNA methyltransferase, taken for complexes with RNA."""
    structure = read_structure(examples / "3mht.pdb.gz")
    labels, encoder = nucleic_contacts(structure), load_mpnn()
    rng = np.random.default_rng(0)
    found = []
    for a, b in ((70, 130), (230, 290), (130, 190)):
        part = structure.part(
            np.arange(a, b), np.flatnonzero((structure.atoms.residue_index >= a) & (structure.atoms.residue_index < b))
        )
        language = rng.normal(0, 1, (b - a, 320)).astype(np.float32)
        example = CrossBindExample(f"own/{a}", cloud_of(part), language, structure_features(part, encoder), labels[a:b])
        source = NucleicComplex("own", f"{a}", part, {"rna": labels[a:b]}, (f"c{a}",), (part.sequence(),))
        found.append(Held(source, example, language[:, 0] + labels[a:b], f"g{a}"))
    return found


def test_every_variant_trains_and_reads_what_it_says(held: list[Held], tmp_path: Path) -> None:
    sides = {"train": held[:2], "validation": held[2:]}
    scores = {}
    whole = {name: variant for name, variant in VARIANTS.items() if variant.share == 1}
    for name, variant in whole.items():
        model = train_variant(name, sides, tmp_path, FAST, ContrastConfig.fast(), config=MODEL)
        for key, value in variant.changes.items():
            assert getattr(model.config, key) == value
        assert (tmp_path / name.replace(" ", "-") / "contrast").is_dir() == (variant.pretrained and model.encoder is not None)
        scores[name] = logits_of(model, held[2:])
    assert len({float(own[0].sum()) for own in scores.values()}) == len(whole)
    again = train_variant("whole", sides, tmp_path, FAST, ContrastConfig.fast(), config=MODEL)
    np.testing.assert_array_equal(logits_of(again, held[2:])[0], scores["whole"][0])
    # What is left out of the features is ProteinMPNN's part of them.
    blind = train_variant("without ProteinMPNN", sides, tmp_path, FAST, ContrastConfig.fast(), config=MODEL)
    changed = [replace(x, example=replace(x.example, features=x.example.features.copy())) for x in held[2:]]
    changed[0].example.features[:, :128] = 7
    np.testing.assert_array_equal(logits_of(blind, changed)[0], logits_of(blind, held[2:])[0])


def test_a_learning_curve_has_whole_groups(held: list[Held]) -> None:
    many = [replace(held[0], group=f"g{k // 2}") for k in range(8)]
    half, quarter = (VARIANTS[f"without atoms, {name} of the groups"].drawn(many) for name in ("half", "a quarter"))
    assert len(half) == 4 and len({x.group for x in half}) == 2
    assert len(quarter) == 2 and {x.group for x in quarter} < {x.group for x in half}
    assert VARIANTS["whole"].drawn(many) == many and len(VARIANTS["without atoms, a quarter of the groups"].drawn(held[:1])) == 1


def test_measures_are_paired_and_over_groups(held: list[Held]) -> None:
    truth = [x.labels.astype(np.float32) for x in held]
    scores = {"whole": truth, **simple_scores(held, TABLE)}
    table = measure(held, scores, dict.fromkeys(scores, 0.5), n=50)
    assert table["groups"] == 3 and table["residues"] == 180
    rows = table["predictors"]
    assert (
        rows["whole"]["auprc"] == [1.0, 1.0, 1.0]
        and rows["whole"]["f1"] == 1 > rows["sequence branch"]["f1"]
        and "whole_minus_this" not in rows["whole"]
    )
    for name in ("sequence branch", "propensity of the type", "mean charge within 12 Å"):
        value = pooled(held, scores[name], range(3))
        assert value < 1 and rows[name]["auprc"][0] == pytest.approx(value, abs=1e-4)
        assert rows[name]["whole_minus_this"][0] == pytest.approx(1 - value, abs=2e-4)
        low, high = rows[name]["whole_minus_this_per_complex"][1:]
        assert 0 < low <= high
    assert rows["propensity of the type"]["auprc"][0] > table["prevalence"]


def test_the_network_goes_into_a_checkpoint(held: list[Held], tmp_path: Path, examples: Path) -> None:
    path = tmp_path / "crossbind-rna.safetensors"
    shutil.copy(SHIPPED / path.name, path)
    before = load_crossbind(path)
    sides = {"train": held[:2], "validation": held[2:]}
    network = train_variant("whole", sides, tmp_path / "work", FAST, ContrastConfig.fast(), config=MODEL)
    _, threshold, tried = choose(held[2:], logits_of(network, held[2:]), before.propensities)
    used = {"a": held[0].source.structure.sequence()}
    ship(path, network, held[2:], used, {"training": "x"})
    found = load_crossbind(path)
    assert found.network is not None and found.network.config == network.config and found.threshold == threshold
    assert found.card["network"] == {"choice": {"metric": "F1 on validation", "tried": tried}, "training": "x"}
    assert found.card["figures"] == before.card["figures"]
    assert all(
        np.array_equal(a, b) for a, b in zip(found.model.state_dict().values(), before.model.state_dict().values(), strict=True)
    )
    assert [hit.kind for hit in trained_on(found.card, used)] == ["exact"]
    first = found.card["sequence_threshold"]
    ship(path, network, held[2:], used, {})
    assert load_crossbind(path).card["sequence_threshold"] == first
    assert len(read_weights(path, FORMAT, FOREIGN)[1]) < 400 and path.stat().st_size < 8e6
    prediction = CrossBindPredictor(load_crossbind(path)).predict(held[0].source.structure)
    expected = 1 / (1 + np.exp(-logits_of(found.network, [with_language(held[0], found)])[0]))
    np.testing.assert_allclose(prediction.probabilities, expected, atol=2e-3)


def with_language(x: Held, trained: crossbind_network.CrossBindCheckpoint) -> Held:
    """The same with the embeddings of a real language model."""
    from s2p.language.sequences import predict_residues

    return replace(x, example=replace(x.example, language=predict_residues(trained.model, [x.source.structure.sequence()])[0][1]))


def test_inputs_are_read_once(held: list[Held], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "nucleic.csv"
    splits = ("train", "validation", "unused")
    lines = [f"own,{x.source.id},{split},{x.group},rna,A" for x, split in zip(held, splits, strict=True)]
    table.write_text("set,id,split,group,kinds,chains\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(crossbind_network, "read_nucleic", lambda _: [x.source for x in held])
    trained = load_crossbind("crossbind-rna")
    found = read_held(tmp_path, table, trained, tmp_path / "work")
    assert {side: [x.source.id for x in own] for side, own in found.items()} == {
        "train": ["70"],
        "validation": ["230"],
        "test": [],
    }
    one = found["train"][0]
    np.testing.assert_allclose(one.example.features, held[0].example.features, rtol=1e-3, atol=1e-4)  # kept in fp16
    np.testing.assert_array_equal(one.example.labels, held[0].labels)
    monkeypatch.setattr(crossbind_network, "predict_residues", None)  # not needed again
    again = read_held(tmp_path, table, trained, tmp_path / "work")["train"][0]
    np.testing.assert_array_equal(again.example.language, one.example.language)
    np.testing.assert_array_equal(again.branch, one.branch)


def test_chains_that_the_branch_learned_are_found_again(tmp_path: Path) -> None:
    place = tmp_path / "sequences" / "nucleic"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 60)) for _ in range(3)]
    for (file, _), names in zip(crossbind.SETS.values(), ("x", "xy"), strict=True):
        rows = [f">{name}\n{texts['xy'.index(name) + (len(names) == 2)]}\n{'01' * 30}\n" for name in names]
        (place / file).write_text("".join(rows))
    card = {CARD_KEY: training_sketch({"x (dna)": texts[0], "x": texts[1]})}
    assert learned_chains(tmp_path, card) == {"x (dna)": texts[0], "x": texts[1]}
