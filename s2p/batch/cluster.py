"""A batch on a Dask cluster: through the scheduler of an existing cluster, or a scheduler started on this machine.

A task is a few structures of similar length, which one worker reads, predicts and writes (:func:`s2p.batch.run.run_task`), so
only names and rows are sent; results go to the output folder. If a worker is lost, another one does what it left unfinished;
each row is returned once.
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
"""Seconds between two checks whether there are workers, and seconds without workers after which the batch ends."""
GPU = "GPU"
"""Resource that workers with a GPU offer: ``dask worker … --resources GPU=1``."""


def run_on_cluster(
    entries: Sequence[Entry], options: BatchOptions, find: Find, *, scheduler: str | None, local_workers: int
) -> Generator[tuple[int, Row], None, None]:
    """Yield the rows of all items as they are finished; items are started in this order.

    If some of the workers offer the resource :data:`GPU` at the start, only these get work, one task for each unit of it. A task
    that repeatedly kills its workers is split until the structure that causes this is alone, and its row becomes an error.
    ``scheduler``: address, e.g. ``tcp://10.0.0.1:8786``; ``None`` starts one here, with ``local_workers`` processes.
    :class:`S2PError` if Dask is not installed, no scheduler or worker answers, a worker has no s2p or cannot access the folder,
    or all workers are lost.
    """
    try:
        import distributed.scheduler
    except ImportError:
        raise S2PError(f"--scheduler and --local-cluster need Dask: pip install '{DISTRIBUTION}[dask]'") from None
    options = replace(options, folder=options.folder.resolve())
    with _client(scheduler, local_workers) as client:
        resources = _check_workers(client, options.folder)
        waiting = deque(groups(entries, options.batch.cluster_task))
        suspects: deque[Entry] = deque()  # submitted last and one at a time: if a worker dies, all its tasks count as suspects
        given: dict[Any, list[Entry]] = {}
        try:
            while waiting or given or suspects:
                alone = not waiting and not given
                if alone:
                    waiting.append([suspects.popleft()])
                while waiting and len(given) < options.batch.cluster_queue * max(1, sum(client.nthreads().values())):
                    group = waiting.popleft()
                    task = make_task(group, find)
                    # Not pure: a task that is submitted again has to run again.
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
    """The resource that tasks need; raises if a cluster has no workers, or if workers cannot access the folder."""
    try:
        client.wait_for_workers(1, timeout=CONNECT)
    except TimeoutError:
        raise S2PError(f"the Dask scheduler has no workers; start some with: dask worker {client.scheduler.address}") from None
    try:
        seen = client.run(_sees, folder / JOURNAL)
    except Exception as error:  # errors of a worker arrive unchanged, or as the text of an Exception
        if "ModuleNotFoundError" not in repr(error):
            raise
        raise S2PError(f"the Dask workers cannot run s2p ({error}); install it where they run") from None
    for address, sees in seen.items():
        if not sees:
            raise S2PError(f"the Dask worker {address} cannot see {folder}; give a folder that all machines share (-o)")
    offers = [worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    return {GPU: 1} if any(offer.get(GPU) for offer in offers) else None


def _next_done(client: Any, futures: Sequence[Any]) -> Any:
    """Wait for a finished task and return it; raises if there are no suitable workers for a while."""
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
"""One task at a time in a process, with all its threads: two tasks at a time would not make matrix products faster."""
_held: dict[str, list[Any]] = {}
"""The predictor of the current batch."""


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
