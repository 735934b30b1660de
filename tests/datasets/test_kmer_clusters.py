"""Greedy set cover, and clusters without mmseqs2."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.datasets.kmer_clusters import greedy_set_cover, kmer_cluster, kmer_homologous


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


def test_identity_and_coverage_are_held() -> None:
    draw = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    a = "".join(draw.choice(letters, 200))
    near = "".join(draw.choice(letters) if draw.random() < 0.02 else c for c in a)
    half = a[:100]
    table = {"a": a, "near": near, "half": half}
    assert [sorted(g) for g in kmer_cluster(table, identity=0.95, coverage=0.8)] == [["a", "near"], ["half"]]
    assert [sorted(g) for g in kmer_cluster(table, identity=0.9, coverage=0.4)] == [["a", "half", "near"]]
    assert kmer_homologous({"h": half}, {"a": a}) == {"a": {"h"}}
    assert kmer_homologous({"n": near}, {"a": a}, identity=0.999) == {}
