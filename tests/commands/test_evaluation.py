"""``s2p evaluate`` and ``s2p sweep`` as a user meets them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from s2p.commands import main


def test_evaluate_the_bundled_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "run", tmp_path / "RESULTS.md"
    command = [
        "evaluate",
        "--dataset",
        "mini",
        "--limit",
        "2",
        "--predictor",
        "s2p,random-patch",
        "-o",
        str(out),
        "--page",
        str(page),
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "mini: 2 proteins, 2 sites" in said
    assert [line.split()[0] for line in said.splitlines()[1:3]] == ["s2p", "random-patch"]
    assert set(pd.read_csv(out / "summary.csv").predictor) == {"s2p", "random-patch"}
    assert "`random-patch`" in page.read_text()
    assert main(command) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == said.splitlines()[:4]


def test_wrong_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["evaluate", "--dataset", "mini", "-o", str(tmp_path / "run")]
    assert main([*base, "--predictor", "magic"]) == 1
    assert "there is no predictor 'magic'; the predictors are s2p" in capsys.readouterr().err
    assert main([*base, "--split", "test"]) == 1
    assert "has no splits" in capsys.readouterr().err
    assert main([*base, "--limit", "1", "--predictor", "nowhere:Thing"]) == 1
    assert "nowhere:Thing did not run" in capsys.readouterr().err
    assert main(["sweep", "--dataset", "mini", "--parameter", "colour"]) == 1
    assert "no parameter 'colour'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate"])


def test_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--dataset", "mini", "--limit", "2", "--parameter", "smoothing", "-o", str(tmp_path)]) == 0
    assert "smoothing" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "sweep.csv", keep_default_na=False)
    assert table.parameter.tolist() == ["default", "smoothing"]
    assert (tmp_path / "sweep.png").is_file()
