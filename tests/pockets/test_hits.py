"""Distances of centres, shared residues, and pockets against the ligands of the structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_prediction
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.metrics import best_overlap, share_missed, site_to_pocket
from s2p.pockets.hits import (
    HIT,
    LigandHit,
    dca,
    dcc,
    ligand_hits,
    ligand_table,
    pocket_fragmentation_index,
    site_center,
    site_overlaps,
)
from s2p.prediction import Prediction
from s2p.structure.reading import Ligand

SITES = [[1, 2, 3, 4], [8, 9], [20]]
POCKETS = [[1], [2], [3, 4, 8]]
SETS = st.lists(st.sets(st.integers(0, 20), min_size=1), max_size=6)


def test_dcc_and_dca() -> None:
    predicted = [[0, 0, 0], [10, 0, 0]]
    np.testing.assert_allclose(dcc(predicted, [[0, 3, 4], [10, 0, 1]]), [5, 1])
    assert np.isinf(dcc(np.zeros((0, 3)), [[0, 0, 0]])).all()
    assert dcc(predicted, np.zeros((0, 3))).shape == (0,)
    np.testing.assert_allclose(dca(predicted, [[0, 0, 2], [9, 0, 0]]), [2, 1])


def test_fragmentation_and_its_mirror() -> None:
    """Site A is touched by three pockets, B by one, C by none: (3 + 1) / 2. Pockets touch 1, 1 and 2 sites: 4 / 3."""
    np.testing.assert_array_equal(site_overlaps(SITES, POCKETS), [[1, 1, 2], [0, 0, 1], [0, 0, 0]])
    assert pocket_fragmentation_index(SITES, POCKETS) == 2
    assert pocket_fragmentation_index(POCKETS, SITES) == pytest.approx(4 / 3)
    assert share_missed(SITES, POCKETS) == pytest.approx(1 / 3)
    np.testing.assert_allclose(best_overlap(SITES, POCKETS), [0.5, 0.5, 0])
    np.testing.assert_allclose(site_to_pocket(SITES, POCKETS), [[1 / 4, 1 / 4, 2 / 5], [0, 0, 1 / 4], [0, 0, 0]])


@settings(deadline=None, max_examples=40)
@given(SETS, SETS)
def test_missed_sites_are_those_that_no_pocket_touches(sites: list[set[int]], pockets: list[set[int]]) -> None:
    a, b = [sorted(s) for s in sites], [sorted(p) for p in pockets]
    touched = [any(s & p for p in pockets) for s in sites]
    np.testing.assert_allclose(share_missed(a, b), 1 - np.mean(touched) if sites else np.nan, atol=1e-12)


def test_centers() -> None:
    np.testing.assert_allclose(site_center([[0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 2, 0]]), [1, 1, 0])
    assert np.isnan(site_center(np.zeros((0, 3)))).all()


def ligand(name: str, x: float, n: int = 8, kind: str = "molecule") -> Ligand:
    coord = np.array([[x + 1.5 * i, 0, 0] for i in range(n)], np.float32)
    return Ligand(name, "A", 9, "", coord, np.array(["C"] * n), np.array([f"C{i}" for i in range(n)]), kind)


def prediction(*centers: float, ligands: tuple[Ligand, ...]) -> Prediction:
    """Pockets, best first, at these places of the x axis."""
    base = make_prediction()
    first = base.pockets[0]
    pockets = [replace(first, rank=k, center=np.array([x, 0, 0], np.float32)) for k, x in enumerate(centers, 1)]
    return replace(base, pockets=tuple(pockets), structure=replace(base.structure, ligands=ligands))


def test_best_ranked_pocket_that_finds_the_ligand():
    # the third is nearer, but the second finds it too and is ranked higher
    (hit,) = ligand_hits(prediction(50, -3, -1, ligands=(ligand("LIG", 0),)))
    assert (hit.ligand, hit.n_atoms, hit.found, hit.pocket) == ("LIG A:9", 8, True, 2)
    assert hit.dca == pytest.approx(3)
    assert hit.dcc == pytest.approx(3 + 1.5 * 3.5)


@pytest.mark.parametrize(("x", "found"), [(-HIT + 0.01, True), (-HIT, False)])
def test_finding_is_strict(x, found):
    assert ligand_hits(prediction(x, ligands=(ligand("LIG", 0),)))[0].found is found


def test_missed_ligand_has_the_nearest_pocket():
    (hit,) = ligand_hits(prediction(90, -20, ligands=(ligand("LIG", 0),)))
    assert (hit.found, hit.pocket, hit.dca) == (False, 2, pytest.approx(20))


def test_covered_is_the_share_of_the_site():
    p = make_prediction()
    molecule = replace(p.structure.ligands[0], coord=p.structure.atoms.coord[np.isin(p.structure.atoms.residue_index, [0, 1])])
    near = replace(p.pockets[0], center=molecule.coord[0], residues=np.array([0], np.int32))
    (hit,) = ligand_hits(replace(p, pockets=(near,)), [molecule])
    assert hit.n_residues >= 2
    assert hit.covered == pytest.approx(1 / hit.n_residues)


def test_which_ligands_count():
    ligands = (ligand("LIG", 0), ligand("GOL", 0), ligand("ZN", 0, 1, "ion"), ligand("DA", 0, 20, "nucleic"))
    p = prediction(0, ligands=ligands)
    assert [hit.ligand for hit in ligand_hits(p)] == ["LIG A:9"]
    assert [hit.ligand for hit in ligand_hits(p, ligands[:2])] == ["LIG A:9", "GOL A:9"]


def test_without_pockets():
    (hit,) = ligand_hits(prediction(ligands=(ligand("LIG", 0),)))
    assert (hit.found, hit.pocket) == (False, 0)
    assert np.isnan([hit.dca, hit.dcc]).all()


def test_table():
    table = ligand_table(prediction(-3, ligands=(ligand("LIG", 0),)))
    assert list(table.columns) == list(LigandHit.__dataclass_fields__)
    assert table.pocket.tolist() == [1]
    assert ligand_table(prediction(-3, ligands=())).empty


def test_the_distance_that_was_asked_for_is_obeyed_and_told() -> None:
    p = prediction(-4.5, ligands=(ligand("LIG", 0),))
    assert [(hit.found, hit.cutoff) for hit in (*ligand_hits(p), *ligand_hits(p, cutoff=5))] == [(False, 4), (True, 5)]
    assert ligand_table(p, cutoff=5)[["found", "cutoff"]].values.tolist() == [[True, 5]]
    assert BenchmarkConfig.strict_hit == HIT
