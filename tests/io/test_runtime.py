"""Where compiled kernels are kept, also where nothing can be written, the line about compiling them, and what a call takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest
from builders import make_prediction

from s2p.batch.inputs import BatchOptions, expand_inputs
from s2p.batch.run import predict_batch
from s2p.io import runtime
from s2p.io.runtime import measure, peak_megabytes
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

LINE = "compiling kernels"
ROOT = Path(__file__).parents[2]


class Compiling:
    """A predictor that compiles a kernel for the first structure."""

    name = "compiling"

    def __init__(self) -> None:
        self.kernel = numba.njit(lambda x: 2 * x)

    def predict(self, structure: Structure, config: object = None) -> Prediction:
        self.kernel(1.0)
        return make_prediction(structure.name)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("quiet", [False, True])
def test_the_line_is_said_once(examples: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], jobs: int, quiet: bool) -> None:
    items = expand_inputs([str(examples / "4CUP.cif"), str(examples / "1ubi.pdb.gz"), str(examples / "4CUP.cif")])
    options = BatchOptions(tmp_path, Compiling, formats=("csv",), quiet=quiet)
    assert [row.status for row in predict_batch(items, options, jobs=jobs)] == ["ok"] * 3
    assert capfd.readouterr().err.count(LINE) == (0 if quiet else 1)


def test_nothing_is_said_of_what_is_compiled_already(capfd: pytest.CaptureFixture[str]) -> None:
    kernel = numba.njit(lambda x: 3 * x)
    with runtime.announcing():
        kernel(1.0)
    assert LINE in capfd.readouterr().err
    with runtime.announcing():
        kernel(2.0)
    assert LINE not in capfd.readouterr().err


def test_the_temporary_folder_is_private_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{runtime.PREFIX}open").mkdir(mode=0o777)
    (tmp_path / f"{runtime.PREFIX}open").chmod(0o777)  # anybody may have put something there
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"{runtime.PREFIX}link").symlink_to(tmp_path / "elsewhere")
    first = Path(runtime._private_folder())
    assert first.parent == tmp_path and first.name not in (f"{runtime.PREFIX}open", f"{runtime.PREFIX}link")
    assert first.stat().st_mode & 0o077 == 0
    assert runtime._private_folder() == str(first)


PROBE = """
import os, sys, tempfile
if "none" in sys.argv:
    tempfile.tempdir = "/nowhere"
import s2p.surface.kernels
from s2p.io import runtime
runtime.numba.njit(cache=True)(runtime._probe)()
print(os.environ.get("NUMBA_CACHE_DIR"))
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, as Linux has it")
def test_a_package_and_a_home_that_cannot_be_written() -> None:
    """A container, a module of a cluster, a service without a home."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shutil.copytree(ROOT / "s2p", place / "s2p", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        (place / "tmp").mkdir()
        for path in [place, *place.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        (place / "tmp").chmod(0o777)
        environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
        environment |= {"HOME": name, "PYTHONPATH": name, "TMPDIR": str(place / "tmp")}
        # Permissions mean nothing to root, unless it gives that up.
        prefix = ["setpriv", "--bounding-set", "-all"] if os.getuid() == 0 else []

        def ask(*arguments: str) -> tuple[str, str]:
            command = [*prefix, sys.executable, "-B", "-c", PROBE, *arguments]
            done = subprocess.run(command, env=environment, cwd=name, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip(), done.stderr

        try:
            used, said = ask()
            (kept,) = (place / "tmp").glob(f"{runtime.PREFIX}*")
            assert used == str(kept) and list(kept.rglob("*.nbi"))
            assert said.startswith(f"compiled kernels are stored in {kept}") and said.count("\n") == 1
            assert ask() == (used, said)
            used, said = ask("none")
            assert used == "None" and "kernels are not stored" in said
            environment["NUMBA_CACHE_DIR"] = str(place / "tmp" / "mine")
            assert ask() == (environment["NUMBA_CACHE_DIR"], "")
        finally:
            for path in [place, *place.rglob("*")]:
                path.chmod(0o755)


def test_help_loads_neither_torch_nor_numba() -> None:
    code = (
        "import sys; from s2p.commands import build_parser; build_parser(); print({'torch', 'numba', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("wanted", "driver", "there", "name"),
    [("auto", False, True, "cpu"), ("auto", True, False, "cpu"), ("auto", True, True, "cuda"), ("cuda:1", False, True, "cuda:1")],
)
def test_a_gpu_is_taken_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, wanted: str, driver: bool, there: bool, name: str
) -> None:
    monkeypatch.setattr(runtime, "_driver", lambda: driver)
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert runtime.device_name(wanted) == name
    monkeypatch.setattr(runtime, "find_spec", lambda module: None)
    assert runtime.device_name("auto") == "cpu"


def test_pytorch_is_not_imported_to_find_no_gpu() -> None:
    code = (
        "import sys; from s2p.io import runtime\n"
        "runtime._driver = lambda: False\n"
        "assert runtime.device_name() == runtime.device_name('cpu') == 'cpu' and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_measure() -> None:
    def allocate() -> int:
        block = bytearray(200_000_000)
        return len(block)

    before = peak_megabytes()
    result, seconds, peak = measure(allocate)
    assert result == 200_000_000
    assert seconds > 0
    assert peak >= 200 and peak >= before - 50
