"""The drawings at the heads of the notebooks are those of the code, and every notebook shows its own."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from course.pipeline import FOLDER, LIT, NOTEBOOKS, STAGES, pipeline_alt, pipeline_svg

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_committed_drawing(notebook: str) -> None:
    """If it differs: ``PYTHONPATH=.:notebooks python -m course.pipeline``."""
    assert (FOLDER / f"{notebook}.svg").read_text(encoding="utf-8") == pipeline_svg(notebook)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_notebook_shows_it_with_alt_text(notebook: str) -> None:
    (path,) = [*(ROOT / "notebooks").glob(f"{notebook}*.ipynb"), *(ROOT / "tutorial").glob(f"{notebook}.ipynb")]
    head = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    up = "" if path.parent.name == "notebooks" else "../notebooks/"
    assert f"![{pipeline_alt(notebook)}]({up}pipeline/{notebook}.svg)" in head


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_lit_stages(notebook: str) -> None:
    root = ET.fromstring(pipeline_svg(notebook))
    lit = [box for box in root.iter(f"{SVG}rect") if box.get("fill") == LIT]
    bold = [text.text for text in root.iter(f"{SVG}text") if text.get("font-weight") == "bold"]
    assert len(lit) == len(bold) == len(NOTEBOOKS[notebook])
    assert set(bold) == {f"{number} {STAGES[number][0]}".strip() for number in NOTEBOOKS[notebook]}
    assert root.findtext(f"{SVG}title") == pipeline_alt(notebook)


def test_boxes_lie_inside_and_apart() -> None:
    boxes = [(x, y, x + width, y + 54) for *_, x, y, width in STAGES.values()]
    assert all(a >= 0 and c <= 900 and d <= 296 for a, _, c, d in boxes)
    for k, (a, b, c, d) in enumerate(boxes):
        assert all(c < e or g < a or d < f or h < b for e, f, g, h in boxes[:k])
