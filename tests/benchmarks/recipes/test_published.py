"""The published recipe, from labels to figures, with random weights."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from builders import write_chains
from safetensors.torch import save_file

from benchmarks.recipes.published import Known, _embeddings, _sites, _structures, frozen_model, main
from benchmarks.recipes.published_plan import Reproduction
from s2p.datasets.label_files import read_labels
from s2p.datasets.labelled import LabelledChain
from s2p.language.esm import ResidueModel, build_backbone
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import read_structure


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "random.safetensors"
    state = build_backbone("esm2_t6_8M_UR50D").state_dict()
    save_file({key: value.clone() for key, value in state.items()}, path)
    return path


def random_chains(n: int) -> list[LabelledChain]:
    """Chains of no structure."""
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 60)) for _ in range(n)]
    return [LabelledChain(f"s{k}", text, np.array([x in "WH" for x in text], np.uint8)) for k, text in enumerate(texts)]


def test_the_published_recipe_from_labels_to_figures(
    tmp_path: Path, weights: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = []
    for name in ("1a28.pdb.gz", "1hpv.pdb.gz", "1ia1.pdb.gz", "6WQA.cif"):
        path = examples / name
        structure = read_structure(path)
        ligands = relevant_ligands(structure)
        if not ligands:
            continue
        labels = np.zeros(len(structure.residues), np.uint8)
        labels[binding_residues(structure, np.concatenate([x.coord for x in ligands]))] = 1
        for chain in structure.chains[:1]:
            mask = structure.residues.chain == chain
            if labels[mask].any() and mask.sum() < 350:
                stem = path.name.partition(".")[0]
                known.append(LabelledChain(f"{stem}_{chain}", structure.sequence(chain), labels[mask]))
    assert len(known) >= 3
    write_chains(tmp_path / "labels.txt", [*known[1:], *random_chains(2)])
    write_chains(tmp_path / "validation.txt", known[:1])
    command = ["--size", "8M", "--weights", str(weights), "--structures", str(examples)]
    command += ["--labels", str(tmp_path / "labels.txt"), "--validation", str(tmp_path / "validation.txt")]
    command += ["--smoother-epochs", "1", "--epochs", "1,0", "--work", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, "--dry-run", "--gpu-memory", "24"]) == 0
    printed = capsys.readouterr().out
    assert f"files of {len(known) - 1} of {len(known) + 1} training and 1 of 1 validation chains" in printed
    assert "bandwidth 9" in printed and "640-2048-2048-1" in printed and not (tmp_path / "run").exists()
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("hours")] == ["T4:", "L4:", "A10:", "RTX"]
    assert main(command) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["structures"] == {"training": len(known) - 1, "validation": 1, "not_found": 2}
    assert set(results["held_out"]) == {"with smoothing", "without smoothing"}
    assert {"DCC < 4 Å, top all", "DCC < 12 Å, top N", "PFI", "merging"} < set(results["held_out"]["with smoothing"])
    capsys.readouterr()
    assert main([*command, "--save-minutes", "1"]) == 0  # everything is there: nothing is trained again
    assert "epoch 0" not in capsys.readouterr().out
    assert main([*command, "--seed", "5"]) == 1
    assert "is from another run" in capsys.readouterr().err


def test_pockets_of_a_chain_stay_apart(tmp_path: Path, examples: Path) -> None:
    """Two lines about a chain: training knows their union, the sites of the structure are both."""
    structure = read_structure(examples / "1a28.pdb.gz", chains=["A"])
    sequence, found = structure.sequence(), ([3, 4, 5], [40, 41])
    lines = [f"1a28;A;x;{' '.join(f'{sequence[i]}{i}' for i in site)};{sequence}" for site in found]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    (chain,) = read_labels(tmp_path / "labels.txt")
    assert np.flatnonzero(chain.labels).tolist() == [3, 4, 5, 40, 41]
    (item,) = _structures([chain], _sites([tmp_path / "labels.txt"]), examples, [], "", True)
    assert [site.tolist() for site in item.sites] == [*found]


def test_the_published_recipe_says_what_is_missing(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*options: str) -> str:
        assert main(["--work", str(tmp_path / "run"), "--dry-run", *options]) == 1
        return capsys.readouterr().err

    assert "the labels are missing" in error() and not (tmp_path / "run").exists()
    labels = ["--labels", str(tmp_path / "labels.txt"), "--validation", str(tmp_path / "validation.txt"), "--device", "cpu"]
    assert "labels.txt: no such file" in error(*labels)
    write_chains(tmp_path / "labels.txt", random_chains(4))
    write_chains(tmp_path / "validation.txt", random_chains(5)[4:])
    assert "none.pt: no such weights file" in error(*labels, "--size", "8M", "--weights", str(tmp_path / "none.pt"))
    labels += ["--weights", str(weights)]
    assert "no such folder of structures" in error(*labels, "--size", "8M", "--structures", str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "none of the 4 training chains has a structure" in error(
        *labels, "--size", "8M", "--structures", str(tmp_path / "empty")
    )
    assert not (tmp_path / "run").exists()


def test_the_dry_run_of_three_billion_parameters_needs_no_gpu(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chains(tmp_path / "labels.txt", random_chains(4))
    write_chains(tmp_path / "validation.txt", random_chains(5)[4:])
    command = ["--labels", str(tmp_path / "labels.txt"), "--validation", str(tmp_path / "validation.txt"), "--dry-run"]
    command += ["--weights", str(weights), "--work", str(tmp_path / "run")]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1e12))
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 20)
    assert main([*command, "--gpu-memory", "80"]) == 0
    printed = capsys.readouterr().out
    assert "5120-2048-2048-1" in printed and "4 an epoch: 2 epochs of the head, then 1 of all weights, 12 in all" in printed
    assert "hours         H100 80 GB" in printed and "H200" not in printed
    assert main([*command, "--gpu-memory", "24"]) == 1
    assert "GB of GPU memory and 24.0 are there; with --lora 8 it is" in capsys.readouterr().err
    assert main([*command, "--gpu-memory", "24", "--lora", "8"]) == 0
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1e9))
    assert main([*command, "--gpu-memory", "80"]) == 1
    assert "GB of disk and 1 are free" in capsys.readouterr().err
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 16)
    assert main([*command, "--gpu-memory", "80"]) == 1
    assert "GB of the computer's memory, which has 4" in capsys.readouterr().err


def test_one_large_model_is_in_memory_at_a_time(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of a run are tested above; here, that the model that embeds is gone when the embeddings are used."""
    made: list[weakref.ref[ResidueModel]] = []

    def watched(*arguments: Any, **more: Any) -> ResidueModel:
        model = frozen_model(*arguments, **more)
        made.append(weakref.ref(model))
        return model

    monkeypatch.setattr("benchmarks.recipes.published.frozen_model", watched)
    plan = Reproduction("esm2_t6_8M_UR50D", tmp_path, weights=weights, device="cpu")
    item = Known("x", tmp_path, "A", "ACDEF", np.zeros((5, 3), np.float32), (np.arange(2),))
    rows = _embeddings(plan, {"training": [item, item], "validation": []}, True)
    gc.collect()
    assert made[0]() is None
    assert rows["ACDEF"].shape == (5, 320)
