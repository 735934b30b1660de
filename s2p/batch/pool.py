"""A batch on one machine: worker processes read and finish structures, this process runs the language model over many.

The model stays in one process, which holds the GPU if there is one, so that it is in memory once and sees full batches. What goes
between processes is bounded (:class:`~s2p.batch.work.BatchConfig`), and with it the memory, whatever the number of inputs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Any

from s2p.batch.inputs import Item
from s2p.batch.interrupts import interrupts_held
from s2p.batch.journal import Finished
from s2p.batch.language import LanguageStage, StagedPredictor
from s2p.batch.work import BatchOptions, Loaded, Row, announce, finish, read, work
from s2p.errors import S2PError

if TYPE_CHECKING:
    from s2p.language.esm import LanguageOutput

__all__ = ["run_in_processes"]

LOOK = 0.2
"""Seconds between two looks whether there was an interrupt."""
Find = Callable[[str], Finished | None]
Running = dict[Future[Loaded | Row], int]
"""What is in work, and whose it is."""


def run_in_processes(
    items: Sequence[Item], order: Sequence[int], sizes: Sequence[int], options: BatchOptions, find: Find, jobs: int
) -> Generator[tuple[int, Row], None, None]:
    """Rows of all items, as they are done.

    Parameters
    ----------
    order, sizes
        In which order they are begun, and their residues, estimated.
    find
        What an earlier run noted of an output name.
    jobs
        Worker processes, each with one thread.
    """
    if all(item.error for item in items):
        yield from ((index, _only_read(items[index], options)) for index in order)
        return
    predictor = options.load()
    staged = isinstance(predictor, StagedPredictor) and predictor.load_rest is not None
    flow = _Flow(items, deque(order), sizes, options, find, LanguageStage(predictor, options.config) if staged else None)
    load_rest = predictor.load_rest if staged else None
    jobs = min(jobs, len(items))
    with _few_threads(jobs):
        while flow.order or flow.ready:
            with _pool(options, load_rest, jobs) as pool:
                yield from flow.run(pool, jobs)
        while flow.suspects:
            with _pool(options, load_rest, 1) as pool:
                yield from flow.run_alone(pool)


def _only_read(item: Item, options: BatchOptions) -> Row:
    row = read(item, options)
    if not isinstance(row, Row):
        raise S2PError(f"{item.input}: was read, though it could not be")
    return row


class _Flow:
    """What is waiting, in work and done; lives longer than a pool of processes, which one bad input can take down."""

    def __init__(
        self,
        items: Sequence[Item],
        order: deque[int],
        sizes: Sequence[int],
        options: BatchOptions,
        find: Find,
        stage: LanguageStage | None,
    ) -> None:
        self.items, self.order, self.sizes, self.options, self.find, self.stage = items, order, sizes, options, find, stage
        self.ready: list[tuple[int, Loaded]] = []
        """Read, and waiting for the language model."""
        self.suspects: deque[int] = deque()
        """In work when a process died; it does not say which of them it had."""

    def run(self, pool: ProcessPoolExecutor, jobs: int) -> Generator[tuple[int, Row], None, None]:
        """Work until all is done or a process dies; then those that were in work are suspects."""
        limits = self.options.batch
        running: Running = {}
        reading: set[Future[Loaded | Row]] = set()
        held = sum(self.sizes[index] for index, _ in self.ready)
        try:
            while self.order or running or self.ready:
                while self.order and len(reading) < limits.queue * jobs and self._fits(held):
                    future = self._submit_read(pool, self.order[0])  # may raise: the item must still be in the queue then
                    reading.add(future)
                    running[future] = self.order.popleft()
                    held += self.sizes[running[future]]
                more = bool(self.order) and self._fits(held)
                if self.ready and (self._gathered() >= limits.gather or not (reading or more)):
                    self._submit_finish(pool, running)
                for future in _done(running):
                    result = future.result()
                    index = running.pop(future)
                    reading.discard(future)
                    if isinstance(result, Loaded):
                        self.ready.append((index, result))
                        continue
                    held -= self.sizes[index]
                    yield index, result
        except BrokenProcessPool:
            lost = list(running.values())
            if not lost and self.order:  # from submit: a process died with nothing to do, or while it started
                lost.append(self.order.popleft())
            self.suspects.extend(sorted(lost))

    def run_alone(self, pool: ProcessPoolExecutor) -> Generator[tuple[int, Row], None, None]:
        """Suspects one by one; the one that kills its process again gets the error."""
        while self.suspects:
            index = self.suspects.popleft()
            try:
                result = _result(self._submit_read(pool, index))
                if isinstance(result, Loaded):
                    self.ready.append((index, result))
                    finishing: Running = {}
                    self._submit_finish(pool, finishing)
                    result = _result(next(iter(finishing)))
                if isinstance(result, Loaded):
                    raise S2PError(f"{self.items[index].input}: was read twice")
            except BrokenProcessPool:
                self.ready.clear()
                text = f"{self.items[index].input}: the worker process died (out of memory, or a crash in compiled code)"
                yield index, Row(self.items[index].input, "error", message=text)
                return
            yield index, result

    def _fits(self, held: int) -> bool:
        return not held or held + self.sizes[self.order[0]] <= self.options.batch.held

    def _gathered(self) -> int:
        return sum(len(loaded.structure.residues) for _, loaded in self.ready)

    def _submit_read(self, pool: ProcessPoolExecutor, index: int) -> Future[Loaded | Row]:
        item = self.items[index]
        return _submit(pool, _read if self.stage else _whole, item, self.find(item.stem))

    def _submit_finish(self, pool: ProcessPoolExecutor, running: Running) -> None:
        """Run the language model over what is ready, hand it back to the processes, and add that to ``running``."""
        if self.stage is None:
            raise S2PError("a predictor without stages was given some")
        start = time.perf_counter()
        outputs = self.stage.read(sequence for _, loaded in self.ready for sequence in loaded.sequences)
        each = (time.perf_counter() - start) / max(1, self._gathered())
        while self.ready:
            index, loaded = self.ready[0]
            own = {sequence: outputs[sequence] for sequence in loaded.sequences}
            running[_submit(pool, _finish, loaded, own, each * len(loaded.structure.residues))] = index
            self.ready.pop(0)


# An interrupt inside these calls could leave a lock taken that the pool needs to end.


def _submit(pool: ProcessPoolExecutor, function: Callable[..., Loaded | Row], *arguments: Any) -> Future[Loaded | Row]:
    with interrupts_held():
        return pool.submit(function, *arguments)


def _done(futures: Iterable[Future[Loaded | Row]]) -> set[Future[Loaded | Row]]:
    """Those that are done, as soon as there are some."""
    done: set[Future[Loaded | Row]] = set()
    waited = list(futures)
    with interrupts_held() as interrupted:
        while not done and not interrupted():
            done = wait(waited, LOOK, FIRST_COMPLETED).done
    return done


def _result(future: Future[Loaded | Row]) -> Loaded | Row:
    _done([future])
    return future.result()


@contextmanager
def _pool(options: BatchOptions, load_rest: Callable[[], Any] | None, jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, and at once if this one is interrupted."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(options, load_rest, context.Lock()))
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        # A process that is still starting needs what this one holds for it, so it is waited for; a terminated one is not.
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _few_threads(jobs: int) -> Iterator[None]:
    """Give the language model in this process half as many threads as there are workers: about its share of the work."""
    torch = sys.modules.get("torch")
    if torch is None or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, jobs // 2)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------ in the worker


class _Worker:
    """What a worker process knows."""

    options: BatchOptions
    load_rest: Callable[[], Any] | None
    predictor: Any = None


def _start_worker(options: BatchOptions, load_rest: Callable[[], Any] | None, first: Any) -> None:
    """``first`` is a lock that nobody gives back: the process that gets it speaks for all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    _Worker.options = replace(options, quiet=options.quiet or not first.acquire(block=False))
    _Worker.load_rest = staticmethod(load_rest) if load_rest is not None else None
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for it forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _loaded_predictor() -> Any:
    if _Worker.predictor is None:
        _Worker.predictor = (_Worker.load_rest or _Worker.options.load)()
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        announce(_Worker.options)
    return _Worker.predictor


def _read(item: Item, known: Finished | None) -> Loaded | Row:
    return read(item, _Worker.options, known)


def _finish(loaded: Loaded, outputs: Mapping[str, LanguageOutput | S2PError], spent: float) -> Loaded | Row:
    return replace(finish(loaded, outputs, _Worker.options, _loaded_predictor(), spent), prediction=None)


def _whole(item: Item, known: Finished | None) -> Row:
    loaded = read(item, _Worker.options, known)
    if isinstance(loaded, Row):
        return loaded
    return replace(work(loaded, _Worker.options, _loaded_predictor().predict), prediction=None)
