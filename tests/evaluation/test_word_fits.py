"""Chance and fit of short words, against counting and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from s2p.datasets.homology import blosum62, encode
from s2p.evaluation.word_fits import BACKGROUND, chance, decoy_words, fits, log_tails, word_index

FREQUENCIES = BACKGROUND / BACKGROUND.sum()


def test_chance_of_a_score_is_exact() -> None:
    word = encode("WCHKL")
    tails = log_tails(word[None, :], blosum62(), FREQUENCIES)[0]
    draw = np.random.default_rng(0)
    random = draw.choice(20, (200_000, 5), p=FREQUENCIES)
    score = blosum62()[word[None, :], random].sum(axis=1)
    for s in (-5, 0, 5, 10):
        assert np.exp(tails[s + 20]) == pytest.approx((score >= s).mean(), rel=0.05)
    assert tails[0] == pytest.approx(0.0, abs=1e-9)


def test_chance_follows_the_decoys() -> None:
    decoys = np.random.default_rng(0).exponential(2.0, 4000)
    for x in (1.0, 4.0, 10.0, 20.0):
        assert np.log(chance(x, decoys)) == pytest.approx(-x / 2, rel=0.1, abs=0.1)


def test_the_best_place_of_every_word_is_found_and_the_largest_surprise_left_out() -> None:
    draw = np.random.default_rng(1)
    query = "".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 80, p=FREQUENCIES))
    words = [[query[5:20], query[30:45]], [query[50:65]], [], [query[60:75], "WWWWWHHHHHCCCCC"]]
    index = word_index(words)
    value, identity = fits(encode(query), index)
    surprise = []
    for k, word in enumerate(w for chain in words for w in chain):
        scores = [int(blosum62()[encode(query[i : i + 15]), encode(word)].sum()) for i in range(80 - 15 + 1)]
        surprise.append(max(0.0, -index.tails[k, max(0, *scores) + 4 * 15] - np.log(66)))
    expected = [min(surprise[:2]), 0.0, 0.0, min(surprise[3:])]
    np.testing.assert_allclose(value, expected, atol=1e-9)
    assert identity[:3].tolist() == [1.0, 1.0, 0.0]
    assert 0.5 <= identity[3] < 0.8


def test_decoys_keep_the_letters_of_the_words() -> None:
    words = [["ACDEF", "GHIKL"], ["MNPQR"], ["STVWY", "ACACA"]]
    decoys = decoy_words(words)
    assert decoys[:2] == [["FEDCA", "LKIHG"], ["YWVTS", "ACACA"]]
    assert len(decoys) >= 1000
    assert all(sorted(w) in (sorted(x) for x in ("ACDEF", "GHIKL", "STVWY", "ACACA")) for chain in decoys for w in chain)
    assert decoy_words([["ACD"], []]) == []
