"""The line about compiling: said once, when it is true, and not to those who asked for quiet. Time and memory of a call."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import make_prediction

from s2p.batch import work as batch_work
from s2p.batch.run import BatchOptions, expand_inputs, predict_batch
from s2p.io.runtime import measure, peak_megabytes
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

LINE = "compiling kernels"
KERNEL = """
import numba

@numba.njit(cache=True)
def double(x):
    return 2 * x

@numba.njit(cache=True)
def never_called(x):
    return 3 * x
"""
ASK = """
import sys
sys.path.insert(0, {folder!r})
import kernel
sys.modules["s2p.kernel"] = kernel  # only the package's own modules are looked at
from s2p.io.runtime import kernels_cached
before = kernels_cached()
kernel.double(1.0)
print(before, kernels_cached())
"""


def ask(folder: Path, cache: Path | None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {"NUMBA_CACHE_DIR": str(cache)} if cache else {}
    command = [sys.executable, "-c", ASK.format(folder=str(folder))]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.strip()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside the source", "NUMBA_CACHE_DIR"])
def test_kernels_are_cached_after_their_first_call(tmp_path: Path, elsewhere: bool) -> None:
    source = tmp_path / "kernel.py"
    source.write_text(KERNEL)
    os.utime(source, (time.time() - 100,) * 2)
    cache = tmp_path / "cache" if elsewhere else None
    assert ask(tmp_path, cache) == "False True"
    assert ask(tmp_path, cache) == "True True"
    os.utime(source, (time.time() + 100,) * 2)  # an edited module is compiled anew
    assert ask(tmp_path, cache).startswith("False")


class Fake:
    """A predictor that compiles nothing."""

    name = "fake"

    def predict(self, structure: Structure, config: object = None) -> Prediction:
        return make_prediction(structure.name)


def load_uncached() -> Fake:
    """Make it look, also in a worker process, as if nothing were cached."""
    batch_work.kernels_cached = lambda: False
    return Fake()


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("quiet", [False, True])
def test_the_line_is_said_once(
    examples: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, jobs: int, quiet: bool
) -> None:
    monkeypatch.setattr(batch_work, "kernels_cached", lambda: True)
    items = expand_inputs([str(examples / "4CUP.cif"), str(examples / "1ubi.pdb.gz"), str(examples / "4CUP.cif")])
    options = BatchOptions(tmp_path, load_uncached, formats=("csv",), quiet=quiet)
    assert [row.status for row in predict_batch(items, options, jobs=jobs)] == ["ok"] * 3
    assert capfd.readouterr().err.count(LINE) == (0 if quiet else 1)


def test_nothing_is_said_when_kernels_are_cached(
    examples: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_work, "kernels_cached", lambda: True)
    list(predict_batch(expand_inputs([str(examples / "4CUP.cif")]), BatchOptions(tmp_path, Fake, formats=("csv",))))
    assert LINE not in capfd.readouterr().err


def test_help_loads_neither_torch_nor_numba() -> None:
    code = (
        "import sys; from s2p.commands import build_parser; build_parser(); print({'torch', 'numba', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_measure() -> None:
    def allocate() -> int:
        block = bytearray(200_000_000)
        return len(block)

    before = peak_megabytes()
    result, seconds, peak = measure(allocate)
    assert result == 200_000_000
    assert seconds > 0
    assert peak >= 200 and peak >= before - 50
