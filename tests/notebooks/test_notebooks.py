"""Every notebook runs from top to bottom, gives the figures of its reference, and is committed clean.

``python tests/notebooks/update.py`` writes the references and the figures of record anew.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import resource
import shutil
import tomllib
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2p.errors import DISTRIBUTION
from s2p.pockets.clustering import mean_shift

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(__file__).resolve().parent / "reference"
KEPT = Path(os.environ.get("S2P_FAILED_NOTEBOOKS", ROOT / "runs" / "notebooks" / "failed"))
"""Where the executed copy of a notebook that failed is kept."""
NOTEBOOKS = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "tutorial").glob("*.ipynb")])
COURSE = [path for path in NOTEBOOKS if path.parent.name == "notebooks"]
SOLUTIONS = sorted((ROOT / "tutorial" / "solutions").glob("*.ipynb"))
MAX_LINES = 28
NAMES = 3
"""That a notebook may import from `s2p`, `course` and `benchmarks` by name; the rest is written `s2p.pockets.dcc`."""
MOST_SECONDS = 180
"""Processor time of a notebook in fast mode on one core; the limit on a wall clock is three minutes on two."""
FIGURES, EXERCISES, QUESTIONS, REFERENCES = 3, 3, 3, 3
"""Every notebook of the course has at least so many."""
CELL_TIMEOUT = 300
"""Seconds."""

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
course = pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
solved = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def execute(path: Path, folder: Path, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """The executed notebook and its metrics, with some parameters changed; everything is written into ``folder``."""
    import papermill

    known = (
        papermill.inspect_notebook(str(path)) if "parameters" in [tag for cell in read(path).cells for tag in tags(cell)] else {}
    )
    assert set(changes) <= set(known), f"{path.name} has no parameters {sorted(set(changes) - set(known))}"
    metrics = folder / "metrics.json"
    values = {"metrics_path": str(metrics), "output_folder": str(folder / "output")}
    executed = papermill.execute_notebook(
        str(path),
        str(folder / path.name),
        parameters={key: value for key, value in values.items() if key in known} | changes,
        kernel_name="python3",
        cwd=str(path.parent),
        progress_bar=False,
        execution_timeout=CELL_TIMEOUT,
    )
    return executed, json.loads(metrics.read_text()) if known else {}


def pictures(executed: Any) -> list[tuple[str, str]]:
    """Cell and description of every picture in the outputs."""
    found = []
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                about = output.get("metadata", {}).get("image/png", {}).get("alt", "")
                found.append((cell.id, about or output["data"].get("text/plain", "")))
    return found


@dataclass(frozen=True)
class Moved:
    """A metric that is not within tolerance of its reference; ``None`` where one of them lacks it, or holds no value."""

    name: str
    found: float | None
    expected: float | None
    tolerance: float
    why: str

    def row(self) -> tuple[str, ...]:
        wanted = "none" if self.expected is None else f"{self.expected:g} ± {self.tolerance:g}"
        return self.name, wanted, "none" if self.found is None else f"{self.found:g}", self.why


def differences(metrics: dict[str, Any], reference: dict[str, Any]) -> list[Moved]:
    """The metrics that are not within the tolerance (``abs``, default 0) of their reference ``value``."""
    found = [Moved(key, value, None, 0, "not in the reference") for key, value in metrics.items() if key not in reference]
    for key, wanted in reference.items():
        value, expected, tolerance = metrics.get(key), wanted["value"], wanted.get("abs", 0)
        if key not in metrics:
            found.append(Moved(key, None, expected, tolerance, "the notebook gives no such metric"))
        elif value is None or expected is None:
            if value is not expected:
                found.append(Moved(key, value, expected, tolerance, "a value on one side only"))
        elif not math.isclose(value, expected, rel_tol=0, abs_tol=tolerance):
            found.append(Moved(key, value, expected, tolerance, f"moved by {value - expected:+g}"))
    return found


def report(name: str, moved: list[Moved], n_metrics: int) -> str:
    """What moved as a table, for a person who has to decide whether it should have."""
    rows = [("metric", "reference", "now", ""), *(m.row() for m in moved)]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip() for row in rows]
    head = f"{name}: {len(moved)} of {n_metrics} metrics differ from tests/notebooks/reference/{name}.json"
    tail = f"If they should have moved: python tests/notebooks/update.py {name}"
    return "\n".join([head, *(f"    {line}" for line in lines), tail])


def keep(executed: Path) -> str:
    """Copy an executed notebook to :data:`KEPT`, and say so."""
    if not executed.is_file():
        return "The notebook failed before anything was executed."
    KEPT.mkdir(parents=True, exist_ok=True)
    return f"The executed notebook is kept: {shutil.copy(executed, KEPT / executed.name)}"


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
    from papermill.exceptions import PapermillExecutionError

    reference = json.loads((REFERENCE / f"{path.stem}.json").read_text())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        executed, metrics = execute(path, tmp_path)
    except PapermillExecutionError as error:
        pytest.fail(f"{path.name}: cell {error.exec_count}: {error.ename}: {error.evalue}\n{keep(tmp_path / path.name)}")
    if moved := differences(metrics, reference):
        pytest.fail(f"{report(path.stem, moved, len(reference))}\n{keep(tmp_path / path.name)}", pytrace=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST_SECONDS
    if path in COURSE:
        shown = pictures(executed)
        assert len({cell for cell, _ in shown}) >= FIGURES
        assert [cell for cell, about in shown if not about] == []


@solved
@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_solutions_run(path: Path, tmp_path: Path) -> None:
    from papermill.exceptions import PapermillExecutionError

    try:
        execute(path, tmp_path)
    except PapermillExecutionError as error:
        pytest.fail(f"{path.name}: cell {error.exec_count}: {error.ename}: {error.evalue}\n{keep(tmp_path / path.name)}")


CLUSTERING = """
import s2p.pockets.clustering as stage
real = stage.mean_shift
stage.mean_shift = lambda points, bandwidth, *rest, **options: real(points, bandwidth + 2, *rest, **options)
"""
SMOOTHING = """
import s2p.residues as stage
stage.smooth = lambda smoother, ca_coord, positive, embeddings, **options: positive & False
"""
SMOOTHING_RADIUS = """
import s2p.residues as stage
real = stage.candidates
stage.candidates = lambda ca, positive, embeddings, radius=15.0: real(ca, positive, embeddings, {15.0: 10.0, 10.0: 15.0}[radius])
"""
PROBE = """
import s2p.surface.points as stage
real = stage.surface_points
stage.surface_points = lambda *rest, **options: real(*rest, **options | {"probe_radius": 1.4})
"""
PEAKS = """
import s2p.pockets.voting as stage
real = stage.peaks
def moved(*arguments):
    centers, heights = real(*arguments)
    return centers + 2, heights
stage.peaks = moved
"""
LANGUAGE = """
from s2p.surface.reading import SurfaceNetwork
real = SurfaceNetwork.read
SurfaceNetwork.read = lambda network, part, embeddings: real(network, part, embeddings * 0)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    "broken",
    [CLUSTERING, PROBE, PEAKS, LANGUAGE],
    ids=["bandwidth off by 2", "probe of water", "centres off by 2", "network without language"],
)
def test_a_broken_stage_stops_the_notebook(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage is broken in the package itself, for the kernel and all processes that it starts: a finding no longer holds."""
    from papermill.exceptions import PapermillExecutionError

    (tmp_path / "sitecustomize.py").write_text(broken)  # Python runs it on start
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(PapermillExecutionError) as caught:
        execute(ROOT / "notebooks" / "08_inspecting_pockets.ipynb", tmp_path)
    assert caught.value.ename == "AssertionError"


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("broken", [SMOOTHING, SMOOTHING_RADIUS], ids=["smoothing disabled", "radii swapped"])
def test_what_the_text_says_of_smoothing_is_checked(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from papermill.exceptions import PapermillExecutionError

    (tmp_path / "sitecustomize.py").write_text(broken)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(PapermillExecutionError, match="the text is wrong"):
        execute(ROOT / "notebooks" / "04_smoothing.ipynb", tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("stem", "changes", "names"),
    [
        ("05_surface_points_and_clustering", {"bandwidth": 11.0}, {"clusters_perfect"}),
        ("07_benchmark", {"ours": "s2p-no-smoothing"}, {"dvo_ours", "pfi_ours"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_a_parameter_moves_the_metrics(stem: str, changes: dict[str, Any], names: set[str], tmp_path: Path) -> None:
    reference = json.loads((REFERENCE / f"{stem}.json").read_text())
    _, metrics = execute(ROOT / "notebooks" / f"{stem}.ipynb", tmp_path, **changes)
    moved = differences(metrics, reference)
    assert names <= {m.name for m in moved}
    text = report(stem, moved, len(reference))
    assert all(f"    {m.name} " in text for m in moved)


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_another_protein(tmp_path: Path) -> None:
    """A file that is not bundled, and a structure without a ligand: both notebooks run from top to bottom."""
    mine = shutil.copy(ROOT / "data" / "examples" / "4CUP.cif", tmp_path / "mine.cif")
    executed, metrics = execute(ROOT / "notebooks" / "05_surface_points_and_clustering.ipynb", tmp_path, structure=str(mine))
    said = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))
    assert "mine, chains A: 115 residues" in said and "contains no" not in said
    assert metrics["pockets_on_site"] == 1
    executed, metrics = execute(ROOT / "tutorial" / "quickstart.ipynb", tmp_path, structure="3enl")
    said = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))
    assert "contains no ligand of interest: nothing to compare with" in said
    assert metrics["n_residues"] == 436 and metrics["dca_best"] is None


@every
def test_structure_has_one_meaning(path: Path) -> None:
    """The parameter ``structure`` is a name, an id or a path, with chains after a colon, wherever there is one."""
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    (parameters,) = (cell.source for cell in code if "parameters" in tags(cell))
    names = {line.split(" = ")[0] for line in parameters.splitlines()}
    assert names & {"structure_file", "protein", "chain"} == set()
    if "structure" in names:
        (default,) = re.findall(r'^structure = "(\w+(?::\w)?)"', parameters, re.MULTILINE)
        assert list((ROOT / "data" / "examples").glob(f"{default.split(':')[0]}.*"))
        assert any(re.search(r"course\.structures\.find\(\s*(structure|source)\b", cell.source) for cell in code)


def test_tolerances_have_reasons() -> None:
    """A metric that may move without anyone being told says why."""
    unexplained = [
        f"{path.stem}: {name}"
        for path in sorted(REFERENCE.glob("*.json"))
        for name, entry in json.loads(path.read_text()).items()
        if entry.get("abs", 0) and not entry.get("why")
    ]
    assert unexplained == []


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: path.stem)
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
    assert setup.id == "setup"
    assert "import s2p" in imports.source or "from s2p" in imports.source
    assert [cell.id for cell in code if "parameters" in tags(cell)] == [parameters.id]
    headings = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines() if line[:1] == "#"]
    places = [next(i for i, line in enumerate(headings) if word in line) for word in ("Exercises", "Discussion", "References")]
    assert places == sorted(places)
    assert cells[-1].cell_type == "code" and "metrics_path" in cells[-1].source


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: path.stem)
def test_set_up(path: Path) -> None:
    """One set-up cell everywhere, of the repository and the version that pyproject.toml names; so are the badges."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address, version = project["urls"]["Repository"], f"v{project['version']}"
    setup = set_up_cell(path)
    assert setup.id == "setup" and setup.source == set_up_cell(NOTEBOOKS[0]).source
    assert f'ADDRESS, VERSION = "{address}", "{version}"' in setup.source
    assert f'"{DISTRIBUTION}[colab] @ ' in setup.source
    place = f"{address.replace('https://github.com/', '/github/')}/blob/{version}/{path.relative_to(ROOT).as_posix()}"
    assert path in SOLUTIONS or f"(https://colab.research.google.com{place})" in read(path).cells[0].source
    assert set(re.findall(r"github.com/[\w.-]+/[\w.-]+", json.dumps(read(path)))) == {address.removeprefix("https://")}


def set_up_cell(path: Path) -> Any:
    return next(cell for cell in read(path).cells if cell.cell_type == "code")


def imported(path: Path) -> dict[str, list[str]]:
    """Modules that the cells of a notebook import, and the names that they take from each."""
    found: dict[str, list[str]] = {}
    for cell in read(path).cells:
        if cell.cell_type == "code":
            python = re.sub(r"^( *)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)
            for node in ast.walk(ast.parse(python)):
                if isinstance(node, ast.Import):
                    found |= {alias.name: found.get(alias.name, []) for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.setdefault(str(node.module), []).extend(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: path.stem)
def test_imports_are_public(path: Path) -> None:
    """Of ours, cells import ``course``, its modules, ``s2p.<folder>`` and ``s2p.models.<system>``; all names exist."""
    shallow = r"s2p(\.(?!models\b)\w+|\.models(\.\w+)?)?|course(\.\w+)?|benchmarks(\.\w+){1,2}"
    ours = {module: names for module, names in imported(path).items() if module.split(".")[0] in ("s2p", "course", "benchmarks")}
    assert ours
    assert [module for module in ours if not re.fullmatch(shallow, module)] == []
    every = [f"{module}.{name}" for module, names in ours.items() for name in names] + list(ours)
    assert [name for name in every if not resolves(name)] == []


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


def section(path: Path, name: str) -> str:
    """Text of the section whose heading holds ``name``, up to the next heading of its level or above."""
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    found = re.search(rf"^(#+)[^\n]*{name}[^\n]*\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{path.name} has no section {name}"
    return found[2]


@course
def test_has_exercises_quiz_references_and_a_discussion(path: Path) -> None:
    numbered = re.findall(r"^(\d+)\. \*\*", section(path, "Exercises"), re.MULTILINE)
    assert numbered == [str(k + 1) for k in range(len(numbered))] and len(numbered) >= EXERCISES
    answers = re.findall(r"<details><summary>(\d+)\. .+?</summary>.+?</details>", section(path, "Quiz"), re.DOTALL)
    assert answers == [str(k + 1) for k in range(len(answers))] and len(answers) >= QUESTIONS
    assert len(re.findall(r"^\* .+\(\d{4}\)", section(path, "References"), re.MULTILINE)) >= REFERENCES
    discussion = section(path, "Discussion").lower()
    for word in ("published", "ours", "worse"):
        assert word in discussion, word


@course
def test_every_exercise_is_solved(path: Path) -> None:
    number = path.stem[:2]
    (solutions,) = (s for s in SOLUTIONS if s.stem == f"{number}_solutions")
    assert f"../tutorial/solutions/{solutions.name}" in section(path, "Exercises")
    exercises = re.findall(r"^(\d+)\. \*\*", section(path, "Exercises"), re.MULTILINE)
    headings = [
        match[1]
        for cell in read(solutions).cells
        if (match := re.match(r"## (\d+) ", cell.source)) and cell.cell_type == "markdown"
    ]
    assert headings == exercises


@course
def test_is_on_the_learning_path_and_its_words_in_the_glossary(path: Path) -> None:
    number = path.stem[:2]
    assert f"| {number} | " in (ROOT / "tutorial" / "LEARNING_PATH.md").read_text(encoding="utf-8")
    used = re.findall(r"\| ([\d, ;]+) \|$", (ROOT / "tutorial" / "GLOSSARY.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert number in re.findall(r"\d\d", " ".join(used))


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: path.stem)
def test_commands_that_it_names_exist(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from s2p.commands import main

    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    for command, rest in re.findall(r"`s2p ([a-z][a-z-]*)\b([^`]*)`", text):
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0, command
        words = capsys.readouterr().out.replace(",", " ").split()
        options = [word for word in rest.split() if word.startswith("-")]
        assert [option for option in options if option not in words and f"[{option}" not in words] == [], command


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or what a module holds."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            found = getattr(found, part, None)
        return found is not None
    return False


PAGES = [ROOT / "notebooks" / "README.md", ROOT / "tutorial" / "LEARNING_PATH.md", ROOT / "tutorial" / "GLOSSARY.md"]


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS, *PAGES], ids=lambda path: path.stem)
def test_modules_that_it_names_exist(path: Path) -> None:
    if path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
    else:
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    names = re.findall(r"[`( ]((?:s2p|course|benchmarks)(?:\.[A-Za-z_]\w*)+)\b(?!/)", text)
    assert [name for name in names if not resolves(name)] == []
    for name in re.findall(r"python -m (benchmarks[\w.]+|s2p[\w.]*)", text):
        assert '__name__ == "__main__"' in Path(str(import_module(name).__file__)).read_text(encoding="utf-8"), name
    for name in re.findall(r"`(?:python )?((?:tests|benchmarks|docs|notebooks)/[\w/]+\.py)", text):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: path.stem)
def test_cells_are_short(path: Path) -> None:
    long = {
        cell.id: n for cell in read(path).cells if cell.cell_type == "code" and (n := len(cell.source.splitlines())) > MAX_LINES
    }
    assert long == {}


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: path.stem)
def test_names_say_where_they_come_from(path: Path) -> None:
    """Few names are imported from our own code, and every import cell has a sentence before it."""
    cells = read(path).cells
    names = set()
    for before, cell in pairwise(cells):
        if cell.cell_type != "code" or cell.id == "setup":
            continue
        lines = ["#" if line.startswith(("%", "!")) else line for line in cell.source.splitlines()]
        statements = ast.parse("\n".join(lines)).body
        for node in statements:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"s2p", "course", "benchmarks"}:
                names |= {alias.name for alias in node.names}
        if all(isinstance(node, ast.Import | ast.ImportFrom) for node in statements):
            assert before.cell_type == "markdown", cell.id
    assert len(names) <= NAMES, names


def test_differences() -> None:
    reference = {"a": {"value": 1.0, "abs": 0.1}, "b": {"value": 2}, "c": {"value": None}}
    assert differences({"a": 1.05, "b": 2, "c": None}, reference) == []
    assert [m.name for m in differences({"a": 1.2, "b": 3, "c": 0.0, "d": 1}, reference)] == ["d", "a", "b", "c"]
    assert len(differences({}, reference)) == 3
    assert [m.name for m in differences({"a": float("nan"), "b": 2, "c": None}, reference)] == ["a"]


def test_report_names_the_metric_and_what_to_do() -> None:
    reference = {"dcc": {"value": 5.0, "abs": 0.001}, "pockets": {"value": 3}, "auc": {"value": 0.5}}
    lines = report("05_demo", differences({"dcc": 7.25, "pockets": 3, "new": 1}, reference), 3).splitlines()
    assert lines[0] == "05_demo: 3 of 3 metrics differ from tests/notebooks/reference/05_demo.json"
    assert [line.split() for line in lines[2:5]] == [
        ["new", "none", "1", "not", "in", "the", "reference"],
        ["dcc", "5", "±", "0.001", "7.25", "moved", "by", "+2.25"],
        ["auc", "0.5", "±", "0", "none", "the", "notebook", "gives", "no", "such", "metric"],
    ]
    assert lines[-1].endswith("update.py 05_demo")


def test_a_stage_that_breaks_moves_the_metric_by_name() -> None:
    """The real clustering of two tight clouds 10.6 Å apart: two clusters at a bandwidth of 9 Å, one when it is off by 2 Å."""
    rng = np.random.default_rng(0)
    cloud = np.concatenate([rng.normal((-1, 0, 0), 0.1, (200, 3)), rng.normal((9.6, 0, 0), 0.1, (200, 3))])

    def metrics(bandwidth: float) -> dict[str, Any]:
        return {"clusters": len(mean_shift(cloud, bandwidth).centers), "points": len(cloud)}

    reference = {key: {"value": value} for key, value in metrics(9.0).items()}
    assert differences(metrics(9.0), reference) == []
    (moved,) = differences(metrics(11.0), reference)
    assert moved.name == "clusters"
    assert "clusters  2 ± 0      1    moved by -1" in report("demo", [moved], 2)


@pytest.mark.usefixtures("kernel")
def test_a_misspelt_parameter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="has no parameters \\['bandwith'\\]"):
        execute(ROOT / "tutorial" / "quickstart.ipynb", tmp_path, bandwith=11.0)


def test_a_failing_notebook_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "KEPT", tmp_path / "kept")
    (tmp_path / "05_demo.ipynb").write_text("{}")
    assert str(tmp_path / "kept" / "05_demo.ipynb") in keep(tmp_path / "05_demo.ipynb")
    assert (tmp_path / "kept" / "05_demo.ipynb").read_text() == "{}"
    assert "before anything" in keep(tmp_path / "06_demo.ipynb")
