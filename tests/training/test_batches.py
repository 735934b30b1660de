"""Batches: every chain once, each for its head; parts; fingerprints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.language.sequences import PAD, tokenize
from s2p.training.batches import balanced_weight, by_head, fingerprint, padded, parts, plan
from s2p.training.config import FinetuneConfig

CONFIG = FinetuneConfig(token_budget=40, max_residues=12)


def chain(n: int, seed: int = 0) -> LabelledChain:
    draw = np.random.default_rng((n, seed))
    return LabelledChain(f"c{n}", "".join(draw.choice(list("ACDEFGHIKL"), n)), draw.integers(0, 2, n).astype(np.uint8))


def test_balanced_weight() -> None:
    assert balanced_weight([LabelledChain("x", "ACDE", np.array([1, 0, 0, 0], np.uint8))]) == 2


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_every_chain_goes_through_once_for_its_head(one: list[int], two: list[int]) -> None:
    table = {"general": [chain(n, 1) for n in one], "cryptic": [chain(n, 2) for n in two]}
    planned = plan(table, CONFIG)
    for head, members in table.items():
        assert sorted(id(c) for own, taken in planned if own == head for c in taken) == sorted(map(id, members))
    for _, taken in planned:
        tokens, labels = padded(taken, 12, np.random.default_rng(1))
        assert tokens.numel() <= max(CONFIG.token_budget, 14)
        for row, c in enumerate(taken):
            n = min(12, len(c.sequence))
            text = "".join(c.sequence)
            starts = [
                s
                for s in range(len(text) - n + 1)
                if torch.equal(tokens[row, : n + 2], torch.from_numpy(tokenize(text[s : s + n])))
            ]
            assert any(np.array_equal(labels[row, 1 : n + 1].numpy(), c.labels[s : s + n]) for s in starts)
            assert (labels[row, n + 1 :] == -1).all() and labels[row, 0] == -1
            assert (tokens[row, n + 2 :] == PAD).all()


def test_parts_hold_the_rows_in_order_and_no_useless_columns() -> None:
    table = {"general": [chain(n) for n in (12, 9, 5)]}
    ((_, taken),) = plan(table, replace(CONFIG, token_budget=100))
    tokens, labels = padded(taken, 12, np.random.default_rng(0))
    assert [t.shape for t, _ in parts(tokens, labels, None)] == [(3, 14)]
    assert [t.shape for t, _ in parts(tokens, labels, 28)] == [(2, 14), (1, 7)]
    pieces = parts(tokens, labels, 1)
    assert [t.shape for t, _ in pieces] == [(1, 14), (1, 11), (1, 7)]
    assert sum(int((x >= 0).sum()) for _, x in pieces) == 26


def test_chains_of_the_wrong_or_no_head() -> None:
    assert by_head(("general",), [chain(3)], "training")["general"][0].id == "c3"
    with pytest.raises(S2PError, match="training chains for 'cryptic' sites; the model has heads for general"):
        by_head(("general",), {"general": [chain(3)], "cryptic": [chain(3)]}, "training")
    with pytest.raises(S2PError, match="needs validation chains with cryptic sites: the best epoch"):
        by_head(("general", "cryptic"), {"general": [chain(3)]}, "validation")


def test_fingerprints_tell_what_matters() -> None:
    a, b = chain(9), chain(9, 1)
    first = fingerprint({"general": [a, b]})
    assert first == fingerprint({"general": [LabelledChain("other name", a.sequence, a.labels), b]})
    flipped = LabelledChain(a.id, a.sequence, 1 - a.labels)
    others = [{"general": [b, a]}, {"general": [flipped, b]}, {"cryptic": [a, b]}, {"general": [a]}]
    assert len({first, *(fingerprint(x) for x in others)}) == 5
