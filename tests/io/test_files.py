"""Files are written whole or not at all; tables and checksums have one form."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from s2p.errors import S2PError
from s2p.io.files import csv_text, read_csv, read_text, replacing, sha256_file, sha256_of, write_csv


def test_a_table_of_sequences_or_of_mappings(tmp_path: Path) -> None:
    rows = [("a, b", 1, np.float32(0.5)), ('say "x"', None, float("nan"))]
    text = csv_text(rows, ("name", "n", "value"))
    assert text == 'name,n,value\n"a, b",1,0.5\n"say ""x""",,nan\n'
    keyed = [dict(zip(("name", "n", "value"), row, strict=True)) for row in rows]
    assert csv_text(keyed) == text
    assert csv_text([dict(reversed(row.items())) for row in keyed], ("name", "n", "value")) == text
    assert write_csv(tmp_path / "t.csv", iter(rows), ("name", "n", "value")).read_bytes() == text.encode()
    assert csv_text([], ("name", "n")) == "name,n\n"


def test_what_is_no_column_is_not_dropped_silently() -> None:
    with pytest.raises(ValueError, match="b"):
        csv_text([{"a": 1}, {"a": 2, "b": 3}])
    assert csv_text([{"a": 1, "b": 2}, {"a": 3}]) == "a,b\n1,2\n3,\n"


def test_a_table_is_read_back_or_a_sentence_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffname,n\r\n"a, b",1\r\nshort\r\n'.encode())
    assert read_csv(path, ("name", "n")) == [{"name": "a, b", "n": "1"}, {"name": "short", "n": ""}]
    with pytest.raises(S2PError, match=r"t\.csv: the table has no column 'm'; it needs n, m"):
        read_csv(path, ("n", "m"))
    path.write_bytes(b"")
    with pytest.raises(S2PError, match="no column 'n'"):
        read_csv(path, ("n",))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(S2PError, match="not a text file"):
        read_csv(path, ())
    with pytest.raises(S2PError, match="none: no such file, look elsewhere"):
        read_text(tmp_path / "none", ", look elsewhere")
    with pytest.raises(S2PError, match="cannot be read"):
        read_text(tmp_path)


def test_sums_of_parts_and_of_files(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc" * 1000)
    expected = hashlib.sha256(b"abc" * 1000).hexdigest()
    assert sha256_file(tmp_path / "f") == expected
    assert sha256_of([b"abc" * 400, memoryview(b"abc" * 600)]) == expected


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="half way"), replacing(path) as new:
        new.write_text("half")
        raise ValueError("half way")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as new:
        new.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
