"""Write the table of notebooks in ``notebooks/README.md`` from what every notebook says of itself in its first cell.

``python tests/notebooks/table.py`` writes it, ``--check`` only says whether it is up to date (exit status 1 if not).
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "notebooks" / "README.md"
START, END = "<!-- table of notebooks: python tests/notebooks/table.py -->", "<!-- end of table -->"
NUMBERS = {"half a": 0.5, "a": 1.0, "one": 1.0, "two": 2.0, "three": 3.0}
TIME = re.compile(rf"\*\*Run time\*\*:? (?:about |some )?(\d+(?:\.\d+)?|{'|'.join(NUMBERS)}) (second|minute)s?\b")


@dataclass(frozen=True)
class Entry:
    """A row of the table."""

    title: str
    learn: tuple[str, ...]
    minutes: float
    badge: str


def read_entry(text: str, name: str) -> Entry:
    """What the first cell says: heading, the list under **You will**, the first time under **Run time**, the badge.

    Raises
    ------
    ValueError
        Naming what is missing.
    """
    title = re.match(r"# (.+)", text)
    badge = re.search(r"\[!\[Open In Colab\]\(\S+\)\]\(\S+\)", text)
    goals = re.search(r"\*\*You will\*\*\n((?:(?:\d+\.|[-*]) .*\n(?:(?!\d+\.|[-*] |\n).*\n)*)+)", text)
    time = TIME.search(text)
    parts = {"a heading": title, "a Colab badge": badge, "a list under **You will**": goals, "a time in **Run time**": time}
    if missing := [part for part, found in parts.items() if not found]:
        raise ValueError(f"{name}: the first cell lacks {', '.join(missing)}")
    assert title and badge and goals and time
    items = re.split(r"^(?:\d+\.|[-*]) ", goals[1], flags=re.MULTILINE)[1:]
    learn = tuple(re.sub(r"\s+", " ", item).strip().rstrip(".;,").replace("|", r"\|") for item in items)
    number = NUMBERS[time[1]] if time[1] in NUMBERS else float(time[1])
    return Entry(title[1].strip(), learn, number if time[2] == "minute" else number / 60, badge[0])


def minutes(value: float) -> str:
    """One decimal below a minute and a half, whole minutes above; at least 0.1."""
    return f"{max(value, 0.1):.1f}".removesuffix(".0") if value < 1.5 else f"{value:.0f}"


def notebooks() -> list[Path]:
    """The quickstart, the numbered notebooks, then the others."""
    found = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "tutorial").glob("*.ipynb")]
    return sorted(found, key=lambda path: (path.stem != "quickstart", path.parent.name != "notebooks", path.name))


def solutions(path: Path) -> Path | None:
    """The file with the solutions of a notebook's exercises, if it is a file of its own."""
    name = ROOT / "tutorial" / "solutions" / f"{path.stem.partition('_')[0]}_solutions.ipynb"
    return name if name.exists() else None


def table() -> str:
    """The rows as Markdown."""
    lines = ["| notebook | you will | minutes | |", "|---|---|---|---|"]
    for path in notebooks():
        entry = read_entry(nbformat.read(path, as_version=4).cells[0].source, path.name)
        place = path.name if path.parent.name == "notebooks" else f"../tutorial/{path.name}"
        number = f"{path.stem[:2]} " if path.stem[:2].isdecimal() else ""
        name = f"[{number}{entry.title}]({place})"
        if found := solutions(path):
            name += f" ([solutions](../{found.relative_to(ROOT).as_posix()}))"
        lines.append(f"| {name} | {'; '.join(entry.learn)} | {minutes(entry.minutes)} | {entry.badge} |")
    return "\n".join(lines)


def renewed(text: str) -> str:
    """A README with the table between its two marks replaced."""
    if START not in text or END not in text:
        raise ValueError(f"{README.name}: the marks around the table are missing: {START} and {END}")
    head, tail = text.partition(START)[0], text.partition(END)[2]
    return f"{head}{START}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the table is stale")
    before = README.read_text(encoding="utf-8")
    after = renewed(before)
    if parser.parse_args().check:
        if after != before:
            sys.exit("the table in notebooks/README.md is stale; run: python tests/notebooks/table.py")
    else:
        README.write_text(after, encoding="utf-8")
