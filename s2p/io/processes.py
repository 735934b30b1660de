"""Work in separate processes: if one crashes, hangs or runs out of memory, one item fails, and not the run.

A worker is a pool of one process (pebble's) and a thread that gives it one item at a time. So it is known which item a process
was working on when it died, there are no shared locks that it could leave locked, and Ctrl-C, which reaches only the main thread,
interrupts that thread while it waits for answers and not inside a pool.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from s2p.errors import S2PError, sentence

__all__ = ["Answer", "isolated"]

T = TypeVar("T")
Job = Callable[[Any, Any], Any]
"""``job(loaded, item)``: what a worker does with one item; its result must be picklable."""
LOOK = 1.0
"""Seconds between two checks whether the pool is still alive."""
END = 10.0
"""Seconds to wait for a worker to end; after that it ends with this process."""
THREADS = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
"""Environment of a process on one core: one thread for every library."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """Result of one item."""

    item: T
    status: str
    """``ok``, ``error``, ``timeout`` or ``died``."""
    value: Any = None
    """The job's result if ``ok``; the error if it is an :class:`S2PError`."""
    message: str = ""
    seconds: float = 0.0
    """Wall time until the answer."""
    first: bool = False
    """The first item of a process."""


def isolated(
    load: Callable[[], Any],
    job: Job,
    items: Iterable[T],
    *,
    workers: int = 1,
    log: Path | None = None,
    on_load: Callable[[Any], None] | None = None,
    describe: Callable[[Any], Any] | None = None,
    timeout: float | None = None,
    load_timeout: float | None = None,
) -> Iterator[Answer[T]]:
    """Run ``job(load(), item)`` for every item in worker processes; answers come as they are ready.

    Parameters
    ----------
    load, job, describe
        Importable by name: they are sent to spawned processes. ``describe(loaded)`` is sent back and given to ``on_load``.
    items
        Read one by one, when a worker is free, in another thread.
    workers
        Processes at most, each with one thread for numerical libraries.
    log
        File to which the output of the workers is appended; default: it is printed.
    timeout, load_timeout
        Seconds for an item and for ``load``; a process that exceeds one is killed with all processes that it started.

    Raises
    ------
    S2PError
        If ``load`` fails, kills its process (twice) or takes too long: no item could succeed. Also what ``on_load`` raises.
    """
    run = _Run(load, job, iter(items), log, describe, timeout, load_timeout)
    resource_tracker.ensure_running()  # not later by a worker, because starting it unblocks interrupts
    threads = [_Worker(run) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        left = workers
        while left:
            kind, value = run.said.get()
            if kind == "answer":
                yield value
            elif kind == "failure":
                raise value
            elif kind == "loaded" and on_load is not None:
                on_load(value)
            left -= kind == "end"
    finally:
        run.stopped = True
        for thread in threads:
            thread.cancel()
        for thread in threads:
            if thread.ident is not None:
                thread.join(END)


@dataclass
class _Run(Generic[T]):
    """State shared by the workers."""

    load: Callable[[], Any]
    job: Job
    items: Iterator[T]
    log: Path | None
    describe: Callable[[Any], Any] | None
    timeout: float | None
    load_timeout: float | None
    said: SimpleQueue[tuple[str, Any]] = field(default_factory=SimpleQueue)
    """Messages of the workers: an answer, what they loaded, a failure, or their end."""
    stopped: bool = False
    turn: Any = field(default_factory=threading.Lock)

    def take(self) -> Iterator[T]:
        """Yield items for one worker until none is left."""
        while not self.stopped:
            with self.turn:
                try:
                    item = next(self.items)
                except StopIteration:
                    return
            yield item


class _Worker(threading.Thread, Generic[T]):
    """One process, which is started again if it is lost, and the thread that gives it items."""

    def __init__(self, run: _Run[T]) -> None:
        super().__init__(daemon=True)
        self._run = run
        self._pool: ProcessPool | None = None
        self._future: Future[Any] | None = None
        self._group = 0
        """Process group of the process, once it has loaded."""
        self._n_done = 0

    def run(self) -> None:
        """Process items until none is left."""
        if hasattr(signal, "pthread_sigmask"):  # processes started by this thread do not get the terminal's Ctrl-C
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for item in self._run.take():
                if self._pool is None:
                    self._begin()
                self._run.said.put(("answer", self._answer(item)))
        except CancelledError:
            pass
        except Exception as error:
            self._run.said.put(("failure", error))
        finally:
            self._end()
            self._run.said.put(("end", None))

    def cancel(self) -> None:
        """Stop waiting for an answer; called by another thread when the run has stopped."""
        if self._future is not None:
            self._future.cancel()

    def _begin(self) -> None:
        run = self._run
        for _ in range(2):  # a single failure may have been an accident
            context: Any = multiprocessing.get_context("spawn")
            self._pool = ProcessPool(1, initializer=_start, initargs=(run.log,), context=context)
            try:
                self._group, described = self._ask(_load, (run.load, run.describe), run.load_timeout)
                run.said.put(("loaded", described))
                return
            except TimeoutError:
                raise S2PError(f"the predictor could not be loaded: no response after {run.load_timeout:g} s") from None
            except (ProcessExpired, RuntimeError) as error:
                self._end()
                how = _how(error)
        raise S2PError(f"the predictor could not be loaded: {how}")

    def _answer(self, item: T) -> Answer[T]:
        run, start, first = self._run, time.monotonic(), self._n_done == 0
        self._n_done += 1
        try:
            status, value, message = self._ask(_work, (run.job, item), run.timeout)
        except TimeoutError:
            self._end()
            status, value, message = "timeout", None, f"no answer after {run.timeout:g} s"
        except (ProcessExpired, RuntimeError) as error:
            self._end()
            status, value, message = "died", None, _how(error)
        return Answer(item, status, value, message, time.monotonic() - start, first)

    def _ask(self, function: Callable[..., Any], arguments: tuple[Any, ...], timeout: float | None) -> Any:
        assert self._pool is not None
        future = self._future = self._pool.schedule(function, arguments, timeout=timeout)
        if self._run.stopped:
            future.cancel()
        # If a process dies at the moment when it gets an item, the item can be lost.
        while not future.done() and self._pool.active:
            wait([future], LOOK)
        if not future.done():
            raise BrokenProcessPool("the pool has ended")
        return future.result()

    def _end(self) -> None:
        """Kill the process and all processes that it started, and wait for it."""
        if self._pool is None:
            return
        self._pool.stop()
        if self._group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)
        self._pool.join()
        self._pool, self._group, self._n_done = None, 0, 0


def _how(error: Exception) -> str:
    code = getattr(error, "exitcode", None)
    how = f" (signal {signal.Signals(-code).name})" if code and code < 0 else "" if code is None else f" (exit status {code})"
    return f"the process died{how}: out of memory, or a crash in compiled code"


# ------------------------------------------------------------------------------------------------ in the worker

_loaded: Any = None


def _start(log: Path | None) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, so that programs it starts end with it
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(THREADS)
    if log is not None:
        with open(log, "ab", buffering=0) as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)


def _end_with_parent() -> None:
    """End this worker when its parent is killed; otherwise it would finish its item first."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _load(load: Callable[[], Any], describe: Callable[[Any], Any] | None) -> tuple[int, Any]:
    global _loaded
    try:
        _loaded = load()
        described = describe(_loaded) if describe is not None else None
    except S2PError:
        raise
    except Exception as error:
        raise S2PError(sentence(error)) from None
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return (os.getpgid(0) if hasattr(os, "getpgid") else 0), described


def _work(job: Job, item: Any) -> tuple[str, Any, str]:
    try:
        return "ok", job(_loaded, item), ""
    except Exception as error:
        return "error", error if isinstance(error, S2PError) else None, sentence(error)
