"""A batch on a Dask cluster: the scheduler of one that exists, or one started on this machine.

A task is some structures of similar length, worked on by one worker from reading to writing (:func:`s2p.batch.run.run_task`), so
that only names and rows travel; the folder is the one place of results. Whatever a worker leaves unfinished when it is lost,
another does; a row is given once.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s2p.batch.inputs import BatchOptions, Entry, Find, Task, groups, make_task
from s2p.batch.journal import JOURNAL
from s2p.batch.run import Row, run_task
from s2p.errors import DISTRIBUTION, S2PError
from s2p.io.processes import THREADS

__all__ = ["run_on_cluster"]

CONNECT = 30
"""Seconds to wait for a scheduler, and then for its first worker."""
LOOK, LOST = 5.0, 120
"""Seconds between two looks whether there are workers, and without any before the batch ends."""
GPU = "GPU"
"""Resource that workers with a GPU offer: ``dask worker … --resources GPU=1``."""


def run_on_cluster(
    entries: Sequence[Entry],
    options: BatchOptions,
    find: Find,
    *,
    scheduler: str | None,
    local_workers: int,
) -> Generator[tuple[int, Row], None, None]:
    """Rows of all items, as they are done; begun in this order.

    Where some of the workers there are at the start offer the resource :data:`GPU`, only such are given work, one task for each
    unit of it. A task that keeps killing its workers is taken apart, until the structure that does it is alone and becomes an
    error. ``scheduler``: address, e.g. ``tcp://10.0.0.1:8786``; ``None`` starts one here, with ``local_workers`` processes.
    :class:`S2PError` if Dask is not installed, no scheduler or worker answers, a worker has no s2p or does not see the folder, or
    all workers are lost.
    """
    try:
        import distributed.scheduler
    except ImportError:
        raise S2PError(f"--scheduler and --local-cluster need Dask: pip install '{DISTRIBUTION}[dask]'") from None
    options = replace(options, folder=options.folder.resolve())
    with _client(scheduler, local_workers) as client:
        resources = _check_workers(client, options.folder)
        waiting = deque(groups(entries, options.batch.cluster_task))
        suspects: deque[Entry] = deque()  # given last and one at a time: a worker that dies is held against all tasks it had
        given: dict[Any, list[Entry]] = {}
        try:
            while waiting or given or suspects:
                alone = not waiting and not given
                if alone:
                    waiting.append([suspects.popleft()])
                while waiting and len(given) < options.batch.cluster_queue * max(1, sum(client.nthreads().values())):
                    group = waiting.popleft()
                    task = make_task(group, find)
                    # Not pure: a task of the same content, given again, has to run again.
                    again = options.batch.retries
                    given[client.submit(_run_task, task, options, pure=False, retries=again, resources=resources)] = group
                future = _next_done(client, list(given))
                group = given.pop(future)
                try:
                    yield from future.result()
                except distributed.scheduler.KilledWorker:
                    if len(group) > 1:
                        waiting.extendleft([entry] for entry in reversed(group))
                        continue
                    if not alone:
                        suspects.append(group[0])
                        continue
                    ((index, item),) = group
                    text = f"{item.input}: the worker died each time (out of memory, or a crash in compiled code)"
                    yield index, Row(item.input, "error", message=text)
                finally:
                    future.release()
        finally:
            client.cancel(list(given), force=True)


@contextlib.contextmanager
def _client(scheduler: str | None, local_workers: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if scheduler is None:
            stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": THREADS}))
            local = LocalCluster(
                n_workers=local_workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            )
            address = stack.enter_context(local)
        try:
            client = Client(address, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise S2PError(f"no Dask scheduler answers at {scheduler} ({' '.join(str(error).split()) or 'timeout'})") from None
        yield stack.enter_context(client)


def _check_workers(client: Any, folder: Path) -> dict[str, float] | None:
    """The resource that tasks need; complains of a cluster without workers, or of workers that do not see the folder."""
    try:
        client.wait_for_workers(1, timeout=CONNECT)
    except TimeoutError:
        raise S2PError(f"the Dask scheduler has no workers; start some with: dask worker {client.scheduler.address}") from None
    try:
        seen = client.run(_sees, folder / JOURNAL)
    except Exception as error:  # what a worker has to say comes as it is, or as the text of an Exception
        if "ModuleNotFoundError" not in repr(error):
            raise
        raise S2PError(f"the Dask workers cannot run s2p ({error}); install it where they run") from None
    for address, sees in seen.items():
        if not sees:
            raise S2PError(f"the Dask worker {address} cannot see {folder}; give a folder that all machines share (-o)")
    offers = [worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    return {GPU: 1} if any(offer.get(GPU) for offer in offers) else None


def _next_done(client: Any, futures: Sequence[Any]) -> Any:
    """One that is done, when there is one; complains if there are no workers for a while that could do any."""
    from distributed import wait

    lost: float | None = None
    while True:
        with contextlib.suppress(TimeoutError), client.as_current():
            return next(iter(wait(futures, timeout=LOOK, return_when="FIRST_COMPLETED").done))
        if client.nthreads():
            lost = None
        elif lost is None:
            lost = time.monotonic()
        elif time.monotonic() - lost > LOST:
            raise S2PError(
                f"the Dask cluster has lost its last worker and has had none for {LOST} s; see the workers' logs, "
                "then resume with --resume"
            )


def _sees(path: Path) -> bool:
    return path.exists()


# ------------------------------------------------------------------------------------------------ in the worker

_turn = threading.Lock()
"""One task at a time in a process, which then has all its threads: matrix products are no faster with two tasks side by side."""
_held: dict[str, list[Any]] = {}
"""The predictor of the present batch."""


def _run_task(task: Task, options: BatchOptions) -> list[tuple[int, Row]]:
    from distributed import get_worker
    from threadpoolctl import threadpool_limits

    with _turn:
        key = options.settings()
        if key not in _held:
            _held.clear()
            _held[key] = []
        threads = max(1, get_worker().state.nthreads)
        threadpool_limits(threads)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(threads)
        return run_task(_held[key], task, options)
