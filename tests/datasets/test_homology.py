"""Homologues against trying every pair, and greedy set cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.datasets.homology import E_VALUE, blosum62, encode, greedy_set_cover, search

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def biotite_alignment(a: str, b: str):
    from biotite.sequence import ProteinSequence
    from biotite.sequence.align import SubstitutionMatrix, align_optimal

    matrix = SubstitutionMatrix.std_protein_matrix()
    return align_optimal(ProteinSequence(a), ProteinSequence(b), matrix, gap_penalty=(-12, -1), local=True, max_number=1)


def mutated(sequence: str, share: float, draw: np.random.Generator) -> str:
    return "".join(draw.choice(list(LETTERS)) if draw.random() < share else c for c in sequence)


def random_sequence(n: int, draw: np.random.Generator) -> str:
    return "".join(draw.choice(list(LETTERS), n))


@pytest.mark.parametrize("seed", range(4))
def test_identity_and_spans_are_those_of_biotite(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a = random_sequence(90, draw)
    b = random_sequence(7, draw) + mutated(a[5:40] + a[44:80], 0.3, draw) + random_sequence(9, draw)
    (hit,) = search([a], [b])
    best = biotite_alignment(a, b)[0]
    both = (best.trace >= 0).all(axis=1)
    spans = [int(np.ptp(column[column >= 0])) + 1 for column in best.trace.T]
    same = sum(a[i] == b[j] for i, j in best.trace[both])
    assert hit == (0, 0, best.score, pytest.approx(same / len(best.trace)), len(best.trace), *spans)


def test_relatives_are_found_among_strangers() -> None:
    draw = np.random.default_rng(0)
    strangers = [random_sequence(int(n), draw) for n in draw.integers(50, 300, 40)]
    a = random_sequence(200, draw)
    table = [*strangers, a, mutated(a, 0.5, draw), mutated(a[60:], 0.4, draw)]
    hits = search(table)
    assert {(hit.query, hit.target) for hit in hits} == {(40, 41), (40, 42), (41, 42)}
    assert 0.4 < hits[0].identity < 0.75
    other = search([a], table)
    assert (other[0].target, other[0].identity) == (40, 1.0)
    assert sorted(hit.target for hit in other) == [40, 41, 42]
    assert [hit.score for hit in other] == sorted((hit.score for hit in other), reverse=True)


def test_nothing_is_missed_that_every_pair_aligned_would_give() -> None:
    draw = np.random.default_rng(3)
    families = [random_sequence(150, draw) for _ in range(12)]
    table = [mutated(f, share, draw) for f in families for share in (0.0, 0.3, 0.5, 0.6)]
    found = {(hit.query, hit.target): hit.score for hit in search(table)}
    total = sum(map(len, table))
    missed = expected = 0
    for k, sequence in enumerate(table):
        least = np.log(0.041 * len(sequence) * total / E_VALUE) / 0.267
        for m in range(k + 1, len(table)):
            score = biotite_alignment(sequence, table[m])[0].score
            expected += score >= least
            missed += score >= least and found.get((k, m)) != score
            assert score >= least or (k, m) not in found
    assert expected > 50
    assert missed <= 0.1 * expected  # half of the pairs are as far apart as two copies with 60 % of their letters changed


@pytest.mark.parametrize("table", [[], [""], ["A"], ["", "ACDE"], ["X" * 50, "X" * 50], ["acdU-*", "ACDO"]])
def test_odd_input_gives_no_hits(table: list[str]) -> None:
    assert len(search(table)) == 0
    assert len(search(table, ["ACDEFGHIKL"])) == 0


def test_unknown_letters_do_not_shift_the_alignment() -> None:
    draw = np.random.default_rng(5)
    a = random_sequence(120, draw)
    b = a[:50] + "XX" + a[52:]
    hits = search([a, b, a.lower()])
    assert len(hits) == 3
    assert min(hit.identity for hit in hits) == pytest.approx(118 / 120)


def test_codes_and_scores_are_in_one_order() -> None:
    from biotite.sequence.align import SubstitutionMatrix

    codes = encode("acWYUX-")
    assert codes.tolist() == [0, 1, 18, 19, 22, 22, 22]
    matrix = SubstitutionMatrix.std_protein_matrix()
    assert blosum62()[codes[2], codes[3]] == matrix.get_score("W", "Y") == 2


def test_the_hub_takes_its_neighbours_and_leftovers_stand_alone() -> None:
    assert greedy_set_cover(6, [(0, 1), (1, 2), (1, 3), (3, 4)]) == [[1, 0, 2, 3], [4], [5]]
    assert greedy_set_cover(0, []) == []


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))))
)
def test_property_groups_are_a_partition_into_neighbourhoods(case: tuple[int, list[tuple[int, int]]]) -> None:
    n, pairs = case
    pairs = [(a, b) for a, b in pairs if a != b]
    groups = greedy_set_cover(n, pairs)
    assert sorted(x for g in groups for x in g) == list(range(n))
    near = {frozenset(p) for p in pairs}
    assert all(frozenset((g[0], x)) in near for g in groups for x in g[1:])
