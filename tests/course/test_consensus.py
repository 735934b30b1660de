"""Sites that one predictor finds alone, and the consensus of two."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_prediction, make_structure
from hypothesis import given
from hypothesis import strategies as st

from course.consensus import agreement, consensus
from s2p.errors import S2PError
from s2p.evaluation.compare import evaluate_complex


def placed(*pockets: tuple[tuple[float, float, float], float], model: str = "a"):
    """A prediction with pockets of given centres and probabilities."""
    base = make_prediction()
    made = [
        replace(base.pockets[0], rank=k, center=np.array(center, np.float32), probability=p)
        for k, (center, p) in enumerate(pockets, start=1)
    ]
    return replace(base, pockets=tuple(made), model=model)


LIGANDS = [np.array([[x, 0.0, 0.0]]) for x in (0.0, 50.0, 100.0, 150.0)]


def rows(*centers: float, name: str = "p"):
    return evaluate_complex(placed(*[((x, 0, 0), 0.5) for x in centers]), LIGANDS, name=name).sites


def test_sites_are_counted_by_who_finds_them():
    found = agreement(rows(0, 50), rows(50.5, 101, 99.5))
    assert (found.both, found.neither) == (1, 1)
    assert found.only_first == ("p/0",) and found.only_second == ("p/2",)
    assert found.either == 0.75
    assert (found.test.only_first, found.test.only_second, found.test.p) == (1, 1, 1.0)


def test_the_order_of_rows_does_not_matter_and_their_sites_must_agree():
    first, second = rows(0, 50), rows(50.5)
    assert agreement(first[::-1], second) == agreement(first, second[::-1])
    with pytest.raises(S2PError, match="same sites"):
        agreement(first, rows(0, name="q"))


def test_column_and_cutoff():
    first = rows(0, 55)
    assert agreement(first, first).both == 1
    assert agreement(first, first, cutoff=12).both == 2
    assert agreement(first, first, column="dca_all", cutoff=5.5).both == 2


def test_pockets_of_one_place_are_merged_and_the_others_halved():
    a = placed(((0, 0, 0), 0.9), ((30, 0, 0), 0.5))
    b = placed(((2, 0, 0), 0.3), ((60, 0, 0), 0.8), ((31, 0, 0), 0.6), model="b")
    found = consensus(a, b)
    assert found.model == "a+b"
    assert [p.rank for p in found.pockets] == [1, 2, 3]
    assert [round(p.probability, 3) for p in found.pockets] == [0.6, 0.55, 0.4]
    # The more probable pocket of a pair says where it is.
    assert [p.center[0] for p in found.pockets] == [0, 31, 60]
    assert (found.probabilities == a.probabilities).all()


def test_every_pocket_is_merged_once_with_the_nearest():
    a = placed(((0, 0, 0), 0.9), ((4, 0, 0), 0.9))
    b = placed(((3, 0, 0), 0.9), model="b")
    found = consensus(a, b)
    assert [round(p.probability, 2) for p in found.pockets] == [0.9, 0.45]
    assert found.pockets[1].center[0] == 0
    assert len(consensus(a, b, distance=0.5).pockets) == 3


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.floats(0, 1)), max_size=5),
    st.lists(st.tuples(st.integers(-20, 20), st.floats(0, 1)), max_size=5),
)
def test_probabilities_fall_with_the_rank_and_nothing_is_lost(left, right):
    a, b = (placed(*[((x, 0, 0), p) for x, p in side], model=name) for side, name in ((left, "a"), (right, "b")))
    found = consensus(a, b).pockets
    chances = [p.probability for p in found]
    assert chances == sorted(chances, reverse=True)
    assert max(len(left), len(right)) <= len(found) <= len(left) + len(right)
    assert sum(chances) == pytest.approx(sum(p for _, p in left + right) / 2)
    assert {p.probability for p in consensus(b, a).pockets} == set(chances)


def test_no_consensus_of_different_structures_or_without_probabilities():
    a = placed(((0, 0, 0), 0.9))
    with pytest.raises(S2PError, match="different structures"):
        consensus(a, replace(a, structure=make_structure("other", n=10)))
    with pytest.raises(S2PError, match="no probability"):
        consensus(a, placed(((0, 0, 0), float("nan")), model="b"))
