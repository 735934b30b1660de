"""Text and tables: safe names, files that are written completely or not at all, and errors as one sentence."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from s2p.errors import S2PError, TargetError

__all__ = [
    "csv_text",
    "file_stem",
    "make_folder",
    "read_csv",
    "read_text",
    "remove_leftovers",
    "replacing",
    "sha256_file",
    "sha256_of",
    "write_bytes",
    "write_csv",
    "write_text",
    "writing_error",
]


def file_stem(name: str) -> str:
    """``name`` as a file name that is legal everywhere and can never leave its folder."""
    safe = re.sub(r"[^\w .+=@-]", "_", name).strip()
    safe = re.sub(r"\.{2,}", ".", safe).lstrip(".- ")
    while len(safe.encode()) > 150:
        safe = safe[:-1]
    return safe.rstrip(". ") or "structure"


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents; raise an error with the reason if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise S2PError(f"cannot write into {folder}: it, or part of its path, is a file and not a folder") from None
    except OSError as error:
        raise writing_error(folder, error) from None


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8; see :func:`write_bytes`."""
    # UTF-8 cannot encode lone surrogates, which occur in file names that are not UTF-8.
    return write_bytes(path, text.encode("utf-8", errors="replace"))


def write_bytes(path: Path, data: bytes) -> Path:
    """Write ``data`` so that ``path`` is either the whole new file or as it was before."""
    try:
        with replacing(path) as temporary, open(temporary, "xb") as handle:
            handle.write(data)
    except OSError as error:
        raise writing_error(path, error) from None
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name next to ``path``; the file written there replaces ``path`` at the end, unless there was an error.

    The name is unique to this call, because two runs may write the same file at once.
    """
    temporary = path.with_name(f".s2p-{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_text(path: Path, missing: str = "") -> str:
    """Content of a text file in UTF-8, without a byte order mark.

    :class:`S2PError` if it cannot be read or is not text; ``missing`` is added to the message if there is no such file.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise S2PError(f"{path}: no such file{missing}") from None
    except UnicodeDecodeError as error:
        raise S2PError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from None
    except OSError as error:
        raise S2PError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_csv(path: Path, columns: Sequence[str], missing: str = "") -> list[dict[str, str]]:
    """The rows of a table with a line of column names; missing cells of a short row are empty.

    ``columns``: those that are required; there may be others. :class:`S2PError` if it cannot be read (see :func:`read_text`) or
    lacks a column.
    """
    csv.field_size_limit(1 << 24)  # lists of residues may be long
    reader = csv.DictReader(io.StringIO(read_text(path, missing)), restval="")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise S2PError(f"{path}: cannot be read as a table ({error})") from None
    lacking = [column for column in columns if column not in (reader.fieldnames or ())]
    if lacking:
        raise S2PError(f"{path}: the table has no column {lacking[0]!r}; it needs {', '.join(columns)}")
    return rows


def csv_text(rows: Iterable[Sequence[Any]] | Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """A table as CSV with a line of column names, and lines that end in a line feed on every system.

    Parameters
    ----------
    rows
        Sequences in the order of ``columns``, or mappings with these keys.
    columns
        Names of the columns; default: the keys of the rows, if these are mappings.
    """
    table, out = list[Any](rows), io.StringIO()
    names = columns if columns is not None else list(table[0])
    csv.writer(out, lineterminator="\n").writerow(names)
    if table and isinstance(table[0], Mapping):
        csv.DictWriter(out, names, lineterminator="\n").writerows(table)  # raises an error for a key that is not a column
    else:
        csv.writer(out, lineterminator="\n").writerows(table)
    return out.getvalue()


def write_csv(
    path: Path, rows: Iterable[Sequence[Any]] | Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None
) -> Path:
    """Write a table; see :func:`csv_text` and :func:`write_bytes`."""
    return write_text(path, csv_text(rows, columns))


def sha256_of(parts: Iterable[bytes | memoryview]) -> str:
    """SHA-256 in hex of bytes in parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path, algorithm: str = "sha256") -> str:
    """SHA-256, or another checksum, in hex of the content of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in ``folder``; call it only if no other process writes there."""
    for path in folder.glob(".s2p-*.tmp"):
        path.unlink(missing_ok=True)


def writing_error(path: Path, error: OSError) -> S2PError:
    """An error of the system as a message about writing ``path``."""
    if isinstance(error, PermissionError):
        return TargetError(f"no permission to write {path}; choose another folder")
    if error.errno == errno.EROFS:
        return TargetError(f"cannot write {path}: the disk is read-only; choose another folder")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TargetError(f"the disk is full: {path} was not written; free some space or choose another folder")
    if isinstance(error, (IsADirectoryError, NotADirectoryError)):
        return S2PError(f"cannot write {path}: a folder is where a file should be, or a file where a folder should be")
    return S2PError(f"cannot write {path} ({error.strerror or error})")
