"""What ``import s2p`` gives: twelve names, lazy, each with an example that runs."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import s2p

ROOT = Path(__file__).parents[1]
NAMES = [
    "Pocket",
    "PredictConfig",
    "Prediction",
    "S2PError",
    "Seq2Pocket",
    "Structure",
    "explore",
    "ligand_table",
    "load",
    "predict",
    "read_structure",
    "view",
]


def test_the_names_are_these_and_nothing_is_imported_before_it_is_used() -> None:
    assert s2p.__all__ == dir(s2p) == NAMES
    code = "import sys, s2p; s2p.__version__; print([m for m in sys.modules if m.startswith('s2p.') or m == 'numpy'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError):
        s2p.nothing  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_its_example_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # examples name bundled structures
    (test,) = (t for t in doctest.DocTestFinder(recurse=False).find(getattr(s2p, name), name))
    assert test.examples
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert not failed, "".join(said)
