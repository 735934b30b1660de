"""``s2p evaluate`` as a user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from awkward import Pieces
from builders import write_chains
from safetensors.torch import save_file

from s2p.commands import main
from s2p.datasets.labelled import LabelledChain
from s2p.language.esm import build_backbone
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import read_structure


def test_evaluate_the_bundled_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = [
        "evaluate",
        "--dataset",
        "mini",
        "--limit",
        "2",
        "--predictor",
        "s2p,benchmarks.peers:RandomPatch",
        "-o",
        str(out),
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "mini: 2 proteins, 2 sites" in said
    assert [line.split()[0] for line in said.splitlines() if "top N+2" in line] == ["s2p", "benchmarks.peers:RandomPatch"]
    assert "residue average precision" in said and "DCC CA < 12 Å" in said
    assert set(pd.read_csv(out / "summary.csv").predictor) == {"s2p", "benchmarks.peers:RandomPatch"}
    assert main(command) == 1
    assert "contains a run already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().out == said


NAMES = ("1hpv.pdb.gz", "1ia1.pdb.gz")
"""One ligand at two chains; two cofactors, and an inhibitor in the pocket of one of them."""


def by_hand(path: Path, forms: str) -> list[dict[str, float]]:
    """What is measured of each site, in plain loops: distances, pockets that touch it, residues."""
    structure = read_structure(path)
    pockets = Pieces().predict(replace(structure, ligands=())).pockets
    chain = structure.residues.chain[structure.atoms.residue_index]
    sites = []  # centroid's atoms, residues
    for ligand in relevant_ligands(structure):
        near = set()
        for atom, owner in zip(structure.atoms.coord, structure.atoms.residue_index, strict=True):
            if min(np.linalg.norm(atom - x) for x in ligand.coord) <= 4.5:
                near.add(int(owner))
        if forms == "lines":  # nothing says that lines of two chains are one ligand
            for name in sorted({structure.residues.chain[k] for k in near}):
                sites.append((None, {k for k in near if structure.residues.chain[k] == name}))
        else:
            sites.append((ligand.coord, near))
    assert set(chain) >= {structure.residues.chain[k] for _, near in sites for k in near}
    rows = []
    for atoms, residues in sites:
        row = {"n": len(residues), "touching": sum(bool(residues & set(p.residues.tolist())) for p in pockets)}
        middle = np.mean([structure.residues.ca_coord[k] for k in residues], axis=0)
        for rank, most in (("N", len(sites)), ("N+2", len(sites) + 2), ("all", len(pockets))):
            row[f"dcc CA, {rank}"] = min(np.linalg.norm(p.center - middle) for p in pockets[:most])
            if atoms is not None:
                row[f"dcc, {rank}"] = min(np.linalg.norm(p.center - atoms.mean(axis=0)) for p in pockets[:most])
                row[f"dca, {rank}"] = min(np.linalg.norm(p.center - x) for p in pockets[:most] for x in atoms)
        rows.append(row)
    return rows


@pytest.mark.parametrize("forms", ["inside", "ids", "lines"])
def test_every_site_by_itself_as_counted_by_hand(
    forms: str, tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of structures; a label file that names ligands; one that only says which residues form a site."""
    folder, out = tmp_path / "set", tmp_path / "run"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes((examples / name).read_bytes())
    if forms != "inside":
        table = folder / "labels.txt"
        command = ["labels", *(str(folder / name) for name in NAMES), "--format", "published", "--per", "ligand"]
        assert main([*command, "-o", str(table)]) == 0
        if forms == "lines":
            lines = [line.split(";") for line in table.read_text().splitlines()]
            table.write_text("".join(";".join([*line[:2], "site", *line[3:]]) + "\n" for line in lines))
    capsys.readouterr()
    command = ["evaluate", "--dataset", str(folder), "--predictor", "awkward:Pieces", "-o", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    rows = [by_hand(examples / name, forms) for name in NAMES]
    sites = [row for own in rows for row in own]
    assert f"set: 2 proteins, {len(sites)} sites" in said and len(sites) == (5 if forms == "lines" else 4)
    table = pd.read_csv(out / "sites.csv")
    assert table.n_residues.tolist() == [row["n"] for row in sites]
    figures = pd.read_csv(out / "summary.csv").set_index("figure").value
    for measure in ("dcc", "dcc CA", "dca"):
        for rank in ("N", "N+2", "all"):
            key = f"{measure}, {rank}"
            for cutoff in (4, 12):
                found = figures[f"{measure} < {cutoff} Å, top {rank}"]
                if forms == "lines" and measure != "dcc CA":
                    assert np.isnan(found)
                else:
                    assert found == pytest.approx(np.mean([row[key] < cutoff for row in sites]))
    touching = [row["touching"] for row in sites]
    assert figures["PFI"] == pytest.approx(np.mean([n for n in touching if n]))
    assert figures["sites missed"] == pytest.approx(np.mean([n == 0 for n in touching]))
    assert max(len(line) for line in said.splitlines() if not line.startswith("wrote")) <= 120
    assert "training: unknown, the training data of a class are not known" in said
    assert np.isnan(figures["proteins with relatives in training"])
    assert ("DCC CA < 4 Å" in said) and ("DCA < 12 Å" in said) == (forms != "lines")
    shown = figures["PFI"]
    assert f"PFI {shown:.3f}" in said


def test_where_sites_are_not_told_apart_there_are_figures_of_residues_only(
    tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set" / "chains").mkdir(parents=True)
    (tmp_path / "set" / "chains" / "x.cif").write_bytes((examples / "4CUP.cif").read_bytes())
    sequence = read_structure(examples / "4CUP.cif").sequence()
    head = "split,uniprot,chain_file,binding_residues_0based_uniprot,uniprot_sequence\n"
    (tmp_path / "set" / "chains.csv").write_text(f"{head}validation,P1,x.cif,{sequence[4]}4 {sequence[90]}90,{sequence}\n")
    command = ["evaluate", "--dataset", str(tmp_path / "set"), "--predictor", "awkward:Pieces", "-o", str(tmp_path / "run")]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "1 protein, 0 sites\n" in said and "Only residues are labelled, not single sites" in said
    assert "DCC" not in said and "PFI" not in said
    assert not any("dcc" in figure for figure in pd.read_csv(tmp_path / "run" / "summary.csv").figure)


def test_a_model_fine_tuned_on_a_relative_is_refused_wherever_it_stands(
    tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    backbone = build_backbone("esm2_t6_8M_UR50D").state_dict()
    save_file({k: v.clone() for k, v in backbone.items()}, tmp_path / "random.safetensors")
    draw, letters = np.random.default_rng(0), list("ACDEFGHIKLMNPQRSTVWY")
    relative = "".join(
        draw.choice(letters) if draw.random() < 0.3 else c for c in read_structure(examples / "4CUP.cif").sequence()
    )
    texts = [relative, *("".join(draw.choice(letters, 50)) for _ in range(4))]
    chains = [LabelledChain(f"s{k}", text, np.array([c in "WH" for c in text], np.uint8)) for k, text in enumerate(texts)]
    write_chains(tmp_path / "train.txt", chains[:4])
    write_chains(tmp_path / "validation.txt", chains[4:])
    own, folder = str(tmp_path / "own.safetensors"), tmp_path / "set"
    command = ["finetune", str(tmp_path / "train.txt"), "--validation", str(tmp_path / "validation.txt"), "--backbone", "8M"]
    command += ["--weights", str(tmp_path / "random.safetensors"), "--epochs", "1,0", "--work", str(tmp_path / "work")]
    assert main([*command, "--device", "cpu", "-o", own, "--quiet"]) == 0
    Path(own).with_suffix(".json").unlink()  # the weights carry their card
    folder.mkdir()
    (folder / "4CUP.cif").write_bytes((examples / "4CUP.cif").read_bytes())
    command = ["evaluate", "--dataset", str(folder), "-o", str(tmp_path / "run")]
    for name, options in (("s2p", ["--model", own]), (own, ["--predictor", f"awkward:Center,{own}"])):
        assert main([*command, *options]) == 1
        said = capsys.readouterr().err
        assert (
            f"{name} was trained on 1 of the chains to be evaluated, so its metrics would be too good: 4CUP|A (resembles" in said
        )
    assert main([*command, *options, "--allow-trained"]) == 0
    captured = capsys.readouterr()
    assert "training: trained on relatives of 1 of these proteins" in captured.out
    assert f"{own} was trained on relatives of 1 of these proteins (--allow-trained)" in captured.err
    figures = pd.read_csv(tmp_path / "run" / "summary.csv").set_index(["predictor", "figure"]).value
    assert figures[own, "proteins with relatives in training"] == 1


def test_a_run_of_another_version_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = ["evaluate", "--dataset", "mini", "--limit", "1", "--predictor", "awkward:Center", "-o", str(out)]
    assert main(command) == 0
    facts = json.loads((out / "run.json").read_text())
    facts["versions"]["s2p"] = "0.1.0"
    (out / "run.json").write_text(json.dumps(facts))
    assert main([*command, "--resume"]) == 1
    assert "contains a run of s2p 0.1.0, not " in capsys.readouterr().err


def test_wrong_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["evaluate", "--dataset", "mini", "-o", str(tmp_path / "run")]
    assert main([*base, "--predictor", "magic"]) == 1
    assert "there is no model 'magic': give one of s2p, s2p-published" in capsys.readouterr().err
    assert main([*base, "--split", "test"]) == 1
    assert "has no splits" in capsys.readouterr().err
    assert main([*base, "--predictor", "fpocket-rs"]) == 1
    assert "it is benchmarks.peers:FpocketRs\n" in capsys.readouterr().err
    for name in ("nowhere:Thing", "benchmarks.peers:Nope"):
        assert main([*base, "--limit", "1", "--predictor", f"s2p,{name}"]) == 1
        assert f"predictor {name!r} cannot be imported" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*base, "--limit", "1", "--predictor", "awkward:Unloadable"]) == 1  # found, but what it needs is not
    assert "awkward:Unloadable did not run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate"])
