"""What a clone promises: versions that agree, pins for every dependency, registered data, commands that exist."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from local_server import serving
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import s2p
from s2p.errors import DISTRIBUTION

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
REGISTRY = json.loads((DATA / "registry.json").read_text())["files"]
MB = 1 << 20


def pins() -> dict[str, str]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.!]+)", line).groups()
            assert canonicalize_name(name) not in found, f"{name} is pinned twice"
            found[canonicalize_name(name)] = version
    return found


def requirements(*extras: str) -> list[Requirement]:
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("requirement", requirements("notebooks", "dev"), ids=lambda r: r.name)
def test_every_dependency_is_pinned_within_its_bound(requirement):
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is not in constraints.txt"
    assert requirement.specifier.contains(version)
    assert requirement.specifier, f"{requirement.name} has no bound in pyproject.toml"


def test_pins_are_public_versions_and_torch_is_the_agreed_one():
    assert pins()["torch"] == "2.13.0"
    assert not [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "+" in line and not line.startswith("#")]


CUDA = re.compile(r"(nvidia|cuda)-|triton$")
"""Libraries of the CUDA build of PyTorch, which a plain index gives on Linux: that build names their versions itself, and the
CPU build, which shares its version, has none of them."""


def test_pins_are_complete():
    """Nothing that an installed dependency needs is left unpinned (walks the metadata of what is installed here)."""
    from importlib.metadata import PackageNotFoundError, distribution

    pinned, seen, todo = pins(), set(), [r.name for r in requirements("notebooks", "dev")]
    while todo:
        name = canonicalize_name(todo.pop())
        if name in seen or CUDA.match(name):
            continue
        seen.add(name)
        try:
            needs = [Requirement(line) for line in distribution(name).requires or []]
        except PackageNotFoundError:
            continue
        todo += [r.name for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
    assert sorted(seen - set(pinned)) == []


def test_notebooks_have_their_viewers_and_colab_gets_no_jupyter():
    """Replacing Colab's Jupyter packages under its live kernel can crash it, so its extra names none, nor what brings some."""
    notebooks, colab = (
        {r.name for r in requirements(extra)} - {r.name for r in requirements()} for extra in ("notebooks", "colab")
    )
    assert {"biopython", "ipywidgets", "jupyterlab", "nglview", "plotly"} <= notebooks
    assert "py3Dmol" in {r.name for r in requirements()}
    assert colab == {"biopython", "plotly", DISTRIBUTION}
    assert colab - {DISTRIBUTION} <= notebooks


def test_the_distribution_has_a_name_of_its_own():
    """``s2p`` on the package index is another project, so nobody is told to install that."""
    assert PROJECT["name"] == DISTRIBUTION == "s2p-pockets"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone")
    paths = [
        ROOT / line for line in listed.stdout.splitlines() if line.endswith((".py", ".md", ".ipynb", ".toml", ".yml", ".txt"))
    ]
    wrong = re.compile(r"""pip install (?:-\S+ )*['"]?s2p\b(?!-)|(?<![\w./-])s2p\[(?:\w+)\]""")
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    assert {name: found[0] for name, text in texts.items() if (found := wrong.search(text))} == {}


def test_environment_agrees_with_pyproject_and_constraints():
    assert ENVIRONMENT["name"] == s2p.__name__
    conda = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
    (pip,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    # Python from conda, the rest from pip: what pyproject asks for, in the versions of constraints.txt.
    assert pip == ["-c constraints.txt", "-e .[notebooks,torch]"]
    assert conda[1:] == ["pip"]
    (python,) = re.fullmatch(r"python=([\d.]+)", conda[0]).groups()
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    assert {"notebooks", "torch"} <= set(PROJECT["optional-dependencies"])


def test_pytorch_is_an_extra_and_tests_have_it():
    extra = {"fair-esm", "networkx", "torch"}
    assert {r.name for r in requirements("torch")} - {r.name for r in requirements()} == extra
    assert extra <= {r.name for r in requirements("dev")} and not extra & {r.name for r in requirements("notebooks")}


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == s2p.__version__ == str(citation["version"])
    assert citation["license"] == "MIT"
    assert PROJECT["license"] == "MIT AND GPL-3.0-only"  # code and shipped weights
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "s2p" / "checkpoints" / "LICENSE").read_text()
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_one_address_everywhere():
    """That of pyproject.toml; tests/notebooks/test_notebooks.py holds the notebooks to it."""
    (clone,) = re.findall(r"git clone (\S+)", (ROOT / "README.md").read_text())
    assert clone == PROJECT["urls"]["Repository"]


def test_citation_names_its_sources():
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert {"10.64898/2026.01.28.702257", "10.1126/science.ade2574", "10.1186/s13321-024-00923-z"} <= {
        r.get("doi") for r in references
    }
    for reference in references:
        assert {"type", "title", "authors", "year"} <= set(reference)


def test_the_command_is_the_package_s_program():
    assert PROJECT["scripts"] == {"s2p": "s2p.__main__:run"}
    from s2p.__main__ import run

    assert callable(run)


def data_files() -> list[str]:
    """Files under data/ that are, or could be, committed: what git ignores does not count."""
    unregistered = {"registry.json", "README.md"}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "data"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    else:
        paths = list(DATA.rglob("*"))
    return sorted(
        p.relative_to(DATA).as_posix() for p in paths if p.is_file() and p.relative_to(DATA).as_posix() not in unregistered
    )


def test_every_data_file_is_registered_once():
    assert [entry["path"] for entry in REGISTRY] == sorted((entry["path"] for entry in REGISTRY), key=str.lower)
    assert sorted(entry["path"] for entry in REGISTRY) == data_files()


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda e: e["path"])
def test_registered_data_is_what_is_there(entry):
    content = (DATA / entry["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert len(content) == entry["bytes"]
    assert entry["description"]
    assert entry["licence"]
    source = entry["source"]
    if "package" in source:
        assert {"registry", "package", "version", "member", "sha256", "package_licence"} == set(source)
        import gzip

        original = gzip.decompress(content) if entry["path"].endswith(".gz") and not source["member"].endswith(".gz") else content
        assert hashlib.sha256(original).hexdigest() == source["sha256"]


def test_data_is_small():
    assert sum((DATA / name).stat().st_size for name in data_files()) < 8 * MB


def test_no_committed_file_is_large():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    large = {path.name: path.stat().st_size for path in paths if path.is_file() and path.stat().st_size > 8 * MB}
    # A checkpoint may have up to 20 MB.
    assert all(name.endswith(".safetensors") and size < 20 * MB for name, size in large.items()), large


def test_data_readme_names_every_structure():
    text = (DATA / "README.md").read_text()
    names = [Path(entry["path"]).name for entry in REGISTRY]
    assert [name for name in names if f"{name}`" not in text] == []


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_make_targets_exist():
    assert {"demo", "test", "lint", "notebooks", "clean"} <= make_targets()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_targets_and_files_that_exist(document):
    text = (ROOT / document).read_text()
    code = " ".join(re.findall(r"```.*?```|`[^`]*`", text, flags=re.DOTALL))
    used = set(re.findall(r"\bmake (?:[A-Z_]+=(?:\"[^\"]*\"|\S+) )*([a-z]+)\b", code))
    assert used <= make_targets()
    paths = re.findall(r"\b((?:data|tests|s2p|tutorial|notebooks)/[\w./-]+\.(?:py|json|csv|md|cif|gz|ipynb))`", text)
    assert [path for path in paths if "X." not in path and "NN" not in path and not (ROOT / path).exists()] == []


def test_ci_runs_exactly_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make test"]


@pytest.mark.parametrize(
    ("torch", "answers", "installs", "says"),
    [("cpu", True, True, "without CUDA"), ("cpu", False, False, "perhaps with 5 GB"), ("cuda", True, False, "")],
)
def test_make_asks_for_pytorch_without_cuda_where_there_is_no_gpu(tmp_path, torch, answers, installs, says):
    pip = tmp_path / "venv" / "bin" / "python"
    pip.parent.mkdir(parents=True)
    pip.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/log\n')
    pip.chmod(0o755)
    with serving() as server:
        if answers:
            server.body("/cpu/", b"")
        index = f"{server.url}/cpu/"
        more = [f"VENV={tmp_path}/venv", f"PYTHON={sys.executable}", f"TORCH={torch}", f"TORCH_INDEX={index}"]
        done = subprocess.run(["make", *more, f"{tmp_path}/venv/.complete"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert bool(server.asked) == (torch == "cpu")
    own, whole = (f"--index-url {index} torch", "-c constraints.txt -e .[notebooks,torch,dev]")
    log = (tmp_path / "log").read_text()
    assert (own in log) == installs and log.rstrip().endswith(whole)
    assert says in done.stdout and ("CUDA" in done.stdout) == bool(says)


def test_make_refuses_an_old_python_with_a_sentence(tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.1";; *) exit 1;; esac\n')
    old.chmod(0o755)
    command = ["make", "lint", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.1" in done.stderr
    assert not (tmp_path / "venv").exists()
