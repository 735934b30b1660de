"""A batch on one machine: each worker process reads, predicts and writes a few structures of similar length at a time.

Only names and rows are sent between processes, as on a cluster (:mod:`s2p.batch.cluster`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from s2p.batch.inputs import BatchOptions, Entry, Find, Task, groups, make_task
from s2p.batch.run import Row, load_held, run_here, run_task
from s2p.errors import S2PError
from s2p.io.processes import isolated

__all__ = ["run_in_processes"]

SHARES = 8
"""Least number of tasks for each worker, if there are enough inputs, so that all finish at about the same time."""


def run_in_processes(
    entries: Sequence[Entry], options: BatchOptions, find: Find, jobs: int
) -> Generator[tuple[int, Row], None, None]:
    """Yield the rows of all items as ``jobs`` processes with one thread each finish them; items are started in this order.

    If a process dies, its inputs are tried again one by one; an input whose process dies again becomes an error.
    """
    if all(item.error for _, item in entries):
        yield from run_here(entries, options, find, [])
        return
    budget = min(options.batch.gather, sum(item.size for _, item in entries) // (SHARES * jobs))
    lost: list[Task] = []
    for first, tasks in ((True, (make_task(group, find) for group in groups(entries, budget))), (False, lost)):
        work: Any = partial(_run_task, options=options, announcer=entries[0][0] if first else -1)
        answers: Any = isolated(partial(load_held, options), work, tasks, workers=jobs)
        with closing(answers):
            for answer in answers:
                if answer.status == "error":  # not specific to an input, e.g. a full disk, which stops all others as well
                    raise answer.value or S2PError(answer.message)
                if answer.status == "ok":
                    yield from answer.value
                elif first:
                    lost += [[entry] for entry in answer.item]
                else:
                    ((index, item, _),) = answer.item
                    text = f"{item.input}: the worker process died (out of memory, or a crash in compiled code)"
                    yield index, Row(item.input, "error", message=text)


def _run_task(held: list[Any], task: Task, options: BatchOptions, announcer: int) -> list[tuple[int, Row]]:
    """In a worker: all compile kernels at the start, but only the one with the input ``announcer`` reports it."""
    return run_task(held, task, replace(options, quiet=options.quiet or task[0][0] != announcer))
