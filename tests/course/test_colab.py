"""Notebooks in a simulated Colab: its versions, a fresh environment, a repository that the set-up cell clones and installs from.

The real Colab cannot be reached from here. What is simulated: the versions of ``tests/colab.txt``, which ``make test`` and
``make colab`` put into a folder; ``google.colab``, loaded before the notebook starts, takes uploads and downloads; the working
directory holds nothing of the project; ``git`` hands out a copy of this checkout; pip finds what is installed, and no network.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

import pytest

from course import colab
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.language.sequences import BACKBONES
from s2p.training.config import FinetuneConfig

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("S2P_COLAB_PYTHON", sys.executable)
"""One of another version has everything in its folder of versions; one of our own borrows what is installed here."""
VERSIONS = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "tests" / "colab.txt").read_text(), re.MULTILINE))
EVERY = sorted((ROOT / "notebooks").glob("0*.ipynb"))
FAKE = """
import json, pathlib, types

CONTENT = pathlib.Path.cwd()

def note(**values):
    with open(CONTENT / "calls.jsonl", "a") as handle:
        handle.write(json.dumps(values) + "\\n")

def upload():
    target = pathlib.Path("6WQA.cif")
    target.write_bytes((CONTENT / "to_upload.cif").read_bytes())
    note(upload=target.name)
    return {target.name: target.read_bytes()}

def download(path):
    note(download=pathlib.Path(path).name, there=pathlib.Path(path).is_file())

files = types.SimpleNamespace(upload=upload, download=download)
output = types.SimpleNamespace(enable_custom_widget_manager=lambda: note(widgets=True))
"""
GIT = """#!/bin/sh
echo "$@" >> {log}
for folder; do :; done
{action}
"""
"""A program that stands in for git: the last argument of ``git clone`` is the folder."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone holds that notebooks need, so that nothing is left in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "repository"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("s2p", "tutorial", "notebooks", "data", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    return copy


class Machine:
    """An environment with Colab's versions and without ``s2p``, and an empty folder to work in."""

    def __init__(self, folder: Path, repository: Path) -> None:
        code = "import sys; print(*sys.version_info[:2], sep='.')"
        version = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        versions = ROOT / ".cache" / f"colab-{version}"
        if not (versions / ".ready").exists():
            pytest.skip("Colab's versions are not here: make colab")
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder / "env"], check=True)
        self.python = folder / "env" / "bin" / "python"
        self.content, self.log = folder / "content", folder / "git.log"
        self.content.mkdir()
        site = next((folder / "env" / "lib").glob("python3.*")) / "site-packages"
        lent = [str(versions)] + [sysconfig.get_path("purelib")] * (version == sysconfig.get_python_version())
        # Plain paths in a .pth lend what is there without the .pth files there, one of which makes this checkout importable.
        (site / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
        package = site / "google" / "colab"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(FAKE)
        # There before any cell runs, as in Colab. Debian's Python has a sitecustomize.py of its own, which would hide another.
        (site / "colab.pth").write_text("import google.colab\n")
        self.git(f'cp -r "{repository}" "$folder"')
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "NUMBA_CACHE_DIR")
        self.environment = {name: str(folder / name) for name in names} | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        self.environment |= {
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_FIND_LINKS": "",
            "PIP_CONFIG_FILE": os.devnull,
        }
        self.environment["PATH"] = os.pathsep.join([str(self.python.parent), os.environ["PATH"]])

    def git(self, action: str) -> None:
        """Put a ``git`` that does ``action`` beside the Python; it writes down what it was asked for."""
        program = self.python.parent / "git"
        program.write_text(GIT.format(log=self.log, action=action))
        program.chmod(0o755)

    def ask(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run ``code`` in the folder, without a kernel."""
        environment = os.environ | self.environment
        return subprocess.run(
            [self.python, "-c", code], cwd=self.content, env=environment, capture_output=True, text=True, check=False
        )

    def run(self, path: Path, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> tuple[Any, list[dict[str, Any]]]:
        """The notebook, executed as committed but for parameters, and what it asked of Colab."""
        papermill = pytest.importorskip("papermill")
        kernel = self.content.parent / "jupyter" / "kernels" / "colab" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python", "env": self.environment}))
        monkeypatch.setenv("JUPYTER_PATH", str(kernel.parents[2]))
        done = self.content.parent / "done.ipynb"
        options = {"kernel_name": "colab", "cwd": str(self.content), "progress_bar": False, "execution_timeout": 400}
        papermill.execute_notebook(str(path), str(done), parameters=parameters, **options)
        calls = self.content / "calls.jsonl"
        lines = calls.read_text().splitlines() if calls.exists() else []
        notebook = json.loads(done.read_text())
        code = "import importlib.metadata as m, json, s2p, sys; assert s2p.__file__.startswith(sys.prefix), s2p.__file__\n"
        asked = self.ask(f"{code}print(json.dumps({{name: m.version(name) for name in {list(VERSIONS)}}}))")
        assert json.loads(asked.stdout) == VERSIONS, "installing s2p replaced what Colab has"
        return notebook, [json.loads(line) for line in lines]


@pytest.fixture
def machine(tmp_path: Path, repository: Path) -> Machine:
    return Machine(tmp_path, repository)


def set_up() -> str:
    """The set-up cell, which tests/notebooks/test_notebooks.py holds to be the same in every notebook."""
    cells = json.loads((ROOT / "tutorial" / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["id"] == "setup")


def printed(notebook: Any) -> str:
    return "".join("".join(o.get("text", "")) for c in notebook["cells"] for o in c.get("outputs", []))


def drawn(notebook: Any) -> list[str]:
    """SVG drawings among the outputs."""
    data = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return ["".join(kinds["image/svg+xml"]) for kinds in data if "image/svg+xml" in kinds]


@pytest.mark.slow
def test_quickstart(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "data" / "examples" / "6WQA.cif", machine.content / "to_upload.cif")
    notebook, calls = machine.run(ROOT / "tutorial" / "quickstart.ipynb", monkeypatch, upload=True)
    assert calls == [{"upload": "6WQA.cif"}, {"download": "6WQA.zip", "there": True}]
    text = printed(notebook)
    assert "no GPU" in text and "Runtime > Change runtime type" in text and "ZMA A:1202: found by pocket 1" in text
    cells = {c["id"]: c for c in notebook["cells"]}
    assert ["The course as a pipeline" in drawing for drawing in drawn(notebook)] == [True]
    kinds = {key for output in cells["explorer"]["outputs"] for key in output.get("data", {})}
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/html"} <= kinds
    assert "plotly" in "".join(cells["probability"]["outputs"][-1]["data"]["text/html"])
    assert (machine.content / "s2p-course" / "notebooks" / "runs" / "quickstart" / "6WQA" / "6WQA_report.html").is_file()


@pytest.mark.slow
def test_finetune(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"training_structures": "1GBT", "validation_structures": "4CUP", "head_epochs": 0, "full_epochs": 1, "lora_rank": 2}
    notebook, calls = machine.run(ROOT / "tutorial" / "finetune_gpu.ipynb", monkeypatch, **values)
    assert calls == [{"download": "prediction.zip", "there": True}, {"download": "my_model.safetensors", "there": True}]
    assert "no GPU" in printed(notebook) and "AUPRC on the validation chains" in printed(notebook)


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("S2P_COLAB") != "all", reason="several minutes: make colab")
@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_course(machine: Machine, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook, _ = machine.run(path, monkeypatch)
    text = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert len(drawn(notebook)) == text.count("(pipeline/") + text.count("(drawings/") >= 1
    assert any("image/png" in output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", []))


def test_set_up_installs_once(machine: Machine) -> None:
    after = "\nimport s2p, course, benchmarks; print(os.getcwd(), s2p.__file__)"
    twice = machine.ask(set_up() + "\nos.chdir('..')\n" + set_up() + after)
    assert twice.returncode == 0, twice.stderr[-4000:]
    place, module = twice.stdout.split()
    assert place == str(machine.content / "s2p-course" / "notebooks") and module.startswith(str(machine.python.parents[1]))
    restarted = machine.ask(set_up() + after)
    assert restarted.stdout == twice.stdout
    (call,) = machine.log.read_text().splitlines()
    assert re.fullmatch(r"clone --quiet --depth=1 --branch=v[\d.]+ https://\S+ \S+/content/s2p-course", call), (
        "one pinned version"
    )


@pytest.mark.parametrize("action", ["exit 128", 'mkdir -p "$folder/notebooks/course"'], ids=["clone", "install"])
def test_set_up_stops_with_a_sentence(machine: Machine, action: str) -> None:
    machine.git(f"echo no such tag >&2; {action}")
    done = machine.ask(set_up())
    last = done.stderr.strip().splitlines()[-1]
    assert last == "RuntimeError: s2p was not installed: see above, and run this again"
    assert ("no such tag" if action == "exit 128" else "pyproject.toml") in done.stdout


def test_set_up_elsewhere_installs_nothing(tmp_path: Path) -> None:
    code = set_up() + "\nimport course; print(os.getcwd(), course.__file__)"
    for folder in (ROOT / "tutorial" / "solutions", ROOT / "notebooks"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=os.environ | {"PATH": str(tmp_path)},  # with no program in it
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [str(folder), str(ROOT / "notebooks" / "course" / "__init__.py")]


COURSE = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "tutorial").glob("*.ipynb")]


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_every_drawing_of_the_text_follows_a_cell_of_its_own(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    wanted = [(path.parent / name).resolve() for name in re.findall(r"\]\(([^)]*\.svg)\)", text) if "://" not in name]
    assert len(wanted) == text.count("pipeline/") + text.count("drawings/")
    found, code = colab.drawings_after(), ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"]
    assert [drawing for source in code for drawing in found.get(source, [])] == wanted and all(x.is_file() for x in wanted)
    assert code[0] not in found
    assert not wanted or (len(found[code[1]]) == 1 and re.search(r"^(import|from) course\b", code[1], re.MULTILINE))


SHELL = """
import sys
sys.modules["google.colab"] = __import__("types").ModuleType("google.colab")
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.display_pub.publish = lambda data, *_, **__: print(sorted(data), data["image/svg+xml"].count("<title>"))
for source in SOURCES:
    print("cell")
    assert shell.run_cell(source).success
"""


def test_drawings_are_shown_below_the_cell_before_them() -> None:
    cells = json.loads((ROOT / "notebooks" / "06_pocket_fragmentation_index.ipynb").read_text(encoding="utf-8"))["cells"]
    imports = next("".join(c["source"]) for c in cells if c["cell_type"] == "code" and "import s2p" in "".join(c["source"]))
    code = SHELL.replace("SOURCES", repr(["import json", imports, "json", "None"]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "notebooks"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:4] == ["cell", "cell", "['image/svg+xml', 'text/plain'] 1", "cell"]


def test_gpu_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert colab.gpu_memory() == 0 and "has no GPU" in colab.gpu_sentence() and "CUDA" in colab.gpu_sentence()
    monkeypatch.setattr(colab, "in_colab", lambda: True)
    assert "choose Runtime > Change runtime type > T4 GPU" in colab.gpu_sentence()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(total_memory=15_800_000_000))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert colab.gpu_sentence() == "GPU: Tesla T4, 16 GB."


def test_memory_sentence_and_download(monkeypatch: pytest.MonkeyPatch) -> None:
    small = colab.memory_sentence("s2p-esm2-8m", FinetuneConfig(lora_rank=8))
    assert small == colab.memory_sentence("esm2_t6_8M_UR50D", FinetuneConfig(lora_rank=8)) == "estimated memory 0.1 GB"
    monkeypatch.setattr(colab, "gpu_memory", lambda: 15_800_000_000)
    assert colab.memory_sentence("esm2_t33_650M_UR50D", FinetuneConfig(lora_rank=8)).endswith(" GB of 16 GB")
    given: list[str] = []
    colab.download([Path("a.zip")])
    monkeypatch.setattr(colab, "in_colab", lambda: True)
    google = types.SimpleNamespace(files=types.SimpleNamespace(download=given.append))
    monkeypatch.setitem(sys.modules, "google.colab", google)
    colab.download([Path("b.zip")])
    assert given == ["b.zip"]


def test_choose_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert colab.choose_model(0) == DEFAULT_MODEL
    for name, backbone in {
        "s2p-8m": "esm2_t6_8M_UR50D",
        "s2p-650m": "esm2_t33_650M_UR50D",
        "s2p-3b": "esm2_t36_3B_UR50D",
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"format": "s2p-1", "backbone": backbone}))
        if name != "s2p-3b":  # a card without weights is no model
            (tmp_path / f"{name}.safetensors").touch()
    (tmp_path / "kalasanty.json").write_text(json.dumps({"format": "s2p-kalasanty-1"}))  # another predictor's
    (tmp_path / "kalasanty.safetensors").touch()
    monkeypatch.setattr(colab, "SHIPPED", tmp_path)
    assert [colab.choose_model(int(x * 1e9)) for x in (4, 16, 80)] == ["s2p-8m", "s2p-650m", "s2p-650m"]


def test_choose_backbone() -> None:
    lora = FinetuneConfig(lora_rank=8, checkpointing=True)
    names = list(BACKBONES)
    chosen = [names.index(colab.choose_backbone(int(x * 1e9), lora)) for x in (0, 4, 15.8, 80)]
    assert chosen == sorted(chosen) and chosen[0] == 0
    assert names[chosen[2]] == "esm2_t33_650M_UR50D"  # what a T4 of 16 GB trains


def test_the_table_names_every_backbone_and_way() -> None:
    *lines, empty, note = colab.memory_table(["esm2_t33_650M_UR50D", "esm2_t36_3B_UR50D"]).splitlines()
    assert not empty and "on the CPU only" in note
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert float(lines[3].split("|")[2]) > float(lines[2].split("|")[2])


def test_output_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert colab.output_folder(str(tmp_path / "a" / "b"), False) == tmp_path / "a" / "b" and (tmp_path / "a" / "b").is_dir()
    with pytest.raises(S2PError, match="Google Colab only"):
        colab.output_folder("x", True)
    mounted: list[str] = []
    fake = types.ModuleType("google.colab")
    fake.drive = types.SimpleNamespace(mount=mounted.append)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google.colab", fake)
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "drive")
    assert colab.output_folder("runs/x", True) == tmp_path / "drive" / "MyDrive" / "s2p" / "x"
    assert mounted == [str(tmp_path / "drive")]
