"""Formulas of rendered notebooks are MathML: nothing is left to a script from the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from browsing import open_page

pytest.importorskip("nbconvert")
pytest.importorskip("latex2mathml")

from offline_page import OfflinePage, mathml

ROOT = Path(__file__).resolve().parents[2]
COURSE = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "tutorial").glob("*.ipynb")])
SPACE = "{http://www.w3.org/1998/Math/MathML}"


def page_of(*cells: str) -> str:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(cell) for cell in cells])
    return OfflinePage().from_notebook_node(notebook)[0]


def test_formula_is_mathml_and_keeps_its_tex() -> None:
    root = ElementTree.fromstring(mathml(r"p = \frac{1}{1 + e^{-z}} < 1", block=True))
    assert root.tag == f"{SPACE}math" and root.get("display") == "block"
    (fraction,) = root.iter(f"{SPACE}mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["1", "1+e−z"]
    assert root.find(f"{SPACE}semantics/{SPACE}annotation").text == r"p = \frac{1}{1 + e^{-z}} < 1"  # type: ignore[union-attr]


def test_what_cannot_be_read_stays_text() -> None:
    assert mathml(r"\left( x < <b>").endswith(r"\left( x &lt; &lt;b&gt;</code>")


def test_every_way_to_write_a_formula_and_none_in_code() -> None:
    page = page_of("Inline $x_i$ and\n\n$$\\sum_i x_i$$\n\n\\begin{equation}y = x\\end{equation}\n", "costs `$5 and $6`")
    assert page.count("<math") == 3 and page.count('display="block"') == 2
    assert "<code>$5 and $6</code>" in page
    assert "mathjax" not in page.lower() and page.count("math[display=block]") == 1


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_every_formula_of_the_course_is_drawn(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    source = "\n\n".join(
        re.sub(r"```.*?```|`[^`]*`", "", c.source, flags=re.DOTALL) for c in notebook.cells if c.cell_type == "markdown"
    )
    formulas = re.findall(r"\$\$.+?\$\$|(?<![\\$])\$[^$]+\$", source, re.DOTALL)
    page, _ = OfflinePage().from_notebook_node(notebook)
    assert page.count("<math") == len(formulas) and "<code title" not in page
    assert "mathjax" not in page.lower()
    drawn = source.count("pipeline/") + source.count("(drawings/")
    assert page.count('src="data:image/svg+xml;base64,') == drawn and 'src="pipeline' not in page and 'src="drawings' not in page


def test_no_file_outside_the_course_is_embedded(tmp_path: Path) -> None:
    (tmp_path / "own.svg").write_text("<svg/>")
    page = page_of(
        f"![a]({tmp_path}/own.svg) ![b](../docs/img/none.svg) ![c](pipeline/missing.svg) ![d](https://a.org/pipeline/01.svg)"
    )
    assert 'src="data:image' not in page and page.count("<img") == 4


def test_nbconvert_finds_it_by_name(tmp_path: Path) -> None:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("$x^2$")]), tmp_path / "one.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "offline_page.OfflinePage", str(tmp_path / "one.ipynb")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": "docs"})
    assert "<msup>" in (tmp_path / "one.html").read_text(encoding="utf-8")
    assert (ROOT / "Makefile").read_text().count("PYTHONPATH=docs $(BIN)/jupyter nbconvert --to offline_page.OfflinePage") == 2


@pytest.mark.browser
def test_browser_draws_a_fraction(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page_of(r"$$\frac{a}{b}$$"), encoding="utf-8")
    with open_page() as (page, _):
        page.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
        a, b = (page.locator("mfrac mi").nth(k).bounding_box() for k in range(2))
        assert a["y"] + a["height"] <= b["y"] + 1 and abs(a["x"] + a["width"] / 2 - b["x"] - b["width"] / 2) < 2
