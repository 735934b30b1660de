"""Run a notebook of the repository headlessly, with parameters checked, through papermill."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s2p.errors import DISTRIBUTION, S2PError
from s2p.io.files import make_folder

__all__ = ["find_notebook", "run_notebook"]


def find_notebook(name: str) -> Path:
    """The notebook with number ``name`` (``3`` or ``03``) or of that name, in ``notebooks`` or ``tutorial``.

    Searched in the current folder and then in the parent of the package's folder: only the repository contains notebooks.
    """
    roots = list(dict.fromkeys([Path.cwd(), Path(__file__).resolve().parents[2]]))
    pattern = f"{int(name):02d}_*.ipynb" if name.isascii() and name.isdecimal() else f"{name}.ipynb"
    if re.fullmatch(r"\w[\w-]*", name):
        for root in roots:
            for folder in ("notebooks", "tutorial"):
                if found := sorted((root / folder).glob(pattern)):
                    return found[0]
    places = " or ".join(str(root) for root in roots)
    raise S2PError(f"there is no notebook {name!r} in notebooks/ or tutorial/ of {places}; run this in a clone of the repository")


def run_notebook(name: str, parameters: Sequence[tuple[str, str]], folder: Path, *, progress: bool = False) -> Path:
    """Execute a notebook headlessly and return the executed copy in ``folder``.

    Parameters
    ----------
    parameters
        Names and values as text; a value is read as the type of the notebook's own default. A path is relative to the current
        folder. ``output_folder``, if the notebook has it, is by default a folder next to the executed copy.

    Raises
    ------
    S2PError
        If papermill or the notebook is missing, a parameter is unknown or of the wrong type, or a cell fails.
    """
    try:
        import papermill
        from papermill.exceptions import PapermillExecutionError
    except ImportError:
        raise S2PError(f"running notebooks needs papermill: pip install '{DISTRIBUTION}[notebooks]'") from None
    source = find_notebook(name)
    known = papermill.inspect_notebook(_literal(source))
    values = {}
    for key, text in parameters:
        if key not in known:
            raise S2PError(f"{source.name} has no parameter {key!r}; it has {', '.join(known) or 'none'}")
        values[key] = _typed(key, text, str(known[key]["default"]))
        if isinstance(values[key], str):
            values[key] = _from_here(key, values[key], str(known[key]["default"]), source.parent)
    make_folder(folder)
    target = (folder / source.name).resolve()
    if "output_folder" in known:
        values.setdefault("output_folder", str(target.with_suffix("")))
    try:
        papermill.execute_notebook(
            _literal(source),
            _literal(target),
            parameters=values,
            kernel_name="python3",
            cwd=str(source.parent),
            progress_bar=progress,
            extra_arguments=["--log-level=ERROR"],  # of the kernel, whose warnings about sockets are of no use to the user
        )
    except PapermillExecutionError as error:
        raise S2PError(
            f"{source.name}: cell {error.exec_count} failed with {error.ename}: {error.evalue}; see {target}"
        ) from None
    return target


def _literal(path: Path) -> str:
    """A path with its braces escaped, because papermill replaces names in braces by parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _typed(key: str, text: str, default: str) -> Any:
    """Convert ``text`` to the type of the literal ``default``: papermill would pass ``1e10`` as a number and ``8`` as text."""
    try:
        example = ast.literal_eval(default)
    except (ValueError, SyntaxError):
        return text
    if example is None or isinstance(example, str):
        return text
    try:
        if isinstance(example, bool):
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        return float(text) if isinstance(example, float) else type(example)(ast.literal_eval(text))
    except (KeyError, ValueError, SyntaxError, TypeError):
        raise S2PError(f"parameter {key}: {text!r} is not of the type of its default {default}") from None


def _from_here(key: str, text: str, default: str, folder: Path) -> str:
    """``text`` as an absolute path if it is a path: the notebook runs in ``folder``, but the user meant the current folder."""
    if not text:
        return text
    if key.endswith(("_folder", "_path")):
        return str(Path(text).resolve())
    usual = default.strip("\"'")  # of `structure` this is a bundled file; an id or a chain is no path
    return str(Path(text).resolve()) if usual and (folder / usual).is_file() and Path(text).exists() else text
