"""Runs: every structure answered for, resumed without computing again, and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.report.results import read_run
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, CaseSet, find_cases
from s2p.evaluation.config import OURS, BenchmarkConfig
from s2p.evaluation.residues import auprc_trapezoid
from s2p.evaluation.runner import Record, Run, evaluate_case, load_named, run_benchmark
from s2p.evaluation.tables import cost, pairs, predictor_figures, write_tables
from s2p.structure.reading import read_structure

AWKWARD = ("exits", "segfaults", "raises", "hangs", "lost")
QUICK = BenchmarkConfig(timeout=12.0, n_bootstrap=50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """Copies of a small complex whose names say how a predictor shall fail, and a file that is no structure."""
    place = tmp_path_factory.mktemp("complexes")
    text = (examples / "4CUP.cif").read_text()
    for name in ("fine", *AWKWARD):
        (place / f"{name}.cif").write_text(text)
    (place / "unreadable.pdb").write_text("HEADER    NOTHING\n")
    return place


def one(folder: Path, name: str) -> Case:
    return next(case for case in find_cases(folder).cases if case.id == name)


def subset(folder: Path, *names: str) -> CaseSet:
    return CaseSet("folder", "", tuple(one(folder, name) for name in names))


def lines_of(run: Run) -> list[str]:
    """Text, because NaN does not equal itself."""
    return [record.to_json() for found in run.records.values() for record in found]


def test_a_run_survives_everything_and_counts_it_as_missed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWKWARD_PID", str(tmp_path / "pid"))
    said: list[tuple[str, int, int]] = []
    cases = find_cases(folder)
    run = run_benchmark(cases, ["awkward:Bad"], tmp_path / "run", workers=2, config=QUICK, report=lambda *a: said.append(a))
    assert said[-1] == ("awkward:Bad", 7, 7)
    records = {r.protein.protein: r for r in run.records["awkward:Bad"]}
    assert list(records) == [case.id for case in cases.cases]
    expected = dict.fromkeys(("exits", "segfaults"), "died") | {"hangs": "timeout", "raises": "error", "lost": "error"}
    assert {name: r.protein.status for name, r in records.items()} == expected | {"fine": "ok", "unreadable": "unreadable"}
    assert "pocket 1 has no finite centre" in records["lost"].protein.message
    assert "not today" in records["raises"].protein.message
    for name in AWKWARD:
        (site,) = records[name].sites
        assert (site.dcc_all, site.best_rank, site.best_overlap, site.dvo) == (np.inf, 0, 0, 0)
        assert records[name].protein.fn == 1
    assert records["unreadable"].sites == ()
    figures = predictor_figures(run.records["awkward:Bad"], run.config)
    hit = float(records["fine"].sites[0].dcc_n < 12)
    assert figures["dcc < 12 Å, top N"].value == pytest.approx(hit / 6)  # the unreadable file has no sites
    spent = cost(run.records["awkward:Bad"])
    assert (spent.n_failed, spent.n_proteins) == (5, 6)
    write_tables(run)
    failures = pd.read_csv(tmp_path / "run" / "failures.csv")
    assert set(failures.protein) == {*AWKWARD, "unreadable"}


def test_the_record_by_hand(folder: Path) -> None:
    case = one(folder, "fine")
    truth, record = case.read(), evaluate_case(load_named("awkward:Center"), case)
    (site,) = record.sites
    center = truth.structure.residues.ca_coord.mean(axis=0)
    (ligand,) = truth.ligands
    assert site.dcc_n == pytest.approx(np.linalg.norm(ligand.mean(axis=0) - center), abs=1e-4)
    assert site.dca_all == pytest.approx(np.linalg.norm(ligand - center, axis=1).min(), abs=1e-4)
    middle = truth.structure.residues.ca_coord[truth.labels].mean(axis=0)
    assert site.dcc_ca_n == pytest.approx(np.linalg.norm(middle - center), abs=1e-4)
    assert (site.best_overlap, site.pockets_touching, record.protein.coverage) == (1, 1, 1)
    assert record.protein.iou == site.best_iou == pytest.approx(truth.labels.mean())
    assert record.labels.count("1") == truth.labels.sum() == site.n_residues
    assert record.protein.seconds < 5 and record.protein.peak_mb > 10
    assert (record.protein.n_chains, record.protein.n_residues) == (len(truth.structure.chains), len(truth.labels))
    assert Record.from_json(record.to_json()).to_json() == record.to_json()
    with pytest.raises(S2PError, match="fine: its record is from another version of s2p"):
        Record.from_json(record.to_json().replace('"n_chains"', '"chains"'))


def test_resuming_computes_what_is_missing_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    two = subset(folder, "fine", "raises")
    run_benchmark(two, ["awkward:Bad"], out, config=QUICK)
    path = out / "records" / "awkward_Bad.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 2
    path.write_text(lines[0] + lines[1][: len(lines[1]) // 2])  # killed while it wrote
    done: list[int] = []
    again = run_benchmark(two, ["awkward:Bad"], out, config=QUICK, resume=True, report=lambda n, k, total: done.append(k))
    assert done == [2]  # one was there
    assert path.read_text().startswith(lines[0])
    assert [r.protein.protein for r in again.records["awkward:Bad"]] == ["fine", "raises"]
    third = run_benchmark(two, ["awkward:Bad"], out, config=QUICK, resume=True, report=lambda *a: pytest.fail("computed again"))
    assert lines_of(third) == lines_of(again) == lines_of(read_run(out))
    more = run_benchmark(subset(folder, "fine", "lost", "raises"), ["awkward:Bad"], out, config=QUICK, resume=True)
    assert [r.protein.protein for r in more.records["awkward:Bad"]] == ["fine", "lost", "raises"]


def test_a_run_is_not_mixed_with_another(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, fine = tmp_path / "run", subset(folder, "fine")
    run_benchmark(fine, ["awkward:Center"], out, config=QUICK)
    with pytest.raises(S2PError, match="contains a run already; resume it with --resume"):
        run_benchmark(fine, ["awkward:Center"], out, config=QUICK)
    with pytest.raises(S2PError, match="contains a run with dataset 'folder', not 'mini'"):
        run_benchmark(find_cases("mini", limit=1), ["awkward:Center"], out, config=QUICK, resume=True)
    with pytest.raises(S2PError, match="contains a run with config"):
        run_benchmark(fine, ["awkward:Center"], out, config=BenchmarkConfig(iou=0.3), resume=True)
    facts = json.loads((out / "run.json").read_text())
    assert facts["predictors"]["awkward:Center"]["version"] == "1"
    facts["predictors"]["awkward:Center"]["version"] = "0"
    (out / "run.json").write_text(json.dumps(facts))
    with pytest.raises(S2PError, match="was 0 when this run began and is 1 now"):
        run_benchmark(subset(folder, "fine", "raises"), ["awkward:Center"], out, config=QUICK, resume=True)


def test_what_cannot_be_loaded_is_said_and_the_others_run(folder: Path, tmp_path: Path) -> None:
    names = ["awkward:Unloadable", "awkward:NoPredictor", "nowhere:Thing", "awkward:Center"]
    run = run_benchmark(subset(folder, "fine"), names, tmp_path / "run", config=QUICK)
    assert list(run.records) == ["awkward:Center"]
    errors = {name: entry.get("error") for name, entry in run.facts["predictors"].items()}
    assert errors["awkward:Unloadable"] == "unexpected RuntimeError: no licence file (S2P_DEBUG=1 shows where)"
    assert "it needs a name and a method" in errors["awkward:NoPredictor"]
    assert "cannot be imported" in errors["nowhere:Thing"]
    assert errors["awkward:Center"] is None


def test_two_predictors_in_a_pair(folder: Path, tmp_path: Path) -> None:
    names = ["awkward:Center", "awkward:Second"]
    run = run_benchmark(subset(folder, "fine", "raises"), names, tmp_path / "run", config=QUICK)
    for pair in pairs(run):
        assert (pair.first, pair.second, pair.n_sites) == ("awkward:Center", "awkward:Second", 2)
        assert (pair.difference, pair.p, pair.only_first, pair.only_second, pair.mcnemar_p) == (0, 1, 0, 0, 1)


def test_without_sites_residues_are_compared(examples: Path, tmp_path: Path) -> None:
    cases = CaseSet("own", "", tuple(Case(name, name, examples / f"{name}.pdb.gz", "any") for name in ("3mht", "7pbl")))
    run = run_benchmark(cases, ["benchmarks.peers.nucleic:Charge", "awkward:Pieces"], tmp_path / "run", config=QUICK)
    figures = write_tables(run)["benchmarks.peers.nucleic:Charge"]
    charge, pieces = run.records.values()
    own, other = ([r.protein.auprc for r in side] for side in (charge, pieces))
    assert figures["residue AUPRC, mean of proteins"].value == pytest.approx(np.mean(own))
    assert figures["residue MCC, mean of proteins"].value == pytest.approx(np.mean([r.protein.mcc for r in charge]), abs=1e-3)
    (pooled,) = pairs(run)
    assert pooled.n_sites == 2 == pooled.only_first + pooled.only_second
    assert pooled.only_first == sum(a > b for a, b in zip(own, other, strict=True))
    y = np.array([bit == "1" for r in charge for bit in r.labels])
    areas = [auprc_trapezoid(y, [x for r in side for x in r.scores]) for side in (charge, pieces)]
    assert pooled.difference == pytest.approx(areas[0] - areas[1])


def test_short_names_and_settings_reach_the_tables(folder: Path, tmp_path: Path) -> None:
    config = BenchmarkConfig(timeout=12.0, n_bootstrap=20, extra_ranks=3, strict_hit=5)
    run = run_benchmark(subset(folder, "fine"), {"a": "awkward:Center", "b": "awkward:Second"}, tmp_path / "run", config=config)
    assert list(run.records) == ["a", "b"] and run.records["a"][0].protein.predictor == "a"
    figures = write_tables(run)
    assert "dca < 5 Å, top N+3" in figures["a"] and "dca < 4 Å, top N+2" not in figures["a"]
    assert set(pd.read_csv(tmp_path / "run" / "paired.csv").measure) == {
        "dca < 5 Å, top N+3",
        "dcc < 5 Å, top N+3",
        "dcc < 12 Å, top N+3",
        "dcc CA < 12 Å, top N+3",
    }
    assert read_run(tmp_path / "run").config == replace(config, timeout=BenchmarkConfig.timeout)


def test_our_settings_differ_in_what_they_name_alone(examples: Path) -> None:
    structure = read_structure(examples / "1hpv.pdb.gz")
    predictors = [load_named(name) for name in OURS]
    plain, published, clustered, bare = (predictor.predict(structure) for predictor in predictors)
    names = ["s2p", "s2p-published", "s2p-clustered", "s2p-no-smoothing"]
    assert [p.model for p in (plain, published, clustered, bare)] == names
    changed = [{k for k in a.settings if a.settings[k] != b.settings[k]} for a, b in ((plain, clustered), (clustered, bare))]
    assert changed == [{"ranking", "threshold"}, {"smoothing"}] and clustered.settings["ranking"] == "published"
    own = {"threshold": 0.7, "smoothing_threshold": 0.4, "frame": "raw", "ranking": "published"}
    assert own.items() <= published.settings.items()
    assert not bare.smoothed.any()
    with pytest.raises(S2PError, match=r"no run in it"):
        read_run("nowhere")
