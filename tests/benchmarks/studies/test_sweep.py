"""Sweeps of the pocket stage and the clusterings it is compared with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import s2p
from benchmarks.studies.sweep import SweepConfig, main, settings, sweep, write_sweep
from course.clusterings import ALTERNATIVES, AlternativeConfig, cluster_ca
from s2p.config import PredictConfig
from s2p.datasets.label_files import Annotation
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, CaseSet, find_cases
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.intervals import summarise
from s2p.predictor import Seq2Pocket


@pytest.fixture(scope="module")
def predictor() -> Seq2Pocket:
    return Seq2Pocket.load(device="cpu")


@pytest.fixture(scope="module")
def cases() -> CaseSet:
    found = find_cases("mini")
    return replace(found, cases=tuple(case for case in found.cases if case.id in ("4CUP", "1GBT")))


def test_settings_change_one_thing_at_a_time() -> None:
    found = settings()
    base = found[0].config
    assert (found[0].parameter, base) == ("default", PredictConfig(ranking="published"))
    assert [s.value for s in found if s.parameter == "bandwidth"] == ["6", "7", "9", "12", "15"]
    assert [s.value for s in found if s.parameter == "probe_radius"] == ["1.4", "1.6", "2"]
    assert [s.config.surface.n_points for s in found if s.parameter == "n_points"] == [20, 50, 100]
    assert [s.value for s in found if s.parameter == "clustering"] == list(ALTERNATIVES)
    for setting in found:
        assert setting.alternative is None or setting.config == base
        assert setting.config == base or setting.parameter not in ("default", "clustering")
    only = settings(["smoothing_radius"], SweepConfig(smoothing_radius=(3.0,)))
    assert [(s.parameter, s.config.smoothing.radius) for s in only] == [("default", 15.0), ("smoothing_radius", 3.0)]
    with pytest.raises(S2PError, match="no parameter 'colour' to sweep"):
        settings(["colour"])


def test_rows_are_what_predicting_anew_gives(predictor: Seq2Pocket, cases: CaseSet, tmp_path: Path) -> None:
    chosen = settings(["bandwidth", "smoothing", "ranking"], SweepConfig(bandwidth=(6.0, 9.0)))
    rows = sweep(cases, predictor, chosen, quiet=True)
    assert [(r.parameter, r.value) for r in rows] == [
        ("default", ""),
        ("bandwidth", "6"),
        ("bandwidth", "9"),
        ("smoothing", "off"),
        ("ranking", "surface"),
    ]
    for setting, row in zip(chosen, rows, strict=True):
        results = []
        for case in cases.cases:
            truth = case.read()
            prediction = predictor.predict(truth.structure, setting.config)
            results.append(evaluate_complex(prediction, truth.ligands, name=case.id, cluster=case.cluster))
        table = summarise(results)
        assert (row.pfi, row.dcc_12, row.dca_4) == pytest.approx(
            (table["PFI"].value, table["dcc < 12 Å, top N+2"].value, table["dca < 4 Å, top N+2"].value), nan_ok=True
        )
        assert row.pockets == table["pockets per protein"].value
    same = ("dcc_12", "pfi", "pockets", "merging", "sites_missed")
    assert [getattr(rows[0], k) for k in same] == [getattr(rows[2], k) for k in same]  # 9 Å is the default
    assert rows[1].pockets > rows[0].pockets
    paths = write_sweep(rows, cases, predictor, tmp_path)
    assert [path.name for path in paths] == ["sweep.csv", "sweep.json", "sweep.png"]
    assert len(pd.read_csv(paths[0])) == 5
    assert json.loads(paths[1].read_text())["dataset"] == "mini"
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_alternative_clusterings_use_the_same_residues(predictor: Seq2Pocket, cases: CaseSet) -> None:
    structure = cases.cases[0].read().structure
    scores = predictor.score(structure)
    base = predictor.pockets(structure, scores)
    for method, config in ALTERNATIVES.values():
        found = cluster_ca(base, scores.embeddings, method, config)
        np.testing.assert_array_equal(found.positive, base.positive)
        members = np.concatenate([p.residues for p in found.pockets]) if found.pockets else np.zeros(0, int)
        assert len(set(members.tolist())) == len(members)
        assert base.positive[members].all()
        assert [p.rank for p in found.pockets] == list(range(1, len(found.pockets) + 1))
        assert [p.score for p in found.pockets] == sorted((p.score for p in found.pockets), reverse=True)
        for pocket in found.pockets:
            np.testing.assert_allclose(pocket.center, structure.residues.ca_coord[pocket.residues].mean(axis=0), atol=1e-3)
            assert np.isin(structure.atoms.residue_index[pocket.atoms], pocket.residues).all()
            atoms_of = base.probabilities[structure.atoms.residue_index[pocket.atoms]]
            assert pocket.score == pytest.approx(float(atoms_of.mean()))
    nothing = replace(base, positive=np.zeros_like(base.positive))
    assert cluster_ca(nothing, scores.embeddings, "dbscan", AlternativeConfig()).pockets == ()


def test_variants_are_predictors_by_name(cases: CaseSet) -> None:
    structure = cases.cases[0].read().structure
    for name, label, method in (("Dbscan5", "s2p-dbscan-5", "dbscan"), ("MeanShiftCa12", "s2p-mean-shift-ca-12", "mean-shift")):
        prediction = s2p.load(f"course.clusterings:{name}").predict(structure)
        assert (prediction.model, prediction.settings["clustering"]) == (label, method)


def test_a_sweep_needs_ligands(predictor: Seq2Pocket, examples: Path) -> None:
    ubiquitin = examples / "1ubi.pdb.gz"
    with pytest.raises(S2PError, match="no structure in it has a ligand"):
        sweep(CaseSet("x", "", (Case("1ubi", "", ubiquitin, "inside"),)), predictor, settings([]), quiet=True)
    labelled = Case("1ubi", "", ubiquitin, "residues", (), (Annotation("1ubi", "", "", np.array([0]), "MQIF"),))
    with pytest.raises(S2PError, match="1ubi: labels of residues only"):
        sweep(CaseSet("x", "", (labelled,)), predictor, settings([]), quiet=True)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset", "mini", "--limit", "2", "--parameter", "smoothing", "-o", str(tmp_path)]) == 0
    assert "smoothing" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "sweep.csv", keep_default_na=False)
    assert table.parameter.tolist() == ["default", "smoothing"]
    assert (tmp_path / "sweep.png").is_file()
    assert main(["--dataset", "mini", "--parameter", "colour"]) == 1
    assert "no parameter 'colour'" in capsys.readouterr().err
