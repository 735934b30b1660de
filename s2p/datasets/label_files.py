"""Label files: the published lines with ``;``, the same as CSV, and records of three lines; every value is checked.

A published line is ``pdb;chain;TYPE;A12 G13 …;SEQUENCE``: letters with **0-based** indices into the sequence of observed
residues, one line per chain, or one per pocket. A mistake raises an error with file, line and field, before any training starts.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.config import Empty
from s2p.datasets.labelled import LETTERS, LabelledChain
from s2p.datasets.registry import dataset_folder
from s2p.errors import S2PError
from s2p.io.files import csv_text, read_text
from s2p.structure.reading import SUFFIXES, Structure, is_structure_file, read_structure

__all__ = [
    "CSV_COLUMNS",
    "FORMATS",
    "Annotation",
    "format_annotations",
    "place_sites",
    "read_annotations",
    "read_labels",
    "read_sequences",
    "structure_file",
]

CSV_COLUMNS = ("pdb", "chain", "type", "residues", "sequence")
"""Columns of a label CSV, with the same content as the fields of a published line."""

FORMATS = ("published", "csv", "records")
"""Formats of a label file."""

_TOKEN = re.compile(r"([A-Za-z])(-?[0-9]+)")
_HEADERS = frozenset({"pdb", "pdb_id", "pdbid", "id", "entry"})
_FIELDS = {
    "published": ("field 1 (pdb)", "field 4 (residues)", "field 5 (sequence)"),
    "csv": ("column pdb", "column residues", "column sequence"),
    "records": ("id", "labels", "sequence"),
}
_SHOWN = 3
"""Largest number of mistakes that are reported in full."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """Binding residues of one chain, or of one pocket of it: a line of a label file."""

    pdb: str
    chain: str
    """Empty if the file has only one id (records of three lines)."""
    kind: str
    """Third field: the ligand, the kind of site, or any other word."""
    indices: NDArray[np.int32]
    """(K,), 0-based into ``sequence``, ascending, distinct."""
    sequence: str
    line: int = 0
    """1-based line of the file; 0 without a file."""

    @property
    def id(self) -> str:
        """``pdb_chain``."""
        return f"{self.pdb}_{self.chain}" if self.chain else self.pdb

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(N,), 1 at ``indices``; a new array."""
        labels = np.zeros(len(self.sequence), np.uint8)
        labels[self.indices] = 1
        return labels


class _Problem(Exception):
    """A mistake in one line; the caller adds the name of the file."""


def read_labels(path: str | Path, *, empty: Empty = "use", note: Callable[[str], None] | None = None) -> list[LabelledChain]:
    """Labelled chains for training from a file in any of :data:`FORMATS`, recognised from its first line.

    Lines of the same chain (its pockets) are joined: a residue binds if it does in any of them. Chains of a single residue, which
    has no neighbour, are refused.

    Parameters
    ----------
    path
        Text, UTF-8. ``source`` of the chains is the file's name without suffix.
    empty
        What is done with chains without a binding residue: ``use`` them as negatives, ``skip`` or ``refuse`` them.
    note
        Called with a sentence that says how many such chains there are.

    Returns
    -------
    list of LabelledChain
        In file order.

    Raises
    ------
    S2PError
        Naming file, line and field of the first mistakes, and how many there are; or if no chain has a binding residue.
    """
    path = Path(path)
    form, annotations = _parse(path)
    _, residues, sequence = _FIELDS[form]
    problems: list[str] = []
    chains: dict[str, LabelledChain] = {}
    first: dict[str, int] = {}
    for a in annotations:
        known = chains.setdefault(key := f"{a.pdb}\n{a.chain}", LabelledChain(a.id, a.sequence, a.labels, path.stem))
        line = first.setdefault(key, a.line)
        if len(a.sequence) < 2:
            problems.append(f"line {a.line}, {sequence}: {a.id} has 1 residue, at least 2 are needed")
        elif a.sequence != known.sequence:
            problems.append(
                f"line {a.line}, {sequence}: that of {a.id} is not the one in line {line}; lines of a chain are its pockets, and "
                "need the same sequence"
            )
        else:
            known.labels[a.indices] = 1
    without = [key for key, chain in chains.items() if not chain.labels.any()]
    if empty == "refuse":
        problems += [
            f"line {first[key]}, {residues}: {chains[key].id} has no binding residue; correct it, or say what to do with such "
            "chains (--empty use or skip)"
            for key in without
        ]
    _raise(path, problems)
    if len(without) == len(chains):
        raise S2PError(f"{path}: none of its chains has a binding residue, so there is nothing to learn from it")
    if without and note is not None:
        done = "used as negatives (--empty skip leaves them out)" if empty == "use" else "left out"
        note(f"{path.name}: {len(without)} of {len(chains)} chains have no binding residue: {done}")
    return [chain for key, chain in chains.items() if empty == "use" or key not in set(without)]


def read_annotations(path: str | Path) -> list[Annotation]:
    """Lines of a label file, not joined: a chain may have several (its pockets), and a chain or a pocket may be empty.

    Raises
    ------
    S2PError
        As :func:`read_labels`, for mistakes within a line.
    """
    return _parse(Path(path))[1]


def read_sequences(source: str | Path, note: Callable[[str], None]) -> dict[str, str]:
    """Sequence -> name in a test set: FASTA or label file, structure, folder of these, or downloaded public set.

    Folders include their subfolders; ``note`` is called for each unreadable file. :class:`S2PError` if no file can be read.
    """
    path = Path(source) if Path(source).exists() else dataset_folder(str(source))
    found: dict[str, str] = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        try:
            if is_structure_file(file):
                structure = read_structure(file)
                pairs = [(structure.sequence(chain), f"{file.name} {chain}") for chain in structure.chains]
            elif file != path and file.suffix.lower() not in (".fasta", ".fa", ".faa", ".txt", ".csv"):
                continue
            elif (text := read_text(file)).lstrip().startswith(">"):  # the labels of records are digits, not letters
                records = [record.partition("\n") for record in ("\n" + text).split("\n>")[1:]]
                pairs = [(re.sub(r"[^A-Z]", "", body.upper()), head.strip() or file.name) for head, _, body in records]
            else:
                pairs = [(a.sequence, a.id) for a in read_annotations(file)]
        except S2PError as error:
            note(f"no sequences of the test set: {error}")
        else:
            found = dict(pairs) | found
    if not found:
        raise S2PError(f"{source}: no protein sequence there; give FASTA or label files, structures, or a set that was fetched")
    return found


def structure_file(folder: Path, a: Annotation, table: Path) -> Path:
    """The structure in ``folder`` named by a line of ``table``, in any case and format; :class:`S2PError` if there is none."""
    for parts in product((a.pdb, a.pdb.lower(), a.pdb.upper()), SUFFIXES, ("", ".gz")):
        path = folder / "".join(parts)
        if path.is_file():
            return path
    raise S2PError(f"{table}, line {a.line}: no structure file of {a.pdb} in {folder}; say where they are (--structures)")


def place_sites(path: Path, lines: Sequence[Annotation], table: Path) -> tuple[Structure, list[NDArray[np.int64]]]:
    """The chains of a structure to which lines of ``table`` refer, and the indices of the residues of each line.

    :class:`S2PError` if the structure cannot be read, or a sequence is not that of its observed residues.
    """
    structure = read_structure(path, chains=list(dict.fromkeys(a.chain for a in lines)))
    sites = []
    for a in lines:
        observed = structure.sequence(a.chain)
        if observed != a.sequence:
            raise S2PError(
                f"{table}, line {a.line}: the sequence of {a.id} ({len(a.sequence)} residues) is not that of the observed "
                f"residues in {path} ({len(observed)}); labels and structure must come from the same file"
            )
        sites.append(np.flatnonzero(structure.residues.chain == a.chain)[a.indices])
    return structure, sites


def format_annotations(annotations: Iterable[Annotation], form: str = "published") -> str:
    """The text of a label file in one of :data:`FORMATS`; :func:`read_annotations` gives the same annotations back.

    Raises
    ------
    S2PError
        If a name contains the separator of the format, or ``form`` is not one of :data:`FORMATS`.
    """
    if form not in FORMATS:
        raise S2PError(f"there is no label format {form!r}; the formats are {', '.join(FORMATS)}")
    rows, records = [], []
    for a in annotations:
        row = (a.pdb, a.chain, a.kind, " ".join(f"{a.sequence[i]}{i}" for i in a.indices.tolist()), a.sequence)
        if any(c in field for field in row[:3] for c in (";\n\r" if form == "published" else "\n\r")):
            raise S2PError(f"{a.id}: a name with ';' or a line break cannot be written in the {form} format")
        rows.append(row)
        records.append(f">{a.id}\n{a.sequence}\n{''.join(map(str, a.labels.tolist()))}\n")
    if form == "csv":
        return csv_text(rows, CSV_COLUMNS)
    return "".join(records if form == "records" else [";".join(row) + "\n" for row in rows])


def _parse(path: Path) -> tuple[str, list[Annotation]]:
    """Format, recognised from the content, and annotations of a file."""
    text = read_text(path)
    form = _sniff(path, text)
    found, problems = [], []
    lines: Iterator[tuple[int, Any]] = _records(text) if form == "records" else _fields(text, form)
    for number, fields in lines:
        try:
            found.append(_from_record(number, fields) if form == "records" else _from_fields(number, fields, form))
        except _Problem as problem:
            problems.append(f"line {number}, {problem}")
    _raise(path, problems)
    if not found:
        raise S2PError(f"{path}: it contains no {'records' if form == 'records' else 'chains'}")
    return form, found


def _raise(path: Path, problems: list[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _SHOWN} more mistakes" if len(problems) > _SHOWN else ""
        raise S2PError(f"{path}, " + "; ".join(problems[:_SHOWN]) + more)


def _sniff(path: Path, text: str) -> str:
    """The format, recognised from the first line that is not blank."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not first:
        raise S2PError(f"{path}: the file is empty; there are no chains in it")
    if first.startswith(">"):
        return "records"
    if first.count(";") >= 2:
        return "published"
    names = [name.strip().lower() for name in next(csv.reader([first]))]
    if "ligand_id" in names and "sequence" not in names:
        raise S2PError(
            f"{path}, line 1: a table of ligands without sequences; write the labels with s2p labels --format published"
        )
    missing = [name for name in CSV_COLUMNS if name not in names]
    if len(missing) < len(CSV_COLUMNS) - 1:
        if missing:
            raise S2PError(f"{path}, line 1: the table has no column {missing[0]!r}; it needs {','.join(CSV_COLUMNS)}")
        return "csv"
    raise S2PError(
        f"{path}, line 1: no known label format; expected 'pdb;chain;TYPE;A12 G13;SEQUENCE', a CSV table with the columns "
        f"{','.join(CSV_COLUMNS)}, or records of three lines that start with '>id'"
    )


def _fields(text: str, form: str) -> Iterator[tuple[int, list[str]]]:
    """Number of each published line, or row of a table, and fields in the order of :data:`CSV_COLUMNS`, without headers."""
    csv.field_size_limit(1 << 24)  # a chain of 35,000 residues, all binding
    published, names = form == "published", list(CSV_COLUMNS) if form == "published" else []
    reader = csv.reader(text.splitlines(), delimiter=";", quoting=csv.QUOTE_NONE) if published else csv.reader(io.StringIO(text))
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) and not (published and len(cells) > 1):
            continue
        if not names:
            names = [cell.lower() for cell in cells]
        elif not (published and cells[0].lower() in _HEADERS and cells[-1].lower() == "sequence"):
            yield reader.line_num, [cells[names.index(name)] for name in CSV_COLUMNS] if len(cells) == len(names) else cells


def _records(text: str) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Number of the first line, and the numbered lines, of each record."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    for k in range(0, len(lines), 3):
        yield lines[k][0], lines[k : k + 3]


def _from_fields(number: int, fields: Sequence[str], form: str) -> Annotation:
    """An annotation from the fields of a published line or of a row of a table, checked."""
    if len(fields) != len(CSV_COLUMNS):
        raise _Problem(f"{len(fields)} fields where {len(CSV_COLUMNS)} are expected: {', '.join(CSV_COLUMNS)}")
    pdb, chain, kind, residues, sequence = fields
    name, here, in_sequence = _FIELDS[form]
    if not pdb:
        raise _Problem(f"{name}: empty")
    sequence = _checked_sequence(sequence, in_sequence)
    pairs = []
    for token in residues.replace(",", " ").split():
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise _Problem(f"{here}: {token[:20]!r} is not a residue; expected a letter and a 0-based index, such as A12")
        pairs.append((match[1].upper(), int(match[2])))
    for letter, index in pairs:
        if 0 <= index < len(sequence) and sequence[index] == letter:
            continue
        if all(1 <= i <= len(sequence) and sequence[i - 1] == c for c, i in pairs):
            raise _Problem(
                f"{here}: {letter}{index} does not fit, but every residue would if the indices were counted from 1; "
                "subtract 1 from all of them (indices are 0-based)"
            )
        if not 0 <= index < len(sequence):
            raise _Problem(f"{here}: {letter}{index} is out of range, the last index of the sequence is {len(sequence) - 1}")
        raise _Problem(f"{here}: {letter}{index} does not fit, the sequence has {sequence[index]} at index {index}")
    return Annotation(pdb, chain, kind, np.array(sorted({i for _, i in pairs}), np.int32), sequence, number)


def _from_record(number: int, record: Sequence[tuple[int, str]]) -> Annotation:
    """An annotation from a record of three lines, checked."""
    if len(record) < 3 or not record[0][1].startswith(">"):
        raise _Problem("id: expected '>id', a sequence and its labels, three lines a record")
    (_, head), (second, letters), (third, labels) = record
    name = head[1:].strip()
    if not name:
        raise _Problem("id: empty")
    sequence = _checked_sequence(letters, f"sequence of {name} (line {second})")
    where = f"labels of {name} (line {third})"
    if len(sequence) != len(labels):
        raise _Problem(f"{where}: {len(sequence)} letters but {len(labels)} labels")
    wrong = next((i for i, c in enumerate(labels) if c not in "01"), None)
    if wrong is not None:
        raise _Problem(f"{where}: labels must be 0 or 1, found {labels[wrong]!r} at index {wrong}")
    return Annotation(name, "", "", np.flatnonzero(np.array(list(labels)) == "1").astype(np.int32), sequence, number)


def _checked_sequence(text: str, where: str) -> str:
    sequence = text.upper()
    if not sequence:
        raise _Problem(f"{where}: empty")
    wrong = next((i for i, c in enumerate(sequence) if c not in LETTERS), None)
    if wrong is not None:
        raise _Problem(f"{where}: {text[wrong]!r} at index {wrong} is not an amino-acid letter")
    return sequence
