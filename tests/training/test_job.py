"""From label files to a checkpoint that predicts, through the command line."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from builders import write_chains
from safetensors.torch import load_file, save_file

from s2p.checkpoint import load_checkpoint, save_checkpoint
from s2p.commands import main
from s2p.config import DEFAULT_MODEL
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError, WeightsError
from s2p.evaluation.cases import find_cases
from s2p.evaluation.guard import Seen, guard_cases, trained_on
from s2p.language.esm import ResidueModel, build_backbone
from s2p.language.sequences import predict_residues
from s2p.pockets.ranking import UNCALIBRATED
from s2p.predictor import Seq2Pocket
from s2p.structure.reading import read_structure
from s2p.training.job import backbone_name, settings, split_by_cluster
from s2p.training.loop import Loop

NAME = "esm2_t6_8M_UR50D"


def chains(n: int, seed: int, length: int = 60) -> list[LabelledChain]:
    draw = np.random.default_rng(seed)
    found = []
    for k in range(n):
        text = "".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
        found.append(LabelledChain(f"s{seed}x{k}", text, np.array([letter in "WH" for letter in text], np.uint8)))
    return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    arrays = {key: value.clone() for key, value in build_backbone(NAME).state_dict().items()}
    save_file(arrays, path)
    return path


def finetune_command(folder: Path, weights: Path, *more: str) -> list[str]:
    work = ["--work", str(folder / "work"), "--backbone", "8M", "--weights", str(weights), "--device", "cpu"]
    return ["finetune", str(folder / "train.txt"), *work, "--epochs", "1,1", "--batch-tokens", "400", *more]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_chains(tmp_path / "train.txt", chains(12, 0))
    write_chains(tmp_path / "validation.txt", chains(4, 1))
    write_chains(tmp_path / "cryptic.txt", chains(8, 2))
    return tmp_path


def test_a_checkpoint_that_predicts(
    folder: Path, weights: Path, examples: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "own.safetensors"
    command = finetune_command(folder, weights, "--validation", str(folder / "validation.txt"), "-o", str(out), "--lora", "2")
    step = Loop._step

    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", interrupted)
        assert main(command) == 130
    assert f"the same run resumes from its state in {folder / 'work'}" in capsys.readouterr().err
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"resuming the run in {folder / 'work'}: 0 epochs, 1 steps are done" in printed
    assert "12 chains, 720 residues" in printed and "wrote" in printed and "licence unknown" in printed
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["data"]["training"]["general"]["chains"] == 12
    assert len(card["data"]["files"]["train.txt"]["sha256"]) == 64
    assert card["finetune"]["lora_rank"] == 2 and card["seeds"] == {"finetune": 0}
    learned, held = (chains(1, seed)[0].sequence for seed in (0, 1))
    assert [(hit.id, hit.kind) for hit in trained_on(card, {"learned": learned, "held": held})] == [("learned", "exact")]
    with open(folder / "work" / "log.csv", newline="") as handle:
        best = max(float(row["validation_auprc"]) for row in csv.DictReader(handle))
    assert card["validation"]["general"]["auprc"] == pytest.approx(best, abs=1e-6)
    assert card["adapter"]["base"] == weights.stem and out.stat().st_size < weights.stat().st_size / 50
    prediction = Seq2Pocket.load(out, backbone=weights, device="cpu").predict(read_structure(examples / "1ubi.pdb.gz"))
    assert np.isfinite(prediction.probabilities).all()
    # It has no calibrated model of pockets: nothing may claim that its probabilities are calibrated for long chains.
    assert prediction.pockets and prediction.notes == (UNCALIBRATED,)

    written = out.with_suffix(".json").read_text(), load_checkpoint(out, backbone=weights).model.state_dict()
    monkeypatch.setattr(Loop, "_step", lambda *_: pytest.fail("trained further"))
    assert main([*command, "--resume"]) == 0 and out.with_suffix(".json").read_text() == written[0]
    again = load_checkpoint(out, backbone=weights).model.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in written[1].items())
    assert "2 epochs, 4 steps are done" in capsys.readouterr().out
    assert main([*command, "--seed", "1"]) == 1
    assert "a run with another configuration (seed); delete it or choose another folder" in capsys.readouterr().err
    assert main([*command, "--merge"]) == 0
    whole = Seq2Pocket.load(out, device="cpu").predict(read_structure(examples / "1ubi.pdb.gz"))
    np.testing.assert_allclose(whole.probabilities, prediction.probabilities, atol=2e-3)


def test_two_kinds_of_site_share_a_backbone(folder: Path, weights: Path) -> None:
    assert main(finetune_command(folder, weights, "--cryptic", str(folder / "cryptic.txt"), "--quiet")) == 0
    checkpoint = load_checkpoint(folder / "work" / "model.safetensors")
    assert checkpoint.model.heads == ("general", "cryptic")
    assert set(checkpoint.card["validation"]) == {"general", "cryptic"}
    assert {"general": checkpoint.threshold, "cryptic": checkpoint.others["cryptic"].threshold} == {
        head: figures["threshold"] for head, figures in checkpoint.card["validation"].items()
    }
    general, cryptic, default = (
        predict_residues(checkpoint.model, ["MKWVHFAAG"], head=head)[0][0] for head in ("general", "cryptic", None)
    )
    assert np.array_equal(general, default) and not np.allclose(general, cryptic)
    with pytest.raises(WeightsError, match="no head 'nucleic'"):
        predict_residues(checkpoint.model, ["MKW"], head="nucleic")


def test_pockets_of_a_chain_are_joined_and_chains_without_a_site_are_told(
    folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for c in chains(6, 0):  # every residue that binds in a line of its own
        lines += [f"{c.id};A;ATP;{c.sequence[i]}{i};{c.sequence}" for i in np.flatnonzero(c.labels)]
    lines += [f"{c.id};A;;;{c.sequence}" for c in chains(2, 7)]
    (folder / "train.txt").write_text("\n".join(lines) + "\n")
    command = finetune_command(folder, weights, "--validation", str(folder / "validation.txt"))
    assert main([*command, "--epochs", "1,0"]) == 0
    assert "train.txt: 2 of 8 chains have no binding residue: used as negatives" in capsys.readouterr().out
    card = load_checkpoint(folder / "work" / "model.safetensors").card["data"]
    joined = sum(int(c.labels.sum()) for c in chains(6, 0))
    assert card["training"]["general"] == {"chains": 8, "residues": 480, "positive": round(joined / 480, 4)}
    assert main([*command, "--dry-run", "--empty", "skip"]) == 0
    printed = capsys.readouterr().out
    assert "2 of 8 chains have no binding residue: left out" in printed and "6 chains, 360 residues" in printed
    assert main([*command, "--dry-run", "--empty", "refuse"]) == 1
    assert "s7x0_A has no binding residue" in capsys.readouterr().err


def test_a_checkpoint_from_before_heads_still_loads(tmp_path: Path) -> None:
    from safetensors import safe_open

    from s2p.checkpoint import Checkpoint

    torch.manual_seed(0)
    model = ResidueModel(NAME).eval()
    save_checkpoint(Checkpoint("x", model, None, None, 0.5, 0.4, "published"), tmp_path / "new.safetensors", half=False)
    with safe_open(tmp_path / "new.safetensors", framework="pt") as handle:
        header = json.loads(handle.metadata()["s2p"])
        arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    assert header.pop("heads") == ["general"]
    save_file(arrays, tmp_path / "old.safetensors", metadata={"s2p": json.dumps(header)})
    loaded = load_checkpoint(tmp_path / "old.safetensors").model
    assert loaded.heads == ("general",)
    assert np.array_equal(predict_residues(loaded, ["MKWVH"])[0][0], predict_residues(model, ["MKWVH"])[0][0])


def test_a_dry_run_writes_nothing(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(finetune_command(folder, weights, "--dry-run", "--config", "published")) == 0
    printed = capsys.readouterr().out
    for word in ("steps", "memory", "estimated", "disk", "time", "in general sites", "1 epochs of the head"):
        assert word in printed
    assert not (folder / "work").exists()


def test_a_dry_run_plans_for_a_gpu_that_is_not_here(
    folder: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1e12))
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 20)
    command = ["finetune", str(folder / "train.txt"), "--backbone", "3B", "--dry-run", "--gpu-memory"]
    command, more = [*command, "24", "--work", str(folder / "work")], ["--lora", "8", "--checkpointing"]
    assert main([*command, *more]) == 0
    printed = capsys.readouterr().out
    assert "on cuda" in printed and "GB of the computer's memory" in printed and "time" not in printed
    assert main(command) == 1
    assert "24.0 are there; with --lora 8 --checkpointing it is" in capsys.readouterr().err
    assert main([*command, *more, "--weights", str(folder / "none.pt")]) == 1
    assert "none.pt: no such weights file" in capsys.readouterr().err


def test_usage_is_checked_first(folder: Path, weights: Path) -> None:
    for more in (("--epochs", "0,0"), ("--epochs", "3"), ("-o", "model.pt"), ("--cryptic-validation", "x"), ("--ema", "2")):
        with pytest.raises(SystemExit) as stop:
            main(finetune_command(folder, weights, *more))
        assert stop.value.code == 2


def test_homologues_in_the_validation_set_are_told(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_chains(folder / "leaky.txt", [*chains(2, 0), *chains(2, 5)])
    assert main(finetune_command(folder, weights, "--validation", str(folder / "leaky.txt"), "--dry-run")) == 0
    assert "2 validation chains are homologous" in capsys.readouterr().out


def test_clusters_stay_together() -> None:
    families = [
        [LabelledChain(f"{k}-{j}", c.sequence[: 60 - j], c.labels[: 60 - j]) for j in range(3)]
        for k, c in enumerate(chains(8, 4))
    ]
    other = [families[0][0], *chains(5, 6)]
    training, validation = split_by_cluster({"general": [c for f in families for c in f], "cryptic": other})
    ids = [{c.id.partition("-")[0] for c in part["general"]} for part in (training, validation)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    assert len(training["general"]) + len(validation["general"]) == 24
    # The protein that both kinds know is on one side for both.
    shared = any(c.sequence == families[0][0].sequence for c in training["cryptic"])
    assert shared == ("0" in ids[0])
    again = split_by_cluster({"general": [c for f in families for c in f], "cryptic": other})
    assert [c.id for c in again[1]["general"]] == [c.id for c in validation["general"]]
    # Chains without a site are held out in their turn, and never the only ones.
    blank = [LabelledChain(c.id, c.sequence, np.zeros(60, np.uint8)) for c in chains(20, 9)]
    training, validation = split_by_cluster({"general": [*chains(10, 8), *blank]})
    assert sum(bool(c.labels.any()) for c in validation["general"]) == 1 and len(training["general"]) > 20
    with pytest.raises(S2PError, match="are too similar"):
        split_by_cluster({"general": families[0]})


def test_names_and_settings() -> None:
    from s2p.training.config import FinetuneConfig

    assert backbone_name("650m") == "esm2_t33_650M_UR50D" and backbone_name(NAME) == NAME
    with pytest.raises(WeightsError, match="or sizes such as 8M"):
        backbone_name("7B")
    values = settings(FinetuneConfig.published())
    assert values["clip_norm"] is None and json.loads(json.dumps(values)) == values


def test_a_run_from_a_checkpoint_has_its_licence_and_another_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    more = ("--backbone", "8M", "--weights", DEFAULT_MODEL, "--validation", "validation.txt", "--epochs", "1,0", "--lora", "1")
    assert main(["finetune", "train.txt", *more, "-o", "own.safetensors", "--quiet"]) == 0
    assert (folder / "own" / "state.pt").is_file() and (folder / "own" / "state.pt").stat().st_size < 2e6
    card = load_checkpoint(folder / "own.safetensors").card
    assert (card["licence"], card["licence_reason"]) == ("GPL-3.0", f"starts from the checkpoint {DEFAULT_MODEL}")
    assert main(["finetune", "train.txt", *more, "-o", "own.safetensors"]) == 0
    assert "resuming the run in own: 1 epochs" in capsys.readouterr().out
    before = (folder / "own.safetensors").read_bytes()
    again = ("--backbone", "8M", "--weights", str(folder / "own.safetensors"), "--lora", "1", "--work", "next")
    assert main(["finetune", "train.txt", *again, "-o", "own.safetensors"]) == 1
    assert "own.safetensors would replace the weights that the training starts from" in capsys.readouterr().err
    assert (folder / "own.safetensors").read_bytes() == before
    _, seen = guard_cases(find_cases("mini", limit=1), "own.safetensors", ["s2p"])
    assert seen["s2p"] == Seen(), "its own chains are known, and those of its base"
    assert main(["finetune", "train.txt", *more, "--merge", "-o", "whole.safetensors", "--quiet"]) == 0
    card = load_checkpoint(folder / "whole.safetensors").card
    assert "training_sketch" not in card, "it has seen more than the chains of this run"


def test_a_state_of_other_weights_is_refused(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--validation", str(folder / "validation.txt"), "-o", str(folder / "own.safetensors"), "--quiet")
    assert main(finetune_command(folder, weights, *more)) == 0
    assert main(finetune_command(folder, weights, *more)) == 0, "the same weights"
    before = (folder / "own.safetensors").read_bytes()
    other = folder / "other.safetensors"
    save_file({key: value + 0.01 for key, value in load_file(weights).items()}, other)
    assert main(finetune_command(folder, other, *more)) == 1
    assert "state.pt was written by a run with another backbone" in capsys.readouterr().err
    assert (folder / "own.safetensors").read_bytes() == before
