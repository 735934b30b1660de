"""The program from outside: Ctrl-C at any moment, and standard streams that are closed, full or left by their reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s2p import __main__ as program

RUN = "import sys; from s2p.__main__ import run; print('ready', flush=True); sys.exit(run())"
INTERRUPTED = "s2p: error: interrupted\n"


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("delay", [0.03, 0.1, 0.2, 0.4, 0.7, 1.2])
def test_ctrl_c_while_it_starts(examples: Path, tmp_path: Path, delay: float, jobs: str) -> None:
    """Imports of compiled modules included, which an exception would abort."""
    command = [sys.executable, "-c", RUN, "predict", str(examples), "-o", str(tmp_path / "out"), "--quiet", "--jobs", jobs]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, INTERRUPTED)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_in_a_destructor_is_not_forgotten() -> None:
    code = (
        "import sys, signal, time, s2p.commands\n"
        "class Careless:\n    def __del__(self):\n        signal.raise_signal(signal.SIGINT)\n"
        "def main():\n    Careless()\n    time.sleep(20)\n"
        "s2p.commands.main = main\n"
        "from s2p.__main__ import run\nsys.exit(run())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False)
    assert (done.returncode, done.stderr) == (130, INTERRUPTED)


def test_an_ignored_interrupt_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``nohup`` and shells in the background ask for."""
    monkeypatch.setattr("s2p.commands.main", lambda: signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert program.run() is True
    finally:
        signal.signal(signal.SIGINT, before)


def shell(line: str, cwd: Path) -> tuple[int, str]:
    """Status and errors of ``s2p``, written as ``S2P``, in a shell line."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    line = line.replace("S2P", f"{sys.executable} -m s2p")
    done = subprocess.run(["bash", "-c", line], cwd=cwd, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stderr


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full device")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param("S2P datasets list >/dev/full", "No space left on device", marks=needs_full),
        pytest.param("S2P --help >/dev/full", "No space left on device", marks=needs_full),
        ("S2P datasets list >&-", "Bad file descriptor"),
        ("S2P datasets list <&- >&-", "Bad file descriptor"),
        ("S2P datasets list | true; exit ${PIPESTATUS[0]}", "Broken pipe"),
    ],
)
def test_output_that_nobody_takes(tmp_path: Path, line: str, reason: str) -> None:
    status, errors = shell(line, tmp_path)
    assert status == 1
    assert errors == f"s2p: error: standard output cannot be written ({reason}); the files that were written are complete\n"


@needs_full
def test_errors_that_nobody_takes(tmp_path: Path) -> None:
    for target in ("/dev/full", "&-"):
        assert shell(f"S2P view nowhere 2>{target}", tmp_path) == (1, "")


@pytest.mark.slow
@needs_full
def test_a_prediction_is_written_before_it_is_printed(examples: Path, tmp_path: Path) -> None:
    status, errors = shell(f"S2P predict {examples}/1ubi.pdb.gz -o out --format csv >/dev/full", tmp_path)
    assert status == 1 and errors.count("\n") == 1
    assert (tmp_path / "out" / "1ubi_pockets.csv").read_text().startswith("rank,score")
