"""Every notebook runs from top to bottom, gives the figures of its reference, and is committed clean.

``python tests/notebooks/update.py`` writes the references and the figures of record anew.
"""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(__file__).resolve().parent / "reference"
NOTEBOOKS = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "tutorial").glob("*.ipynb")])
MAX_LINES = 22
CELL_TIMEOUT = 300
"""Seconds."""

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def execute(path: Path, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The executed notebook and its metrics; everything is written into ``folder``."""
    import papermill

    known = papermill.inspect_notebook(str(path))
    metrics = folder / "metrics.json"
    values = {"metrics_path": str(metrics), "output_folder": str(folder / "output")}
    executed = papermill.execute_notebook(
        str(path),
        str(folder / path.name),
        parameters={key: value for key, value in values.items() if key in known},
        kernel_name="python3",
        cwd=str(path.parent),
        progress_bar=False,
        execution_timeout=CELL_TIMEOUT,
    )
    return executed, json.loads(metrics.read_text())


def differences(metrics: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Sentences on the metrics that are not within the tolerance (``abs``, default 0) of their reference ``value``."""
    found = [f"{key} is not in the reference" for key in metrics if key not in reference]
    for key, wanted in reference.items():
        value, expected, tolerance = metrics.get(key), wanted["value"], wanted.get("abs", 0)
        if value is None or expected is None:
            same = key in metrics and value is expected
        else:
            same = math.isclose(value, expected, rel_tol=0, abs_tol=tolerance)
        if not same:
            found.append(f"{key} is {value}, the reference {expected} ± {tolerance}")
    return found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python3`` is the interpreter that runs the tests, whatever kernels the user has registered."""
    pytest.importorskip("papermill")
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")


def test_there_are_notebooks_and_no_stray_references() -> None:
    stems = [path.stem for path in NOTEBOOKS]
    assert "quickstart" in stems
    assert len(set(stems)) == len(stems)
    assert [path.name for path in REFERENCE.glob("*.json") if path.stem not in stems] == []


@every
@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_runs_and_gives_its_reference(path: Path, tmp_path: Path) -> None:
    executed, metrics = execute(path, tmp_path)
    errors = [output for cell in executed.cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert errors == []
    assert differences(metrics, json.loads((REFERENCE / f"{path.stem}.json").read_text())) == []


@every
def test_is_committed_stripped(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.execution_count is None, cell.id
            assert not cell.outputs or "keep_output" in tags(cell), cell.id
        assert "papermill" not in cell.metadata, cell.id
    assert "papermill" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"


@every
def test_cells_are_in_order(path: Path) -> None:
    cells = read(path).cells
    first = cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for word in ("colab.research.google.com/github/", f"/{path.parent.name}/{path.name}", "You need", "Run time"):
        assert word in first.source, word
    code = [cell for cell in cells if cell.cell_type == "code"]
    setup, imports, parameters = code[:3]
    assert '"google.colab" in sys.modules' in setup.source and setup.source.count("%pip") == 1
    assert "import s2p" in imports.source or "from s2p" in imports.source
    assert [cell.id for cell in code if "parameters" in tags(cell)] == [parameters.id]
    assert sum("%pip" in cell.source for cell in code) == 1
    headings = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines() if line[:1] == "#"]
    places = [next(i for i, line in enumerate(headings) if word in line) for word in ("Exercises", "Discussion", "References")]
    assert places == sorted(places)
    assert cells[-1].cell_type == "code" and "metrics_path" in cells[-1].source


@every
def test_parameters_are_literals(path: Path) -> None:
    (cell,) = (cell for cell in read(path).cells if "parameters" in tags(cell))
    names = []
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign) and len(statement.targets) == 1, ast.unparse(statement)
        ast.literal_eval(statement.value)
        names.append(ast.unparse(statement.targets[0]))
    assert "metrics_path" in names
    assert cell.source.count("@param") >= len(names) - 1


@every
def test_cells_are_short(path: Path) -> None:
    long = {
        cell.id: n for cell in read(path).cells if cell.cell_type == "code" and (n := len(cell.source.splitlines())) > MAX_LINES
    }
    assert long == {}


def test_differences() -> None:
    reference = {"a": {"value": 1.0, "abs": 0.1}, "b": {"value": 2}, "c": {"value": None}}
    assert differences({"a": 1.05, "b": 2, "c": None}, reference) == []
    assert len(differences({"a": 1.2, "b": 3, "c": 0.0, "d": 1}, reference)) == 4
    assert len(differences({}, reference)) == 3
    assert len(differences({"a": float("nan"), "b": 2, "c": None}, reference)) == 1
