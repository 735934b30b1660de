"""Measures against the published evaluation loop, on its own predictions: nine chains, 32 sites, 95 pockets.

The golden files are not part of the repository; these tests skip where they are absent.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2p.evaluation.metrics import best_overlap, rank_limits, recall, share_missed
from s2p.pockets.hits import dcc, pocket_fragmentation_index, site_center, site_overlaps

ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "golden" / "golden.tar.xz"
pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason="the golden files are not here")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """The JSON files by stem."""
    found = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive.getmembers():
            handle = archive.extractfile(member) if member.name.endswith(".json") else None
            if handle is not None:
                found[Path(member.name).stem] = json.load(handle)
    return found


def chains(golden: dict[str, Any]) -> list[tuple[list[list[int]], np.ndarray, list[list[int]], np.ndarray]]:
    """True sites, their centres, pockets and their centres, best first, of every chain in the order of the loop."""
    rows = []
    for name in golden["evaluation"]["order"]:
        case = golden[name]
        ca = np.array(case["ca_coords"])
        sites = case["truth_pockets"]
        order = case["cluster_order"]
        # One cluster has residues and no atoms, so no centre (quirk 8): it is out of reach of every site.
        nowhere = [np.inf] * 3
        centers = np.array([case["cluster_centers"].get(str(k), nowhere) for k in order]).reshape(-1, 3)
        labels = sorted(map(int, case["residue_clusters_auth"]))
        pockets = [case["residue_clusters_idx"][labels.index(k)] for k in order]
        rows.append((sites, np.array([site_center(ca[s]) for s in sites]), pockets, centers))
    return rows


@pytest.mark.parametrize(("rule", "name"), [("N", "DCCs_N"), ("N+2", "DCCs_N_plus_K"), ("all", "DCCs")])
def test_distances_and_recalls(golden: dict[str, Any], rule: str, name: str) -> None:
    found = []
    for sites, true, pockets, centers in chains(golden):
        found.append(dcc(centers[: rank_limits(len(sites), len(pockets))[rule]], true))
    distances, expected = np.concatenate(found), golden["evaluation"]
    np.testing.assert_allclose(distances, expected[name], atol=1e-4)
    for cutoff in (4, 12):
        assert recall(distances, cutoff) == pytest.approx(expected[f"recall_{name}_{cutoff}"], abs=1e-4)


def test_fragmentation_merging_and_overlap(golden: dict[str, Any]) -> None:
    expected, rows = golden["evaluation"], chains(golden)
    counts = [site_overlaps(sites, pockets) > 0 for sites, _, pockets, _ in rows]
    per_site = np.concatenate([c.sum(axis=1) for c in counts])
    assert per_site.tolist() == expected["pred_per_true"]
    assert per_site[per_site > 0].mean() == pytest.approx(expected["PFI"], abs=1e-4)
    per_pocket = np.concatenate([c.sum(axis=0) for c in counts])
    assert sorted(per_pocket.tolist()) == sorted(expected["true_per_pred"])
    overlap = np.concatenate([best_overlap(sites, pockets) for sites, _, pockets, _ in rows])
    np.testing.assert_allclose(overlap, expected["best_overlap"], atol=1e-4)
    assert overlap.mean() == pytest.approx(expected["mean_best_overlap"], abs=1e-4)
    # The functions of one protein are the same counts.
    sites, _, pockets, _ = rows[-1]
    assert pocket_fragmentation_index(sites, pockets) == counts[-1].sum() / (counts[-1].any(axis=1)).sum()
    assert pocket_fragmentation_index(pockets, sites) == counts[-1].sum() / (counts[-1].any(axis=0)).sum()
    assert share_missed(sites, pockets) == 1 - counts[-1].any(axis=1).mean()
