"""A batch on one machine: worker processes that each do some structures of similar length, from reading to writing.

What they are given and what comes back are names and rows, as on a cluster (:mod:`s2p.batch.cluster`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from s2p.batch.inputs import Item, groups
from s2p.batch.work import BatchOptions, Find, Row, Task, announce, kernels_ready, load_held, make_task, run_here, run_task
from s2p.errors import S2PError
from s2p.io.processes import Answer, isolated

__all__ = ["run_in_processes"]

SHARES = 8
"""Tasks for each worker at least, where there are inputs enough, so that all end at about the same time."""


def run_in_processes(
    items: Sequence[Item], order: Sequence[int], sizes: Sequence[int], options: BatchOptions, find: Find, jobs: int
) -> Generator[tuple[int, Row], None, None]:
    """Rows of all items, as they are done by ``jobs`` processes, each with one thread; begun in this ``order``.

    What a process had in hand when it died is tried again one by one; the input whose process dies again is an error.
    """
    if all(item.error for item in items):
        yield from run_here(((index, items[index]) for index in order), options, find, [])
        return
    budget = min(options.batch.gather, sum(sizes) // (SHARES * jobs))
    lost: list[Task] = []
    for answer in _answers((make_task(items, group, find) for group in groups(order, sizes, budget)), options, jobs):
        if answer.status == "died":
            lost += [[entry] for entry in answer.item]
        else:
            yield from _rows(answer)
    for answer in _answers(lost, replace(options, quiet=True), jobs):
        if answer.status == "died":
            ((index, item, _),) = answer.item
            text = f"{item.input}: the worker process died (out of memory, or a crash in compiled code)"
            yield index, Row(item.input, "error", message=text)
        else:
            yield from _rows(answer)


def _answers(tasks: Iterable[Task], options: BatchOptions, jobs: int) -> Generator[Answer[Task], None, None]:
    own = replace(options, quiet=True)
    said: list[bool] = []

    def loaded(ready: bool) -> None:
        if not said and not ready:
            announce(options)
            said.append(True)

    work: Any = partial(run_task, options=own)
    describe = partial(kernels_ready, options=own)
    answers: Any = isolated(partial(load_held, own), work, tasks, workers=jobs, describe=describe, on_load=loaded)
    with closing(answers):
        yield from answers


def _rows(answer: Answer[Task]) -> list[tuple[int, Row]]:
    if answer.status == "error":  # not of an input: a full disk, say, which no other could be written to
        raise answer.value or S2PError(answer.message)
    rows: list[tuple[int, Row]] = answer.value
    return rows
