"""What happens to one input of a batch, in whichever process: it is read, predicted and written, or one row says why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.batch.inputs import Item
from s2p.config import Checked, Count, Natural, PredictConfig
from s2p.errors import S2PError, TargetError, sentence
from s2p.io.files import sha256_file
from s2p.io.runtime import announcing
from s2p.io.weights import weights_path
from s2p.prediction import Prediction, predict_with
from s2p.structure.reading import ModelChoice, Structure, read_structure

if TYPE_CHECKING:
    from s2p.batch.journal import Finished
    from s2p.batch.language import LanguageStage, StagedPredictor

__all__ = [
    "BatchConfig",
    "BatchOptions",
    "Find",
    "Row",
    "Task",
    "load_held",
    "load_predictor",
    "make_task",
    "model_identity",
    "run_here",
    "run_task",
]


@dataclass(frozen=True)
class BatchConfig(Checked):
    """How many structures are in work at once; none of it changes a result."""

    gather: Count = 8192
    """Residues gathered, of similar length, before the language model runs, which takes them in batches of
    :attr:`WindowConfig.token_budget`; what bounds the memory of each process."""
    cluster_task: Count = 8192
    """Residues of one task on a cluster."""
    cluster_queue: Count = 3
    """Tasks given to a scheduler at any time, for each thread of its workers."""
    retries: Natural = 2
    """Times a task on a cluster is tried again after an error; one whose worker is lost is, as often as the scheduler allows."""


Predict = Callable[..., Prediction]
"""``predict(structure, config=...)``."""
Find = Callable[[str], "Finished | None"]
"""What an earlier run noted of an output name."""
Task = list[tuple[int, Item, "Finished | None"]]
"""What another process is given: inputs, their places in the batch, and what an earlier run noted of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one input."""

    input: str
    status: str
    """``ok``, ``skipped`` (``--resume`` found it done) or ``error``."""
    n_pockets: int = 0
    seconds: float = 0.0
    """Of work on it; its share of what several inputs had in common included."""
    message: str = ""
    paths: tuple[Path, ...] = ()
    """Files written."""
    prediction: Prediction | None = field(default=None, repr=False)
    """Only where it was the one input."""
    finished: Finished | None = field(default=None, repr=False)
    """For the journal."""
    size: int = 0
    """Residues, estimated before it was read: its share of the batch."""


@dataclass(frozen=True)
class BatchOptions:
    """How inputs are predicted and written; sent to worker processes, so ``load`` must be importable by name."""

    folder: Path
    load: Callable[[], Any]
    """Makes the predictor; called once a process, when the first good input needs it."""
    formats: tuple[str, ...] = ("csv", "json", "html")
    chains: tuple[str, ...] | None = None
    number: ModelChoice = None
    assembly: int | None = None
    """Model and assembly as in :func:`~s2p.structure.reading.read_structure`."""
    config: PredictConfig = field(default_factory=PredictConfig)
    resume: bool = False
    quiet: bool = False
    """Do not say on standard error why the first prediction takes long."""
    model: str = ""
    """What tells models apart; part of :attr:`settings`."""
    noted: bool = True
    """Rows are for a journal: with checksums of inputs and outputs."""
    batch: BatchConfig = field(default_factory=BatchConfig)

    def settings(self) -> str:
        """SHA-256 of what a result depends on, besides its input."""
        from s2p import __version__
        from s2p.batch.journal import digest

        chosen = [] if self.number is self.assembly is None else [self.number, self.assembly]
        return digest([__version__, self.model, self.chains, asdict(self.config), *chosen])


@dataclass(frozen=True)
class Loaded:
    """An input that was read, in so many seconds."""

    item: Item
    structure: Structure
    source: str
    """SHA-256 of the file, where rows are for a journal."""
    seconds: float

    @property
    def sequences(self) -> list[str]:
        """Distinct sequences of its chains."""
        return list(dict.fromkeys(self.structure.sequence(chain) for chain in self.structure.chains))


def load_predictor(model: str, backbone: str | None, device: str) -> Any:
    """:func:`s2p.load`; PyTorch is imported here and not before."""
    from s2p.predictor import load

    return load(model, backbone=backbone, device=device)


def model_identity(model: str, backbone: str | None) -> str:
    """What tells a checkpoint from others: its checksum, so that a file replaced by another under its name is noticed."""
    path = weights_path(model)
    return f"{sha256_file(path) if path.is_file() else model} {backbone or ''}"


def load_held(options: BatchOptions) -> list[Any]:
    """The predictor and, where it has stages, its :class:`LanguageStage`."""
    from s2p.batch.language import LanguageStage, StagedPredictor

    predictor = options.load()
    return [predictor, LanguageStage(predictor, options.config) if isinstance(predictor, StagedPredictor) else None]


def read(item: Item, options: BatchOptions, known: Finished | None = None) -> Loaded | Row:
    """The structure of an item; or its row, if it is wrong, or done already as ``known`` says."""
    start = time.perf_counter()
    if item.error:
        return _failed(item, item.error)
    try:
        if known is not None:
            from s2p.batch.journal import intact

            if intact(known, item, options.folder, options.formats, options.settings()):
                return Row(item.input, "skipped", known.n_pockets, message="already done (--resume)", finished=known)
        path = item.path
        if path is None:
            from s2p.io.fetch import fetch_structure

            path = fetch_structure(item.identifier or item.input)
        structure = replace(
            read_structure(path, chains=options.chains, model=options.number, assembly=options.assembly), name=item.stem
        )
        source = ""
        if options.noted:
            from s2p.batch.journal import digest_input

            source = digest_input(item)
        return Loaded(item, structure, source, time.perf_counter() - start)
    except Exception as error:
        return _failed(item, _sentence(item, error), time.perf_counter() - start)


def work(loaded: Loaded, options: BatchOptions, predict: Predict, spent: float = 0.0) -> Row:
    """Predict what was read and write it; ``spent`` are seconds of work on it elsewhere, reading apart.

    Raises
    ------
    TargetError
        If nothing can be written: no other input could be, either.
    """
    start, item = time.perf_counter() - loaded.seconds - spent, loaded.item
    try:
        prediction = predict(loaded.structure, config=options.config)
        paths = tuple(prediction.save(options.folder, options.formats))
        n_pockets = len(prediction.pockets)
        finished = None
        if options.noted:
            from s2p.batch.journal import Finished

            outputs = {path.name: sha256_file(path) for path in paths}
            finished = Finished(item.stem, loaded.source, options.settings(), options.formats, outputs, n_pockets)
    except TargetError:
        raise
    except Exception as error:
        return _failed(item, _sentence(item, error), time.perf_counter() - start)
    message = "; ".join(part for part in (item.note, *loaded.structure.notes, *prediction.notes) if part)
    return Row(item.input, "ok", n_pockets, time.perf_counter() - start, message, paths, prediction, finished)


def run_here(
    indexed: Iterable[tuple[int, Item]], options: BatchOptions, find: Find, held: list[Any]
) -> Generator[tuple[int, Row], None, None]:
    """Rows of items, worked on in this process; the language model runs over as many as :attr:`BatchConfig.gather` allows.

    Parameters
    ----------
    indexed
        Items with their places in the batch, similar sizes together.
    held
        The loaded predictor and its :class:`LanguageStage`, or nothing yet; filled here.
    """
    gathered: list[tuple[int, Loaded]] = []
    residues = 0
    for index, item in indexed:
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
    gathered: list[tuple[int, Loaded]], options: BatchOptions, predictor: StagedPredictor, stage: LanguageStage
) -> Generator[tuple[int, Row], None, None]:
    """The language model over all of them, then one after the other what follows."""
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
            yield index, work(loaded, options, partial(predictor.finish, outputs=own), spent)  # type: ignore[arg-type]


def make_task(items: Sequence[Item], group: Sequence[int], find: Find) -> Task:
    """Some inputs as another process, maybe in another folder, finds them."""
    return [
        (index, replace(item, path=item.path and item.path.resolve()), find(item.stem))
        for index, item in ((index, items[index]) for index in group)
    ]


def run_task(held: list[Any], task: Task, options: BatchOptions) -> list[tuple[int, Row]]:
    """Rows of a task, without what only the process that did it can use."""
    known = {item.stem: finished for _, item, finished in task}
    with announcing(options.quiet):
        rows = run_here([(index, item) for index, item, _ in task], options, known.get, held)
        return [(index, replace(row, prediction=None, paths=())) for index, row in rows]


def _failed(item: Item, message: str, seconds: float = 0.0) -> Row:
    return Row(item.input, "error", 0, seconds, " ".join(message.split()))


def _sentence(item: Item, error: Exception) -> str:
    from s2p.batch.language import out_of_memory

    if out_of_memory(error):
        return f"{item.input}: not enough memory; give fewer --jobs, or only some chains (--chain)"
    return sentence(error) if isinstance(error, S2PError) else f"{item.input}: {sentence(error)}"
