"""``s2p labels`` and ``s2p datasets``."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from toy_complexes import helix, ligand

from s2p.commands import main
from s2p.datasets.label_files import read_annotations, read_labels
from s2p.datasets.registry import DATASETS
from s2p.structure.ligands import ligand_labels
from s2p.structure.reading import read_structure


def test_the_table_names_ligands_chains_and_bonds(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", str(examples / "1pwc.pdb.gz"), str(examples / "1ubi.pdb.gz")]) == 0
    out, err = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["structure"], row["chain"], row["ligand"], row["kind"], row["bonded_to"]) == (
        "1pwc",
        "A",
        "PNM",
        "covalent",
        "A:62",
    )
    assert "A:62" in row["residues"].split()
    assert "covalent ligand, bonded to A:62" in err
    assert "1ubi.pdb.gz: no relevant ligand" in err


def test_labels_of_subfolders(examples, tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.pdb.gz").write_bytes((examples / "1pwc.pdb.gz").read_bytes())
    assert main(["labels", str(tmp_path)]) == 1
    assert "--recursive looks in its subfolders" in capsys.readouterr().err
    assert main(["labels", str(tmp_path), "--recursive"]) == 0
    out = capsys.readouterr().out
    assert "one_x" in out and "two_x" in out


@pytest.mark.parametrize("form", ["published", "csv", "records"])
def test_what_is_written_can_be_trained_on(examples: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "labels.txt"
    assert main(["labels", str(examples / "1ake.cif.gz"), "--format", form, "-o", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    structure = read_structure(examples / "1ake.cif.gz")
    truth = ligand_labels(structure)
    chains = read_labels(path)
    assert [c.id for c in chains] == ["1ake_A", "1ake_B"]
    for chain, name in zip(chains, "AB", strict=True):
        assert chain.sequence == structure.sequence(name)
        assert chain.labels.astype(bool).tolist() == truth[structure.residues.chain == name].tolist()


def test_a_line_a_ligand_and_ions(examples: Path, tmp_path: Path) -> None:
    path = tmp_path / "x"
    arguments = ["labels", str(examples / "1GBT.cif.gz"), "--format", "published", "--per", "ligand", "-o", str(path)]
    assert main(arguments) == 0
    assert [a.kind for a in read_annotations(path)] == ["GBS A:704"]
    assert main([*arguments, "--ions"]) == 0
    assert [a.kind for a in read_annotations(path)] == ["CA A:701", "GBS A:704"]


def test_enhancement_writes_evidence_and_leaves_out_what_binds_nothing(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [str(examples / name) for name in ("1ake.cif.gz", "1ubi.pdb.gz")]
    path, evidence = tmp_path / "x", tmp_path / "e.csv"
    assert main(["labels", *inputs, "--enhance", "--format", "csv", "-o", str(path), "--evidence", str(evidence)]) == 0
    (chain,) = read_labels(path)
    assert chain.id == "1ake_A"
    rows = list(csv.DictReader(evidence.open()))
    assert {int(row["index"]) for row in rows} == set(chain.labels.nonzero()[0].tolist())
    assert {row["source"] for row in rows} == {"1ake_A", "1ake_B"}
    err = capsys.readouterr().err
    assert "1ake_A: joined with 1ake_B" in err
    assert "1ubi_A: no binding residue in any structure, left out" in err


def test_a_folder_is_enhanced_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, path, report = tmp_path / "in", tmp_path / "labels.txt", tmp_path / "report.csv"
    folder.mkdir()
    line = "DBREF  1ABC A    1    30  UNP    {}   X_HUMAN          1     30\n"
    for name, seed, accession, height in (("x", 0, "P00001", 8.0), ("y", 0, "P00001", 38.0), ("z", 5, "P00002", 12.0)):
        (folder / f"{name}.pdb").write_text(line.format(accession) + helix(seed).replace("END\n", "") + ligand(height))
    (folder / "bad.pdb").write_text("HEADER\n")
    other = read_structure(folder / "z.pdb").sequence("A")
    (tmp_path / "test.fasta").write_text(f">held out\n{other}\n")
    command = ["labels", str(folder), "--enhance", "--format", "published", "-o", str(path), "--report", str(report)]
    assert main([*command, "--without", str(tmp_path / "test.fasta")]) == 1  # one file is bad
    err = capsys.readouterr().err
    assert "bad.pdb: no atoms" in err and f"z_A: left out with all its chains, a homologue of held out of {tmp_path}" in err
    totals = "1 proteins, 2 chains, 60 residues: 6 (10.00%) bind in their own structure, 12 (20.00%) enhanced"
    assert f"{totals}; left out as homologues: 1" in err
    (row,) = csv.DictReader(report.open())
    assert (row["chain"], row["uniprot"], row["members"], row["alone"], row["enhanced"]) == ("x_A", "P00001", "x_A y_A", "3", "6")
    (chain,) = read_labels(path)
    assert (chain.id, chain.labels.sum()) == ("x_A", 6)
    (folder / "bad.pdb").unlink()
    assert main([*command, "--every-chain"]) == 0
    assert [(c.id, c.labels.sum()) for c in read_labels(path)] == [("x_A", 6), ("y_A", 6), ("z_A", 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evidence", "x"], "--evidence needs --enhance"),
        (["--every-chain"], "--every-chain needs --enhance"),
        (["--enhance"], "needs --format"),
        (["--enhance", "--format", "csv", "--cryptobench", "x.json"], "no --cryptobench"),
        (["--enhance", "--format", "csv", "--per", "ligand"], "--per chain"),
    ],
)
def test_options_that_do_not_go_together(
    examples: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["labels", str(examples / "1ubi.pdb.gz"), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_bad_file_is_said_and_the_others_are_done(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.pdb").write_text("HEADER\n")
    assert main(["labels", str(tmp_path / "bad.pdb"), str(examples / "4CUP.cif")]) == 1
    out, err = capsys.readouterr()
    assert "bad.pdb" in err
    assert "ZYB" in out
    assert main(["labels", "nonsense"]) == 1


def test_every_set_is_listed_with_what_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chains").mkdir()
    (tmp_path / "chains.csv").write_text("")
    assert main(["datasets", "list", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(f"{entry.name}: " in out and entry.source in out for entry in DATASETS)
    assert "licence  unknown" in out
    assert "checksum unknown" in out
    assert "f004ac7c4e68317b5348497d2bb6bee6" in out
    assert f"{tmp_path}: local, layout ligysis" in out


def test_an_unknown_or_unfetchable_set_gives_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["datasets", "fetch", "nothing"]) == 1
    assert "no data set 'nothing'" in capsys.readouterr().err
    assert main(["datasets", "fetch", "scpdb", "-o", str(tmp_path)]) == 1
    assert "by hand" in capsys.readouterr().err
