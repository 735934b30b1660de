"""Run a predictor over many inputs: what the command line does between parsing and printing.

Each input becomes one :class:`Row`; a bad input is a row with status ``error`` and never stops the others.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from s2p.config import PredictConfig
from s2p.errors import S2PError, StructureError
from s2p.fetch import classify, fetch_structure
from s2p.files import file_stem, make_folder, write_text
from s2p.prediction import Prediction
from s2p.runtime import kernels_cached
from s2p.structure import SUFFIXES, read_structure, stem

__all__ = [
    "SUMMARY_COLUMNS",
    "BatchOptions",
    "Item",
    "Row",
    "expand_inputs",
    "load_predictor",
    "predict_batch",
]

SUMMARY_COLUMNS = ("input", "status", "n_pockets", "seconds", "message")


@dataclass(frozen=True)
class Item:
    """One structure to predict: a file, a database identifier, or an input that is wrong already."""

    input: str
    """As the user wrote it, or the path found in a folder or list."""
    stem: str
    """Start of the output names, unique in the batch."""
    path: Path | None = None
    identifier: str | None = None
    error: str = ""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """What became of one input."""

    input: str
    status: str
    """``ok``, ``skipped`` (``--resume`` found it done) or ``error``."""
    n_pockets: int = 0
    seconds: float = 0.0
    message: str = ""
    paths: tuple[Path, ...] = ()
    """Files written."""
    prediction: Prediction | None = field(default=None, repr=False)
    """Absent where a worker process made it."""


@dataclass(frozen=True)
class BatchOptions:
    """How inputs are predicted and written; sent to worker processes, so ``load`` must be importable by name."""

    folder: Path
    load: Callable[[], Any]
    """Makes the predictor; called once a process, when the first good input needs it."""
    formats: tuple[str, ...] = ("csv", "json", "html")
    chains: tuple[str, ...] | None = None
    config: PredictConfig = field(default_factory=PredictConfig)
    resume: bool = False
    quiet: bool = False
    """Do not say on standard error why the first prediction takes long."""


def load_predictor(model: str, backbone: str | None, device: str) -> Any:
    """The Seq2Pocket predictor; PyTorch is imported here and not before."""
    from s2p.pipeline import Seq2Pocket

    return Seq2Pocket.load(model, backbone=backbone, device=device)


def expand_inputs(inputs: Iterable[str]) -> list[Item]:
    """Files, folders, list files and database identifiers as one list with distinct output names.

    A name that exists on disk is a file or folder; otherwise it may be an identifier. A folder gives its structure files,
    sorted, without subfolders. A list file (``.txt``, ``.lst``) gives one path, relative to itself, or identifier per line;
    ``#`` starts a comment.
    """
    items = [item for text in inputs for item in _expand(text, Path(text), lists=True)]
    taken: set[str] = set()
    distinct = []
    for item in items:
        # Folded, because some file systems take A and a for the same name.
        name, count = file_stem(item.stem), 1
        while name.casefold() in taken:
            count += 1
            name = f"{file_stem(item.stem)}_{count}"
        taken.add(name.casefold())
        note = f"written as {name}_*, because another input has the same name" if count > 1 else ""
        distinct.append(replace(item, stem=name, note=note))
    return distinct


def _expand(text: str, path: Path, *, lists: bool) -> list[Item]:
    try:
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if _is_structure_name(entry.name) and entry.is_file())
            if not found:
                return [
                    Item(text, path.name, error=f"{text}: the folder holds no structure files ({', '.join(SUFFIXES)}, or .gz)")
                ]
            return [Item(str(entry), stem(entry), path=entry) for entry in found]
        if lists and path.suffix.lower() in (".txt", ".lst") and path.is_file():
            return _expand_list(text, path)
        if not path.exists() and classify(text):
            return [Item(text, text, identifier=text)]
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        return [Item(text, path.name, error=f"{text}: cannot be read ({reason})")]
    return [Item(text, stem(path), path=path)]


def _expand_list(text: str, path: Path) -> list[Item]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return [Item(text, path.stem, error=f"{text}: not a text file; a list has one path or identifier per line")]
    entries = [entry for line in lines if (entry := line.split("#", 1)[0].strip())]
    if not entries:
        return [Item(text, path.stem, error=f"{text}: the list is empty")]
    items = []
    for entry in entries:
        beside = path.parent / entry
        items += _expand(entry if classify(entry) and not beside.exists() else str(beside), beside, lists=False)
    return items


def _is_structure_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().removesuffix(".gz").endswith(SUFFIXES)


def predict_batch(items: Sequence[Item], options: BatchOptions, *, jobs: int = 1) -> Generator[Row, None, None]:
    """Predict and write every item; one row each, as they finish.

    With more than one item ``summary.csv`` (:data:`SUMMARY_COLUMNS`, in the order of the items) is written at the end, also
    when the iteration is interrupted; with reports among the formats, ``index.html`` as well. With ``jobs`` > 1, that many
    processes work, each with one thread.

    Raises
    ------
    S2PError
        If the predictor cannot be loaded or the folder cannot be made or written.
    """
    if len(items) > 1:
        make_folder(options.folder)
    rows: dict[int, Row] = {}
    try:
        for index, row in _parallel(items, options, jobs) if jobs > 1 and len(items) > 1 else _serial(items, options):
            rows[index] = replace(row, prediction=None)
            yield row
    finally:
        if len(items) > 1 and rows:
            _write_summary(options.folder / "summary.csv", [rows[index] for index in sorted(rows)])
            if "html" in options.formats:
                _write_index(options.folder, [(items[index].stem, rows[index]) for index in sorted(rows)])


def _write_summary(path: Path, rows: Sequence[Row]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    writer.writerows((row.input, row.status, row.n_pockets, f"{row.seconds:.3f}", row.message) for row in rows)
    write_text(path, out.getvalue())


def _write_index(folder: Path, rows: Sequence[tuple[str, Row]]) -> None:
    from s2p.report_index import IndexEntry, write_index

    write_index(folder, [IndexEntry(name, row.input, row.status, row.n_pockets, row.message) for name, row in rows])


def _serial(items: Sequence[Item], options: BatchOptions) -> Iterator[tuple[int, Row]]:
    predictor: list[Any] = []
    for index, item in enumerate(items):
        yield index, _run(item, options, predictor)


def _run(item: Item, options: BatchOptions, predictor: list[Any]) -> Row:
    """One item from reading to writing; ``predictor`` holds the loaded predictor, or nothing yet."""
    start = time.perf_counter()

    def failed(message: str) -> Row:
        return Row(item.input, "error", 0, time.perf_counter() - start, " ".join(message.split()))

    if item.error:
        return failed(item.error)
    try:
        if options.resume and (n_pockets := _done(item, options)) is not None:
            return Row(item.input, "skipped", n_pockets, 0.0, "already done (--resume)")
        path = item.path if item.identifier is None else fetch_structure(item.identifier)
        if path is None:
            raise StructureError(f"{item.input}: nothing to read")
        structure = replace(read_structure(path, chains=options.chains), name=item.stem)
    except Exception as error:
        return failed(_sentence(item, error))
    if not predictor:  # outside the try blocks: without a predictor no input can succeed, so this stops the batch
        predictor.append(options.load())
        if not options.quiet and not kernels_cached():
            print("compiling kernels (first use only, about 10 s) ...", file=sys.stderr, flush=True)
    try:
        prediction: Prediction = predictor[0].predict(structure, options.config)
        paths = tuple(prediction.save(options.folder, options.formats))
    except Exception as error:
        return failed(_sentence(item, error))
    message = "; ".join(part for part in (item.note, *structure.notes, *prediction.notes) if part)
    return Row(item.input, "ok", len(prediction.pockets), time.perf_counter() - start, message, paths, prediction)


def _sentence(item: Item, error: Exception) -> str:
    if isinstance(error, S2PError):
        return str(error)
    if os.environ.get("S2P_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    return f"{item.input}: unexpected {type(error).__name__}: {error} (S2P_DEBUG=1 shows where)"


def _done(item: Item, options: BatchOptions) -> int | None:
    """Number of pockets, if every output asked for exists and is no older than the input; else ``None``."""
    age = item.path.stat().st_mtime if item.path is not None and item.path.exists() else 0.0

    def current(*names: str) -> bool:
        files = (options.folder / f"{item.stem}{name}" for name in names)
        return any(file.is_file() and file.stat().st_mtime >= age for file in files)

    if not (current("_pockets.csv") and current("_residues.csv")):
        return None
    with open(options.folder / f"{item.stem}_pockets.csv", encoding="utf-8", newline="") as handle:
        ranks = [row["rank"] for row in csv.DictReader(handle)]
    scores = ("_scores.pdb", "_scores.cif")
    needed: dict[str, list[tuple[str, ...]]] = {
        "json": [(".json",)],
        "pdb": [scores],
        "pml": [(".pml",), scores],
        "cxc": [(".cxc",), scores],
        "html": [("_report.html",)],
        "box": [(f"_pocket{rank}_box.txt",) for rank in ranks],
    }
    complete = all(current(*names) for name in options.formats for names in needed.get(name, []))
    return len(ranks) if complete else None


def _parallel(items: Sequence[Item], options: BatchOptions, jobs: int) -> Iterator[tuple[int, Row]]:
    """Like :func:`_serial` in worker processes.

    A process that dies (memory, a crash in compiled code) takes its pool with it and does not say which input it had, so
    the inputs that were in work are tried again one by one; the one that kills its process again gets the error.
    """
    waiting = deque(range(len(items)))
    suspects: deque[int] = deque()
    while waiting or suspects:
        alone = bool(suspects)
        queue, width = (suspects, 1) if alone else (waiting, jobs)
        before = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        first = (options, context.Lock())
        pool = ProcessPoolExecutor(width, context, initializer=_start_worker, initargs=first)
        running: dict[Future[Row], int] = {}
        lost: list[int] = []
        try:
            while (queue or running) and not lost:
                while queue and len(running) < width:
                    future = pool.submit(_work, items[queue[0]])  # may raise: the item must still be in the queue then
                    running[future] = queue.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index = running.pop(future)
                    try:
                        row = future.result()
                    except BrokenProcessPool:
                        lost.append(index)
                    else:
                        yield index, row
        except BrokenProcessPool:  # from submit: a process died with nothing to do, or while it started
            if not running and not lost:
                lost.append(queue.popleft())
        except BaseException:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        lost = sorted([*lost, *running.values()])
        if not alone:
            suspects.extend(lost)
            continue
        for index in lost:
            text = f"{items[index].input}: the worker process died (out of memory, or a crash in compiled code)"
            yield index, Row(items[index].input, "error", message=text)


_worker: tuple[BatchOptions, list[Any]]


def _start_worker(options: BatchOptions, first: Any) -> None:
    """``first`` is a lock that nobody gives back: the process that gets it speaks for all."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    _worker = (replace(options, quiet=options.quiet or not first.acquire(block=False)), [])


def _work(item: Item) -> Row:
    options, predictor = _worker
    row = replace(_run(item, options, predictor), prediction=None)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return row
