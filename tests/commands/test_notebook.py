"""Running notebooks headlessly: which one, with what parameters, and what is said when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2p.commands.notebook import find_notebook, run_notebook
from s2p.errors import S2PError


def notebook(path: Path, cells: list[tuple[str, list[str]]]) -> None:
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    body = [
        {"cell_type": "code", "id": f"c{i}", "execution_count": None, "outputs": [], "source": text, "metadata": {"tags": tags}}
        for i, (text, tags) in enumerate(cells)
    ]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path.write_text(
        json.dumps(
            {
                "cells": body,
                "metadata": {"kernelspec": spec, "language_info": {"name": "python"}},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
    )


PARAMETERS = (
    'pdb_id = "1abc"  #@param {type:"string"}\nn = 3  #@param {type:"integer"}\nrate = 0.5\nfast = True\nseed = None',
    ["parameters"],
)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    pytest.importorskip("papermill")
    monkeypatch.chdir(tmp_path)
    notebook(
        tmp_path / "notebooks" / "03_demo.ipynb", [PARAMETERS, ("open('here.txt', 'w').write(repr((pdb_id, n, rate, fast)))", [])]
    )
    notebook(tmp_path / "tutorial" / "quickstart.ipynb", [PARAMETERS, ("1 / 0", [])])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"), [("3", "03_demo"), ("03", "03_demo"), ("03_demo", "03_demo"), ("quickstart", "quickstart")]
)
def test_find_notebook(repository, name, file):
    assert find_notebook(name).name == f"{file}.ipynb"


@pytest.mark.parametrize("name", ["77", "../notebooks/03_demo", "*", "none", ""])
def test_missing_notebook(repository, name):
    with pytest.raises(S2PError, match="there is no notebook"):
        find_notebook(name)


def test_notebook_runs_in_its_folder_with_typed_parameters(repository):
    values = [("pdb_id", "1e10"), ("n", "8"), ("rate", "1"), ("fast", "false")]
    target = run_notebook("3", values, Path("runs"))
    assert target == repository / "runs" / "03_demo.ipynb"
    assert target.is_file()
    assert (repository / "notebooks" / "here.txt").read_text() == "('1e10', 8, 1.0, False)"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("pdbid", "1abc", "no parameter 'pdbid'; it has pdb_id, n"),
        ("n", "many", "not of the type"),
        ("fast", "perhaps", "not of"),
    ],
)
def test_wrong_parameters(repository, key, value, why):
    with pytest.raises(S2PError, match=why):
        run_notebook("3", [(key, value)], Path("runs"))


def test_paths_are_relative_to_the_user(repository):
    (repository / "here.pdb").write_text("END")
    (repository / "tutorial" / "usual.pdb").write_text("END")
    cells = [
        ("structure = 'usual.pdb'\nname = 'here.pdb'\noutput_folder = 'x'\nmetrics_path = ''", ["parameters"]),
        ("open('seen.txt', 'w').write('|'.join((structure, name, output_folder, metrics_path)))", []),
    ]
    notebook(repository / "tutorial" / "paths.ipynb", cells)

    def seen(**values: str) -> list[str]:
        run_notebook("paths", list(values.items()), Path("runs"))
        return (repository / "tutorial" / "seen.txt").read_text().split("|")

    assert seen() == ["usual.pdb", "here.pdb", str(repository / "runs" / "paths"), ""]
    given = seen(structure="here.pdb", name="here.pdb", output_folder="o", metrics_path="m.json")
    assert given == [str(repository / "here.pdb"), "here.pdb", str(repository / "o"), str(repository / "m.json")]
    assert seen(structure="1abc")[0] == "1abc"


@pytest.mark.parametrize("folder", ["runs{x}", "runs{pdb_id}", "{}", "a}b"])
def test_braces_are_part_of_a_folder_s_name(repository, folder):
    target = run_notebook("3", [], Path(folder))
    assert target == repository / folder / "03_demo.ipynb" and target.is_file()


def test_braces_in_the_repository_s_name(repository, tmp_path, monkeypatch):
    (tmp_path / "{x}").mkdir()
    (repository / "notebooks").rename(tmp_path / "{x}" / "notebooks")
    monkeypatch.chdir(tmp_path / "{x}")
    assert run_notebook("3", [], Path("runs")).is_file()
    assert (tmp_path / "{x}" / "notebooks" / "here.txt").is_file()


def test_failing_notebook_is_a_sentence(repository):
    with pytest.raises(S2PError, match=r"quickstart\.ipynb: cell .* failed with ZeroDivisionError"):
        run_notebook("quickstart", [], Path("runs"))


def test_without_papermill(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "papermill", None)
    with pytest.raises(S2PError, match=r"pip install 's2p-pockets\[notebooks\]'"):
        run_notebook("3", [], Path("runs"))
