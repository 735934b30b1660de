"""What smoothing changes: the arithmetic of the figures, of their differences and of the tuning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from sklearn.metrics import f1_score, matthews_corrcoef

from benchmarks.report.smoothing import picture, smoothing_section
from benchmarks.studies.smoothing_effect import (
    SMOOTHING_THRESHOLDS,
    THRESHOLDS,
    Example,
    Setting,
    differences,
    figures,
    placed,
    sites_of,
    sums,
    tuned,
)
from s2p.evaluation import evaluate_complex
from s2p.predictor import Seq2Pocket
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import read_structure

KEYS = ("MCC", "F1", "weighted F1", "DCC < 4 Å, N", "DCC < 12 Å, all", "PFI")


def test_figures_are_those_of_scikit_learn_and_of_a_count_by_hand() -> None:
    y, p = np.random.default_rng(0).random((2, 500)) < [[0.2], [0.3]]
    counts = ((y & p).sum(), (~y & p).sum(), (y & ~p).sum(), (~y & ~p).sum())
    # Four sites: within 4 Å 1, 2 and 2 of them by rank, within 12 Å 2, 3 and 4; three are touched, by four pockets.
    found = figures(np.array([*counts, 1, 2, 2, 2, 3, 4, 4, 4, 3], float))
    expected = (matthews_corrcoef(y, p), f1_score(y, p), f1_score(y, p, average="weighted"), 0.25, 1.0, 4 / 3)
    np.testing.assert_allclose([found[key] for key in KEYS], expected)
    nothing = figures(np.array([0, 0, 3, 7, *[0] * 9], float))
    assert nothing["MCC"] == 0 and np.isnan(nothing["PFI"]) and np.isnan(nothing["DCC < 4 Å, N"])


def test_differences_are_paired_by_cluster() -> None:
    without = np.tile([5.0, 5, 5, 85, 0, 0, 0, 1, 1, 1, 2, 2, 2], (6, 1))
    smoothed = without.copy()
    smoothed[:3, 7] += 1  # one more site within 12 Å by the top N, in the three proteins of one cluster
    found = differences(without, smoothed, ["a", "a", "a", "b", "c", "d"])
    value, low, high = found["DCC < 12 Å, N"]
    assert value == pytest.approx(0.25) and low == 0 and 0.4 < high <= 0.5  # drawn never, or mostly
    assert found["MCC"] == (0, 0, 0)


def test_the_highest_mcc_is_chosen() -> None:
    counts = np.tile([1.0, 9, 9, 81], (len(THRESHOLDS), 3, len(SMOOTHING_THRESHOLDS) + 1, 1))
    counts[3, :, -1] = [5, 5, 5, 85]
    counts[7, 1, 2] = [9, 1, 1, 89]
    alone, smoothed = tuned(counts)
    assert alone == Setting(float(THRESHOLDS[3]), None)
    assert smoothed == Setting(float(THRESHOLDS[7]), float(SMOOTHING_THRESHOLDS[2]), 10.0)


def test_labelled_residues_far_apart_are_sites_of_their_own() -> None:
    structure = make_structure(n=24)  # two helices, 1.5 Å a residue
    binding = np.isin(np.arange(48), [0, 2, 4, 20, 21, 23, 40])
    assert [site.tolist() for site in sites_of(structure, binding)] == [[0, 2, 4], [20, 21, 23]]  # one residue is no site


def test_labels_of_a_sequence_are_placed_on_the_chain_that_shows_most(examples: Path) -> None:
    chain = read_structure(examples / "1ake.cif.gz").select_chains(["A"])
    sequence, binding = chain.sequence(), list(range(8, 16))
    torso = chain.part(np.arange(12, 214), np.flatnonzero(chain.atoms.residue_index >= 12))
    chains = {"whole": chain, "torso": torso}
    sequences = {key: x.sequence() for key, x in chains.items()}
    (found,) = placed({"x": (sequence, binding)}, sequences, chains.__getitem__)
    assert (found.name, len(found.structure.residues)) == ("whole", 214)
    assert np.flatnonzero(found.labels).tolist() == binding == found.sites[0].tolist()
    assert (
        placed({"x": (sequence, binding)}, {"torso": sequences["torso"]}, chains.__getitem__) == []
    )  # half of the site is not there


def test_one_protein_is_judged_as_by_the_evaluation(examples: Path) -> None:
    structure = read_structure(examples / "1ake.cif.gz")
    ligands = [x.coord for x in relevant_ligands(structure)]
    sites = tuple(binding_residues(structure, coord) for coord in ligands)
    labels = np.isin(np.arange(len(structure.residues)), np.concatenate(sites))
    model, setting = Seq2Pocket.load(device="cpu"), Setting(0.5)
    example = Example("1ake", "1ake", structure, labels, sites)
    scores = model.score(structure, setting.config())
    row, raised = sums(model, example, scores, setting)
    prediction = model.pockets(structure, scores, setting.config())
    rows = evaluate_complex(prediction, ligands).sites
    hits = [sum(getattr(x, f"dcc_ca_{end}") < d for x in rows) for d in (4, 12) for end in ("n", "n_plus", "all")]
    assert row[4:10].tolist() == hits and row[10] == 2
    assert row[11] == sum(x.pockets_touching for x in rows) and row[12] == sum(x.pockets_touching > 0 for x in rows)
    assert row[:4].sum() == len(labels) and row[0] == (labels & prediction.positive).sum()
    added = prediction.smoothed
    assert added.any() and set(raised[added].tolist()) == {np.float32(0.5)}
    assert not model.pockets(structure, scores, replace(setting, smoothing_threshold=None).config()).smoothed.any()


def test_the_section_and_the_picture_show_ours_beside_the_papers(tmp_path: Path) -> None:
    values = {key: float(x) for key, x in figures(np.array([5, 5, 5, 85, 0, 0, 0, 1, 1, 1, 2, 2, 2], float)).items()} | {
        "AUPRC": 0.3
    }
    change = dict.fromkeys(values, (0.1, 0.05, 0.2))
    settings = [{"threshold": 0.3}, {"threshold": 0.4, "smoothing_threshold": 0.5, "radius": 6.0}]
    found = {
        "model": "m", "proteins": 2, "clusters": 2, "sites": 2, "residues": 100, "binding": 0.1, "tuned": {"half 1": settings},
        "figures": {f"{a}, {b}": values for a in ("published", "tuned") for b in ("without", "with")},
        "differences": {"published": change, "tuned": change},
    }  # fmt: skip
    sets = {"general, complexes": found, "cryptic, CryptoBench": found}
    text = smoothing_section({"sets": sets})
    assert "0.3 without, 0.4 / 0.5 / 6 Å with" in text and "+0.100 (+0.050 to +0.200)" in text
    assert "*0.604*" in text and "*0.460*" in text and "*0.939*" in text
    picture(sets, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
