"""A batch on one machine: worker processes that each do some structures of similar length, from reading to writing.

What they are given and what comes back are names and rows, as on a cluster (:mod:`s2p.batch.cluster`).
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
"""Tasks for each worker at least, where there are inputs enough, so that all end at about the same time."""


def run_in_processes(
    entries: Sequence[Entry], options: BatchOptions, find: Find, jobs: int
) -> Generator[tuple[int, Row], None, None]:
    """Rows of all items, as they are done by ``jobs`` processes, each with one thread; begun in this order.

    What a process had in hand when it died is tried again one by one; the input whose process dies again is an error.
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
                if answer.status == "error":  # not of an input: a full disk, say, which no other could be written to
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
    """In a worker: of all that compile kernels at the start, the one that has the input ``announcer`` says so."""
    return run_task(held, task, replace(options, quiet=options.quiet or task[0][0] != announcer))
