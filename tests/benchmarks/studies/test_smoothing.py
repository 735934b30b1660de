"""The random search and the ablation, on structures of sixty residues."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_complexes import write_complexes, write_split

from benchmarks.studies.smoother_figures import candidate_figures, pair_figures
from benchmarks.studies.smoothing import (
    SmootherAblationConfig,
    SmootherSearchConfig,
    ablation,
    main,
    predicted_residues,
    random_search,
    summarise_ablation,
    trial_configs,
)
from s2p.checkpoint import load_checkpoint
from s2p.predictor import Seq2Pocket
from s2p.structure.reading import read_structure
from s2p.training.config import SmootherTrainConfig
from s2p.training.loop import Loop
from s2p.training.smoother import SmoothingExample, train_smoother

SMALL = SmootherTrainConfig(width=8, max_epochs=3, lr=3e-3, batch_size=64)
STUDY = SmootherAblationConfig(seeds=(5, 6))


def pockets(n: int, shift: float = 2.0) -> list[SmoothingExample]:
    draw = np.random.default_rng(1)
    examples = []
    for _ in range(n):
        ca = draw.uniform(0, 25, (60, 3)).astype(np.float32)
        site = np.flatnonzero(np.linalg.norm(ca - ca[0], axis=1) < 8)
        embeddings = draw.normal(size=(60, 4)).astype(np.float32)
        embeddings[site, 0] += shift
        predicted = np.zeros(60, bool)
        predicted[site[::2]] = True
        examples.append(SmoothingExample(embeddings, ca, (site,), predicted))
    return examples


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_trials_are_fixed_by_the_seed_and_within_the_grid() -> None:
    search = SmootherSearchConfig()
    configs = trial_configs(SMALL, 40, search)
    assert configs[0] == SMALL
    assert configs[:11] == trial_configs(SMALL, 10, search)
    assert configs[1:] != trial_configs(SMALL, 40, replace(search, seed=1))[1:]
    drawn = configs[1:]
    assert {c.width for c in drawn} == set(search.widths)
    assert {c.dropout for c in drawn} == set(search.dropouts)
    assert {c.batch_size for c in drawn} == set(search.batch_sizes)
    low, high = search.lr_range
    assert all(low <= c.lr <= high for c in drawn)
    middle = (low * high) ** 0.5
    assert 8 < sum(c.lr < middle for c in drawn) < 32, "even on a logarithmic scale"
    assert all(replace(c, width=8, dropout=SMALL.dropout, batch_size=64, lr=SMALL.lr) == SMALL for c in drawn)


def test_the_search_keeps_the_best_and_logs_every_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = pockets(8)
    configs = [replace(SMALL, lr=1e-6, max_epochs=1), SMALL, replace(SMALL, width=16)]
    said: list[str] = []
    best = random_search(examples[:5], examples[5:], configs, tmp_path, say=said.append)
    rows = table(tmp_path / "search.csv")
    assert [int(r["trial"]) for r in rows] == [0, 1, 2] and len(said) == 3
    scores = [max(e.validation_auprc for e in train_smoother(examples[:5], examples[5:], c)[1]) for c in configs]
    assert [float(r["validation_auprc"]) for r in rows] == [round(s, 4) for s in scores]
    assert best.config == configs[int(np.argmax(scores))] and best.auprc == max(scores)
    assert [(float(r["lr"]), int(r["width"])) for r in rows] == [(c.lr, c.width) for c in configs]
    # A search that goes on trains nothing twice.
    monkeypatch.setattr(Loop, "_step", lambda *_: pytest.fail("trained"))
    assert random_search(examples[:5], examples[5:], configs, tmp_path).log == best.log


def test_the_ablation_changes_one_thing_at_a_time(tmp_path: Path) -> None:
    examples = {"finetuned": pockets(7, shift=5.0), "frozen": pockets(7, shift=0.0)}
    asked: list[str] = []

    def made(kind):
        asked.append(kind)
        return examples[kind][:4], examples[kind][4:]

    runs = ablation(made, SMALL, tmp_path, STUDY)
    assert asked == ["finetuned", "frozen"]
    settings = [(False, 15.0, 10.0), (True, 15.0, 10.0), (False, 10.0, 10.0), (False, 15.0, 15.0)]
    assert [run.setting for run in runs] == [(kind, *s) for kind in asked for s in settings for _ in STUDY.seeds]
    assert [run.seed for run in runs] == [5, 6] * 8

    # The figures of a run are those of a training of its own.
    run = runs[5]
    config = replace(SMALL, context_radius=10.0, seed=6)
    smoother, log = train_smoother(*made("finetuned"), config)
    assert run.epochs == len(log)
    for figures, radius in zip(run.pairs, (10.0, 15.0), strict=True):
        assert figures == pair_figures(smoother, examples["finetuned"][4:], context_radius=10.0, negative_radius=radius)
    assert run.in_use == candidate_figures(smoother, examples["finetuned"][4:], context_radius=10.0, candidate_radius=15.0)

    # All settings are judged on the same residues.
    assert len({tuple((x.n, x.positive) for x in (*r.pairs, r.in_use)) for r in runs}) == 1

    rows = summarise_ablation(runs, STUDY)
    first = [r.pairs[0].auprc for r in runs[:2]]
    assert rows[0].figures["auprc_10"] == pytest.approx((np.mean(first), abs(first[0] - first[1]) / 2**0.5))
    assert len(table(tmp_path / "ablation_runs.csv")) == 16
    written = table(tmp_path / "ablation.csv")
    assert [(r["embeddings"], r["own_context"]) for r in written[:2]] == [("finetuned", "False"), ("finetuned", "True")]
    assert float(written[0]["auprc_10"]) == round(float(np.mean(first)), 4) and written[0]["seeds"] == "2"
    # Embeddings that carry the sites beat those that do not.
    assert rows[0].figures["auprc_10"][0] > rows[4].figures["auprc_10"][0] + 0.1


def test_predicted_residues_are_those_of_the_pipeline(examples: Path) -> None:
    checkpoint, structure = load_checkpoint("s2p-esm2-8m"), read_structure(examples / "1ubi.pdb.gz")
    scores = Seq2Pocket(checkpoint).score(structure)
    found = predicted_residues(checkpoint, structure, scores.sequence_logits)
    np.testing.assert_array_equal(found, scores.sequence > checkpoint.threshold)


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    examples = pockets(5)
    study = SmootherAblationConfig(seeds=(0,), context_radii=(15.0,), negative_radii=(10.0,))
    runs = ablation(lambda _: (examples[:3], examples[3:]), SMALL, tmp_path, study, kinds=["finetuned"])
    assert len(runs) == 2
    mean, spread = summarise_ablation(runs, study)[0].figures["auprc_10"]
    assert mean == runs[0].pairs[0].auprc and np.isnan(spread)


# ------------------------------------------------------------------------------------------------------------ command line


@pytest.fixture
def complexes(tmp_path: Path) -> Path:
    return write_complexes(tmp_path / "complexes")


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_split(tmp_path / "split.csv")


def study(complexes: Path, split: Path, name: str, *arguments: str) -> int:
    place = complexes.parent
    common = ["--split", str(split), "--work", str(place / "work"), "--cache", str(place / "cache"), "--device", "cpu"]
    return main([name, str(complexes), *common, "--max-epochs", "3", *arguments])


def test_the_search_from_the_command_line(complexes: Path, split: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = complexes.parent
    out = place / "best.safetensors"
    assert study(complexes, split, "search", "-o", str(out), "--trials", "2", "--radius", "10") == 0
    rows = list(csv.DictReader((place / "work" / "search" / "search.csv").open()))
    best = max(rows, key=lambda r: float(r["validation_auprc"]))
    card = json.loads(out.with_suffix(".json").read_text())["smoother"]
    assert len(rows) == 3 and (card["width"], card["lr"]) == (int(best["width"]), float(best["lr"]))
    log = list(csv.DictReader((place / "work" / "log.csv").open()))
    assert max(round(float(r["validation_auprc"]), 4) for r in log) == float(best["validation_auprc"])
    assert "forms contexts within 15 Å, not 10" in capsys.readouterr().out


def test_the_ablation_from_the_command_line(complexes: Path, split: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file

    place = complexes.parent
    state = load_checkpoint("s2p-esm2-8m").model.backbone.state_dict()
    save_file({k: v.clone() for k, v in state.items()}, place / "weights.safetensors")
    code = study(complexes, split, "ablation", "--seeds", "2", "--weights", str(place / "weights.safetensors"))
    assert code == 0, capsys.readouterr().err
    rows = list(csv.DictReader((place / "work" / "ablation" / "ablation.csv").open()))
    assert [r["embeddings"] for r in rows] == ["finetuned"] * 4 + ["frozen"] * 4
    # The "pre-trained" weights are the checkpoint's own here, so that both kinds must agree.
    figures = ("auprc_10", "mcc_15", "auprc_in_use", "epochs")
    assert [[r[f] for f in figures] for r in rows[:4]] == [[r[f] for f in figures] for r in rows[4:]]
    assert study(complexes, split, "ablation", "--seeds", "2", "--embeddings", "finetuned") == 0
    assert list(csv.DictReader((place / "work" / "ablation" / "ablation.csv").open())) == rows[:4]


def test_frozen_embeddings_come_from_the_given_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from benchmarks.recipes.published import frozen_model
    from s2p.errors import WeightsError
    from s2p.language.esm import ResidueModel
    from s2p.language.sequences import predict_residues

    torch_model = ResidueModel("esm2_t6_8M_UR50D").eval()
    state = {k: v.clone() for k, v in torch_model.backbone.state_dict().items()}
    save_file(state, tmp_path / "backbone.safetensors")
    frozen = frozen_model("esm2_t6_8M_UR50D", tmp_path / "backbone.safetensors")
    (logits, e), (_, expected) = predict_residues(frozen, ["ACDEF"])[0], predict_residues(torch_model, ["ACDEF"])[0]
    np.testing.assert_allclose(e, expected, atol=1e-6)
    assert not logits.any()
    with pytest.raises(WeightsError, match="no such weights file"):
        frozen_model("esm2_t6_8M_UR50D", tmp_path / "none.safetensors")
