"""The index page of a batch: a card with a picture for each report, and the inputs that failed. No script, no network."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from s2p.io.files import write_text
from s2p.output.files import asset, fill
from s2p.output.report import page

__all__ = ["write_index"]

HEAD = 1 << 18
"""Number of characters of a report in which its picture is searched; it is near the beginning."""


def write_index(folder: str | Path, stems: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Write ``index.html`` next to the reports of a batch, from the rows of its summary and the stems of their file names.

    Pictures are taken from the reports, also from those that an earlier run wrote (``--resume``).
    """
    folder = Path(folder)
    cards, failed = [], []
    for stem, (name, status, n_pockets, _, message) in zip(stems, rows, strict=True):
        report = folder / f"{stem}_report.html"
        if status == "error" or not report.is_file():
            cells = (f"<td class='left wrap'>{html.escape(text)}</td>" for text in (name, message))
            failed.append(f"<tr>{''.join(cells)}</tr>")
        else:
            cards.append(_card(stem, n_pockets, report))
    title = f"Binding pockets of {len(cards)} structures"
    values = {"title": title, "count": f"{len(cards)} of {len(rows)} inputs have a report", "cards": "".join(cards)}
    values["failures"] = fill("failures.html", {"rows": "".join(failed)}) if failed else ""
    return write_text(folder / "index.html", page(title, fill("batch.html", values), css=asset("index.css")))


def _card(stem: str, n_pockets: int, report: Path) -> str:
    with open(report, encoding="utf-8") as handle:
        found = re.search(r"<svg class='thumbnail'[^>]*?data-residues='(\d+)' data-best='([\d.]*)'.*?</svg>", handle.read(HEAD))
    picture, size, best = found.group(0, 1, 2) if found else ("", "", "")
    facts = f"{n_pockets} pocket{'' if n_pockets == 1 else 's'}" + (f", {size} residues" if size else "")
    facts += f"; best probability {best}" if best else ""
    return (
        f"<li><a href='{html.escape(quote(report.name))}'>{picture}<b>{html.escape(stem)}</b></a><p>{html.escape(facts)}</p></li>"
    )
