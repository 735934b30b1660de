"""The journal of a batch: what it says is checked, and what a crash left in it does no harm."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_stub import Stub, pdb

from s2p.batch.inputs import BatchOptions, Item, expand_inputs
from s2p.batch.journal import JOURNAL, Finished, Journal, intact
from s2p.batch.run import predict_batch
from s2p.config import PredictConfig
from s2p.errors import S2PError, TargetError
from s2p.io import files
from s2p.io.files import sha256_file


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Finished, Item]:
    (tmp_path / "a.pdb").write_text("input")
    (tmp_path / "a_pockets.csv").write_text("output")
    item = Item("a.pdb", "a", path=tmp_path / "a.pdb")
    outputs = {"a_pockets.csv": sha256_file(tmp_path / "a_pockets.csv")}
    return Finished("a", sha256_file(tmp_path / "a.pdb"), "s", ("csv", "json"), outputs, 3), item


def test_only_what_is_unchanged_is_intact(finished, tmp_path):
    known, item = finished
    assert intact(known, item, tmp_path, ("csv",), "s")
    assert not intact(known, item, tmp_path, ("csv", "html"), "s"), "another format"
    assert not intact(known, item, tmp_path, ("csv",), "other"), "other settings"
    (tmp_path / "a_pockets.csv").write_text("outpux")
    assert not intact(known, item, tmp_path, ("csv",), "s"), "an output was edited"
    (tmp_path / "a_pockets.csv").unlink()
    assert not intact(known, item, tmp_path, ("csv",), "s"), "an output is gone"
    (tmp_path / "a_pockets.csv").write_text("output")
    assert intact(known, item, tmp_path, ("csv",), "s")
    (tmp_path / "a.pdb").write_text("inpux")
    assert not intact(known, item, tmp_path, ("csv",), "s"), "another input"
    (tmp_path / "a.pdb").unlink()
    assert not intact(known, item, tmp_path, ("csv",), "s")


def test_later_lines_win_and_half_lines_do_not_count(finished, tmp_path):
    known, _ = finished
    with Journal(tmp_path) as journal:
        journal.add(known)
        journal.add(replace(known, n_pockets=5))
        journal.add(replace(known, stem="b€"))
        assert journal.find("a") is None, "not resuming"
    with open(tmp_path / JOURNAL, "ab") as handle:
        handle.write(b'{"stem": "a", "sour')  # killed while writing
    (tmp_path / ".s2p-0.tmp").write_text("")
    with Journal(tmp_path, resume=True) as journal:
        assert journal.find("a") == replace(known, n_pockets=5)
        assert journal.find("b€") == replace(known, stem="b€")
        assert journal.find("c") is None
        assert not list(tmp_path.glob("*.tmp"))
        journal.add(replace(known, n_pockets=6))
    with Journal(tmp_path, resume=True) as journal:
        assert journal.find("a") == replace(known, n_pockets=6)


@pytest.mark.parametrize("text", [b"\x00\xff\n[]\n5\n{}\n", b'{"formats": 3}\n' * 3], ids=["noise", "other"])
def test_a_damaged_journal_is_an_empty_one(tmp_path, text):
    (tmp_path / JOURNAL).write_bytes(text)
    with Journal(tmp_path, resume=True) as journal:
        assert journal.find("a") is None


def test_two_batches_do_not_share_a_folder(tmp_path):
    code = f"from pathlib import Path\nfrom s2p.batch.journal import Journal\nJournal(Path({str(tmp_path)!r}))"
    with Journal(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "another s2p is writing into" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


# ---------------------------------------------------------------------------------------------- resume, of a batch


@pytest.fixture
def batch(tmp_path: Path) -> tuple[list[Item], BatchOptions]:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(4):
        (folder / f"s{k}.pdb").write_text(pdb(5 + k))
    return expand_inputs([str(folder)]), BatchOptions(tmp_path / "out", Stub, ("csv",), resume=True, quiet=True)


def done(items: list[Item], options: BatchOptions, **how: Any) -> list[str]:
    return [row.status for row in predict_batch(items, options, **how)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_other_settings_are_done_again(batch, jobs):
    items, options = batch
    assert done(items, options, jobs=jobs) == ["ok"] * 4
    assert done(items, options, jobs=jobs) == ["skipped"] * 4
    for other in (
        replace(options, config=PredictConfig(threshold=0.4)),
        replace(options, chains=("A",)),
        replace(options, model="another"),
        replace(options, formats=("csv", "json")),
    ):
        assert done(items, other, jobs=jobs) == ["ok"] * 4
        assert done(items, other, jobs=jobs) == ["skipped"] * 4


def test_errors_are_tried_again(batch):
    items, options = batch
    text = items[2].path.read_text()
    items[2].path.write_text("")
    assert sorted(done(items, options)) == ["error", "ok", "ok", "ok"]
    items[2].path.write_text(text)
    assert sorted(done(items, options)) == ["ok", "skipped", "skipped", "skipped"]


# ---------------------------------------------------------------------------------------------- disks


@pytest.mark.parametrize(
    ("number", "why"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "the disk is read-only"), (errno.EACCES, "no permission to write")],
)
def test_a_disk_that_takes_no_files_stops_the_batch(batch, monkeypatch, number, why):
    items, options = batch
    whole = files.os.replace
    calls = []

    def replace_file(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 4:  # the second output of the second structure
            raise OSError(number, os.strerror(number))
        whole(source, target)

    monkeypatch.setattr(files.os, "replace", replace_file)
    with pytest.raises(TargetError, match=why):
        done(items, options)
    assert not list(options.folder.glob("*.tmp"))
    assert (options.folder / "summary.csv").read_text().count("ok") == 1
    assert sorted(done(items, options)) == ["ok", "ok", "ok", "skipped"]


def test_a_disk_that_is_full(batch, tmp_path):
    """A real one: a file system of 64 kB, where the tests may mount one."""
    items, options = batch
    out = tmp_path / "small"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "s2p", str(out)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        (out / "other").write_bytes(bytes(50 << 10))
        small = replace(options, folder=out)
        with pytest.raises(TargetError, match="the disk is full"):
            done(items, small)
        assert not list(out.glob("*.tmp"))
        (out / "other").unlink()
        assert "error" not in done(items, small)
    finally:
        subprocess.run(["umount", str(out)], check=False)


def test_a_journal_that_cannot_be_written(tmp_path):
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(S2PError, match="a folder is where a file should be"):
        Journal(tmp_path)
