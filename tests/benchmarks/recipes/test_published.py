"""The published recipe, from labels to figures, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import write_chains
from safetensors.torch import save_file

from benchmarks.recipes.published import _sites, _structures, main
from s2p.datasets.label_files import read_labels
from s2p.datasets.labelled import LabelledChain
from s2p.language.esm import build_backbone
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import read_structure


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "random.safetensors"
    state = build_backbone("esm2_t6_8M_UR50D").state_dict()
    save_file({key: value.clone() for key, value in state.items() if not key.startswith("lm_head")}, path)
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
    assert main([*command, "--dry-run"]) == 0
    assert "bandwidth 9" in capsys.readouterr().out and not (tmp_path / "run").exists()
    assert main(command) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["structures"] == {"training": len(known) - 1, "validation": 1, "not_found": 2}
    assert set(results["held_out"]) == {"with smoothing", "without smoothing"}
    assert {"DCC < 4 Å, top all", "DCC < 12 Å, top N", "PFI", "merging"} < set(results["held_out"]["with smoothing"])
    capsys.readouterr()
    assert main(command) == 0  # everything is there: nothing is trained again
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


def test_the_published_recipe_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--work", str(tmp_path / "run")]) == 1
    captured = capsys.readouterr()
    assert "esm2_t36_3B_UR50D: 2 epochs of the head, 1 of everything" in captured.out
    assert "--labels" in captured.err
