"""The page says what the tables say, and the figures are drawn."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from benchmarks.report.results import main, possibly_trained, read_run, results_page
from benchmarks.report.studies import study_sections
from course.recall_pfi import Mark, dcc_against_pfi
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.evaluation.cases import find_cases
from s2p.evaluation.provenance import provenance
from s2p.evaluation.runner import evaluate_case, failed_record, load_named
from s2p.evaluation.tables import cost, predictor_figures, write_tables
from s2p.io.processes import Answer
from s2p.output.palette import POCKETS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two predictors, one of which failed once, and of one that could not be loaded."""
    folder = tmp_path_factory.mktemp("runs") / "mini"
    (folder / "records").mkdir(parents=True)
    cases = [case for case in find_cases("mini").cases if case.id in ("4CUP", "1GBT")]
    entries: dict[str, dict[str, str]] = {
        "random-patch": {"version": "1.2"},
        "awkward:Center": {"version": "1"},
        "pocketnet": {"error": "not installed"},
    }
    for name, place in (("random-patch", "benchmarks.peers:RandomPatch"), ("awkward:Center", "awkward:Center")):
        predictor = load_named(place)
        records = [evaluate_case(predictor, case, name=name) for case in cases]
        if name == "awkward:Center":
            records[0] = failed_record(Answer(cases[0], "died", message="a crash"), name)
        file = folder / "records" / f"{name.replace(':', '_')}.jsonl"
        file.write_text("".join(record.to_json() + "\n" for record in records))
    facts = {
        "dataset": "mini",
        "split": "",
        "model": "m",
        "config": {"n_bootstrap": 20},
        "n_cases": 2,
        "predictors": entries,
    } | provenance()
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


def test_the_page_holds_every_predictor_with_its_figures(run: Path, tmp_path: Path) -> None:
    page = results_page([run], tmp_path / "page" / "RESULTS.md").read_text()
    found = read_run(run)
    for name, records in found.records.items():
        figure = predictor_figures(records, found.config)["dca < 4 Å, top N+2"]
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.split("|")[2].strip() == f"{figure.value:.3f} ({figure.low:.2f}–{figure.high:.2f})"
    assert "2 proteins in 2 clusters, 2 sites." in page
    assert "`pocketnet` did not run: not installed" in page
    assert "| 1 of 2 | unknown: " in page  # the failure, and what is not known of a stranger
    assert "no: random" in page
    assert found.facts["date"] in page and "torch" in page and found.facts["hardware"]["system"] in page
    assert "`random-patch` − `awkward:Center`" in page
    assert str(run) not in page
    assert (tmp_path / "page" / "results_mini.png").read_bytes().startswith(b"\x89PNG")


def test_small_proteins_of_one_chain_have_a_table_of_their_own(run: Path, tmp_path: Path) -> None:
    """1GBT (trypsin) is one chain of 223 residues; 4CUP has 115, and is given a second chain here."""
    folder = tmp_path / "mini"
    (folder / "records").mkdir(parents=True)
    (folder / "run.json").write_text((run / "run.json").read_text())
    found = read_run(run).records
    for name, records in found.items():
        changed = [replace(r, protein=replace(r.protein, n_chains=1 + (r.protein.protein == "4CUP"))) for r in records]
        file = folder / "records" / f"{name.replace(':', '_')}.jsonl"
        file.write_text("".join(r.to_json() + "\n" for r in changed))
    page = results_page([folder], tmp_path / "RESULTS.md").read_text()
    small, others = (page.split(f"### {title}")[1].split("###")[0] for title in ("One chain of at most", "Several chains, or"))
    assert "1 proteins in 1 clusters, 1 sites." in small and "1 proteins in 1 clusters, 1 sites." in others
    for part, protein in ((small, "1GBT"), (others, "4CUP")):
        for name, records in found.items():
            (record,) = (r for r in records if r.protein.protein == protein)
            hits = float(record.sites[0].dca_n < 4), float(record.sites[0].dca_n_plus < 4)
            row = next(line for line in part.splitlines() if line.startswith(f"| `{name}` |"))
            assert [float(cell.split()[0]) for cell in row.split("|")[2:4]] == list(hits)
    assert "One chain of at most" not in results_page([run], tmp_path / "one.md").read_text()  # all are small


def test_tables_and_costs(run: Path) -> None:
    import pandas as pd

    found = read_run(run)
    figures = write_tables(found)
    sites, proteins = pd.read_csv(run / "sites.csv"), pd.read_csv(run / "proteins.csv")
    assert len(sites) == len(proteins) == 4
    own = sites[sites.predictor == "random-patch"]
    assert (own.dca_n_plus < 4).mean() == figures["random-patch"]["dca < 4 Å, top N+2"].value
    assert np.isinf(sites[(sites.predictor == "awkward:Center") & (sites.protein == "4CUP")].dcc_all).all()
    summary = pd.read_csv(run / "summary.csv").set_index(["predictor", "figure"])
    assert summary.loc[("awkward:Center", "n_failed"), "value"] == 1
    assert cost(found.records["awkward:Center"]).seconds == proteins[proteins.predictor == "awkward:Center"].seconds.iloc[1]
    assert "residue AUC" in figures["random-patch"]
    assert len(pd.read_csv(run / "paired.csv")) == 4
    assert pd.read_csv(run / "failures.csv").message.tolist() == ["a crash"]


def test_independence_is_never_claimed_for_strangers() -> None:
    def told(name: str, split: str, dataset: str = "complexes", model: str = DEFAULT_MODEL, **training: Any) -> str:
        known = {"trained_on": [], "unknown": ""} | training
        facts = {"dataset": dataset, "split": split, "model": model, "predictors": {name: {"training": known}}}
        return possibly_trained(name, facts)

    assert told("s2p-published", "test").startswith("no: test clusters")
    assert told("s2p", "train").startswith("yes")
    assert told("s2p", "test", trained_on=["a", "b"]) == "yes: on relatives of 2 of these"
    assert told("s2p", "", "mine") == "no relative found among its training chains"
    assert told("kalasanty", "test").startswith("no: test clusters")
    assert told("s2p", "test", model="mine.safetensors").startswith("no relative found")
    assert told("s2p", "test", unknown="its card is silent") == "unknown: its card is silent"
    for name in ("package:Thing", "s2p.models.mine:Thing", "s2p"):
        facts = {"dataset": "mini", "split": "", "model": DEFAULT_MODEL, "predictors": {name: {}}}
        assert possibly_trained(name, facts) == "unknown: the run does not say"
    assert told("pocketnet", "test") == told("benchmarks.peers:PocketNet", "test")
    assert told("pocketnet", "test").startswith("possibly")
    assert told("fpocket-rs-druggability", "test") == told("fpocket", "test") != "unknown"


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(S2PError, match="neither a run"):
        results_page([tmp_path], tmp_path / "page.md")
    assert main([str(tmp_path), "-o", str(tmp_path / "page.md")]) == 1
    assert "neither a run" in capsys.readouterr().err


def test_a_sweep_on_the_page(tmp_path: Path) -> None:
    from benchmarks.studies.sweep import SweepRow, sweep_frame

    row = SweepRow("bandwidth", "9", 3, 4, 0.5, 0.4, 0.6, 0.7, 0.6, 0.8, 0.3, 0.2, 1.5, 1.2, 1.9, 1.1, 0.25, 4.0, 0.012, 0.3)
    sweep_frame([row]).to_csv(tmp_path / "sweep.csv", index=False)
    (tmp_path / "sweep.png").write_bytes(dcc_against_pfi([]).png())
    (tmp_path / "sweep.json").write_text(json.dumps({"dataset": "d", "split": "validation", "model": "m"} | provenance()))
    page = results_page([tmp_path], tmp_path / "RESULTS.md").read_text()
    assert "## Sweep: d, validation" in page
    assert (
        "| bandwidth | 9 | 0.500 (0.40–0.60) | 0.700 (0.60–0.80) | 0.200 | 1.500 (1.20–1.90) | 1.10 | 0.250 | 4.0 | 0.012 |"
        in page
    )


def test_figure_leaves_out_what_has_no_index_and_labels_the_rest() -> None:
    marks = [
        Mark("a", "a", (1.5, 1.2, 1.9), (0.7, 0.6, 0.8)),
        Mark("bandwidth", "6", (3.0, 2.0, 4.0), (0.8, 0.7, 0.9)),
        Mark("bandwidth", "9", (2.0, 1.5, 2.5), (0.7, 0.6, 0.8)),
        Mark("nothing found", "x", (np.nan,) * 3, (0.0, 0.0, 0.0)),
    ]
    chart = dcc_against_pfi(marks)
    (ax,) = chart.static().axes
    assert [text.get_text() for text in ax.texts] == ["6", "9"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "bandwidth"]
    points = {x.get_label(): x for x in ax.collections if x.get_label() in ("a", "bandwidth")}
    np.testing.assert_allclose(points["bandwidth"].get_offsets(), [[3.0, 0.8], [2.0, 0.7]])
    assert [to_hex(points[x].get_facecolor()[0]).upper() for x in points] == list(POCKETS[:2])
    assert any(np.array_equal(x.get_xydata(), [[3.0, 0.8], [2.0, 0.7]]) for x in ax.lines)  # joined in their order
    assert Image.open(io.BytesIO(chart.png())).size == (912, 648)
    assert chart.png() == chart.png()


def test_provenance_names_versions_and_machine_but_nobody() -> None:
    facts = provenance()
    assert {"s2p", "python", "numpy", "torch"} <= set(facts["versions"])
    assert facts["hardware"]["cores"] >= 1
    assert set(facts["hardware"]) == {"processor", "cores", "memory_gb", "system"}


def test_studies_on_the_page(tmp_path: Path) -> None:
    values = {"mean_drift": 0.0123, "p95_drift": 0.05, "max_drift": 0.2, "mean_drift_same_rank": 0.02, "same_top": 0.75}
    frame = {"structures": 3, "motions": 4, "clusters": {"surface": values}}
    (tmp_path / "frame.json").write_text(json.dumps(frame))
    page = results_page([tmp_path], tmp_path / "RESULTS.md").read_text()
    assert "| surface | 0.012 | 0.050 | 0.200 | 0.020 | 75% |" in page
    assert "3 bundled structures, 4 random rotations" in page


def test_parts_of_vabsnet_are_a_table(tmp_path: Path) -> None:
    residues = {"chains": 3, "auprc": 0.4, "auprc_95": [0.3, 0.5], "auc": 0.8, "mcc": 0.37}
    row = {"structures": 12, "ligysis validation": residues, "validation complexes, auprc": 0.33}
    rows = {
        "whole network": row | {"difference of the chains' auprc": [0.0, 0.0, 0.0, 1.0]},
        "without | track": row | {"difference of the chains' auprc": [-0.05, -0.08, -0.01, 0.004]},
    }
    facts = {"training": {"epochs": 2, "max_residues": 192}, "rows": rows}
    (tmp_path / "vabsnet.json").write_text(json.dumps(facts))
    (page,) = study_sections(tmp_path)
    assert "| whole network | 12 | 0.400 (0.300–0.500) | 0.800 | 0.370 | – | 0.330 |" in page
    assert "| without \\| track | 12 | 0.400 (0.300–0.500) | 0.800 | 0.370 | -0.050 (-0.080 to -0.010), p 0.004 | 0.330 |" in page
    assert "2 epochs" in page and "windows of 192 residues" in page and "3 LIGYSIS" in page


def test_recovery_of_pocketgen_is_a_table(tmp_path: Path) -> None:
    figures = {
        "pockets": 7,
        "clusters": 5,
        "residues": 60,
        "recovery": [0.31, 0.28, 0.34],
        "recovery, language model alone": [0.24, 0.21, 0.27],
        "recovery, most frequent residue": [0.08, 0.06, 0.1],
        "gain over the language model": [0.07, 0.05, 0.09, 0.0005],
    }
    facts = {"folds": 5, "proteins": 99, "rows": {"all clusters": figures, "test clusters": figures | {"clusters": 2}}}
    (tmp_path / "pocketgen.json").write_text(json.dumps(facts))
    (text,) = study_sections(tmp_path)
    assert "all clusters: 7 pockets, 5 clusters" in text and "test clusters: 7 pockets, 2 clusters" in text
    assert "0.310 (0.280–0.340)" in text and "+0.070 (+0.050 to +0.090), p 0.0005" in text
    assert "divided into 5 folds" in text and "99 proteins" in text
