"""The base install: predictions where PyTorch cannot be imported, and what says that it is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HIDDEN = ("torch", "esm", "fair_esm", "functorch", "torchgen")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which ``python -S``, and the processes that it starts, find all but PyTorch and fair-esm."""
    packages = tmp_path_factory.mktemp("packages")
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(folder).iterdir():
            if path.name.split("-")[0].split(".")[0] not in (*HIDDEN, "__pycache__"):
                (packages / path.name).symlink_to(path)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "notebooks", packages)))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def run(environment: dict[str, str], *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-S", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done


def test_pytorch_is_hidden_here(environment: dict[str, str]) -> None:
    code = "from importlib.util import find_spec; print(find_spec('torch'), find_spec('esm'), find_spec('numba') is not None)"
    assert run(environment, "-c", code).stdout == "None None True\n"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), {"6WQA_pockets.csv", "6WQA_residues.csv", "6WQA.json", "6WQA_report.html"}),
        (("--method", "published", "--format", "csv,json"), {"6WQA_pockets.csv", "6WQA_residues.csv", "6WQA.json"}),
        (("--sites", "both", "--format", "csv,json"), {"6WQA_pockets.csv", "6WQA_residues.csv", "6WQA.json"}),
        (("--sites", "cryptic", "--format", "csv", "--device", "cpu"), {"6WQA_pockets.csv", "6WQA_residues.csv"}),
    ],
    ids=["default", "published", "both", "cryptic"],
)
def test_a_prediction(environment: dict[str, str], tmp_path: Path, options: tuple[str, ...], wanted: set[str]) -> None:
    run(environment, "-m", "s2p", "predict", "data/examples/6WQA.cif", "-o", str(tmp_path), *options)
    assert wanted <= {path.name for path in tmp_path.iterdir()}
    if "6WQA.json" in wanted:
        assert json.loads((tmp_path / "6WQA.json").read_text())["pockets"]


def test_a_batch_in_two_processes(environment: dict[str, str], tmp_path: Path) -> None:
    inputs = [f"data/examples/{name}" for name in ("1ubi.pdb.gz", "4CUP.cif", "1s3v.pdb.gz")]
    run(environment, "-m", "s2p", "predict", *inputs, "-o", str(tmp_path), "--format", "csv", "--jobs", "2")
    assert {f"{name}_pockets.csv" for name in ("1ubi", "4CUP", "1s3v")} <= {path.name for path in tmp_path.iterdir()}


def test_in_python(environment: dict[str, str]) -> None:
    code = (
        "import s2p\n"
        "model = s2p.load()\n"
        "structure = s2p.read_structure('data/examples/4CUP.cif')\n"
        "print(len(s2p.predict(structure).pockets) == len(model.predict(structure).pockets) > 0)\n"
        "from s2p.language.cache import embed_residues\n"
        "import tempfile\n"
        "print(embed_residues(model.checkpoint.model, ['MKV'], tempfile.mkdtemp())[0][1].shape)\n"
    )
    assert run(environment, "-c", code).stdout == "True\n(3, 320)\n"


def test_the_quickstart(environment: dict[str, str], tmp_path: Path) -> None:
    """What `make demo` runs, in an environment without PyTorch."""
    cells = [
        c for c in json.loads((ROOT / "tutorial" / "quickstart.ipynb").read_text("utf-8"))["cells"] if c["cell_type"] == "code"
    ]
    sources = ["".join(cell["source"]) for cell in cells]
    sources[0] = f"from pathlib import Path\nADDRESS, root = 'here', Path({str(ROOT)!r})"  # installs in Colab
    sources[2] += f"\noutput_folder = {str(tmp_path)!r}\nstructure = {str(ROOT / 'data' / 'examples' / '6WQA.cif')!r}"
    code = (
        "import json, sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for source in json.load(sys.stdin): shell.run_cell(source).raise_error()\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        input=json.dumps(sources),
        cwd=tmp_path,
        env=environment | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "metrics.json").is_file()


SENTENCE = "this needs PyTorch and fair-esm, which are not both installed; pip install 's2p-pockets[torch]'"


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "data/examples/1ubi.pdb.gz", "--model", "kalasanty", "-o", "{}"),
        ("predict", "data/examples/1ubi.pdb.gz", "--device", "cuda", "-o", "{}"),
        ("design", "data/examples/1a28.pdb.gz", "--ligand", "STR", "-o", "{}"),
        ("finetune", "data/examples/labels.csv", "--backbone", "8M", "-o", "{}/x.safetensors", "--work", "{}"),
    ],
    ids=["kalasanty", "cuda", "design", "finetune"],
)
def test_what_needs_pytorch_says_so(environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(environment, "-m", "s2p", *(text.format(tmp_path) for text in arguments), status=1)
    assert done.stderr.endswith(f"s2p: error: {SENTENCE}\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_what_needs_pytorch_says_so_in_python(environment: dict[str, str]) -> None:
    lines = [
        "s2p.load('crossbind-dna')",
        "s2p.Seq2Pocket.load(device='cuda')",
        "from s2p.language import ResidueModel",
        "from s2p.training import finetune",
        "from s2p.models import start_encoder",
        "from s2p.models.kalasanty import KalasantyPredictor",
        "from s2p.io import pick_device; pick_device()",
    ]
    code = "import s2p\n" + "".join(f"try:\n    {x}\nexcept s2p.S2PError as error:\n    print(error)\n" for x in lines)
    assert run(environment, "-c", code).stdout.splitlines() == [SENTENCE] * len(lines)


def test_help_needs_no_pytorch(environment: dict[str, str]) -> None:
    assert "--lora" in run(environment, "-m", "s2p", "finetune", "--help").stdout


@pytest.mark.slow
def test_notebook_02_compares_its_encoder_with_what_there_is(environment: dict[str, str]) -> None:
    cells = json.loads((ROOT / "notebooks" / "02_language_model_embeddings.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code" and cell["id"] not in ("setup", "metrics")]
    told = run(environment, "-c", "\n".join(["import os; os.chdir('notebooks')", *code])).stdout
    assert "so the comparison is with s2p alone" in told and "difference from fair-esm" not in told
