"""Predictions in processes of their own: one that crashes, hangs or eats the memory costs one structure, not the run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from s2p.errors import S2PError
from s2p.evaluation.config import BenchmarkConfig

__all__ = ["Answer", "isolated", "measure", "peak_megabytes"]

T = TypeVar("T")
Job = Callable[[Any, Any], Any]
"""``job(loaded, item)``: what a worker does with one item; its result must be picklable."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What became of one item."""

    item: T
    status: str
    """``ok``, ``error``, ``timeout`` or ``died``."""
    value: Any = None
    """The job's result if ``ok``."""
    message: str = ""
    seconds: float = 0.0
    """Wall time until the answer, reading and evaluating included."""
    first: bool = False
    """The first item of a process."""


def isolated(
    load: Callable[[], Any],
    job: Job,
    items: Sequence[T],
    *,
    workers: int = 1,
    log: Path | None = None,
    on_load: Callable[[Any], None] | None = None,
    describe: Callable[[Any], Any] | None = None,
    config: BenchmarkConfig | None = None,
) -> Iterator[Answer[T]]:
    """Run ``job(load(), item)`` for every item in worker processes; answers come as they are ready.

    Parameters
    ----------
    load, job, describe
        Importable by name: they are sent to spawned processes. ``describe(loaded)`` is sent back and given to ``on_load``.
    workers
        Processes, each with one thread for numerical libraries.
    log
        File that what the workers print is appended to; default: it is thrown away.
    config
        ``timeout`` for an item and ``load_timeout``; a process that exceeds one is killed with all it has started.

    Raises
    ------
    S2PError
        If ``load`` fails, kills its process or takes too long: no item could succeed. Also what ``on_load`` raises.
    """
    config = config or BenchmarkConfig()
    waiting = deque(items)
    running: list[_Worker[T]] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers and sum(worker.free for worker in running) < len(waiting):
                running.append(_Worker(load, job, describe, log, config.load_timeout))
            soonest = min(worker.deadline for worker in running)
            ready = wait([worker.connection for worker in running], max(0.0, min(soonest - time.monotonic(), 3600.0)))
            for worker in list(running):
                if worker.connection in ready:
                    answer = worker.receive(on_load)
                elif time.monotonic() >= worker.deadline:
                    answer = worker.lost("timeout", f"no answer after {worker.allowed:g} s")
                else:
                    continue
                if answer is not None:
                    yield answer
                if not worker.alive:
                    running.remove(worker)
                elif worker.free and waiting:
                    worker.send(waiting.popleft(), config.timeout)
                elif worker.free:
                    worker.end()
                    running.remove(worker)
    finally:
        for worker in running:
            worker.end()


@dataclass(eq=False)
class _Worker(Generic[T]):
    """One process and what it has in hand."""

    load: Callable[[], Any]
    job: Job
    describe: Callable[[Any], Any] | None
    log: Path | None
    allowed: float
    """Seconds for the present step."""
    item: T | None = None
    ready: bool = False
    alive: bool = True
    started: float = 0.0
    n_done: int = 0
    process: Any = field(init=False)
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.load, self.job, self.describe, self.log), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.started = time.monotonic()

    @property
    def deadline(self) -> float:
        return self.started + self.allowed

    @property
    def free(self) -> bool:
        return self.ready and self.item is None

    def send(self, item: T, allowed: float) -> None:
        self.item, self.allowed, self.started = item, allowed, time.monotonic()
        # A process that died just now is noticed when its answer is awaited.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(item)

    def receive(self, on_load: Callable[[Any], None] | None) -> Answer[T] | None:
        try:
            status, value = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"
            return self.lost("died", f"the process died ({how}): out of memory, or a crash in compiled code")
        if status == "ready":
            self.ready = True
            if on_load is not None:
                on_load(value)
            return None
        if status == "unusable":
            self.end()
            raise S2PError(value)
        if self.item is None:
            raise S2PError("a worker answered without having been asked")
        item, self.item, self.n_done = self.item, None, self.n_done + 1
        seconds, first = time.monotonic() - self.started, self.n_done == 1
        if status == "ok":
            return Answer(item, status, value, "", seconds, first)
        return Answer(item, status, None, value, seconds, first)

    def lost(self, status: str, message: str) -> Answer[T]:
        seconds = time.monotonic() - self.started
        self.end()
        if not self.ready or self.item is None:
            raise S2PError(f"the predictor could not be loaded: {message}")
        return Answer(self.item, status, None, message, seconds, self.n_done == 0)

    def end(self) -> None:
        """Kill the process and its children, and wait for it."""
        self.alive = False
        if self.process.is_alive() and self.process.pid is not None:
            # It leads a group of its own once it has started (see _serve), and until then has no children.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(self.process.pid) == self.process.pid:
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.join(10)
        self.connection.close()


def _serve(
    connection: Connection, load: Callable[[], Any], job: Job, describe: Callable[[Any], Any] | None, log: Path | None
) -> None:
    """The worker: load once, then answer items until the pipe ends."""
    os.setsid()  # a group of its own, so that programs it starts end with it
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    with open(log if log is not None else os.devnull, "ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    try:
        loaded = load()
        described = describe(loaded) if describe is not None else None
    except Exception as error:
        connection.send(("unusable", _sentence(error)))
        return
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    connection.send(("ready", described))
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            answer = ("ok", job(loaded, item))
        except Exception as error:
            answer = ("error", _sentence(error))
        connection.send(answer)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, S2PError) else f"{type(error).__name__}: {text}"


def measure(call: Callable[[], T]) -> tuple[T, float, float]:
    """Result of ``call``, its wall time in seconds, and the peak memory of this process or of its children in MB.

    Where the system can reset the peak (Linux), it is that of the call; else, and for children, the largest so far.
    """
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as handle:
        handle.write("5")
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start, peak_megabytes()


def peak_megabytes() -> float:
    """Peak resident memory of this process, or of a child that has ended if that was larger, in MB (10^6 bytes)."""
    import resource

    unit = 1.0 if sys.platform == "darwin" else 1024.0
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/status") as handle:
        own = next(float(line.split()[1]) * 1024 for line in handle if line.startswith("VmHWM"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return max(own, children) / 1e6
