"""Records of a benchmark run on disk: one line of JSON a protein, appended as they are made."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s2p.errors import S2PError
from s2p.evaluation.rows import ProteinRow, SiteRow
from s2p.io.files import file_stem

__all__ = ["Record", "Run", "read_lines", "read_run"]


@dataclass(frozen=True)
class Record:
    """One protein under one predictor: a line of a run."""

    protein: ProteinRow
    sites: tuple[SiteRow, ...]
    labels: str
    """``0`` and ``1`` of the N residues."""
    positive: str
    """Likewise, what was predicted to bind; empty where the prediction failed."""
    scores: tuple[float, ...]
    """(N,) of the residues, four decimals; empty where the prediction failed."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """From :meth:`to_json`.

        Raises
        ------
        S2PError
            If the line has other columns: a version of s2p wrote it that measured other things.
        """
        values = json.loads(line)
        try:
            protein, sites = ProteinRow(**values["protein"]), tuple(SiteRow(**row) for row in values["sites"])
        except TypeError as error:
            key = values["protein"].get("protein", "?")
            raise S2PError(f"{key}: its record is of another version of s2p ({error}); run it again in a new folder") from None
        return cls(protein, sites, values["labels"], values["positive"], tuple(values["scores"]))


@dataclass(frozen=True, eq=False)
class Run:
    """What a folder holds."""

    folder: Path
    facts: dict[str, Any]
    """``run.json``."""
    records: dict[str, list[Record]]
    """By predictor, in the order of the data set."""


def read_lines(path: Path) -> list[Record]:
    """Records of a file; a last line that a killed run left unfinished is cut off."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return [Record.from_json(line) for line in whole.decode("utf-8").split("\n") if line]


def read_run(folder: str | Path) -> Run:
    """A run from its folder.

    Raises
    ------
    S2PError
        If there is none.
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise S2PError(f"{folder}: no run in it (run.json); make one with: s2p evaluate -o {folder}")
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    paths = {name: folder / "records" / f"{file_stem(name)}.jsonl" for name in facts["predictors"]}
    records = {name: read_lines(path) for name, path in paths.items()}
    return Run(folder, facts, {name: found for name, found in records.items() if found})
