"""The direction of imports, and how little a prediction needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    {"errors"},
    {"config"},
    {"io"},
    {"structure"},
    {"language", "surface", "datasets"},
    {"prediction"},
    {"residues", "pockets"},
    {"checkpoint"},
    {"predictor"},
    {"output", "evaluation"},
    {"training", "batch"},
    {"models"},
    {"commands"},
    {"__main__"},
)
"""Folders and modules of s2p: each imports of itself and of those above, not of its neighbours in a row (CONTRIBUTING.md)."""
RANK = {name: rank for rank, row in enumerate(ORDER) for name in row}
UPWARD = {
    ("prediction", "output.files"),  # Prediction.save, table
    ("prediction", "output.view"),  # Prediction.view
}


def imports() -> Iterator[tuple[str, str]]:
    """Importing and imported module of every import in s2p, inside functions too, without the leading ``s2p.``."""
    for path in sorted((ROOT / "s2p").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "s2p").with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [module for module in found if module.split(".")[0] in ("benchmarks", "course")], path
            yield from ((name, module.removeprefix("s2p.")) for module in found if module.startswith("s2p."))


def test_imports_go_one_way() -> None:
    wrong = []
    for importer, imported in imports():
        a, b = importer.split("."), imported.split(".")
        if a[0] != b[0] and RANK[b[0]] >= RANK[a[0]] and (importer, imported) not in UPWARD:
            wrong.append(f"{importer} imports {imported}")
        if a[0] == b[0] == "models" and len(a) > 2 and len(b) > 2 and a[1] != b[1]:
            wrong.append(f"{importer} imports another model, {imported}")
    assert not wrong, "\n".join(wrong)


def test_no_module_is_left_out_of_the_order() -> None:
    parts = {path.stem for path in (ROOT / "s2p").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts - {"__init__"} == set(RANK)


@pytest.mark.parametrize(("formats", "most"), [("csv", 43), ("csv,json,html", 50)])
def test_a_prediction_from_the_command_line_imports_little(tmp_path: Path, formats: str, most: int) -> None:
    """Of one structure with one chain; folders count as modules."""
    arguments = ["predict", "data/examples/1ubi.pdb.gz", "--device", "cpu", "-o", str(tmp_path), "--format", formats, "--quiet"]
    code = f"import sys\nfrom s2p.commands import main\nassert main({arguments!r}) == 0\nprint('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split("LOADED ")[1].split()
    ours = sorted(name for name in loaded if name.split(".")[0] in ("s2p", "benchmarks", "course"))
    for folder in ("benchmarks", "course", "s2p.evaluation", "s2p.training", "s2p.models"):
        assert not [name for name in ours if name == folder or name.startswith(f"{folder}.")]
    assert len(ours) <= most, "\n".join(ours)
    assert not {"torch", "esm", "pandas", "matplotlib", "sklearn", "biotite", "networkx"} & set(loaded)
