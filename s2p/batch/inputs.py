"""What the user names as inputs, as a list of structures to predict, and the order in which they are worked on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s2p.io.files import file_stem
from s2p.structure.reading import SUFFIXES, is_structure_file, stem

__all__ = ["Item", "estimate_residues", "expand_inputs", "groups", "longest_first"]

BYTES_PER_RESIDUE = 800
"""Of PDB and mmCIF files: eight atoms a residue, 80 to 100 bytes a line, and headers."""
COMPRESSION = 4
"""How many times smaller .gz and BinaryCIF files are, about."""
UNKNOWN = 300
"""Residues assumed of what is still to be downloaded."""


@dataclass(frozen=True, slots=True)
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


def expand_inputs(inputs: Iterable[str]) -> list[Item]:
    """Files, folders, list files and database identifiers as one list with distinct output names.

    A name that exists on disk is a file or folder; otherwise it may be an identifier. A folder gives its structure files,
    sorted, without subfolders. A list file (``.txt``, ``.lst``) gives one path or identifier per line: a path from the folder of
    the list or else from the current one; ``#`` starts a comment at the start of a line or after a space.
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
            found = sorted(filter(is_structure_file, path.iterdir()))
            if not found:
                return [
                    Item(text, path.name, error=f"{text}: the folder holds no structure files ({', '.join(SUFFIXES)}, or .gz)")
                ]
            return [Item(str(entry), stem(entry), path=entry) for entry in found]
        if lists and path.suffix.lower() in (".txt", ".lst") and path.is_file():
            return _expand_list(text, path)
        if not path.exists() and _identifier(text):
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
    entries = [entry for line in lines if (entry := re.split(r"(?:^|\s)#", line)[0].strip())]
    if not entries:
        return [Item(text, path.stem, error=f"{text}: the list is empty")]
    items = []
    for entry in entries:
        beside = path.parent / entry
        found = next((place for place in (beside, Path(entry)) if os.path.exists(place)), None)
        if found is not None or beside.is_absolute():
            items += _expand(str(found or beside), found or beside, lists=False)
        elif _identifier(entry):
            items.append(Item(entry, entry, identifier=entry))
        else:
            error = f"{entry}: no such file, neither from the folder of {text} nor from the current one"
            items.append(Item(entry, stem(beside), path=beside, error=error))
    return items


def _identifier(text: str) -> bool:
    """Whether a text that names no file is an identifier of a database."""
    from s2p.io.fetch import classify

    return classify(text) is not None


def estimate_residues(item: Item) -> int:
    """Residues of an input, guessed from the size of its file; 1 where there is none, so that it counts as an input."""
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


def longest_first(sizes: Sequence[int]) -> list[int]:
    """Indices from the largest to the smallest, equals in their order.

    Neighbours are of similar length, so that batches hold little padding; what might not fit into memory is met at once and
    not after a night; and no process is left with a large one at the end.
    """
    return sorted(range(len(sizes)), key=lambda k: -sizes[k])


def groups(order: Sequence[int], sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """``order`` cut into runs of at most ``budget`` residues, but one item at least."""
    group: list[int] = []
    held = 0
    for index in order:
        if group and held + sizes[index] > budget:
            yield group
            group, held = [], 0
        group.append(index)
        held += sizes[index]
    if group:
        yield group
