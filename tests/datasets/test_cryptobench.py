"""CryptoBench's JSON and residue lists: sites merged and placed on structures, and every mistake in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2p.commands import main
from s2p.datasets.cryptobench import cryptobench_annotations, read_cryptobench, read_residue_lists
from s2p.datasets.label_files import read_annotations, read_labels
from s2p.errors import S2PError
from s2p.structure.reading import read_structure

UBIQUITIN = Path("data/examples/1ubi.pdb.gz")


def entry(*numbers: str, chain: str = "A", **changes: Any) -> dict[str, Any]:
    selection = [f"{chain.split('-', maxsplit=1)[0]}_{n}" for n in numbers]
    return {"apo_chain": chain, "holo_pdb_id": "9xyz", "ligand": "LIG", "apo_pocket_selection": selection} | changes


def write(folder: Path, data: Any, name: str = "test.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_overlapping_entries_are_one_site_and_entries_of_several_chains_none(tmp_path: Path) -> None:
    data = {
        "1ubi": [entry("1", "2", "3"), entry("40", "41", ligand="ATP"), entry("2", "3", "4", "5", holo_pdb_id="8abc")],
        "2abc": [entry("7", chain="A-B"), entry("60", "60A", "-3", chain="B")],
    }
    first, second, third = read_cryptobench(write(tmp_path, data))
    assert first.residues == {(n, "") for n in (1, 2, 3, 4, 5)}
    assert first.ligands == ("9xyz-LIG", "8abc-LIG")
    assert second.residues == {(40, ""), (41, "")}
    assert (third.pdb, third.chain, third.residues) == ("2abc", "B", {(60, ""), (60, "A"), (-3, "")})


def test_average_linkage_keeps_sites_apart_that_only_a_bridge_joins(tmp_path: Path) -> None:
    # The bridge shares half with either end, which share nothing: the mean distance of the last to the pair is 0.75.
    sites = read_cryptobench(write(tmp_path, {"1ubi": [entry("1", "2"), entry("2", "3"), entry("3", "4")]}))
    assert [sorted(n for n, _ in s.residues) for s in sites] == [[1, 2, 3], [3, 4]]


def test_sites_are_placed_on_the_observed_residues_of_their_entry(tmp_path: Path) -> None:
    data = {"1UBI": [entry("8", "44", "70"), entry("1", "999")], "2abc": [entry("8")]}
    structure = read_structure(UBIQUITIN)
    sites = read_cryptobench(write(tmp_path, data))
    lines = cryptobench_annotations(sites, structure)
    assert [a.indices.tolist() for a in lines] == [[7, 43, 69], [0]]
    assert "".join(lines[0].sequence[i] for i in lines[0].indices) == "LIV"
    (union,) = cryptobench_annotations(sites, structure, per="chain")
    assert union.indices.tolist() == [0, 7, 43, 69]
    archived = tmp_path / "pdb1ubi.ent.gz"
    archived.write_bytes(UBIQUITIN.read_bytes())
    assert [a.pdb for a in cryptobench_annotations(sites, read_structure(archived))] == ["pdb1ubi"] * 2


@pytest.mark.parametrize(
    ("entries", "message"),
    [([entry("1", "888", "999")], "1 of 3 residues of a site are in its chain A"), ([entry("1", chain="Q")], "0 of 1 residues")],
)
def test_another_structure_is_refused(tmp_path: Path, entries: list[Any], message: str) -> None:
    with pytest.raises(S2PError, match=message):
        cryptobench_annotations(read_cryptobench(write(tmp_path, {"1ubi": entries})), read_structure(UBIQUITIN))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not a JSON file"),
        ([], "expected a JSON object of structures"),
        ({"test": ["1ubi"]}, "test: expected a list of entries with apo_chain.*is it a file of folds"),
        ({"1ubi": [entry("1"), {"apo_chain": "A"}]}, "1ubi, entry 2: holo_pdb_id is missing"),
        ({"1ubi": [entry()]}, "apo_pocket_selection is missing, empty or no list"),
        ({"1ubi": [entry("1", apo_pocket_selection=["B_1"])]}, "'B_1' is not a residue of its chain; expected a name like A_123"),
        ({"1ubi": [entry("1", apo_pocket_selection=["A_x"])]}, "'A_x' is not a residue of its chain"),
        ({"1ubi": [entry("1", apo_pocket_selection=["A_" + "9" * 5000])]}, "'A_999999999999999999' is not a residue of"),
        ({"1ubi": [entry("1", chain="A-B")]}, "no entry has a single chain"),
    ],
)
def test_mistakes_in_the_json_name_their_place(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(S2PError, match=message):
        read_cryptobench(write(tmp_path, data))


def residue_lists(folder: Path, rows: str) -> tuple[Path, Path]:
    table = write(folder, "uniprot_id,apo_structure_id,cryptic_residues,sequence\n" + rows, "annotated_sequences.csv")
    return table, write(folder, {"test": ["1abc", "2abc"], "train-0": ["3abc"]}, "folds.json")


def test_residue_lists_of_a_fold_and_what_does_not_fit(tmp_path: Path) -> None:
    table, folds = residue_lists(tmp_path, "P1,1abc,3 0 3,ACDE\nP2,2abc,1 4,ACDE\nP3,3abc,1,ACDE\n")
    lines, left = read_residue_lists(table, folds, "test")
    assert [(a.pdb, a.indices.tolist()) for a in lines] == [("1abc", [0, 3])]
    assert left == ["2abc"]
    table, folds = residue_lists(tmp_path, "P1,1abc,3 0 3,ACDE\n")
    assert read_residue_lists(table, folds, "test")[1] == ["2abc"]  # of the fold, and not in the table


@pytest.mark.parametrize(
    ("rows", "fold", "message"),
    [
        ("P1,1abc,1,ACDE\n", "train-9", "no fold 'train-9'; it has test, train-0"),
        ("P1,1abc,1 x,ACDE\n", "test", "line 2: cryptic_residues of 1abc are not whole numbers"),
        ("P1,1abc,1,AC4E\n", "test", "line 2: the sequence of 1abc"),
        ("P1,1abc,9,ACDE\n", "test", "no usable chain of the fold test"),
    ],
)
def test_mistakes_in_residue_lists_name_their_line(tmp_path: Path, rows: str, fold: str, message: str) -> None:
    with pytest.raises(S2PError, match=message):
        read_residue_lists(*residue_lists(tmp_path, rows), fold)


def test_the_command_writes_label_files_that_are_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, {"1ubi": [entry("8", "44", "70"), entry("1", "2")]})
    out = tmp_path / "labels.txt"
    command = ["labels", str(UBIQUITIN), "--cryptobench", str(source), "--format", "published", "-o", str(out)]
    assert main([*command, "--per", "ligand"]) == 0
    assert [a.indices.tolist() for a in read_annotations(out)] == [[7, 43, 69], [0, 1]]
    assert main(command) == 0
    assert np.flatnonzero(read_labels(out)[0].labels).tolist() == [0, 1, 7, 43, 69]
    assert main(command[:4]) == 1
    assert "--format published, csv or records" in capsys.readouterr().err


def test_the_command_writes_a_fold_of_residue_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, folds = residue_lists(tmp_path, "P1,1abc,3 0,ACDE\nP2,2abc,4,ACDE\n")
    assert main(["labels", str(table), "--cryptobench", str(folds), "--fold", "test", "--format", "records"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ">1abc\nACDE\n1001\n"
    assert "left out (not in the table, or residues outside the sequence): 2abc" in printed.err
    assert main(["labels", str(table), str(table), "--cryptobench", str(folds), "--fold", "test", "--format", "records"]) == 1
    assert "--fold takes one table of residue lists" in capsys.readouterr().err
