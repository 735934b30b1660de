"""Journal of the inputs that a batch has finished, one per line, from which an interrupted run resumes after checking them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from s2p.batch.inputs import Item
from s2p.errors import S2PError
from s2p.io.files import make_folder, remove_leftovers, sha256_file, sha256_of, writing_error

__all__ = ["JOURNAL", "Finished", "Journal", "digest", "digest_input", "intact"]

JOURNAL = "batch.jsonl"
"""File in the output folder: one JSON object per line, in the order in which inputs were finished. Later lines override."""


@dataclass(frozen=True)
class Finished:
    """An input that was predicted and written."""

    stem: str
    source: str
    """SHA-256 of the input file, or of the name for a database identifier."""
    settings: str
    """SHA-256 of everything else that a result depends on."""
    formats: tuple[str, ...]
    outputs: dict[str, str]
    """File name -> SHA-256."""
    n_pockets: int


def digest(value: Any) -> str:
    """SHA-256 of JSON-ready values."""
    return sha256_of([json.dumps(value, sort_keys=True).encode()])


def digest_input(item: Item) -> str:
    """SHA-256 of an item's file, or of its identifier; ``OSError`` if the file cannot be read."""
    return sha256_file(item.path) if item.path is not None else digest({"identifier": item.identifier})


def intact(finished: Finished, item: Item, folder: Path, formats: Iterable[str], settings: str) -> bool:
    """Whether an input was finished with these settings and formats, has not changed since, and neither have its outputs."""
    if finished.settings != settings or not set(formats) <= set(finished.formats):
        return False
    try:
        return finished.source == digest_input(item) and all(
            sha256_file(folder / name) == expected for name, expected in finished.outputs.items()
        )
    except OSError:
        return False


class Journal:
    """The journal of an output folder, locked by one process at a time; a context manager.

    Parameters
    ----------
    folder
        Created if necessary.
    resume
        Read what is there, and remove temporary files of a run that was killed.

    Raises
    ------
    S2PError
        If the folder cannot be written, or another batch is writing into it.
    """

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        make_folder(folder)
        self._path = folder / JOURNAL
        self._lines: dict[str, int] = {}
        try:
            self._handle: BinaryIO = open(self._path, "a+b", buffering=0)  # noqa: SIM115 - closed in __exit__
        except OSError as error:
            raise writing_error(self._path, error) from None
        if not _lock(self._handle):
            self._handle.close()
            raise S2PError(f"another s2p is writing into {folder}; wait until it ends, or choose another folder")
        if resume:
            remove_leftovers(folder)
            start = 0
            with open(self._path, "rb") as lines:
                for line in lines:  # where each input's last complete line begins; the line itself is read when it is needed
                    if found := _parse(line):
                        self._lines[found.stem] = start
                    start += len(line)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def find(self, stem: str) -> Finished | None:
        """Entry of an earlier run for an output name; nothing unless resuming."""
        if stem not in self._lines:
            return None
        with open(self._path, "rb") as handle:
            handle.seek(self._lines[stem])
            return _parse(handle.readline())

    def add(self, finished: Finished) -> None:
        """Record an input as finished, once its outputs are written."""
        line = json.dumps(asdict(finished), ensure_ascii=False).encode("utf-8", errors="replace") + b"\n"
        try:
            # A run that was killed while it wrote, or a full disk, may have left half a line.
            if size := self._handle.seek(0, 2):
                self._handle.seek(size - 1)
                line = line if self._handle.read(1) == b"\n" else b"\n" + line
            if self._handle.write(line) != len(line):
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise writing_error(self._path, error) from None


def _parse(line: bytes) -> Finished | None:
    try:
        values = json.loads(line)
        values["formats"] = tuple(values["formats"])
        return Finished(**values)
    except (ValueError, TypeError, KeyError):
        return None


def _lock(handle: BinaryIO) -> bool:
    """Lock the file for this process; the lock is released when the process ends in any way."""
    with suppress(ImportError, OSError):  # Windows, where locks are not checked, or a file system without locks
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
