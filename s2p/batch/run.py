"""Run a predictor over many inputs: what the command line does between parsing and printing.

Each input becomes one :class:`Row`; a bad input is a row with status ``error`` and never stops the others. The work is done in
this process (:mod:`s2p.batch.work`), in several (:mod:`s2p.batch.pool`), or on a cluster (:mod:`s2p.batch.cluster`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from s2p.batch.inputs import Item, estimate_residues, expand_inputs, longest_first
from s2p.batch.work import BatchOptions, Row, load_predictor, model_identity, run_here
from s2p.io.files import remove_leftovers, write_csv
from s2p.io.runtime import announcing

__all__ = ["SUMMARY_COLUMNS", "BatchOptions", "Item", "Row", "expand_inputs", "load_predictor", "model_identity", "predict_batch"]

SUMMARY_COLUMNS = ("input", "status", "n_pockets", "seconds", "message")


def predict_batch(
    items: Sequence[Item],
    options: BatchOptions,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    local_cluster: bool = False,
) -> Generator[Row, None, None]:
    """Predict and write every item; one row each, as they finish, the largest first.

    With more than one item ``summary.csv`` (:data:`SUMMARY_COLUMNS`, in the order of the items) is written at the end, also
    when the iteration is interrupted; with reports among the formats, ``index.html`` as well. What is finished is noted in a
    journal (:mod:`s2p.batch.journal`) as it is, so that a run that was killed can be resumed.

    Parameters
    ----------
    jobs
        Worker processes beside this one, each with one thread; 1 works in this process.
    scheduler
        Address of a Dask scheduler whose workers do the work; they must see the inputs and the folder under the same names.
    local_cluster
        Start a scheduler with ``jobs`` workers on this machine.

    Raises
    ------
    S2PError
        If the predictor cannot be loaded, the folder cannot be made or written, or the disk is full.
    """
    several, on_cluster = len(items) > 1, scheduler is not None or local_cluster
    sizes = [estimate_residues(item) for item in items]
    order = longest_first(sizes)
    rows: dict[int, Row] = {}
    with ExitStack() as stack:
        journal = None
        if several or options.resume or on_cluster:
            from s2p.batch.journal import Journal

            journal = stack.enter_context(Journal(options.folder, resume=options.resume))
            stack.callback(remove_leftovers, options.folder)  # of worker processes that were ended or died
        options = replace(options, noted=journal is not None)
        find = journal.find if journal is not None else lambda stem: None
        done: Generator[tuple[int, Row], None, None]
        if on_cluster:
            from s2p.batch.cluster import run_on_cluster

            done = run_on_cluster(items, order, sizes, options, find, scheduler=scheduler, local_workers=jobs)
        elif jobs > 1 and several:
            from s2p.batch.pool import run_in_processes

            done = run_in_processes(items, order, sizes, options, find, jobs)
        else:
            done = run_here(((index, items[index]) for index in order), options, find, [])
        stack.enter_context(announcing(options.quiet))
        stack.enter_context(closing(done))
        try:
            for index, row in done:
                if journal is not None and row.status == "ok" and row.finished is not None:
                    journal.add(row.finished)
                rows[index] = replace(row, prediction=None, finished=None, paths=())
                yield replace(row, size=sizes[index])
        finally:
            if several and rows:
                found = [rows[index] for index in sorted(rows)]
                table = [(row.input, row.status, row.n_pockets, f"{row.seconds:.3f}", row.message) for row in found]
                write_csv(options.folder / "summary.csv", table, SUMMARY_COLUMNS)
                if "html" in options.formats:
                    from s2p.output.report_index import write_index

                    write_index(options.folder, [items[index].stem for index in sorted(rows)], table)
                else:
                    from s2p.output.files import remove_ours

                    remove_ours(options.folder / "index.html")  # its reports are gone
