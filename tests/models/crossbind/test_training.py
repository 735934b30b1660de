"""Training of CrossBind: all stages on small real proteins, breaks, the sequence branch, and the choices."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.recipes import crossbind as crossbind_recipe
from benchmarks.recipes.crossbind import (
    SETS,
    NucleicSets,
    candidates,
    chains_beside,
    choose_candidate,
    choose_filter,
    read_sets,
    score,
)
from benchmarks.studies import crossbind as crossbind_ligands
from benchmarks.studies.crossbind import Held, compare
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets import splits
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError, WeightsError
from s2p.evaluation.guard import trained_on
from s2p.evaluation.residues import auprc_trapezoid, f1
from s2p.language.esm import ResidueModel, predict_residues
from s2p.models.crossbind.cloud import cloud_of, crop
from s2p.models.crossbind.config import CrossBindConfig, CrossBindSequenceConfig, CrossBindTrainConfig
from s2p.models.crossbind.contacts import nucleic_contacts
from s2p.models.crossbind.evaluation import best_f1_threshold, nucleic_figures
from s2p.models.crossbind.filter import propensities
from s2p.models.crossbind.sequence import apply_update, low_rank_update, split_chains, train_sequence_branch
from s2p.models.crossbind.training import (
    CrossBindExample,
    contrast_views,
    nt_xent,
    residue_logits,
    top1_retrieval,
    train_crossbind,
)
from s2p.structure.reading import read_structure

MODEL = replace(CrossBindConfig.fast(), language_width=3)


@pytest.fixture(scope="module")
def proteins(examples: Path) -> list[CrossBindExample]:
    """Pieces of a DNA methyltransferase, the language input a noisy hint."""
    structure = read_structure(examples / "3mht.pdb.gz")
    labels, cloud = nucleic_contacts(structure), cloud_of(structure)
    rng = np.random.default_rng(0)
    language = rng.normal(0, 1, (len(labels), 3)).astype(np.float32)
    language[:, 0] += labels
    none = np.zeros((len(labels), 0), np.float32)
    cuts = [(70, 130), (230, 290), (130, 190)]
    return [CrossBindExample(f"{a}", crop(cloud, a, b), language[a:b], none[a:b], labels[a:b]) for a, b in cuts]


def test_all_stages_learn_and_repeat(proteins: list[CrossBindExample]) -> None:
    config = replace(CrossBindTrainConfig.fast(), contrast_steps=5, segment_steps=30, cross_steps=30, lr=5e-3, cross_lr=5e-3)
    found = train_crossbind(MODEL, proteins[:2], proteins[:2], config, quiet=True)
    for stage, steps in (("contrast", 5), ("segment", 30), ("cross", 30)):
        loss = [entry.loss for entry in found.log if entry.stage == stage]
        assert len(loss) == steps and np.isfinite(loss).all()
    labels = np.concatenate([p.labels for p in proteins[:2]])
    scores = np.concatenate([residue_logits(found.model, p) for p in proteins[:2]])
    # The weights of the best validation are those that are given back; learned by heart, these are well above guessing.
    assert auprc_trapezoid(labels, scores) == pytest.approx(found.validation_auprc, abs=1e-6)
    assert found.validation_auprc > 2 * labels.mean()
    again = train_crossbind(MODEL, proteins[:2], proteins[:2], config, quiet=True)
    assert [e.loss for e in again.log] == [e.loss for e in found.log]


def test_a_state_of_another_run_is_refused(proteins: list[CrossBindExample], tmp_path: Path) -> None:
    config = replace(CrossBindTrainConfig.fast(), contrast_steps=1, segment_steps=1, cross_steps=1)
    train_crossbind(MODEL, proteins[:2], proteins[2:], config, folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="another configuration"):
        train_crossbind(MODEL, proteins[:2], proteins[2:], replace(config, lr=1.0), folder=tmp_path, quiet=True)
    with pytest.raises(S2PError, match="other data"):
        train_crossbind(MODEL, proteins[1:2], proteins[2:], config, folder=tmp_path, quiet=True)


@pytest.mark.parametrize("change", [{"structure": False}, {"language_width": 0}, {"atom_attention": False}])
def test_modalities_alone(proteins: list[CrossBindExample], change: dict[str, object]) -> None:
    examples = [replace(p, language=p.language[:, : int(change.get("language_width", 3))]) for p in proteins]  # type: ignore[call-overload]
    found = train_crossbind(replace(MODEL, **change), examples[:2], examples[2:], CrossBindTrainConfig.fast(), quiet=True)  # type: ignore[arg-type]
    stages = {entry.stage for entry in found.log}
    assert stages == ({"cross"} if change.get("structure") is False else {"contrast", "segment", "cross"})


def test_training_without_anything_to_learn(proteins: list[CrossBindExample]) -> None:
    blank = [replace(p, labels=np.zeros_like(p.labels)) for p in proteins]
    with pytest.raises(S2PError, match="validation proteins"):
        train_crossbind(MODEL, proteins, blank, CrossBindTrainConfig.fast(), quiet=True)
    with pytest.raises(S2PError, match="training proteins"):
        train_crossbind(MODEL, [], proteins, CrossBindTrainConfig.fast(), quiet=True)


def test_contrast_makes_residues_recognisable(proteins: list[CrossBindExample]) -> None:
    config = replace(CrossBindTrainConfig.fast(), contrast_steps=40, segment_steps=1, cross_steps=1, lr=3e-3, max_pairs=48)
    before = train_crossbind(MODEL, proteins[:2], proteins[2:], replace(config, contrast_steps=1), quiet=True)
    after = train_crossbind(MODEL, proteins[:2], proteins[2:], config, quiet=True)
    score = []
    for found in (before, after):
        assert found.projection is not None
        with torch.no_grad():
            views = contrast_views(found.model, found.projection, [proteins[2].cloud], np.random.default_rng(5), most=1000)
        assert len(views[0]) == 60
        score.append((nt_xent(*views).item(), top1_retrieval(*views)))
    assert score[1][0] < score[0][0]
    assert score[1][1] > 5 / 60


def test_whole_network_and_its_parts_are_compared(
    proteins: list[CrossBindExample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossbind_ligands, "CrossBindConfig", lambda: MODEL)
    held = [Held(protein, str(k)) for k, protein in enumerate(proteins)]
    examples = {"train": held[:2], "validation": held[2:], "test": held[1:]}
    out = tmp_path / "out.json"
    compare(examples, CrossBindTrainConfig.fast(), tmp_path / "work", out, quiet=True)
    table = json.loads(out.read_text())
    assert set(table["variants"]) == set(crossbind_ligands.VARIANTS)
    rows = table["variants"]
    assert "share_of_structure" in rows["structure and sequence"] and "share_of_structure" not in rows["sequence alone"]
    assert "retrieval_and_chance" not in rows["both, without pre-training"]
    assert set(table["both_less_variant_auprc_per_protein"]) == set(rows) - {"structure and sequence"}
    for name, (value, low, high, _) in table["both_less_variant_auprc_per_protein"].items():
        expected = rows["structure and sequence"]["test_auprc_per_protein"] - rows[name]["test_auprc_per_protein"]
        assert value == pytest.approx(expected, abs=2e-4) and low <= value <= high

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # Broken off after the first variant, it has written that one; started again, it finds the trainings and says the same.
    out.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(crossbind_ligands, "paired_difference", stop)
        compare(examples, CrossBindTrainConfig.fast(), tmp_path / "work", out, quiet=True)
    assert list(json.loads(out.read_text())["variants"]) == ["structure and sequence"]
    compare(examples, CrossBindTrainConfig.fast(), tmp_path / "work", out, quiet=True)
    assert json.loads(out.read_text()) == table


# --- sequence branch


def random_chains(n: int, seed: int = 0) -> list[LabelledChain]:
    rng = np.random.default_rng(seed)
    chains = []
    for k in range(n):
        sequence = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 60))
        chains.append(LabelledChain(f"c{k}", sequence, np.array([letter in "RK" for letter in sequence], np.uint8)))
    return chains


def test_split_keeps_clusters_together_and_does_not_depend_on_the_order() -> None:
    chains = random_chains(30)
    copies = [replace(c, id=f"{c.id}b", sequence="M" + c.sequence[1:]) for c in chains]
    config = replace(CrossBindSequenceConfig(), validation=0.3)
    training, validation = split_chains(chains + copies, config, method="kmer")
    assert len(training) + len(validation) == 60 and 4 <= len(validation) <= 36
    sides = {c.id: "training" for c in training} | {c.id: "validation" for c in validation}
    assert all(sides[c.id] == sides[f"{c.id}b"] for c in chains)
    again = split_chains((chains + copies)[::-1], config, method="kmer")[1]
    assert {c.id for c in again} == {c.id for c in validation}
    with pytest.raises(S2PError, match="too few clusters"):
        split_chains(chains[:1], config, method="kmer")


def test_sequence_branch_trains_and_its_update_is_exact(tmp_path: Path) -> None:
    base = load_checkpoint(DEFAULT_MODEL).model
    before = {key: value.clone() for key, value in base.state_dict().items()}
    config = CrossBindSequenceConfig.fast()
    few = replace(config.finetune, head_epochs=2, full_epochs=8, token_budget=128, head_lr=0.02, backbone_lr=0.01, patience=8)
    config = replace(config, finetune=few)
    chains = random_chains(16)
    model, log = train_sequence_branch(base, chains[:12], chains[12:], config, folder=tmp_path, quiet=True)
    assert log[-1].validation_auprc > 0.9  # which letters are R and K is soon learned
    # Another process has another copy of the base, whose unused parts are random: the run is found finished all the same.
    finished, same_log = train_sequence_branch(
        load_checkpoint(DEFAULT_MODEL).model, chains[:12], chains[12:], config, folder=tmp_path, quiet=True
    )
    assert same_log == log and torch.equal(finished.head.weight, model.head.weight)
    assert all(torch.equal(value, before[key]) for key, value in base.state_dict().items())
    rank = config.finetune.lora_rank
    update = low_rank_update(base, model, rank)
    assert {value.shape[0] for key, value in update.items() if key.endswith(".down")} == {rank}
    rebuilt = apply_update(base, update)
    logits, expected = (predict_residues(m, [chains[0].sequence])[0][0] for m in (rebuilt, model))
    np.testing.assert_allclose(logits, expected, atol=2e-4)
    plain = predict_residues(only_the_head(base, update), [chains[0].sequence])[0][0]
    assert np.abs(plain - expected).max() > 1e-3  # without the update it is another model
    half = {key: value.half() for key, value in update.items()}
    np.testing.assert_allclose(predict_residues(apply_update(base, half), [chains[0].sequence])[0][0], expected, atol=0.02)
    with pytest.raises(WeightsError, match="damaged"):
        apply_update(base, {key: value for key, value in update.items() if not key.endswith(".down")})
    biased = apply_update(base, update)
    with torch.no_grad():
        biased.backbone.layers[0].fc1.bias.add_(1.0)  # type: ignore[index,union-attr]
    with pytest.raises(S2PError, match=r"fc1\.bias was changed"):
        low_rank_update(base, biased, rank)


def only_the_head(base: ResidueModel, update: dict[str, torch.Tensor]) -> ResidueModel:
    """The base with the new head but without the update of the backbone."""
    return apply_update(base, {key: value for key, value in update.items() if key.startswith("head.")})


# --- choices and figures


def test_best_f1_threshold_against_all() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.2
    p = np.clip(labels * 0.3 + rng.random(500) * 0.6, 0, 1)
    threshold = best_f1_threshold(labels, p)
    values = {t: f1(labels, p > t) for t in np.round(np.arange(0.01, 1, 0.01), 2)}
    assert values[threshold] == max(values.values())
    assert all(v < values[threshold] for t, v in values.items() if t < threshold)


def test_figures_pooled_and_per_chain() -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score, roc_auc_score

    rng = np.random.default_rng(1)
    chains = random_chains(9, seed=3)
    p = [np.clip(0.4 * c.labels + rng.random(60) * 0.7, 0, 1) for c in chains]
    found = nucleic_figures(chains, p, 0.45, n=50)
    y, flat = np.concatenate([c.labels for c in chains]), np.concatenate(p)
    for name, value in {
        "recall": recall_score(y, flat > 0.45),
        "precision": precision_score(y, flat > 0.45),
        "f1": f1_score(y, flat > 0.45),
        "mcc": matthews_corrcoef(y, flat > 0.45),
        "auc": roc_auc_score(y, flat),
        "auprc": auprc_trapezoid(y, flat),
    }.items():
        summary = found.pooled[name]
        assert summary.value == pytest.approx(value) and summary.low <= summary.value <= summary.high
    mean = np.mean([roc_auc_score(c.labels, x) for c, x in zip(chains, p, strict=True)])
    assert found.per_chain["auc"].value == pytest.approx(mean)
    assert found.plain()["pooled"]["f1"][0] == round(found.pooled["f1"].value, 4)  # type: ignore[index]


def test_filter_is_kept_only_where_it_helps() -> None:
    table = propensities(random_chains(20))
    chains = [LabelledChain("x", "RRRRRRRRRR" + "LLLLLLLLLL", np.array([1] * 10 + [0] * 10, np.uint8))]
    helped = np.array([0.9] * 4 + [0.45] + [0.9] * 5 + [0.1] * 4 + [0.54] + [0.1] * 5, np.float32)
    chosen, threshold, rows = choose_filter(chains, [helped], table)
    assert chosen is not None and chosen.neighbours == "sequence" and len(rows) == 3
    assert max(row["f1"] for row in rows) == 1.0 and threshold < 0.54
    chosen, _, rows = choose_filter(chains, [chains[0].labels * np.float32(0.8)], table)
    assert chosen is None and {row["f1"] for row in rows} == {1.0}


def test_nothing_of_a_test_set_is_used_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoint, ξ and threshold are the same whatever the test sets hold; and the command reproduces the card's figures."""
    quick = replace(CrossBindSequenceConfig.fast(), validation=0.3)
    monkeypatch.setattr(crossbind_recipe, "configuration", lambda: quick)
    monkeypatch.setattr(crossbind_recipe, "DRAWS", 5)
    monkeypatch.setattr(splits, "search_method", lambda method="auto": "kmer")  # starting mmseqs2 ten times takes long
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
    monkeypatch.setattr(splits, "search_method", lambda method="auto": "kmer")
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
    monkeypatch.setattr(splits, "search_method", lambda method="auto": "kmer")
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


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.05, 2.0))
def test_nt_xent_against_its_formula(seed: int, n: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    value = nt_xent(a, b, temperature).item()
    assert math.isclose(value, nt_xent(b, a, temperature).item(), rel_tol=1e-9)
    # The usual form: 2N views, each looks for its partner among all others.
    z = F.normalize(torch.cat([a, b]), dim=1)
    s = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    partner = torch.arange(2 * n).roll(n)
    assert math.isclose(value, F.cross_entropy(s, partner).item(), rel_tol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 17])
def test_nt_xent_of_known_embeddings(n: int) -> None:
    same = torch.ones(n, 5, dtype=torch.float64)
    for temperature in (0.05, 0.1, 3.0):
        assert math.isclose(nt_xent(same, same, temperature).item(), math.log(2 * n - 1), abs_tol=1e-9)
    z = torch.eye(n, dtype=torch.float64)
    assert math.isclose(nt_xent(z, z, 0.1).item(), math.log(1 + (2 * n - 2) * math.exp(-10)), abs_tol=1e-12)


def test_retrieval() -> None:
    z = torch.eye(4)
    assert top1_retrieval(z, 3 * z) == 1.0
    assert top1_retrieval(z, z.roll(1, 0)) == 0.0
    assert top1_retrieval(z, z[[0, 1, 3, 2]]) == 0.5
