"""Run notebooks and take what they give as the new references and figures of record.

``python tests/notebooks/update.py [quickstart ...]`` (default: all), after a change that is meant to change figures, such as a
new checkpoint. Look at the difference before you commit it. Tolerances that a reference states,
and their reasons, are kept.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from test_notebooks import NOTEBOOKS, REFERENCE, execute, read, tags

TOLERANCE = 0.001
"""Of a new figure that is no whole number."""
WHY = "sums of floats in another order on another processor"
"""Reason of that tolerance; write a better one into the reference where it is wider."""


def update(path: Path, folder: Path) -> None:
    """Write ``reference/<stem>.json``, and the outputs of cells tagged ``keep_output`` into the notebook."""
    executed, metrics = execute(path, folder)
    target = REFERENCE / f"{path.stem}.json"
    before = json.loads(target.read_text()) if target.exists() else {}
    after = {}
    for key, value in metrics.items():
        tolerance = before.get(key, {}).get("abs", TOLERANCE if isinstance(value, float) else 0)
        after[key] = {"value": round(value, 5) if isinstance(value, float) else value, "abs": tolerance}
        if tolerance:
            after[key]["why"] = before.get(key, {}).get("why", WHY)
        if before.get(key, {}).get("value") != after[key]["value"]:
            print(f"{path.stem}: {key} {before.get(key, {}).get('value')} -> {after[key]['value']}")
    REFERENCE.mkdir(exist_ok=True)
    lines = ",\n".join(f' "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in after.items())
    target.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")

    notebook = read(path)
    outputs = {cell.id: cell.outputs for cell in executed.cells if "keep_output" in tags(cell)}
    for cell in notebook.cells:
        if cell.id in outputs:
            cell.outputs = outputs[cell.id]
            for output in cell.outputs:
                output.pop("execution_count", None)
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)  # nothing without its kernel
                if output.output_type == "execute_result":
                    output["execution_count"] = None
    if outputs:
        nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    wanted = sys.argv[1:] or [path.stem for path in NOTEBOOKS]
    if unknown := set(wanted) - {path.stem for path in NOTEBOOKS}:
        sys.exit(f"no such notebook: {', '.join(sorted(unknown))}")
    for path in NOTEBOOKS:
        if path.stem in wanted:
            with tempfile.TemporaryDirectory() as folder:
                update(path, Path(folder))
