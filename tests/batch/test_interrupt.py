"""Batches that are killed or interrupted: they end, nothing is half-written, nothing is lost, nothing is done again."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import shutil
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
NAMES = ("1ubi.pdb.gz", "4CUP.cif", "1hpv.pdb.gz", "1pwc.pdb.gz")
ENOUGH = 60
"""Seconds in which anything has ended, on a machine that others use too."""


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
    """Processes started by ``pid``, whichever of its threads did; empty where there is no /proc."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


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


# ------------------------------------------------------------------------------- the command, and what it sends to its workers


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for k in range(3):
        for name in NAMES:
            shutil.copy(examples / name, folder / f"n{k}_{name}")
    return folder


def start(source: Path, out: Path, draw: random.Random) -> tuple[subprocess.Popen[str], list[int]]:
    """A batch as from a shell, some time after it has begun, and its workers.

    A moment at which a thread of it cannot go on because a pipe is full comes first, if there is one: there, before Python 3.12,
    :class:`concurrent.futures.ProcessPoolExecutor` waits for ever.
    """
    command = [sys.executable, "-m", "s2p", "predict", str(source), "-o", str(out), "--format", "csv", "--jobs", "2", "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for longest in (4.0, 2.0, 1.0, 0.5, 0.0):  # a quiet machine may be done before the moment comes: again, and sooner
        shutil.rmtree(out, ignore_errors=True)
        process = subprocess.Popen(
            command, start_new_session=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while not (out / JOURNAL).exists() and process.poll() is None:
            time.sleep(0.02)
        end = time.monotonic() + draw.uniform(0, longest)
        while process.poll() is None:
            workers = workers_of(process.pid)
            if workers and (time.monotonic() >= end or blocked(process.pid)):
                return process, workers
            time.sleep(0.01)
        assert process.communicate()[1] == ""
    raise AssertionError("ended too soon, again and again")


def workers_of(pid: int) -> list[int]:
    found = []
    for child in children(pid):
        try:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def blocked(pid: int) -> bool:
    for path in Path(f"/proc/{pid}/task").glob("*/wchan"):
        try:
            if "pipe_write" in path.read_text():
                return True
        except OSError:
            continue
    return False


def ended(process: subprocess.Popen[str], workers: list[int]) -> str:
    """What it printed as errors."""
    try:
        _, errors = process.communicate(timeout=ENOUGH)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("it hangs")
    end = time.monotonic() + 20
    while any(map(living, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in workers if living(pid)], "workers outlived their parent"
    return errors


needs_proc = pytest.mark.skipif(not Path("/proc/self/wchan").exists(), reason="looks into /proc")


@needs_proc
@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_ctrl_c_ends_it_at_any_moment(real, tmp_path, seed):
    process, workers = start(real, tmp_path / "out", random.Random(seed))
    os.killpg(process.pid, signal.SIGINT)
    errors = ended(process, workers)
    assert (process.returncode, errors) == (130, "s2p: error: interrupted\n")


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_worker_killed_at_any_moment_costs_nothing(real, tmp_path, seed):
    draw = random.Random(seed)
    process, workers = start(real, tmp_path / "out", draw)
    os.kill(draw.choice(workers), signal.SIGKILL)
    errors = ended(process, workers)
    assert (process.returncode, errors) == (0, "")
    with open(tmp_path / "out" / "summary.csv", newline="") as handle:
        assert [row["status"] for row in csv.DictReader(handle)] == ["ok"] * 3 * len(NAMES)


@needs_proc
@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(real, tmp_path):
    process, workers = start(real, tmp_path / "out", random.Random(0))
    process.kill()
    assert workers
    ended(process, workers)
