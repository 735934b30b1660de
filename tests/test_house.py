"""How large things may grow, and that tests stand where their modules do (the direction of imports: tests/test_imports.py)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "s2p"
MOST_LINES = 24_103
"""Of the package. Lower this when something goes; what comes in replaces something."""
CODE = sorted(PACKAGE.rglob("*.py"))


def test_the_package_stays_small() -> None:
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))]
    assert len(folders) <= 13
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    for folder in {path.parent for path in CODE}:
        assert len(list(folder.glob("*.py"))) <= 16, folder
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in CODE) <= MOST_LINES


@pytest.mark.parametrize(
    "path",
    [*CODE, *sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "notebooks" / "course").glob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_modules_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 80, f"{node.name} has {length} lines"


def test_tests_mirror_the_package() -> None:
    """A test beside the package's tests is of a module that exists, or stands at the top and is of the whole."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = path.parent.relative_to(ROOT / "tests")
        if folder.parts and folder.parts[0] not in {"course", "benchmarks", "notebooks", "docs"}:
            assert (PACKAGE / folder).is_dir(), path
