"""Inputs of a batch: the structures to predict, the options, and the order in which structures are predicted."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.config import BOX, BoxConfig, Checked, Count, Natural, PredictConfig
from s2p.errors import S2PError
from s2p.io.files import file_stem, sha256_file
from s2p.io.weights import SURFACE, TOGETHER, weights_path
from s2p.structure.reading import SUFFIXES, ModelChoice, is_structure_file, stem

if TYPE_CHECKING:
    from s2p.batch.journal import Finished

__all__ = [
    "BatchConfig",
    "BatchOptions",
    "Entry",
    "Find",
    "Item",
    "Task",
    "estimate_residues",
    "expand_inputs",
    "groups",
    "load_predictor",
    "longest_first",
    "make_task",
    "model_identity",
]

BYTES_PER_RESIDUE = 800
"""In PDB and mmCIF files: eight atoms per residue, 80 to 100 bytes per line, and headers."""
COMPRESSION = 4
"""How many times smaller .gz and BinaryCIF files are, approximately."""
UNKNOWN = 300
"""Number of residues assumed for a structure that is still to be downloaded."""


@dataclass(frozen=True)
class BatchConfig(Checked):
    """How many structures are processed at once; these settings do not change results."""

    gather: Count = 8192
    """Residues of chains of similar length that are collected before the language model runs on them in batches of
    :attr:`WindowConfig.token_budget`; this limits the memory of each process."""
    cluster_task: Count = 8192
    """Number of residues in one task on a cluster."""
    cluster_queue: Count = 3
    """Number of tasks submitted to a scheduler at any time, for each thread of its workers."""
    retries: Natural = 2
    """How often a task on a cluster is repeated after an error; for a lost worker the scheduler's own setting applies."""


@dataclass(frozen=True, slots=True)
class Item:
    """One structure to predict: a file, a database identifier, or an input that is already known to be wrong."""

    input: str
    """As the user wrote it, or the path found in a folder or list."""
    stem: str
    """Start of the output names, unique in the batch."""
    path: Path | None = None
    identifier: str | None = None
    error: str = ""
    note: str = ""
    size: int = 0
    """Residues, estimated by :func:`longest_first`."""

    def file(self) -> Path:
        """Its structure file; for an identifier it is downloaded."""
        if self.path is not None:
            return self.path
        from s2p.io.fetch import fetch_structure

        return fetch_structure(self.identifier or self.input)


Entry = tuple[int, Item]
"""An input with its index in the batch."""
Find = Callable[[str], "Finished | None"]
"""Journal entry of an earlier run for an output name."""
Task = list[tuple[int, Item, "Finished | None"]]
"""Arguments for another process: inputs, their indices in the batch, and their journal entries from an earlier run."""


@dataclass(frozen=True)
class BatchOptions:
    """How inputs are predicted and written; sent to worker processes, so ``load`` must be importable by name."""

    folder: Path
    load: Callable[[], Any]
    """Creates the predictor; called once per process, when the first valid input needs it."""
    formats: tuple[str, ...] = ("csv", "json", "html")
    chains: tuple[str, ...] | None = None
    number: ModelChoice = None
    assembly: int | None = None
    """Model and assembly as in :func:`~s2p.structure.reading.read_structure`."""
    config: PredictConfig = field(default_factory=PredictConfig)
    box: BoxConfig = BOX
    resume: bool = False
    quiet: bool = False
    """Do not explain on standard error why the first prediction takes long."""
    model: str = ""
    """Identity of the model; part of :attr:`settings`."""
    noted: bool = True
    """Rows are for a journal: with checksums of inputs and outputs."""
    batch: BatchConfig = field(default_factory=BatchConfig)

    def settings(self) -> str:
        """SHA-256 of everything that a result depends on, except its input."""
        from s2p import __version__
        from s2p.batch.journal import digest

        chosen: list[Any] = [] if self.number is self.assembly is None else [self.number, self.assembly]
        chosen += [] if self.box == BOX else [asdict(self.box)]
        return digest([__version__, self.model, self.chains, asdict(self.config), *chosen])


def load_predictor(model: str, backbone: str | None, device: str, method: str | None = None) -> Any:
    """:func:`s2p.load`; models are imported here and not before. :class:`S2PError` for a method that the model does not have."""
    from s2p.predictor import load

    found = load(model, backbone=backbone, device=device)
    if method is not None and method not in getattr(found, "methods", ()):
        raise S2PError(f"{model} is not Seq2Pocket and has its own method; leave --method out")
    return found


def model_identity(model: str, backbone: str | None) -> str:
    """Identity of a model: checksums of its checkpoints, so that a file that was replaced under the same name is noticed.

    The surface network, which may go with it, counts too.
    """
    paths = [weights_path(part) for part in TOGETHER.get(model, (model,))] + [SURFACE] * SURFACE.is_file()
    return " ".join([*(sha256_file(path) if path.is_file() else model for path in paths), backbone or ""])


def expand_inputs(inputs: Iterable[str], recursive: bool = False) -> list[Item]:
    """Files, folders, list files and database identifiers as one list with distinct output names.

    A name that exists on disk is a file or folder; otherwise it may be an identifier. A folder gives its structure files,
    sorted, and those of its subfolders if ``recursive``. A list file (``.txt``, ``.lst``) gives one path or identifier per line:
    a path from the folder of the list or else from the current one; ``#`` starts a comment at the start of a line or after a
    space. ``-`` is a list on standard input. Files of the same name are told apart by their folders, or else by numbers.
    """
    items = [item for text in inputs for item in _expand(text, Path(text), recursive, lists=True)]
    parents = [os.path.basename(os.path.dirname(os.path.abspath(item.path))) if item.path else "" for item in items]
    homes = defaultdict(set)
    for item, parent in zip(items, parents, strict=True):
        # Folded, because some file systems take A and a for the same name.
        homes[file_stem(item.stem).casefold()].add(parent)
    taken: set[str] = set()
    distinct = []
    for item, parent in zip(items, parents, strict=True):
        first = name = file_stem(item.stem)
        if parent and len(homes[name.casefold()]) > 1:
            first = name = file_stem(f"{parent}_{item.stem}")
        count = 1
        while name.casefold() in taken:
            count += 1
            name = f"{first}_{count}"
        taken.add(name.casefold())
        note = "" if name == file_stem(item.stem) else f"written as {name}_*, because another input has the same name"
        distinct.append(replace(item, stem=name, note=note))
    return distinct


def _expand(text: str, path: Path, recursive: bool, *, lists: bool) -> list[Item]:
    try:
        if lists and text == "-":
            return _entries(sys.stdin.buffer.read(), "standard input", Path(), recursive)
        if path.is_dir():
            if found := sorted(filter(is_structure_file, path.rglob("*") if recursive else path.iterdir())):
                return [Item(str(entry), stem(entry), path=entry) for entry in found]
            deeper = "" if recursive else "; --recursive looks in its subfolders, too"
            raise S2PError(f"{text}: the folder contains no structure files ({', '.join(SUFFIXES)}, or .gz){deeper}")
        if lists and path.suffix.lower() in (".txt", ".lst") and path.is_file():
            return _entries(path.read_bytes(), text, path.parent, recursive)
        if not path.exists() and _identifier(text):
            return [Item(text, text, identifier=text)]
    except S2PError as error:
        return [Item(text, path.stem, error=str(error))]
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        return [Item(text, path.name, error=f"{text}: cannot be read ({reason})")]
    return [Item(text, stem(path), path=path)]


def _entries(content: bytes, name: str, folder: Path, recursive: bool) -> list[Item]:
    """The inputs that a list names, with paths from ``folder`` or from the current one."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise S2PError(f"{name}: not a text file; a list has one path or identifier per line") from None
    entries = [entry for line in lines if (entry := re.split(r"(?:^|\s)#", line)[0].strip())]
    if not entries:
        raise S2PError(f"{name}: the list is empty")
    items = []
    for entry in entries:
        beside = folder / entry
        found = next((place for place in (beside, Path(entry)) if os.path.exists(place)), None)
        if found is not None or beside.is_absolute():
            items += _expand(str(found or beside), found or beside, recursive, lists=False)
        elif _identifier(entry):
            items.append(Item(entry, entry, identifier=entry))
        else:
            where = "" if folder == Path() else f", neither from the folder of {name} nor from the current one"
            items.append(Item(entry, stem(beside), path=beside, error=f"{entry}: no such file{where}"))
    return items


def _identifier(text: str) -> bool:
    """Whether a text that is not the name of a file is a database identifier."""
    from s2p.io.fetch import classify

    return classify(text) is not None


def estimate_residues(item: Item) -> int:
    """Number of residues of an input, estimated from its file size; 1 without a file, so that it counts as an input."""
    if item.error:
        return 1
    if item.path is None:
        return UNKNOWN
    try:
        size = item.path.stat().st_size
    except OSError:
        return 1
    small = item.path.name.lower().endswith((".gz", ".bcif"))
    return 1 + size * (COMPRESSION if small else 1) // BYTES_PER_RESIDUE


def longest_first(items: Iterable[Item]) -> list[Entry]:
    """The inputs with their sizes, sorted from the largest to the smallest; equal ones keep their order.

    Neighbours are of similar length, so batches contain little padding; a structure that does not fit into memory fails at the
    start and not hours later; and no process is still busy with a large one at the end.
    """
    entries = [(index, replace(item, size=estimate_residues(item))) for index, item in enumerate(items)]
    return sorted(entries, key=lambda entry: -entry[1].size)


def groups(entries: Iterable[Entry], budget: int) -> Iterator[list[Entry]]:
    """Split entries into groups of at most ``budget`` residues, but at least one entry."""
    group: list[Entry] = []
    held = 0
    for index, item in entries:
        if group and held + item.size > budget:
            yield group
            group, held = [], 0
        group.append((index, item))
        held += item.size
    if group:
        yield group


def make_task(group: Iterable[Entry], find: Find) -> Task:
    """Inputs with paths that are valid in another process, which may run in another folder."""
    return [(index, replace(item, path=item.path and item.path.resolve()), find(item.stem)) for index, item in group]
