"""The search for homologues: alignments against biotite, candidates against trying every pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.datasets.homology import HomologyConfig, _align_all, _best_score, _local, blosum62, encode, search

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
sequences = st.text(LETTERS, min_size=1, max_size=40)


def biotite_alignment(a: str, b: str):
    from biotite.sequence import ProteinSequence
    from biotite.sequence.align import SubstitutionMatrix, align_optimal

    matrix = SubstitutionMatrix.std_protein_matrix()
    return align_optimal(ProteinSequence(a), ProteinSequence(b), matrix, gap_penalty=(-12, -1), local=True, max_number=1)


def mutated(sequence: str, share: float, draw: np.random.Generator) -> str:
    return "".join(draw.choice(list(LETTERS)) if draw.random() < share else c for c in sequence)


def random_sequence(n: int, draw: np.random.Generator) -> str:
    return "".join(draw.choice(list(LETTERS), n))


@settings(deadline=None, max_examples=80)
@given(sequences, sequences)
def test_property_score_is_that_of_biotite(a: str, b: str) -> None:
    found = _local(encode(a), encode(b), blosum62())
    best = biotite_alignment(a, b)
    expected = best[0].score if best else 0
    assert found[0] == expected == _best_score(encode(a), encode(b), blosum62())


@pytest.mark.parametrize("seed", range(4))
def test_identity_and_spans_are_those_of_biotite(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a = random_sequence(90, draw)
    b = random_sequence(7, draw) + mutated(a[5:40] + a[44:80], 0.3, draw) + random_sequence(9, draw)
    score, same, columns, span_a, span_b = _local(encode(a), encode(b), blosum62())
    best = biotite_alignment(a, b)[0]
    both = (best.trace >= 0).all(axis=1)
    spans = [int(np.ptp(column[column >= 0])) + 1 for column in best.trace.T]
    assert (score, columns, span_a, span_b) == (best.score, len(best.trace), *spans)
    assert same == sum(a[i] == b[j] for i, j in best.trace[both])


def test_relatives_are_found_among_strangers() -> None:
    draw = np.random.default_rng(0)
    strangers = [random_sequence(int(n), draw) for n in draw.integers(50, 300, 40)]
    a = random_sequence(200, draw)
    table = [*strangers, a, mutated(a, 0.5, draw), mutated(a[60:], 0.4, draw)]
    hits = search(table)
    assert {(int(q), int(t)) for q, t in zip(hits.query, hits.target, strict=True)} == {(40, 41), (40, 42), (41, 42)}
    assert 0.4 < hits.identity[0] < 0.75
    other = search([a], table)
    assert other.target.tolist()[0] == 40
    assert other.identity[0] == 1.0
    assert sorted(other.target.tolist()) == [40, 41, 42]
    assert (np.diff(other.score) <= 0).all()


def test_nothing_is_missed_that_every_pair_aligned_would_give() -> None:
    draw = np.random.default_rng(3)
    families = [random_sequence(150, draw) for _ in range(12)]
    table = [mutated(f, share, draw) for f in families for share in (0.0, 0.3, 0.5, 0.6)]
    hits = search(table, table)
    total = sum(map(len, table))
    codes = np.concatenate([encode(s) for s in table])
    start = np.cumsum([0, *map(len, table)]).astype(np.int64)
    missed = expected = 0
    found = {(int(q), int(t)) for q, t in zip(hits.query, hits.target, strict=True)}
    for k, sequence in enumerate(table):
        least = int(np.ceil(np.log(0.041 * len(sequence) * total / HomologyConfig().e_value) / 0.267))
        rows = _align_all(encode(sequence), codes, start, np.arange(len(table), dtype=np.int32), blosum62(), least)
        every = {(k, int(t)) for t in rows[:, 0]}
        expected += len(every)
        missed += len(every - found)
        assert not {pair for pair in found if pair[0] == k} - every
    assert expected > 100
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
    assert hits.identity.min() == pytest.approx(118 / 120)
