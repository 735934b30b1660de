"""Rows of studies: their figures are those of the benchmark, and they survive a file."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from builders import make_prediction

from benchmarks.studies.rows import Outcome, outcome_row, row_from_json, row_to_json, rows_csv
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import summarise
from s2p.evaluation.rows import ComplexResult

FEW = BenchmarkConfig(n_bootstrap=50)


def results(shift: float) -> list[ComplexResult]:
    """Six proteins in three clusters; in the first ``k`` of them the ligand lies at the best pocket, moved by ``shift`` Å."""
    found = []
    for k in range(6):
        prediction = make_prediction(f"p{k}")
        ligand = prediction.pockets[0].center[None] + np.float32([[0, 0, 0.5 * k + shift]])
        found.append(evaluate_complex(prediction, [ligand], name=f"p{k}", cluster=f"c{k // 2}"))
    return found


def test_figures_are_those_of_the_benchmark_and_differences_are_counted_by_hand() -> None:
    near, far = (Outcome("s", name, results(shift)) for name, shift in (("near", 0.0), ("far", 2.4)))
    first = outcome_row(near, None, FEW)
    row = outcome_row(replace(far, precision=np.array([0.5, np.nan, 1, 1, 1, 1])), first, FEW)
    table = summarise(far.results, FEW)
    assert row.figures["dca_n"] == table["dca < 4 Å, top N"] and row.figures["pfi"] == table["PFI"]
    assert row.figures["ap"].value == pytest.approx(0.9)
    assert first.hits["dca_n"] == (True,) * 6 and "ap" not in first.figures and not first.differences
    assert row.hits["dca_n"] == (True,) * 4 + (False,) * 2  # 2.4, 2.9, 3.4, 3.9 Å are hits, 4.4 and 4.9 are not
    assert row.differences["dca_n"].value == pytest.approx(-2 / 6)
    assert (row.n_proteins, row.n_sites) == (6, 6)


def test_draws_of_the_same_proteins_are_counted_once() -> None:
    row = outcome_row(Outcome("s", "thrice", results(0.0) * 3), None, FEW)
    assert (row.n_proteins, row.n_sites, len(row.hits["dcc_n"])) == (6, 6, 18)


def test_a_row_survives_json_and_csv() -> None:
    first = outcome_row(Outcome("s", "a", results(0.0)), None, FEW)
    row = outcome_row(Outcome("s", "b, with a comma", results(2.4)), first, FEW)
    again = row_from_json(json.loads(json.dumps(row_to_json(row))))
    assert again.hits == row.hits and again.variant == row.variant
    assert again.figures["dca_n"].low == pytest.approx(row.figures["dca_n"].low, abs=1e-5)
    assert again.differences["dcc_n"].p == pytest.approx(row.differences["dcc_n"].p, abs=1e-5)
    lines = list(csv.DictReader(io.StringIO(rows_csv([first, row]))))
    assert [line["variant"] for line in lines] == ["a", "b, with a comma"]
    assert float(lines[1]["dca_n_difference"]) == pytest.approx(-1 / 3, abs=1e-4) and lines[0]["dca_n_difference"] == ""
    assert lines[0]["ap"] == ""
