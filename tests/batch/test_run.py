"""Batches: what becomes of each input, whatever the others are."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from s2p.batch import run as batch_run
from s2p.batch.inputs import BatchOptions, Item, expand_inputs
from s2p.batch.run import predict_batch
from s2p.config import BoxConfig, PredictConfig
from s2p.errors import FetchError, S2PError, StructureError, WeightsError
from s2p.io import fetch as io_fetch
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure

PDB = "\n".join(
    f"ATOM  {4 * n + i:>5}  {name:<3} ALA A{n:>4}    {3.8 * n + i:8.3f}{0.0:8.3f}{0.0:8.3f}  1.00 20.00           {name[0]}"
    for n in range(1, 6)
    for i, name in enumerate(("N", "CA", "C", "O"))
)


class FakePredictor:
    """One pocket of all residues. A structure named ``boom`` is an error, ``die`` ends the process, ``slow`` takes long."""

    name = "fake"
    calls: ClassVar[list[str]] = []

    def predict(self, structure: Structure, config: PredictConfig | None = None) -> Prediction:
        FakePredictor.calls.append(structure.name)
        if structure.name == "boom":
            raise ZeroDivisionError("division\nby zero")
        if structure.name == "die" and multiprocessing.parent_process() is not None:
            os._exit(9)
        if structure.name == "slow":
            time.sleep(0.5)
        n = len(structure.residues)
        center = structure.residues.ca_coord.mean(axis=0)
        pocket = Pocket(
            1, 0.9, 0.8, np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int32), structure.residues.ca_coord, center, 100.0
        )
        zeros = np.zeros(n, dtype=bool)
        return Prediction(structure, np.full(n, 0.9, np.float32), zeros, ~zeros, (pocket,), self.name, {"threshold": 0.5})


def load() -> FakePredictor:
    return FakePredictor()


def load_nothing() -> FakePredictor:
    raise WeightsError("model.safetensors: no such checkpoint")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    FakePredictor.calls.clear()


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.pdb", "b.pdb"):
        (folder / name).write_text(PDB)
    return folder


def options(tmp_path: Path, **changes: Any) -> BatchOptions:
    return BatchOptions(**{"folder": tmp_path / "out", "load": load, "formats": ("csv",), **changes})


def summary(tmp_path: Path) -> list[dict[str, str]]:
    with open(tmp_path / "out" / "summary.csv", newline="") as handle:
        reader = csv.DictReader(handle)
        assert reader.fieldnames == ["input", "status", "n_pockets", "seconds", "message"]
        return list(reader)


# ---------------------------------------------------------------------------------------------- inputs


def test_folder_is_its_structure_files_sorted(inputs):
    for name in ("notes.md", ".hidden.pdb", "c.CIF.GZ", "d.bcif"):
        (inputs / name).write_text("")
    (inputs / "e.pdb").mkdir()
    items = expand_inputs([str(inputs)])
    assert [item.path for item in items] == [inputs / n for n in ("a.pdb", "b.pdb", "c.CIF.GZ", "d.bcif")]
    assert [item.stem for item in items] == ["a", "b", "c", "d"]


def test_folder_without_structures_is_a_sentence(tmp_path):
    (tmp_path / "notes.md").write_text("")
    (item,) = expand_inputs([str(tmp_path)])
    assert "contains no structure files" in item.error


def test_list_file(inputs, tmp_path, monkeypatch):
    listing = inputs / "list.txt"
    listing.write_bytes(b"\xef\xbb\xbf# my proteins\r\na.pdb\r\n\r\n  b.pdb  # good one\r\n1ake\r\nP69441\r\nmissing.pdb\r\n")
    monkeypatch.chdir(tmp_path)  # paths are relative to the list, not to here
    items = expand_inputs(["in/list.txt"])
    assert [(item.path and item.path.resolve(), item.identifier) for item in items] == [
        (inputs / "a.pdb", None),
        (inputs / "b.pdb", None),
        (None, "1ake"),
        (None, "P69441"),
        (inputs / "missing.pdb", None),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"# nothing\n\n", "the list is empty"), (b"\xff\xfe\x00\x81", "not a text file")],
    ids=["empty", "binary"],
)
def test_bad_list_files(tmp_path, content, why):
    (tmp_path / "x.lst").write_bytes(content)
    (item,) = expand_inputs([str(tmp_path / "x.lst")])
    assert why in item.error


def test_list_that_names_itself_ends(tmp_path):
    (tmp_path / "x.txt").write_text("x.txt\n")
    (item,) = expand_inputs([str(tmp_path / "x.txt")])
    assert item.path == tmp_path / "x.txt"


def test_identifiers_and_files_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expand_inputs(["1ake"]) == [Item("1ake", "1ake", identifier="1ake")]
    Path("1ake").write_text(PDB)
    assert expand_inputs(["1ake"]) == [Item("1ake", "1ake", path=Path("1ake"))]


def test_equal_stems_are_told_apart_by_folders_and_then_by_numbers():
    names = ["x/a.pdb", "y/a.cif", "z/y/A.cif.gz", "y_a.pdb", "b.pdb"]
    items = expand_inputs(names)
    assert [item.stem for item in items] == ["x_a", "y_a", "y_A_2", "y_a_3", "b"]
    assert "written as x_a_*" in items[0].note and "written as y_A_2_*" in items[2].note
    assert items[4].note == ""
    assert [item.stem for item in expand_inputs(["x/a.pdb", "x/a.cif"])] == ["a", "a_2"]  # the folder says nothing
    assert [item.stem for item in expand_inputs(["x/../y/../a.pdb", "x/a.pdb"])] == [f"{Path.cwd().name}_a", "x_a"]


def test_subfolders_are_searched_if_asked(tmp_path):
    for name in ("1abc/model.pdb", "2def/deep/model.cif", "top.pdb", "2def/notes.md", "2def/odd.pdb/x.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(PDB)
    assert [item.stem for item in expand_inputs([str(tmp_path)])] == ["top"]
    assert [item.stem for item in expand_inputs([str(tmp_path)], recursive=True)] == ["1abc_model", "deep_model", "top"]
    (tmp_path / "list.txt").write_text("1abc\n2def\n")
    found = expand_inputs([str(tmp_path / "list.txt")], recursive=True)
    assert [item.stem for item in found] == ["1abc_model", "deep_model"]
    (item,) = expand_inputs([str(tmp_path / "2def")])
    assert "--recursive looks in its subfolders" in item.error


def test_a_dash_is_a_list_on_standard_input(inputs, monkeypatch):
    def piped(content):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return expand_inputs(["-"])

    monkeypatch.chdir(inputs)
    items = piped(b"a.pdb\n1ake # from a shell\nmissing.pdb\n")
    assert [(item.stem, item.identifier) for item in items] == [("a", None), ("1ake", "1ake"), ("missing", None)]
    assert items[2].error == "missing.pdb: no such file"
    assert piped(b"")[0].error == "standard input: the list is empty"
    assert "not a text file" in piped(b"\xff\xfe\x00")[0].error


def test_stems_are_distinct_as_file_names(tmp_path):
    assert [item.stem for item in expand_inputs(["a?b.pdb", "a*b.pdb"])] == ["a_b", "a_b_2"]


def test_impossible_path_is_an_item_with_an_error():
    (item,) = expand_inputs(["x" * 5000])
    assert item.error or item.path


# ---------------------------------------------------------------------------------------------- rows


def test_a_bad_input_is_one_row_and_the_batch_goes_on(inputs, tmp_path):
    (inputs / "boom.pdb").write_text(PDB)
    (inputs / "empty.pdb").write_text("")
    rows = list(predict_batch(expand_inputs([str(inputs), str(tmp_path / "none.pdb")]), options(tmp_path)))
    assert [(Path(row.input).name, row.status, row.n_pockets) for row in rows] == [
        ("a.pdb", "ok", 1),
        ("b.pdb", "ok", 1),
        ("boom.pdb", "error", 0),
        ("empty.pdb", "error", 0),
        ("none.pdb", "error", 0),
    ]
    assert "unexpected ZeroDivisionError: division by zero" in rows[2].message
    assert "the file is empty" in rows[3].message
    assert "no such file" in rows[4].message
    assert [(r["status"], r["message"]) for r in summary(tmp_path)] == [(row.status, row.message) for row in rows]
    assert float(summary(tmp_path)[0]["seconds"]) >= 0
    assert (tmp_path / "out" / "a_pockets.csv").is_file()
    assert not list((tmp_path / "out").glob("boom*"))


def test_no_memory_is_a_sentence(inputs, tmp_path, monkeypatch):
    def full(*_: object) -> Prediction:
        raise MemoryError

    monkeypatch.setattr(FakePredictor, "predict", full)
    rows = list(predict_batch(expand_inputs([str(inputs)]), options(tmp_path)))
    assert [row.status for row in rows] == ["error"] * 2
    assert "a.pdb: not enough memory; give fewer --jobs" in rows[0].message


def test_debug_prints_the_traceback(inputs, tmp_path, monkeypatch, capsys):
    (inputs / "boom.pdb").write_text(PDB)
    items = expand_inputs([str(inputs / "boom.pdb")])
    list(predict_batch(items, options(tmp_path)))
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("S2P_DEBUG", "1")
    list(predict_batch(items, options(tmp_path)))
    assert "Traceback" in capsys.readouterr().err


def test_one_input_writes_no_summary_and_keeps_the_prediction(inputs, tmp_path):
    (row,) = predict_batch(expand_inputs([str(inputs / "a.pdb")]), options(tmp_path))
    assert row.prediction is not None
    assert {p.name for p in row.paths} == {"a_pockets.csv", "a_residues.csv"}
    assert not (tmp_path / "out" / "summary.csv").exists()


def test_equal_stems_do_not_overwrite_each_other(inputs, tmp_path):
    (inputs / "a.ent").write_text(PDB.replace("ALA", "GLY"))
    rows = list(predict_batch(expand_inputs([str(inputs)]), options(tmp_path)))
    assert "written as a_2_*" in rows[1].message
    assert "GLY" in (tmp_path / "out" / "a_residues.csv").read_text()
    assert "ALA" in (tmp_path / "out" / "a_2_residues.csv").read_text()


def test_identifiers_are_fetched_and_named_as_asked(inputs, tmp_path, monkeypatch):
    def fetch(identifier: str) -> Path:
        if identifier == "9zzz":
            raise FetchError("PDB entry 9zzz: not found")
        return inputs / "a.pdb"

    monkeypatch.setattr(io_fetch, "fetch_structure", fetch)
    rows = list(predict_batch(expand_inputs(["1ake", "9zzz"]), options(tmp_path)))
    assert [(row.status, row.message) for row in rows] == [("ok", ""), ("error", "PDB entry 9zzz: not found")]
    assert (tmp_path / "out" / "1ake_pockets.csv").is_file()


def test_chains_reach_the_reader(inputs, tmp_path):
    (row,) = predict_batch(expand_inputs([str(inputs / "a.pdb")]), options(tmp_path, chains=("Z",)))
    assert "no protein chain 'Z'" in row.message


def test_predictor_is_loaded_once_and_only_if_needed(inputs, tmp_path):
    loads = []

    def counting() -> FakePredictor:
        loads.append(1)
        return FakePredictor()

    list(predict_batch([Item("x", "x", error="bad")], options(tmp_path, load=counting)))
    assert loads == []
    list(predict_batch(expand_inputs([str(inputs)]), options(tmp_path, load=counting)))
    assert loads == [1]


def test_without_a_predictor_the_batch_stops(inputs, tmp_path):
    with pytest.raises(WeightsError, match="no such checkpoint"):
        list(predict_batch(expand_inputs([str(inputs)]), options(tmp_path, load=load_nothing)))


def test_folder_that_cannot_be_made(inputs, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(S2PError, match="is a file and not a folder"):
        list(predict_batch(expand_inputs([str(inputs)]), options(tmp_path)))
    assert FakePredictor.calls == []
    (row,) = predict_batch(expand_inputs([str(inputs / "a.pdb")]), options(tmp_path))
    assert row.status == "error" and "is a file and not a folder" in row.message


@pytest.mark.parametrize("where", ["predictor", "consumer"])
def test_interrupt_still_writes_the_summary(inputs, tmp_path, monkeypatch, where):
    items = expand_inputs([str(inputs)])
    if where == "predictor":
        predict = FakePredictor.predict

        def interrupted(self: FakePredictor, structure: Structure, config: PredictConfig | None = None) -> Prediction:
            if structure.name == "b":
                raise KeyboardInterrupt
            return predict(self, structure, config)

        monkeypatch.setattr(FakePredictor, "predict", interrupted)

    def consume() -> None:
        with closing(predict_batch(items, options(tmp_path))) as rows:
            for _ in rows:
                if where == "consumer":
                    raise KeyboardInterrupt

    out = tmp_path / "out"
    out.mkdir()
    (out / ".s2p-1.tmp").write_text("of a worker that was ended while it wrote")
    with pytest.raises(KeyboardInterrupt):
        consume()
    assert not list(out.glob("*.tmp"))
    assert [Path(r["input"]).name for r in summary(tmp_path)] == ["a.pdb"]


# ---------------------------------------------------------------------------------------------- resume


def test_resume_skips_what_is_complete_and_current(inputs, tmp_path):
    items = expand_inputs([str(inputs)])
    full = ("csv", "json", "pdb", "pml", "box")
    first = options(tmp_path, formats=full, resume=True)
    assert [row.status for row in predict_batch(items, first)] == ["ok", "ok"]
    again = list(predict_batch(items, first))
    assert [(row.status, row.n_pockets) for row in again] == [("skipped", 1), ("skipped", 1)]
    assert [r["status"] for r in summary(tmp_path)] == ["skipped", "skipped"]
    assert FakePredictor.calls == ["a", "b"]

    for missing in ("b.json", "b_scores.pdb", "b.pml", "b_pocket1_box.txt", "b_residues.csv"):
        (tmp_path / "out" / missing).unlink()
        assert [row.status for row in predict_batch(items, first)] == ["skipped", "ok"], missing
    (inputs / "a.pdb").write_text(PDB + "\n")
    assert sorted((Path(row.input).name, row.status) for row in predict_batch(items, first)) == [
        ("a.pdb", "ok"),
        ("b.pdb", "skipped"),
    ]
    assert [row.status for row in predict_batch(items, replace(first, resume=False))] == ["ok", "ok"]
    assert [row.status for row in predict_batch(items, replace(first, box=BoxConfig(padding=6)))] == ["ok", "ok"]


# ---------------------------------------------------------------------------------------------- processes


def test_jobs_give_the_same_rows(inputs, tmp_path):
    (inputs / "boom.pdb").write_text(PDB)
    items = expand_inputs([str(inputs), str(inputs / "none.pdb")])
    rows = list(predict_batch(items, options(tmp_path), jobs=2))
    assert sorted(row.status for row in rows) == ["error", "error", "ok", "ok"]
    assert [(Path(r["input"]).name, r["status"]) for r in summary(tmp_path)] == [
        ("a.pdb", "ok"),
        ("b.pdb", "ok"),
        ("boom.pdb", "error"),
        ("none.pdb", "error"),
    ]
    assert FakePredictor.calls == []  # other processes did the work


def test_a_process_that_dies_is_one_error_row(inputs, tmp_path):
    for name in ("die", "slow"):
        (inputs / f"{name}.pdb").write_text(PDB)
    list(predict_batch(expand_inputs([str(inputs)]), options(tmp_path), jobs=2))
    rows = summary(tmp_path)
    assert [(Path(r["input"]).name, r["status"]) for r in rows] == [
        ("a.pdb", "ok"),
        ("b.pdb", "ok"),
        ("die.pdb", "error"),
        ("slow.pdb", "ok"),  # was in work when its neighbour took the pool down
    ]
    assert "worker process died" in rows[2]["message"]


def test_missing_weights_in_a_process_stop_the_batch(inputs, tmp_path):
    with pytest.raises(WeightsError, match="no such checkpoint"):
        list(predict_batch(expand_inputs([str(inputs)]), options(tmp_path, load=load_nothing), jobs=2))


def test_errors_of_the_reader_are_what_the_user_sees(inputs, tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> Structure:
        raise StructureError("plain words")

    monkeypatch.setattr(batch_run, "read_structure", broken)
    (row,) = predict_batch(expand_inputs([str(inputs / "a.pdb")]), options(tmp_path))
    assert row.message == "plain words"
