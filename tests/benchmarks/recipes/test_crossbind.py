"""The recipe of CrossBind: what validation chooses, and that nothing of a test set is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.recipes import crossbind as crossbind_recipe
from benchmarks.recipes.crossbind import (
    SETS,
    NucleicSets,
    apart,
    apply_filter,
    candidates,
    chains_beside,
    choose_candidate,
    choose_filter,
    read_sets,
    score,
)
from benchmarks.recipes.crossbind_complexes import NucleicComplex
from benchmarks.recipes.nucleic import CrossBindSequenceConfig, low_rank_update, propensities
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets import splits
from s2p.datasets.labelled import LabelledChain
from s2p.evaluation.guard import trained_on
from s2p.evaluation.residues import auprc_trapezoid
from s2p.models.crossbind.sequence import apply_update
from s2p.structure.reading import read_structure
from tests.benchmarks.recipes.test_nucleic import random_chains


def test_filter_is_kept_only_where_it_helps() -> None:
    table = propensities(random_chains(20))
    chains = [LabelledChain("x", "RRRRRRRRRR" + "LLLLLLLLLL", np.array([1] * 10 + [0] * 10, np.uint8))]
    helped = np.array([0.9] * 4 + [0.45] + [0.9] * 5 + [0.1] * 4 + [0.54] + [0.1] * 5, np.float32)

    def choice(p: NDArray[np.float32]) -> Any:
        return choose_filter(chains[0].labels, lambda rule: apply_filter(chains, [p], table, rule)[0])

    chosen, threshold, rows = choice(helped)
    assert chosen is not None and chosen.neighbours == "sequence" and len(rows) == 3
    assert max(row["f1"] for row in rows) == 1.0 and threshold < 0.54
    chosen, _, rows = choice(chains[0].labels * np.float32(0.8))
    assert chosen is None and {row["f1"] for row in rows} == {1.0}


def test_relatives_of_held_out_complexes_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")
    chains = random_chains(6)
    sets = NucleicSets(chains[:4], chains[4:], {"T": chains[:1]})
    structure = read_structure(Path("data/examples/1ubi.pdb.gz"))
    places = [(0, "test", "dna"), (1, "train", "dna"), (2, "validation", "rna"), (5, "validation", "dna")]
    table = tmp_path / "nucleic.csv"
    table.write_text("set,id,split,group,kinds,chains\n" + "".join(f"own,{k},{split},g,{kind},A\n" for k, split, kind in places))
    labels = np.ones(len(structure.residues), np.uint8)
    made = [NucleicComplex("own", str(k), structure, {kind: labels}, ("c",), (chains[k].sequence,)) for k, _, kind in places]
    monkeypatch.setattr(crossbind_recipe, "read_nucleic", lambda _: made)
    found = apart(sets, tmp_path, table, "dna")
    assert [c.id for c in found.training] == [c.id for c in chains[1:4]]  # the first is in a test complex
    assert [c.id for c in found.validation] == [chains[4].id] and found.tests is sets.tests


def test_nothing_of_a_test_set_is_used_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoint, ξ and threshold are the same whatever the test sets hold; and the command reproduces the card's figures."""
    quick = replace(CrossBindSequenceConfig.fast(), validation=0.3)
    monkeypatch.setattr(crossbind_recipe, "configuration", lambda: quick)
    monkeypatch.setattr(crossbind_recipe, "DRAWS", 5)
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")  # starting mmseqs2 ten times takes long
    results = []
    for seed in (1, 2):
        data, out = tmp_path / f"data{seed}", tmp_path / f"out{seed}"
        (data / "sequences" / "nucleic").mkdir(parents=True)
        out.mkdir()
        train, tests = SETS["dna"]
        for file, chains in {
            train: random_chains(14),
            **{name: random_chains(5, seed=10 * seed) for name in tests.values()},
        }.items():
            text = "".join(f">{c.id}\n{c.sequence}\n{''.join(map(str, c.labels))}\n" for c in chains)
            (data / "sequences" / "nucleic" / file).write_text(text)
        work = tmp_path / f"work{seed}"
        assert crossbind_recipe.main([str(data), "-o", str(out), "--work", str(work), "--kind", "dna"]) == 0
        trained = crossbind_recipe.load_crossbind(out / "crossbind-dna.safetensors")
        results.append(trained)
        sets = read_sets(data, "dna", quick)
        if seed == 1:
            assert crossbind_recipe.figures_table(out / "crossbind-dna.safetensors", sets) == trained.card["figures"]
        assert trained.propensities == propensities(sets.training)
        assert trained_on(trained.card, {"x": sets.validation[0].sequence})[0].kind == "exact"
    assert "training" not in results[0].card["choices"]  # there is one candidate only
    assert results[0].threshold == results[1].threshold and results[0].propensities == results[1].propensities
    assert results[0].card["choices"] == results[1].card["choices"]
    assert results[0].card["figures"]["DNA_129"] != results[1].card["figures"]["DNA_129"]
    for key, value in results[0].model.state_dict().items():
        assert torch.equal(value, results[1].model.state_dict()[key]), key


def test_chains_learned_beside_are_unlike_all_that_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")
    own, other = random_chains(6), random_chains(6, seed=1)

    def copies(chains: list[LabelledChain]) -> list[LabelledChain]:
        return [replace(c, id=f"{c.id}b", sequence="M" + c.sequence[1:]) for c in chains]

    sets = NucleicSets(own[:2], own[2:4], {"test": own[4:]})
    beside = chains_beside(sets, NucleicSets([*other[:3], *copies(own)], [*other[3:], *copies(own)], {}))
    # A copy of a training chain may train, but not help to choose the epoch.
    assert [c.id for c in beside.training] == ["c0", "c1", "c2", "c0b", "c1b"]
    assert [c.id for c in beside.validation] == ["c3", "c4", "c5"]


def test_a_mean_of_two_updates_is_chosen_only_where_validation_allows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick = CrossBindSequenceConfig.fast()
    monkeypatch.setattr(crossbind_recipe, "configuration", lambda *, joint=False: quick)
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")
    base = load_checkpoint(DEFAULT_MODEL).model
    chains, others = random_chains(8), random_chains(8, seed=1)
    sets = NucleicSets(chains[:6], chains[6:], {})
    tried = candidates(base, "rna", sets, NucleicSets(others[:6], others[6:], {}), tmp_path)
    mean, joint, alone = tried
    assert not mean.log and set(joint.log[0].auprc_by_head) == {"rna", "dna"} and not alone.log[0].auprc_by_head
    weight = "layers.2.fc1.weight"
    expected = (joint.model.backbone.get_parameter(weight) + alone.model.backbone.get_parameter(weight)) / 2
    assert torch.equal(mean.model.backbone.get_parameter(weight), expected)
    assert torch.allclose(mean.model.head.weight, (joint.model.head.weight + alone.model.head.weight) / 2)
    rank = quick.finetune.lora_rank
    kept = apply_update(base, low_rank_update(base, mean.model, 2 * rank)).backbone.get_parameter(weight)
    torch.testing.assert_close(kept, expected, atol=1e-6, rtol=0)  # the mean has the ranks of both, and no more
    labels = np.concatenate([c.labels for c in sets.validation])
    values = {one.name: auprc_trapezoid(labels, np.concatenate(score(one.model, sets.validation))) for one in tried}
    monkeypatch.setattr(crossbind_recipe, "EQUAL", 0.0)
    best, auprc = choose_candidate(tried, sets.validation)
    assert values[best.name] == max(values.values()) and auprc == {name: round(v, 4) for name, v in values.items()}
    monkeypatch.setattr(crossbind_recipe, "EQUAL", 1.0)
    assert choose_candidate(tried, sets.validation)[0] is mean
