"""The walkthroughs in a simulated Colab: a fresh environment, a repository that the notebook clones and installs from.

The real Colab cannot be reached from here. What is simulated: ``google.colab`` is loaded before the notebook starts, uploads
and downloads go through it, the working directory holds nothing of the project, ``git`` hands out a copy of this checkout, and
``s2p`` comes from a built wheel alone.
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
import venv
from pathlib import Path
from typing import Any

import pytest

from course import colab
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.language.sequences import BACKBONES
from s2p.training.config import FinetuneConfig

ROOT = Path(__file__).resolve().parents[2]
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
    """What a clone holds of the package, the tutorial and the course, so that nothing is left in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "repository"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("s2p", "tutorial", "notebooks/course", "data/examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    return copy


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed."""
    target = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(repository, tmp_path_factory.mktemp("build") / "repository")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(target),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "BackendUnavailable" in done.stderr + done.stdout:
        command.remove("--no-build-isolation")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = target.glob("s2p-*.whl")
    return found


@pytest.fixture
def machine(tmp_path: Path, repository: Path) -> tuple[Path, Path]:
    """(python, folder) of an environment that has the dependencies but not ``s2p``, and an empty folder."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    # A plain path in a .pth lends the packages here without the .pth that makes this checkout's s2p importable.
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    package = site / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE)
    # There before any cell runs, as in Colab. Debian's Python has a sitecustomize.py of its own, which would hide another.
    (site / "colab.pth").write_text("import google.colab\n")
    folder = tmp_path / "content"
    folder.mkdir()
    install_git(python, f'cp -r "{repository}" "$folder"')
    return python, folder


def install_git(python: Path, action: str) -> None:
    """Put a ``git`` that does ``action`` beside ``python``; it writes what it was asked for into ``git.log`` there."""
    program = python.parent / "git"
    program.write_text(GIT.format(log=python.parent / "git.log", action=action))
    program.chmod(0o755)


def run(
    notebook: str | dict[str, Any],
    machine: tuple[Path, Path],
    wheel: Path,
    parameters: dict[str, Any],
    *,
    twice: bool = False,
    broken: bool = False,
) -> tuple[Any, list[dict[str, Any]]]:
    """The executed notebook, and what it asked of Colab; ``twice``: with two set-up cells, ``broken``: errors are outputs."""
    python, folder = machine
    content = json.loads((ROOT / "tutorial" / notebook).read_text(encoding="utf-8")) if isinstance(notebook, str) else notebook
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if "%pip" in source:
            assert len(re.findall(r"git clone --quiet --depth 1 --branch v[\d.]+ https://", source)) == 1, "one pinned version"
            source = source.replace('--quiet "./s2p-course[torch]"', f'--quiet --no-deps "{wheel}"')
        if "parameters" in cell["metadata"].get("tags", []):
            source += "\n" + "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
        cell["source"] = source
    if twice:
        (k,) = (k for k, cell in enumerate(content["cells"]) if cell["id"] == "setup")
        content["cells"].insert(k, content["cells"][k] | {"id": "setup-before"})
    (folder / "notebook.ipynb").write_text(json.dumps(content))
    script = (
        "import nbformat, nbclient\n"
        "n = nbformat.read('notebook.ipynb', 4)\n"
        f"nbclient.NotebookClient(n, timeout=400, kernel_name='python3', allow_errors={broken}).execute()\n"
        "nbformat.write(n, 'done.ipynb')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"JUPYTER_PREFER_ENV_PATH": "1", "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(folder / "numba")}
    # JUPYTER_PATH is emptied so that the kernel is this environment's own.
    environment["PATH"] = os.pathsep.join([str(python.parent), environment["PATH"]])
    environment |= {"JUPYTER_DATA_DIR": str(folder / "jupyter"), "JUPYTER_PATH": ""}
    done = subprocess.run([python, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    calls = folder / "calls.jsonl"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return json.loads((folder / "done.ipynb").read_text()), [json.loads(line) for line in lines]


def printed(notebook: Any) -> str:
    return "".join("".join(o.get("text", "")) for c in notebook["cells"] for o in c.get("outputs", []))


@pytest.mark.slow
def test_quickstart(machine: tuple[Path, Path], wheel: Path) -> None:
    pytest.importorskip("nbclient")
    shutil.copy(ROOT / "data" / "examples" / "6WQA.cif", machine[1] / "to_upload.cif")
    where = "import s2p, sys; assert str(s2p.__file__).startswith(sys.prefix), s2p.__file__"
    notebook, calls = run("quickstart.ipynb", machine, wheel, {"upload": True}, twice=True)
    assert len((machine[0].parent / "git.log").read_text().splitlines()) == 1, "the second time nothing is cloned"
    subprocess.run([machine[0], "-I", "-c", where], cwd=machine[1], check=True)
    assert calls == [{"upload": "6WQA.cif"}, {"download": "quickstart.zip", "there": True}]
    text = printed(notebook)
    assert "no GPU" in text and "Runtime > Change runtime type" in text and "ZMA A:1202: found by pocket 1" in text
    cells = {c["id"]: c for c in notebook["cells"]}
    kinds = {key for output in cells["explorer"]["outputs"] for key in output.get("data", {})}
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/html"} <= kinds
    assert "plotly" in "".join(cells["probability"]["outputs"][-1]["data"]["text/html"])
    assert (machine[1] / "s2p-course" / "tutorial" / "runs" / "quickstart" / "6WQA_report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clone", "install"), [("exit 128", True), ('mkdir -p "$folder/tutorial"', False)], ids=["clone", "install"]
)
def test_set_up_stops_with_a_sentence(machine: tuple[Path, Path], wheel: Path, clone: str, install: bool) -> None:
    pytest.importorskip("nbclient")
    install_git(machine[0], clone)
    content = json.loads((ROOT / "tutorial" / "quickstart.ipynb").read_text(encoding="utf-8"))
    content["cells"] = [cell for cell in content["cells"] if cell["id"] == "setup"]
    notebook, _ = run(content, machine, wheel if install else machine[1] / "missing.whl", {}, broken=True)
    (error,) = (o for cell in notebook["cells"] for o in cell["outputs"] if o["output_type"] == "error")
    assert error["evalue"].startswith("cloning or installing s2p failed: read the messages above")


@pytest.mark.slow
def test_finetune(machine: tuple[Path, Path], wheel: Path) -> None:
    pytest.importorskip("nbclient")
    values = {"training_structures": "1GBT", "validation_structures": "4CUP"}
    notebook, calls = run("finetune_gpu.ipynb", machine, wheel, values | {"head_epochs": 0, "full_epochs": 1, "lora_rank": 2})
    assert calls == [{"download": "prediction.zip", "there": True}, {"download": "my_model.safetensors", "there": True}]
    assert "no GPU" in printed(notebook) and "AUPRC on the validation chains" in printed(notebook)


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
