"""Running an outside tool in a process of its own: with a time limit, nothing left behind, and a sentence when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from s2p.errors import S2PError

__all__ = ["INTERPRETER", "interpreter_with", "run_worker"]

INTERPRETER = "S2P_PEERS_PYTHON"
"""Environment variable: the Python whose packages are looked at first, for tools that ask for other versions than ours."""

WORKER = Path(__file__).with_name("worker.py")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
VERSION_CODE = "import sys, importlib.metadata as m; sys.stdout.write(m.version(sys.argv[1]))"


def interpreter_with(package: str) -> tuple[str, str] | None:
    """Python that has a distribution, and its version: that of :data:`INTERPRETER`, else ours; ``None`` if neither has it."""
    for python in dict.fromkeys((os.environ.get(INTERPRETER) or sys.executable, sys.executable)):
        version = _version_in(python, package)
        if version:
            return python, version
    return None


@lru_cache(maxsize=64)
def _version_in(python: str, package: str) -> str | None:
    try:
        done = subprocess.run(
            [python, "-c", VERSION_CODE, package],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def run_worker(
    python: str, tool: str, pdb: Path, *, title: str, structure: str, timeout: float, threads: int, worker: Path = WORKER
) -> dict[str, Any]:
    """Let ``tool`` find pockets of a PDB file; what it writes goes into the file's folder, which the caller removes.

    Parameters
    ----------
    python, tool
        Interpreter and the tool's name in :mod:`benchmarks.peers.worker`.
    title, structure
        Names for messages.
    timeout, threads
        Seconds and number.

    Returns
    -------
    dict
        The worker's answer.

    Raises
    ------
    S2PError
        If the tool cannot be started, takes too long, ends with an error, or gives no readable answer.
    """
    if not hasattr(os, "killpg"):
        raise S2PError(f"{title} is run on Linux and macOS only; on Windows use WSL")
    folder = pdb.parent
    output, log = folder / "answer.json", folder / "log.txt"
    environment = (
        os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    )
    command = [python, str(worker), tool, pdb.name, output.name, str(threads), str(os.getpid())]
    with open(log, "wb") as handle:
        try:
            # A session of its own, so that what the tool starts is ended with it.
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise S2PError(
                f"{title} could not be started with {python} ({error.strerror or error}); check {INTERPRETER}"
            ) from None
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise S2PError(f"{title} gave no answer for {structure} in {timeout:g} s and was stopped") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code:
        how = f"was ended by signal {-code}" if code < 0 else "failed"
        raise S2PError(f"{title} {how} on {structure}: {_last_line(log)}")
    try:
        answer: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise S2PError(f"{title} gave no readable answer for {structure} ({error})") from None
    return answer


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says nothing about why"
