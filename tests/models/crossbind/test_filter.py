"""Propensities of residue types, neighbours, and the filter that moves what all neighbours contradict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.models.crossbind.config import CrossBindFilterConfig
from s2p.models.crossbind.filter import (
    LETTERS,
    exposure,
    filter_probabilities,
    geodesic_neighbours,
    log_propensities,
    sequence_neighbours,
)
from s2p.structure.reading import Structure
from tests.models.crossbind.test_cloud import small

DNA = dict(
    zip(
        "RKHYNSTWQGMFPDAIVCEL",
        (2.87, 2.04, 1.62, 1.5, 1.45, 1.41, 1.39, 1.3, 1.17, 1.08, 0.84, 0.8, 0.75, 0.6, 0.58, 0.46, 0.46, 0.44, 0.43, 0.3),
        strict=True,
    )
)


@pytest.mark.parametrize("letter", LETTERS)
def test_filter_moves_only_what_is_far_from_even(letter: str) -> None:
    where = np.array([[1, 2, 3, 4]] + [[-1] * 4] * 4)
    ell = log_propensities(letter + "AAAA", DNA)
    lone = filter_probabilities(np.array([0.45, 0.9, 0.9, 0.9, 0.9]), ell, where)
    assert lone[0] == pytest.approx(0.54 if letter in "RK" else 0.45)
    high = filter_probabilities(np.array([0.6, 0.1, 0.1, 0.1, 0.1]), ell, where)
    assert high[0] == pytest.approx(0.48 if letter in "LECIV" else 0.6)
    three = filter_probabilities(np.array([0.45, 0.9, 0.9, 0.9, 0.1]), ell, where)
    assert three[0] == pytest.approx(0.45)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 100_000))
def test_filter_looks_at_the_given_probabilities_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(30).astype(np.float32)
    given_p = p.copy()
    sequence = "".join(rng.choice(list("RKLECGX"), 30))
    where, ell = sequence_neighbours(np.array(["A"] * 30)), log_propensities(sequence, DNA)
    out = filter_probabilities(p, ell, where)
    assert np.array_equal(p, given_p) and (out <= 1).all() and (out >= 0).all()
    for i in range(30):  # one residue at a time, from the definition
        value = p[i]
        if 2 <= i < 28:
            votes = sum(p[j] > 0.5 for j in (i - 2, i - 1, i + 1, i + 2))
            if p[i] <= 0.5 and votes == 4 and sequence[i] in "RK":
                value = min(1.0, 1.2 * p[i])
            if p[i] > 0.5 and votes == 0 and sequence[i] in "LEC":
                value = 0.8 * p[i]
        assert out[i] == pytest.approx(value)


def test_filter_without_an_outlier_is_idempotent() -> None:
    p = np.array([0.9, 0.8, 0.7, 0.2, 0.1, 0.1, 0.9, 0.9], np.float32)
    where, ell = sequence_neighbours(np.array(["A"] * 8)), log_propensities("RLRLRLRL", DNA)
    once = filter_probabilities(p, ell, where)
    assert np.array_equal(once, p) and np.array_equal(filter_probabilities(once, ell, where), once)


def test_sequence_neighbours_stay_in_their_chain() -> None:
    found = sequence_neighbours(np.array(list("AAAAABBBB")))
    assert found[2].tolist() == [0, 1, 3, 4]
    assert (found[[0, 1, 3, 4, 5, 6, 7, 8]] == -1).all()
    assert sequence_neighbours(np.array([], dtype=str)).shape == (0, 4)


def test_geodesic_neighbours_against_all_pairs(ubiquitin: Structure) -> None:
    found = geodesic_neighbours(ubiquitin)
    rsa, atoms, ca = exposure(ubiquitin), ubiquitin.atoms, ubiquitin.residues.ca_coord
    surface = [k for k in range(76) if rsa[k] > 0.05]
    assert 40 < len(surface) < 76
    centre, normal = {}, {}
    for k in surface:
        own = atoms.residue_index == k
        side = own & ~np.isin(atoms.name, ("N", "CA", "C", "O", "OXT"))
        x = atoms.coord[side if side.any() else own].astype(float).mean(axis=0)
        inside = ca[np.linalg.norm(ca - x, axis=1) <= 10].astype(float).mean(axis=0)
        centre[k], normal[k] = x, (x - inside) / np.linalg.norm(x - inside)
    for k in range(76):
        if k not in centre:
            assert (found[k] == -1).all()
            continue
        far = {j: np.linalg.norm(centre[k] - centre[j]) * (2 - normal[k] @ normal[j]) for j in surface if j != k}
        np.testing.assert_allclose([far[j] for j in found[k]], sorted(far.values())[:4])


def test_geodesic_neighbours_of_almost_nothing() -> None:
    few = small(*(("ALA", [("CA", "C", (4.0 * k, 0, 0))]) for k in range(4)))
    assert (geodesic_neighbours(few) == -1).all()
    assert geodesic_neighbours(few, CrossBindFilterConfig(min_exposure=0)).shape == (4, 4)
