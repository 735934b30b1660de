"""From a folder of complexes to a checkpoint with its figures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.recipes.data import read_split
from benchmarks.recipes.pocketgen import PocketRow, choose_share, main, measured, summarise_pockets
from benchmarks.recipes.pocketgen_data import Protein
from benchmarks.studies.pocketgen import main as folds_main
from course.pocketgen_training import PocketGenTrainConfig, validate
from s2p.errors import WeightsError
from s2p.language.sequences import BACKBONES
from s2p.models.encoder import start_encoder
from s2p.models.pocketgen.checkpoint import load_pocketgen
from s2p.models.pocketgen.config import PocketGenConfig
from s2p.models.pocketgen.design import Measures, prepare_pocket
from s2p.models.pocketgen.network import PocketGen
from s2p.models.pocketgen.output import find_ligand
from s2p.structure.reading import read_structure

COMPLEXES = {"train": ("1a28.pdb.gz", "STR"), "validation": ("1hpv.pdb.gz", "478"), "test": ("6WQA.cif", "ZMA")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """Three bundled complexes in the layout of the data, one a split."""
    folder = tmp_path_factory.mktemp("data")
    place = folder / "complexes"
    index, clusters, splits = ["dataset,id,status,flag"], ["chain,cluster30,cluster90"], ["dataset,id,split,clusters30"]
    for split, (file, het) in COMPLEXES.items():
        structure = read_structure(examples / file)
        own = place / "set" / split
        own.mkdir(parents=True)
        # Old PDB files hold their name and line number where gemmi reads an atom's charge.
        parsed = gemmi.read_pdb(str(examples / file), 72) if ".pdb" in file else gemmi.read_structure(str(examples / file))
        parsed.setup_entities()
        parsed.remove_ligands_and_waters()
        parsed.write_pdb(str(own / "protein.pdb"))
        ligand = next(x for x in structure.ligands if x.name == het)
        lines = [
            f"HETATM{k:5d} {name:<4s} LIG A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2s}\n"
            for k, (name, element, (x, y, z)) in enumerate(
                zip(ligand.atom_name, ligand.element, ligand.coord.tolist(), strict=True), 1
            )
        ]
        lines.append(f"{lines[0][:12]} H   {lines[0][17:76]} H\n")  # hydrogens are left out
        (own / "ligand_00.pdb").write_text("".join(lines) + "END\n")
        index.append(f"set,{split},OK,")
        clusters.append(f"set|{split}|A,{split},{split}")
        splits.append(f"set,{split},{split},{split}")
    for name, rows in (("index.csv", index), ("chain_clusters.csv", clusters)):
        (place / name).write_text("\n".join(rows) + "\n")
    (folder / "splits.csv").write_text("\n".join(splits) + "\n")
    return folder


def test_a_checkpoint_is_trained_measured_and_gone_on_with(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, work = tmp_path / "pg.safetensors", tmp_path / "work"
    common = [str(data), "-o", str(out), "--work", str(work), "--splits", str(data / "splits.csv")]
    assert main([*common, "--steps", "2"]) == 0
    made = load_pocketgen(out)
    assert [row["step"] for row in made.card["log"]] == [2]
    counts = made.card["counts"]
    assert (counts["pockets of the network"], counts["proteins"], counts["validation pockets"]) == (1, 1, 1)
    assert 6 < counts["decoys of the network"] <= PocketGenTrainConfig.whole_decoys
    assert counts["residues of pockets"] == 5 and counts["residues of sites"] == 0
    assert counts["residues of decoys"] > 100
    assert sum(made.card["type_counts"]) == 5  # the residues that touch progesterone
    assert main([*common, "--steps", "3"]) == 0
    assert [row["step"] for row in load_pocketgen(out).card["log"]] == [2, 3]
    assert main([*common, "--evaluate", "test"]) == 0
    figures = load_pocketgen(out).card["test"]
    assert figures["pockets"] == figures["clusters"] == 1
    assert set(figures["figures"]) >= {"recovery, likeliest types", "backbone RMSD of the start (Å)"}
    assert "test, recovery, language model alone" in capsys.readouterr().out


def test_the_fresh_set_has_no_relative_of_training(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    shutil.copytree(folder / "complexes", folder / "complexes2")
    rows = [f"set,{split},{split}\n" for split in COMPLEXES]
    (folder / "complexes2" / "index.csv").write_text("set,id,clusters30\n" + "".join(rows))
    (folder / "surface.csv").write_text("set,id,split\nset,train,test2\nset,test,test2\nset,validation,train\n")
    assert [x.key for x in measured(folder, folder / "splits.csv", "fresh")] == ["set/test"]


def test_the_published_size(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "pg.safetensors"
    common = [str(data), "-o", str(out), "--work", str(tmp_path / "work"), "--splits", str(data / "splits.csv")]
    assert main([*common, "--size", "published", "--device", "auto", "--steps", "1"]) == 0
    config = load_pocketgen(out).model.config
    assert (config.width, config.layers, config.neighbours, config.n_gaussians) == (128, 4, 8, 64)


def test_one_command_measures_all_clusters(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [str(data), "--work", str(tmp_path / "work"), "-o", str(tmp_path / "out")]
    assert folds_main([*common, "--splits", str(data / "splits.csv"), "--folds", "2"]) == 0
    found = json.loads((tmp_path / "out" / "pocketgen.json").read_text())
    counts = {name: (row["pockets"], row["clusters"]) for name, row in found["rows"].items()}
    assert counts == {
        "complexes": (3, 3),
        "complexes, validation clusters left out": (2, 2),
        "complexes, test clusters": (1, 1),
    }
    with open(tmp_path / "out" / "pocketgen_rows.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert sum(int(row["residues"]) for row in rows) == found["rows"]["complexes"]["residues"]
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert "fold 2: " in capsys.readouterr().out
    assert folds_main([*common, "--splits", str(tmp_path / "none.csv")]) == 1
    assert "none.csv: no such file" in capsys.readouterr().err


def test_a_start_encoder_is_named_and_not_stored(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = start_encoder().state_dict()
    name, encoder = "esm2_t12_35M_UR50D", tmp_path / "other.safetensors"
    monkeypatch.setitem(BACKBONES, name, (6, 320, 20))  # as large as the one that is at hand
    save_file({key: value.clone() for key, value in small.items()}, encoder)
    out = tmp_path / "pg.safetensors"
    common = [str(data), "-o", str(out), "--splits", str(data / "splits.csv"), "--encoder", str(encoder)]
    assert main([*common, "--work", str(tmp_path / "work"), "--language", name, "--steps", "1"]) == 0
    assert out.stat().st_size < 8e6  # the encoder has 15 MB
    made = load_pocketgen(out, encoder=encoder)
    assert made.published == name and made.backbone is not None
    assert torch.equal(made.backbone.state_dict()["embed_tokens.weight"], small["embed_tokens.weight"])
    changed = {key: value + (key == "emb_layer_norm_after.bias") for key, value in small.items()}
    save_file({key: value.clone() for key, value in changed.items()}, encoder)
    with pytest.raises(WeightsError, match="trained with another version of esm2_t12"):
        load_pocketgen(out, encoder=encoder)


def test_ligands_keep_their_elements_and_no_hydrogens(data: Path, examples: Path) -> None:
    (found,) = read_split(data, data / "splits.csv", "train", Protein.read)
    ligand = next(x for x in read_structure(examples / "1a28.pdb.gz").ligands if x.name == "STR")
    assert found.ligands[0].element.tolist() == ligand.element.tolist()
    np.testing.assert_allclose(found.ligands[0].coord, ligand.coord, atol=1e-3)
    assert found.cluster == "train"


def test_what_is_missing_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "splits.csv"
    with open(table, "w", newline="") as handle:
        csv.writer(handle).writerows([("dataset", "id", "split"), ("other", "one", "train")])
    arguments = [str(data), "-o", str(tmp_path / "x.safetensors"), "--work", str(tmp_path / "work")]
    assert main([*arguments, "--splits", str(table)]) == 1
    assert "names no train complex" in capsys.readouterr().err
    assert main([*arguments, "--splits", str(tmp_path / "none.csv")]) == 1
    assert "none.csv: no such file" in capsys.readouterr().err


def test_means_are_over_pockets_and_bonds_are_pooled() -> None:
    native = Measures(1.0, 0.0, 0, 10, 0, 0.0, peptides=10, angle_outliers=3)

    def row(cluster: str, recovery: float, bonds: int, outliers: int) -> PocketRow:
        design = Measures(recovery, 1.0, 2, bonds, outliers, 0.0, peptides=bonds, twisted=outliers, tau_outliers=1)
        return PocketRow(cluster, cluster, 5, recovery, 0.1, 0.2, 0.0, design, native, 2.0, 1.5, 0.5, 1.0)

    table = summarise_pockets([row("a", 0.2, 10, 5), row("b", 0.4, 30, 0), row("b", 0.6, 10, 0)])
    assert table["recovery, likeliest types"].value == pytest.approx(0.4)
    assert table["bonds more than 0.1 Å from ideal"].value == pytest.approx(5 / 50)
    assert table["peptides twisted by more than 30°"].value == pytest.approx(5 / 50)
    assert table["peptides twisted by more than 30°, native"].value == 0
    assert table["N-CA-C more than 10° off"].value == pytest.approx(3 / 15)
    assert table["other backbone angles more than 10° off, native"].value == pytest.approx(9 / 90)
    assert (table["clashes a pocket"].value, table["clashes a pocket, native"].value) == (2.0, 0.0)
    assert table["backbone RMSD of the start (Å)"].value == 2.0
    assert table["recovery, likeliest types"].low >= 0.2
    gain = table["recovery, likeliest types less language model alone"]
    assert gain.value == pytest.approx(0.2) and gain.low == pytest.approx(0.0) and gain.high == pytest.approx(0.3)


def test_the_share_of_the_structure_network_is_chosen_by_cross_entropy(examples: Path) -> None:
    structure = read_structure(examples / "1a28.pdb.gz")
    ligand, _ = find_ligand(structure, "STR")
    config = PocketGenConfig(width=32, heads=2, language_width=0, passes=1)
    training = PocketGenTrainConfig()
    pocket = prepare_pocket(structure, ligand, None)
    torch.manual_seed(0)
    model = PocketGen(config)
    with torch.no_grad():  # sure of what is wrong
        model.own_head[-1].bias.fill_(0.0)
        model.own_head[-1].bias[int(pocket.types[pocket.pocket][0]) % 20] = 9.0
    found = choose_share(model, [pocket], training)
    assert list(found) == [0.0, 0.25, 0.5, 1.0]
    assert model.config.structure_share == 0.0 == min(found, key=lambda share: found[share][0])
    assert validate(model, [pocket], training) == found[0.0]
    with torch.no_grad():
        model.own_head[-1].bias.fill_(-9.0)
        model.own_head[-1].bias[torch.from_numpy(np.unique(pocket.types[pocket.pocket])) - 1] = 9.0
    choose_share(model, [pocket], training)
    assert model.config.structure_share == 1.0
