"""Batches that are killed or interrupted: nothing is half-written, nothing is lost, nothing is done again."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_stub import pdb

from s2p.batch.journal import JOURNAL

STUB = Path(__file__).parents[1] / "batch_stub.py"
N = 24
SECONDS = 0.05
ROUNDS = int(os.environ.get("S2P_KILL_ROUNDS", "3"))


def command(source: Path, out: Path, jobs: int, seconds: float = SECONDS) -> list[str]:
    return [sys.executable, str(STUB), str(source), str(out), str(jobs), str(seconds)]


def outputs(folder: Path) -> dict[str, bytes]:
    """Whatever is there besides the journal and the summary, which has times in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in (JOURNAL, "summary.csv")}


def statuses(folder: Path) -> list[str]:
    with open(folder / "summary.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [Path(row["input"]).name for row in rows] == sorted(f"s{k}.pdb" for k in range(N))
    return [row["status"] for row in rows]


def living(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """Processes started by ``pid``; empty where there is no /proc."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    for k in range(N):
        (folder / f"s{k}.pdb").write_text(pdb(5 + k))
    return folder


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """The outputs of an undisturbed run, and how long it takes from its first row."""
    out = tmp_path_factory.mktemp("whole")
    process = subprocess.Popen(command(source, out, 2), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    start = time.monotonic()
    assert process.wait(120) == 0
    seconds = time.monotonic() - start
    process.stdout.close()
    assert statuses(out) == ["ok"] * N
    return outputs(out), seconds


def stop_after(source: Path, out: Path, jobs: int, rows: int, delay: float, sign: int, each: float = SECONDS) -> int:
    """Start a batch of ``each`` seconds a structure, send it a signal some time after it has given so many rows; its status."""
    process = subprocess.Popen(command(source, out, jobs, each), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(rows):
        process.stdout.readline()
    time.sleep(delay)
    workers = children(process.pid)
    process.send_signal(sign)
    status = process.wait(60)
    process.stdout.close()
    end = time.monotonic() + 20
    while any(map(living, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in workers if living(pid)], "workers outlived their parent"
    return status


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_at_any_time_it_goes_on(source, whole, tmp_path, seed):
    expected, seconds = whole
    draw = random.Random(seed)
    jobs = draw.choice((1, 2, 2))
    for _ in range(draw.choice((1, 1, 2))):
        stop_after(source, tmp_path, jobs, int(draw.random() < 0.85), draw.uniform(0, seconds), signal.SIGKILL)
    left = {name: data for name, data in outputs(tmp_path).items() if not name.endswith(".tmp")}
    assert left.items() <= expected.items(), "a file is there that is not whole"
    journal = tmp_path / JOURNAL
    noted = journal.read_bytes().count(b"}\n") if journal.exists() else 0
    done = subprocess.run(command(source, tmp_path, jobs), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert outputs(tmp_path) == expected
    assert sorted(statuses(tmp_path)) == ["ok"] * (N - noted) + ["skipped"] * noted


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_it_writes_the_summary_and_goes_on(source, whole, tmp_path, jobs):
    expected, _ = whole
    assert stop_after(source, tmp_path, jobs, N // 3, 0.0, signal.SIGINT, each=0.2) == 130
    with open(tmp_path / "summary.csv", newline="") as handle:
        so_far = [row["status"] for row in csv.DictReader(handle)]
    assert 0 < len(so_far) < N and set(so_far) == {"ok"}
    assert outputs(tmp_path).items() <= expected.items()
    assert subprocess.run(command(source, tmp_path, jobs), capture_output=True, timeout=120, check=False).returncode == 0
    assert outputs(tmp_path) == expected
    # What was written, but not yet seen by the parent, may be done again.
    assert 0 < statuses(tmp_path).count("skipped") <= len(so_far)
