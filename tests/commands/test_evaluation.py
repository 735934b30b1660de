"""``s2p evaluate`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from s2p.commands import main


def test_evaluate_the_bundled_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = [
        "evaluate",
        "--dataset",
        "mini",
        "--limit",
        "2",
        "--predictor",
        "s2p,benchmarks.peers:RandomPatch",
        "-o",
        str(out),
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "mini: 2 proteins, 2 sites" in said
    assert [line.split()[0] for line in said.splitlines()[1:3]] == ["s2p", "benchmarks.peers:RandomPatch"]
    assert set(pd.read_csv(out / "summary.csv").predictor) == {"s2p", "benchmarks.peers:RandomPatch"}
    assert main(command) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == said.splitlines()[:4]


def test_a_run_of_another_version_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = ["evaluate", "--dataset", "mini", "--limit", "1", "--predictor", "awkward:Center", "-o", str(out)]
    assert main(command) == 0
    facts = json.loads((out / "run.json").read_text())
    facts["versions"]["s2p"] = "0.1.0"
    (out / "run.json").write_text(json.dumps(facts))
    assert main([*command, "--resume"]) == 1
    assert "holds a run of s2p 0.1.0, and this is" in capsys.readouterr().err


def test_wrong_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["evaluate", "--dataset", "mini", "-o", str(tmp_path / "run")]
    assert main([*base, "--predictor", "magic"]) == 1
    assert "there is no model 'magic': give one of s2p, s2p-published" in capsys.readouterr().err
    assert main([*base, "--split", "test"]) == 1
    assert "has no splits" in capsys.readouterr().err
    assert main([*base, "--predictor", "fpocket-rs"]) == 1
    assert "it is benchmarks.peers:FpocketRs\n" in capsys.readouterr().err
    for name in ("nowhere:Thing", "benchmarks.peers:Nope"):
        assert main([*base, "--limit", "1", "--predictor", f"s2p,{name}"]) == 1
        assert f"predictor {name!r} cannot be imported" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*base, "--limit", "1", "--predictor", "awkward:Unloadable"]) == 1  # found, but what it needs is not
    assert "awkward:Unloadable did not run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate"])
