"""How predictions depend on moved atoms: the study on toy complexes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_complexes import write_complexes

from benchmarks.studies import perturbed
from benchmarks.studies.perturbed import differences, main
from s2p.evaluation.runner import read_lines


def test_the_study_writes_records_and_differences_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_complexes(tmp_path / "complexes")
    rows = ["set,id,split,clusters30", "toy,c00,validation,x0", "toy,c11,validation2,x1", "toy,c01,train,x2"]
    (tmp_path / "surface.csv").write_text("\n".join([*rows, ""]))
    monkeypatch.setattr(perturbed, "PLAN", dict.fromkeys(perturbed.PLAN, ("crystal", "noise 0.5 Å")))
    arguments = [str(tmp_path), "--table", str(tmp_path / "surface.csv"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--limit", "1"]) == 0
    assert json.loads((tmp_path / "out" / "perturbed.json").read_text())["complexes"] == 1
    assert main(arguments) == 0
    table = json.loads((tmp_path / "out" / "perturbed.json").read_text())
    assert [table[key] for key in ("complexes", "sites", "clusters")] == [2, 3, 2]
    assert "less crystal" not in table["s2p"]["crystal"]
    value, less = (table["s2p"]["noise 0.5 Å"][key] for key in ("value", "less crystal"))
    assert value.keys() == less.keys()
    for name, (change, _, _) in less.items():
        assert change == pytest.approx(value[name][0] - table["s2p"]["crystal"]["value"][name][0], abs=0.002) or name == "PFI"
    files = sorted((tmp_path / "out").glob("*.jsonl"))
    assert len(files) == 4 and all(len(read_lines(path)) == 2 for path in files)
    crystal, moved = (read_lines(path) for path in files if "published" not in path.name)
    assert crystal[0].labels == moved[0].labels  # the truth is the crystal's
    assert all(d.value == d.low == d.high == 0 for d in differences(crystal, crystal).values() if d.value == d.value)
    capsys.readouterr()
    files[0].write_text(files[0].read_text().splitlines(keepends=True)[0])
    assert main(arguments) == 0
    assert "".join(capsys.readouterr()).count("done") == 1
    assert json.loads((tmp_path / "out" / "perturbed.json").read_text()) == table
