"""Figures over a data set, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from s2p.evaluation.rows import ProteinRow, SiteRow
from s2p.evaluation.summaries import site_hits, summary_table

FAR = (np.inf,) * 9
NEAR = (1.0,) * 9


def site(protein: str, distances: tuple[float, ...] = NEAR, **changes: Any) -> SiteRow:
    row = SiteRow("p", protein, protein, 0, "LIG", 20, 12, "large", *distances, 1, 1, 0.5, 0.4, 0.3, 6.0, 7.0)
    return replace(row, **changes)


def protein(name: str, **changes: Any) -> ProteinRow:
    return replace(ProteinRow("p", name, name, 1, 100, 1, 2, 1, 1, 1, 0, 0, 1, 0, 0, 1.0, 0.5, 0.4, 0.3), **changes)


def test_figures_by_hand() -> None:
    """A: found, two pockets on it. B: missed by a failed prediction. C: 5 Å off, small, and its pocket merges two sites."""
    sites = [
        site("A", pockets_touching=2),
        site("B", FAR, pockets_touching=0, best_rank=0, best_overlap=0.0, dvo=0.0, gyration_pocket=np.nan),
        site("C", (5.0,) * 9, size="small", n_residues=8, best_overlap=1.0),
    ]
    proteins = [
        protein("A", pockets_on_sites=2, touches=2),
        protein("B", n_pockets=0, pockets_on_sites=0, touches=0, tp=0, fn=1, ap=0.0, iou=0.0),
        protein("C", pockets_on_sites=1, touches=2, tp=0, fp=1, fn=1),
    ]
    table = {key: figure.value for key, figure in summary_table(sites, proteins, n_bootstrap=20).items()}
    for key, value in {
        "dcc < 4 Å, top N": 1 / 3,
        "dcc < 12 Å, top N+2": 2 / 3,
        "dca < 4 Å, top all": 1 / 3,
        "dcc < 12 Å, top N+2, small sites": 1,
        "dcc < 12 Å, top N+2, large sites": 1 / 2,
        "PFI": 1.5,  # B is not in it
        "merging": 4 / 3,
        "sites missed": 1 / 3,
        "best residue overlap": 0.5,
        "best residue overlap, sites touched": 0.75,
        "dvo": 0.2,
        "dvo, sites with dcc < 4 Å": 0.3,
        "radius of gyration, pocket": 7.0,
        "F1, dcc <= 4 Å": 2 / 5,
        "precision, dcc <= 4 Å": 1 / 2,
        "recall, dcc <= 4 Å": 1 / 3,
        "AP, IoU >= 0.5": 2 / 3,
        "IoU": 0.2,
        "pockets per protein": 4 / 3,
    }.items():
        assert table[key] == pytest.approx(value), key


def test_hits_are_strict_and_know_missing_distances() -> None:
    rows = [site("A", dcc_n=3.999), site("A", dcc_n=4.0), site("A", dcc_n=np.inf), site("A", dcc_n=np.nan)]
    np.testing.assert_array_equal(site_hits(rows, "dcc_n", 4.0), [1, 0, 0, np.nan])


def test_sites_without_residues_and_proteins_without_sites_leave_the_means() -> None:
    sites = [site("A"), site("B", n_residues=0, pockets_touching=0, best_overlap=np.nan, dcc_ca_n=np.nan)]
    proteins = [protein("A"), protein("B"), protein("C", n_sites=0, ap=np.nan, iou=0.0)]
    table = summary_table(sites, proteins, n_bootstrap=20)
    assert table["sites missed"].value == 0
    assert table["dcc CA < 4 Å, top N"].value == 1
    assert table["IoU"].value == pytest.approx(0.3)
    assert np.isnan(summary_table([], [], n_bootstrap=20)["PFI"].value)
