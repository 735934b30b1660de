"""Run a predictor over many inputs: what the command line does between parsing and printing.

Each input is read, predicted and written, and becomes one :class:`Row`; a bad input is a row with status ``error`` and never
stops the others. The work is done in this process, in several (:mod:`s2p.batch.pool`), or on a cluster
(:mod:`s2p.batch.cluster`). The language model reads the sequences of many structures in one go, and less at once where memory
ends.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.batch.inputs import BatchOptions, Entry, Find, Item, Task, longest_first
from s2p.config import PredictConfig
from s2p.errors import S2PError, TargetError, sentence
from s2p.io.files import remove_leftovers, sha256_file, write_csv
from s2p.io.runtime import announcing
from s2p.prediction import Prediction, ask, predict_with
from s2p.structure.reading import Structure, read_structure

if TYPE_CHECKING:
    from s2p.batch.journal import Finished
    from s2p.language.sequences import LanguageOutput

__all__ = ["SUMMARY_COLUMNS", "LanguageStage", "Row", "load_held", "out_of_memory", "predict_batch", "run_here", "run_task"]

SUMMARY_COLUMNS = ("input", "status", "n_pockets", "seconds", "message")


@dataclass(frozen=True, slots=True)
class Row:
    """Result of one input."""

    input: str
    status: str
    """``ok``, ``skipped`` (``--resume`` found it done) or ``error``."""
    n_pockets: int = 0
    seconds: float = 0.0
    """Of work on it, including its share of work that was done for several inputs together."""
    message: str = ""
    paths: tuple[Path, ...] = ()
    """Files written."""
    prediction: Prediction | None = field(default=None, repr=False)
    """Only if it was the only input."""
    finished: Finished | None = field(default=None, repr=False)
    """For the journal."""
    size: int = 0
    """Residues, estimated before it was read: its share of the batch."""


def predict_batch(
    items: Sequence[Item], options: BatchOptions, *, jobs: int = 1, scheduler: str | None = None, local_cluster: bool = False
) -> Generator[Row, None, None]:
    """Predict and write every item, the largest first; yield one row for each as it finishes.

    With more than one item ``summary.csv`` (:data:`SUMMARY_COLUMNS`, in the order of the items) is written at the end, also
    when the iteration is interrupted; with reports among the formats, ``index.html`` as well. Finished inputs are recorded in a
    journal (:mod:`s2p.batch.journal`) at once, so that an interrupted run can be resumed.

    Parameters
    ----------
    jobs
        Number of worker processes in addition to this one, each with one thread; 1: all work is done in this process.
    scheduler
        Address of a Dask scheduler whose workers do the work; they need the inputs and the folder under the same paths.
    local_cluster
        Start a scheduler with ``jobs`` workers on this machine.

    Raises
    ------
    S2PError
        If the predictor cannot be loaded, the folder cannot be made or written, or the disk is full.
    """
    several, on_cluster = len(items) > 1, scheduler is not None or local_cluster
    entries = longest_first(items)
    sizes = {index: item.size for index, item in entries}
    rows: dict[int, Row] = {}
    with ExitStack() as stack:
        journal = None
        if several or options.resume or on_cluster:
            from s2p.batch.journal import Journal

            journal = stack.enter_context(Journal(options.folder, resume=options.resume))
            stack.callback(remove_leftovers, options.folder)  # of worker processes that were stopped or died
        options = replace(options, noted=journal is not None)
        find = journal.find if journal is not None else lambda stem: None
        done: Generator[tuple[int, Row], None, None]
        if on_cluster:
            from s2p.batch.cluster import run_on_cluster

            done = run_on_cluster(entries, options, find, scheduler=scheduler, local_workers=jobs)
        elif jobs > 1 and several:
            from s2p.batch.pool import run_in_processes

            done = run_in_processes(entries, options, find, jobs)
        else:
            done = run_here(entries, options, find, [])
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

                    remove_ours(options.folder / "index.html")  # its reports were removed


@dataclass(frozen=True)
class Loaded:
    """An input that was read, and the seconds that this took."""

    item: Item
    structure: Structure
    source: str
    """SHA-256 of the file, where rows are for a journal."""
    seconds: float

    @property
    def sequences(self) -> list[str]:
        """Distinct sequences of its chains."""
        return list(dict.fromkeys(self.structure.sequence(chain) for chain in self.structure.chains))


def load_held(options: BatchOptions) -> list[Any]:
    """The predictor and, where its language model can work on many structures at once, its :class:`LanguageStage`."""
    predictor = options.load()
    ask(predictor, options.config.sites)
    return [predictor, LanguageStage(predictor, options.config) if hasattr(predictor, "read_sequences") else None]


def read(item: Item, options: BatchOptions, known: Finished | None = None) -> Loaded | Row:
    """The structure of an item; or its row, if it is wrong, or already finished according to ``known``."""
    start = time.perf_counter()
    if item.error:
        return _failed(item, item.error)
    try:
        if known is not None:
            from s2p.batch.journal import intact

            if intact(known, item, options.folder, options.formats, options.settings()):
                return Row(item.input, "skipped", known.n_pockets, message="already done (--resume)", finished=known)
        source, read = "", partial(read_structure, chains=options.chains, model=options.number, assembly=options.assembly)
        structure = replace(read(item.file()), name=item.stem)
        if options.noted:
            from s2p.batch.journal import digest_input

            source = digest_input(item)
        return Loaded(item, structure, source, time.perf_counter() - start)
    except Exception as error:
        return _failed(item, error, time.perf_counter() - start)


def work(loaded: Loaded, options: BatchOptions, predict: Callable[..., Prediction], spent: float = 0.0) -> Row:
    """Predict a structure that was read, and write it; ``spent``: seconds of work on it elsewhere, without reading.

    :class:`TargetError` if nothing can be written: no other input could be, either.
    """
    start, item = time.perf_counter() - loaded.seconds - spent, loaded.item
    try:
        prediction = predict(loaded.structure, config=options.config)
        paths = tuple(prediction.save(options.folder, options.formats, options.box))
        n_pockets = len(prediction.pockets)
        finished = None
        if options.noted:
            from s2p.batch.journal import Finished

            outputs = {path.name: sha256_file(path) for path in paths}
            finished = Finished(item.stem, loaded.source, options.settings(), options.formats, outputs, n_pockets)
    except TargetError:
        raise
    except Exception as error:
        return _failed(item, error, time.perf_counter() - start)
    message = "; ".join(part for part in (item.note, *loaded.structure.notes, *prediction.notes) if part)
    return Row(item.input, "ok", n_pockets, time.perf_counter() - start, message, paths, prediction, finished)


def run_here(
    entries: Iterable[Entry], options: BatchOptions, find: Find, held: list[Any]
) -> Generator[tuple[int, Row], None, None]:
    """Yield rows of items predicted in this process; the language model runs on as many as :attr:`BatchConfig.gather` allows.

    Parameters
    ----------
    entries
        Similar sizes together.
    held
        The loaded predictor and its :class:`LanguageStage`, or empty; filled here.
    """
    gathered: list[tuple[int, Loaded]] = []
    residues = 0
    for index, item in entries:
        loaded = read(item, options, find(item.stem))
        if isinstance(loaded, Row):
            yield index, loaded
            continue
        if not held:  # outside any try block: without a predictor no input can succeed, so this stops the batch
            held += load_held(options)
        if held[1] is None:
            yield index, work(loaded, options, partial(predict_with, held[0]))
            continue
        size = len(loaded.structure.residues)
        if gathered and residues + size > options.batch.gather:
            yield from _finish(gathered, options, *held)
            gathered, residues = [], 0
        gathered.append((index, loaded))
        residues += size
    if gathered:
        yield from _finish(gathered, options, *held)


def _finish(
    gathered: list[tuple[int, Loaded]], options: BatchOptions, predictor: Any, stage: LanguageStage
) -> Generator[tuple[int, Row], None, None]:
    """Run the language model on all of them, then the remaining stages one structure at a time."""
    start = time.perf_counter()
    outputs = stage.read(sequence for _, loaded in gathered for sequence in loaded.sequences)
    each = (time.perf_counter() - start) / max(1, sum(len(loaded.structure.residues) for _, loaded in gathered))
    for index, loaded in gathered:
        spent = each * len(loaded.structure.residues)
        own = {sequence: outputs[sequence] for sequence in loaded.sequences}
        failures = [output for output in own.values() if isinstance(output, S2PError)]
        if failures:
            yield index, _failed(loaded.item, f"{loaded.item.input}: {failures[0]}", loaded.seconds + spent)
        else:
            yield index, work(loaded, options, partial(predictor.finish, outputs=own), spent)


def run_task(held: list[Any], task: Task, options: BatchOptions) -> list[tuple[int, Row]]:
    """Rows of a task, without the parts that only the process itself can use."""
    known = {item.stem: finished for _, item, finished in task}
    with announcing(options.quiet):
        rows = run_here([(index, item) for index, item, _ in task], options, known.get, held)
        return [(index, replace(row, prediction=None, paths=())) for index, row in rows]


def _failed(item: Item, why: str | Exception, seconds: float = 0.0) -> Row:
    if isinstance(why, Exception) and out_of_memory(why):
        why = f"{item.input}: not enough memory; give fewer --jobs, or only some chains (--chain)"
    elif isinstance(why, Exception):
        why = sentence(why) if isinstance(why, S2PError) else f"{item.input}: {sentence(why)}"
    return Row(item.input, "error", 0, seconds, " ".join(why.split()))


class LanguageStage:
    """Runs the language model of a predictor with stages (:meth:`~s2p.predictor.Seq2Pocket.read_sequences` and ``finish``) on
    each sequence once, within the available memory.

    What does not fit is tried again in batches of half the size, down to one window at a time; the size that worked is kept.
    """

    def __init__(self, predictor: Any, config: PredictConfig) -> None:
        self._predictor, self._config, self._budget = predictor, config, config.windows.token_budget

    def read(self, sequences: Iterable[str]) -> dict[str, LanguageOutput | S2PError]:
        """Output of the model for each sequence, or the error."""
        outputs: dict[str, LanguageOutput | S2PError] = {}
        self._read(list(dict.fromkeys(sequences)), self._budget, outputs)
        # The C library keeps freed memory, but batches of other shapes do not fit into it: a process that needs 370 MB grew
        # to 790 MB over a thousand structures.
        with suppress(OSError, AttributeError, TypeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)
        return outputs

    def _read(self, part: list[str], budget: int, outputs: dict[str, LanguageOutput | S2PError]) -> None:
        if not part:
            return
        windows = replace(self._config.windows, token_budget=budget)
        try:
            found = self._predictor.read_sequences(part, replace(self._config, windows=windows))
            outputs.update(zip(part, found, strict=True))
            self._budget = min(self._budget, budget)
            return
        except Exception as error:
            full, text = out_of_memory(error), f"{type(error).__name__}: {error}"
        # Not in the except block: until that ends, the traceback keeps the arrays of the failed attempt alive.
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        longest = max(map(len, part))
        window = min(longest, windows.max_residues) + 2
        if full and budget > window and (len(part) > 1 or longest > windows.max_residues):
            self._read(part, max(budget // 2, window), outputs)
        elif len(part) > 1:
            for half in (part[: len(part) // 2], part[len(part) // 2 :]):
                self._read(half, budget, outputs)
        elif full:
            outputs[part[0]] = S2PError(
                f"not enough memory for the language model, even for one chain of {longest} residues alone; "
                "try --device cpu, or a machine with more memory"
            )
        else:
            outputs[part[0]] = S2PError(f"the language model failed on a chain of {longest} residues ({text})")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the computer or of the GPU was too small."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch's allocator for the CPU has no class of its own for it.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in text for part in ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    )
