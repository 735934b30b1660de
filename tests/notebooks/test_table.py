"""The table of notebooks is what the notebooks say of themselves."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbformat")

SCRIPT = Path(__file__).resolve().parent / "table.py"

FIRST = """# A title

[![Open In Colab](https://x/badge.svg)](https://x/01.ipynb)

Words.

**You will**
1. measure a thing;
2. compare it with
   another | one.

**You need** nothing.

**Run time** about {time} on two CPU cores. On a T4 expect 9 minutes.
"""


def load() -> Any:
    spec = importlib.util.spec_from_file_location("notebook_table", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


table = load()


def test_is_not_stale() -> None:
    found = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_every_notebook_has_a_row() -> None:
    text = table.README.read_text(encoding="utf-8")
    for path in table.notebooks():
        assert f"{path.name})" in text, path.name
    assert table.notebooks()[0].stem == "quickstart"


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("30 seconds", "0.5"), ("half a minute", "0.5"), ("one minute", "1"), ("2 minutes", "2"), ("2 seconds", "0.1")],
)
def test_reads_the_first_cell(time: str, minutes: str) -> None:
    entry = table.read_entry(FIRST.format(time=time), "x")
    assert entry.title == "A title"
    assert entry.learn == ("measure a thing", r"compare it with another \| one")
    assert table.minutes(entry.minutes) == minutes
    assert entry.badge == "[![Open In Colab](https://x/badge.svg)](https://x/01.ipynb)"


@pytest.mark.parametrize(
    ("cut", "missing"),
    [("# A title", "a heading"), ("**You will**", "You will"), ("**Run time**", "Run time"), ("[![Open In Colab]", "badge")],
)
def test_says_what_is_missing(cut: str, missing: str) -> None:
    with pytest.raises(ValueError, match="x: the first cell lacks") as caught:
        table.read_entry(FIRST.format(time="30 seconds").replace(cut, "Text"), "x")
    assert missing in str(caught.value)


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        table.renewed("# Notebooks\n")
    text = table.renewed(f"before\n{table.START}\nstale rows\n{table.END}\nafter\n")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "stale rows" not in text
    assert table.renewed(text) == text
