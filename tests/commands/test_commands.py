"""The command line's contract: arguments, exit status, what is printed and written."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from s2p.commands import HOMES, build_parser, main
from s2p.config import ClusterConfig, PredictConfig
from s2p.errors import WeightsError
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure

HEAVY = ("torch", "numpy", "numba", "scipy", "pandas", "matplotlib", "gemmi", "biotite", "sklearn", "tqdm", "papermill")
LIGAND = "\n".join(
    f"HETATM{900 + i:>5}  C{i:<2} LIG A 501    {9.0 + i:8.3f}{4.0:8.3f}{0.0:8.3f}  1.00 20.00           C" for i in range(6)
)


def pdb(n: int = 5) -> str:
    return "\n".join(
        f"ATOM  {4 * k + i:>5}  {name:<3} ALA A{k:>4}    {3.8 * k + i:8.3f}{0.0:8.3f}{0.0:8.3f}  1.00 20.00           {name[0]}"
        for k in range(1, n + 1)
        for i, name in enumerate(("N", "CA", "C", "O"))
    )


class Fake:
    """Stands in for what :func:`s2p.load` gives, and remembers how it was called."""

    loaded: ClassVar[list[tuple[str, str | None, str]]] = []
    configs: ClassVar[list[PredictConfig | None]] = []
    name = "fake"
    methods = ("published",)

    @classmethod
    def load(cls, model: str = "?", *, backbone: str | None = None, device: str = "auto") -> Fake:
        cls.loaded.append((model, backbone, device))
        if model == "none":
            raise WeightsError("there is no checkpoint 'none'")
        return cls()

    def predict(self, structure: Structure, config: PredictConfig | None = None) -> Prediction:
        self.configs.append(config)
        if structure.name == "boom":
            raise RuntimeError("inside")
        if structure.name == "stop":
            raise KeyboardInterrupt
        n = len(structure.residues)
        center = structure.residues.ca_coord[0]
        index = np.arange(n, dtype=np.int32)
        pocket = Pocket(1, 0.912, 0.83, index, index, structure.residues.ca_coord, center, 100.0)
        none = np.zeros(n, dtype=bool)
        return Prediction(structure, np.full(n, 0.9, np.float32), none, ~none, (pocket,), "fake", {}, ("read me",))


@pytest.fixture(autouse=True)
def _work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("s2p.predictor")
    module.load = Fake.load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "s2p.predictor", module)
    monkeypatch.chdir(tmp_path)
    Fake.loaded.clear()
    Fake.configs.clear()
    Path("a.pdb").write_text(f"{pdb()}\nTER\n{LIGAND}\n")
    Path("b.pdb").write_text(pdb())


def predict(*arguments: str) -> int:
    return main(["predict", "--format", "csv", *arguments])


# ---------------------------------------------------------------------------------------------- start-up and usage


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["predict", "--help"], ["view", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom s2p.commands import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.endswith("LOADED []\n"), done.stdout


def test_python_m_s2p():
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-m", "s2p", "--version"], capture_output=True, text=True, cwd=root, check=False)
    assert (done.returncode, done.stdout[:4]) == (0, "s2p ")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["completion"], "required: shell"),
        (["completion", "fish"], "invalid choice: 'fish'"),
        (["fly"], "invalid choice: 'fly'"),
        (["predict"], "required: INPUT"),
        (["predict", "a.pdb", "--threshold", "1.5"], "'1.5' is not a number from 0 to 1"),
        (["predict", "a.pdb", "--threshold=-0.1"], "'-0.1' is not a number from 0 to 1"),
        (["predict", "a.pdb", "--threshold", "nan"], "'nan' is not a number from 0 to 1"),
        (["predict", "a.pdb", "--threshold", "high"], "'high' is not a number"),
        (["predict", "a.pdb", "--bandwidth", "0"], "'0' is not a number above 0"),
        (["predict", "a.pdb", "--bandwidth", "inf"], "'inf' is not a number above 0"),
        (["predict", "a.pdb", "--jobs", "0"], "'0' is not a whole number of at least 1"),
        (["predict", "a.pdb", "--scheduler", "tcp://x:1", "--local-cluster"], "not allowed with argument --scheduler"),
        (["predict", "a.pdb", "--jobs", "1.5"], "'1.5' is not a whole number"),
        (["predict", "a.pdb", "--format", "csv,xls"], "unknown format 'xls'"),
        (["predict", "a.pdb", "--format", ","], "at least one name"),
        (["predict", "a.pdb", "--chain", ""], "at least one name"),
        (["predict", "a.pdb", "--device", "tpu"], "invalid choice: 'tpu'"),
        (["predict", "a.pdb", "--method", "best"], "invalid choice: 'best'"),
        (["predict", "a.pdb", "--sites", "hidden"], "invalid choice: 'hidden'"),
        (["predict", "a.pdb", "--method", "surface", "--bandwidth", "9"], "--bandwidth is a setting of the clusters of residues"),
        (["view"], "required: PREDICTION_DIR"),
        (["notebook"], "required: NN"),
        (["notebook", "1", "-r", "key"], "expected 2 arguments"),
        (["pred", "x.pdb"], "did you mean predict?"),
        (["predict", "--chian", "A", "x.pdb"], "s2p predict: error: unrecognized arguments: --chian; did you mean --chain?"),
        (["predict", "a.pdb", "--chian=A", "b.pdb"], "unrecognized arguments: --chian=A b.pdb; did you mean --chain?"),
        (["predict", "a.pdb", "--method", "surfaces"], "did you mean surface?"),
        (["view", "a", "b"], "usage: s2p view"),
        (["--quite", "predict", "a.pdb"], "unrecognized arguments: --quite"),
    ],
)
def test_wrong_usage_is_status_2(arguments, why, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert why in capsys.readouterr().err
    assert not Path("s2p_out").exists()


def test_the_command_alone_shows_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: s2p") and set(HOMES) <= set(out.split())


def test_bash_completes_commands_and_options(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "s2p.bash").write_text(capsys.readouterr().out)

    def completed(*words):
        line = " ".join(words)
        code = f'''source {tmp_path}/s2p.bash; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE="{line}"
        $(complete -p s2p | sed "s/.*-F \\([^ ]*\\).*/\\1/"); echo "${{COMPREPLY[@]}}"'''
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert completed("s2p", "pre") == ["predict"]
    assert completed("s2p", "predict", "--loc") == ["--local-cluster"]
    assert completed("s2p", "predict", "x.pdb", "--sites", "cr") == ["cryptic"]


# ---------------------------------------------------------------------------------------------- predict, one input


def test_docking_boxes_follow_the_options(capsys):
    assert predict("a.pdb", "--format", "box,spheres", "--box-padding", "2", "--box-min", "12.5") == 0
    text = Path("s2p_out/a_pocket1_box.txt").read_text()
    assert "its surface points and 2 more a side" in text and min(float(x) for x in re.findall("size.* = (.*)", text)) >= 12.5
    assert {"wrote s2p_out/a_pocket1_box.txt", "wrote s2p_out/a_pocket1.sph"} < set(capsys.readouterr().out.splitlines())
    assert predict("a.pdb", "--format", "box", "--box-padding", "20") == 0
    assert "note: docking boxes capped at 30 Å an edge: 1;" in capsys.readouterr().out
    assert predict("a.pdb", "--box-min", "40") == 1
    assert "the shortest edge of a docking box, 40 Å, is above the longest, 30 Å" in capsys.readouterr().err


def test_one_input(capsys):
    assert predict("a.pdb") == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith("a: 5 residues, 1 pocket")
    assert lines[2].split() == ["1", "0.912", "0.83", "5", "4.8", "0.0", "0.0"]
    # the centre is the first CA, (4.8, 0, 0); the closest ligand atom (9, 4, 0)
    (ligand,) = (line for line in lines if line.startswith("true ligand"))
    assert ligand.startswith("true ligand LIG A:501: not found; nearest is pocket 1, ")
    assert f"centre {np.hypot(4.2, 4.0):.1f} Å from its closest atom" in ligand
    assert "note: read me" in lines
    written = {Path(line.removeprefix("wrote ")) for line in lines if line.startswith("wrote ")}
    assert written == {Path("s2p_out/a_pockets.csv"), Path("s2p_out/a_residues.csv")}
    assert all(path.is_file() for path in written)
    with open("s2p_out/a_pockets.csv", newline="") as handle:
        header = next(csv.reader(handle))
    assert header == [
        "rank",
        "score",
        "probability",
        "center_x",
        "center_y",
        "center_z",
        "n_residues",
        "volume",
        "residues",
        "copy_of",
        "site",
    ]
    with open("s2p_out/a_residues.csv", newline="") as handle:
        assert next(csv.reader(handle)) == ["chain", "number", "insertion_code", "name", "probability", "smoothed", "pocket"]
    assert not Path("s2p_out/summary.csv").exists()


def test_options_reach_the_predictor():
    tuning = "--threshold 0.3 --bandwidth 7 --no-smoothing --method published --sites general"
    model = "--model m --backbone esm2_t6_8M_UR50D --device cpu"
    assert predict("a.pdb", *tuning.split(), *model.split(), "-o", "there") == 0
    assert Fake.loaded == [("m", "esm2_t6_8M_UR50D", "cpu")]
    (config,) = Fake.configs
    assert config is not None
    assert (config.threshold, config.cluster.bandwidth, config.use_smoothing, config.ranking) == (0.3, 7.0, False, "published")
    given = {"threshold": 0.7, "use_smoothing": True, "cluster": ClusterConfig(frame="raw")}
    assert replace(config, **given) == PredictConfig.published()
    assert Path("there/a_pockets.csv").is_file()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--method", "surface"), "has its own method; leave --method out"),
        (("--sites", "both"), "fake does not predict cryptic sites; leave them out, or use the model s2p-esm2-8m"),
    ],
)
def test_what_a_model_does_not_do_is_said_once(given: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("a.pdb", "b.pdb", *given) == 1
    assert capsys.readouterr().err.count(why) == 1
    assert not Fake.configs


def test_models_and_assemblies_are_chosen(examples: Path, capsys):
    shutil.copy(examples / "4CUP.cif", "x.cif")
    assert predict("x.cif", "--assembly", "1") == 0
    assert "230 residues" in capsys.readouterr().out
    for arguments, why in (
        (("--assembly", "7"), "there is no assembly 7"),
        (("--model-number", "2"), "there is no model 2; it has 1"),
    ):
        assert predict("x.cif", *arguments) == 1
        assert why in capsys.readouterr().err
    assert predict("x.cif", "--model-number", "all-chains") == 0
    with pytest.raises(SystemExit):
        predict("x.cif", "--model-number", "some")


def test_defaults_leave_the_choice_to_the_checkpoint():
    assert predict("a.pdb") == 0
    assert Fake.loaded == [("s2p-esm2-8m", None, "auto")]
    assert Fake.configs == [PredictConfig()]


def test_format_always_includes_the_tables():
    assert main(["predict", "a.pdb", "--format", "JSON"]) == 0
    assert {p.name for p in Path("s2p_out").iterdir()} == {"a_pockets.csv", "a_residues.csv", "a.json"}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.pdb", None, "no such file"),
        ("empty.pdb", b"", "is empty"),
        ("prose.pdb", b"Once upon a time", "no atoms found"),
        ("broken.pdb.gz", b"\x1f\x8b\x08\x00", "damaged gzip"),
        ("boom.pdb", pdb().encode(), "unexpected RuntimeError: inside"),
    ],
)
@pytest.mark.parametrize("quiet", [False, True])
def test_bad_input_is_a_sentence_and_status_1(name, content, why, quiet, capsys):
    if content is not None:
        Path(name).write_bytes(content)
    assert predict(name, *(["--quiet"] if quiet else [])) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("s2p: error: ") and why in err
    assert err.count("\n") == 1 and "Traceback" not in err


def test_unknown_chain(capsys):
    assert predict("a.pdb", "--chain", "A,Z") == 1
    assert "no protein chain 'Z'; the chains are 'A'" in capsys.readouterr().err


def test_folder_without_structures(capsys):
    Path("sub").mkdir()
    assert predict("sub") == 1
    assert "the folder contains no structure files" in capsys.readouterr().err


def test_options_between_inputs():
    Path("-c.pdb").write_text(pdb())
    assert predict("a.pdb", "-o", "out", "b.pdb", "--jobs", "1", "--", "-c.pdb") == 0
    assert {path.name for path in Path("out").glob("*_pockets.csv")} == {"a_pockets.csv", "b_pockets.csv", "c_pockets.csv"}


def test_unwritable_output(capsys):
    assert predict("a.pdb", "-o", "b.pdb") == 1
    assert "is a file and not a folder" in capsys.readouterr().err


def test_missing_model(capsys):
    assert predict("a.pdb", "b.pdb", "--model", "none") == 1
    assert "there is no checkpoint 'none'" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- predict, several


def rows() -> list[dict[str, str]]:
    with open("s2p_out/summary.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def test_batch(capsys):
    Path("empty.pdb").write_text("")
    assert predict("a.pdb", "empty.pdb", "b.pdb") == 1
    out, err = capsys.readouterr()
    assert [(r["input"], r["status"], r["n_pockets"]) for r in rows()] == [
        ("a.pdb", "ok", "1"),
        ("empty.pdb", "error", "0"),
        ("b.pdb", "ok", "1"),
    ]
    assert err == "s2p: error: empty.pdb: the file is empty\n"
    assert "2 of 3 predicted, 1 failed" in out
    assert "%|" not in err  # no bar: standard error is no terminal


def test_batch_without_failures_is_status_0(capsys):
    assert predict("a.pdb", "b.pdb", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert predict("a.pdb", "b.pdb", "--resume") == 0
    assert [r["status"] for r in rows()] == ["skipped", "skipped"]
    assert len(Fake.configs) == 2


def test_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert predict("a.pdb", "b.pdb") == 0
    out, err = capsys.readouterr()
    assert "2/2" in err
    assert "a.pdb: 1 pocket" in out
    assert predict("a.pdb", "b.pdb", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_a_cluster_is_asked_for(monkeypatch, capsys):
    from s2p.batch import run as batch

    asked: list[dict[str, Any]] = []

    def nothing(items: Any, options: Any, **how: Any) -> Iterator[batch.Row]:
        asked.append(how)
        yield from ()

    monkeypatch.setattr(batch, "predict_batch", nothing)
    assert predict("a.pdb", "b.pdb", "--scheduler", "tcp://x:1", "--jobs", "3") == 0
    assert predict("a.pdb", "b.pdb", "--local-cluster") == 0
    assert asked == [
        {"jobs": 3, "scheduler": "tcp://x:1", "local_cluster": False},
        {"jobs": 1, "scheduler": None, "local_cluster": True},
    ]


def test_another_model_under_the_same_name_is_noticed(capsys):
    from s2p.batch.inputs import model_identity

    Path("own.safetensors").write_bytes(b"one")
    assert predict("a.pdb", "b.pdb", "--model", "own.safetensors") == 0
    assert predict("a.pdb", "b.pdb", "--model", "own.safetensors", "--resume") == 0
    assert [r["status"] for r in rows()] == ["skipped", "skipped"]
    Path("own.safetensors").write_bytes(b"two")
    assert predict("a.pdb", "b.pdb", "--model", "own.safetensors", "--resume") == 0
    assert [r["status"] for r in rows()] == ["ok", "ok"]
    assert model_identity("own.safetensors", None) != model_identity("own.safetensors", "esm2_t6_8M_UR50D")


def test_interrupt(capsys):
    Path("stop.pdb").write_text(pdb())
    assert predict("a.pdb", "stop.pdb", "b.pdb") == 130
    assert [r["input"] for r in rows()] == ["a.pdb"]
    assert "interrupted" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- view and notebook


@pytest.fixture
def opened(monkeypatch):
    import webbrowser

    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url, *_: addresses.append(url) or True)
    return addresses


def test_view_opens_the_report(opened, capsys):
    Path("out dir").mkdir()
    report = Path("out dir/a_report.html")
    report.write_text("<html>")
    assert main(["view", "out dir"]) == 0
    assert opened == [report.resolve().as_uri()]
    assert main(["view", "out dir", "--no-open"]) == 0
    assert main(["view", str(report), "--no-open"]) == 0
    assert len(opened) == 1
    assert capsys.readouterr().out.splitlines() == [str(report.resolve())] * 3


def test_view_of_several_reports_lists_them(opened, capsys):
    for name in "ab":
        Path(f"{name}_report.html").write_text("")
    assert main(["view", "."]) == 0
    assert opened == []
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 and "there are several reports" in err


def test_view_of_a_batch_opens_its_index(opened, capsys):
    for name in ("a_report", "b_report", "index"):
        Path(f"{name}.html").write_text("")
    assert main(["view", "."]) == 0
    assert opened == [Path("index.html").resolve().as_uri()]
    assert main(["view", "b_report.html"]) == 0
    assert opened[1:] == [Path("b_report.html").resolve().as_uri()]
    assert capsys.readouterr().out.splitlines() == [str(Path(x).resolve()) for x in ("index.html", "b_report.html")]


def test_view_of_one_report_passes_an_index_by(opened):
    for name in ("a_report", "index"):
        Path(f"{name}.html").write_text("")
    assert main(["view", "."]) == 0
    assert opened == [Path("a_report.html").resolve().as_uri()]


@pytest.mark.parametrize(("folder", "why"), [("nowhere", "no such folder"), (".", "no report"), ("a.pdb", "no report")])
def test_view_without_a_report(opened, folder, why, capsys):
    assert main(["view", folder]) == 1
    assert why in capsys.readouterr().err
    assert opened == []


def test_notebook(monkeypatch, capsys):
    from s2p.commands import notebook

    calls: list[tuple[Any, ...]] = []

    def run(name: str, parameters: Any, folder: Path, *, progress: bool) -> Path:
        calls.append((name, parameters, folder))
        return folder / "x.ipynb"

    monkeypatch.setattr(notebook, "run_notebook", run)
    assert main(["notebook", "03", "-r", "pdb_id", "1e10", "-r", "n", "2"]) == 0
    assert calls == [("03", [["pdb_id", "1e10"], ["n", "2"]], Path("runs"))]
    assert capsys.readouterr().out == f"wrote {Path('runs/x.ipynb')}\n"


def test_missing_notebook(capsys):
    pytest.importorskip("papermill")
    assert main(["notebook", "99"]) == 1
    assert "there is no notebook '99'" in capsys.readouterr().err


def test_every_subcommand_has_a_home_and_is_the_same_alone():
    """Only the module of the command that is asked for is imported."""
    (every,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert {*HOMES, "view", "notebook", "completion"} == set(every.choices)
    for name in HOMES:
        (alone,) = (a for a in build_parser(name)._actions if isinstance(a, argparse._SubParsersAction))
        assert alone.choices[name].format_help() == every.choices[name].format_help()


@pytest.mark.parametrize(("wanted", "threads"), [(None, 1), ("2", 2)])
def test_predict_multiplies_in_one_thread_unless_told_otherwise(wanted: str | None, threads: int) -> None:
    code = (
        "import contextlib, sys, s2p.commands\n"
        "with contextlib.suppress(SystemExit): s2p.commands.main(['predict', 'none.pdb', '--format', 'csv', '--jobs', '0'])\n"
        "assert 'numpy' in sys.modules\n"
        "import threadpoolctl\n"
        "print([x['num_threads'] for x in threadpoolctl.threadpool_info() if x['internal_api'] == 'openblas'])"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")} | {"OMP_NUM_THREADS": "2"}
    environment |= {"OPENBLAS_NUM_THREADS": wanted} if wanted else {}
    root = Path(__file__).parents[2]
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, cwd=root, check=True)
    assert set(json.loads(done.stdout)) <= {min(threads, os.cpu_count() or 1)}  # none where NumPy has another library
