"""Attention as evidence for contacts: against the package's own encoder, loops, and hand-made maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from course.attention import (
    AttentionConfig,
    best_heads,
    contact_evidence,
    contact_precision,
    hidden_states,
    look_inside,
    true_contacts,
)
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.language.esm import ResidueModel
from s2p.language.sequences import predict_residues
from s2p.structure.reading import read_structure


@pytest.fixture(scope="module")
def model() -> ResidueModel:
    return load_checkpoint(DEFAULT_MODEL).model


def test_last_hidden_state_is_the_embedding_of_a_prediction(model: ResidueModel) -> None:
    sequence = "MKTAYIAKQRQISFVKSHFSRQ"
    inside = look_inside(model, sequence)
    assert inside.hidden.shape == (7, 22, 320)
    np.testing.assert_allclose(inside.hidden[-1], predict_residues(model, [sequence])[0][1], atol=1e-4)
    # Before the first layer only the letter counts.
    same = [k for k, letter in enumerate(sequence) if letter == "K"]
    np.testing.assert_array_equal(inside.hidden[0][same[0]], inside.hidden[0][same[1]])


def test_every_layer_of_the_numpy_encoder(model: ResidueModel) -> None:
    sequence = "MKTAYIAKQRQISFVKSHFSRQ"
    found = hidden_states(load_checkpoint(DEFAULT_MODEL, device=None).model, sequence)
    np.testing.assert_allclose(found, look_inside(model, sequence).hidden, atol=1e-4)


def test_attention_is_a_share(model: ResidueModel) -> None:
    attention = look_inside(model, "MKTAYIAKQRQISFVKSHFSRQ").attention
    assert attention.shape == (6, 20, 22, 22)
    assert attention.min() >= 0
    assert attention.sum(axis=-1).max() <= 1 + 1e-5


@pytest.mark.parametrize("length", [0, 1023])
def test_a_chain_that_does_not_fit_is_an_error(model: ResidueModel, length: int) -> None:
    with pytest.raises(S2PError, match="1 to 1022"):
        look_inside(model, "A" * length)


def test_evidence_against_loops() -> None:
    raw = np.random.default_rng(0).random((2, 5, 5)).astype(np.float32)
    found = contact_evidence(raw)
    for k in range(2):
        a = raw[k] + raw[k].T
        for i in range(5):
            for j in range(5):
                assert found[k, i, j] == pytest.approx(a[i, j] - a[i].sum() * a[:, j].sum() / a.sum(), abs=1e-5)
    # A map that is a product of what each residue has says nothing about pairs.
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    np.testing.assert_allclose(contact_evidence(np.outer(weight, weight)), 0, atol=1e-5)


def test_precision_by_hand() -> None:
    n = 12
    contacts = np.zeros((n, n), bool)
    contacts[0, 11] = contacts[1, 10] = True
    contacts |= contacts.T
    evidence = contacts.astype(float)
    config = AttentionConfig(separation=6)
    precision, base = contact_precision(np.stack([evidence, -evidence]), contacts, config)
    assert base == pytest.approx(2 / 21)  # 6 + 5 + 4 + 3 + 2 + 1 pairs
    assert precision.tolist() == pytest.approx([2 / 12, 0])


def test_precision_needs_enough_pairs() -> None:
    with pytest.raises(S2PError, match="longer chain"):
        contact_precision(np.zeros((8, 8)), np.zeros((8, 8), bool))


def test_contacts_are_nearer_than_the_distance() -> None:
    ca = np.array([[0.0, 0, 0], [7.9, 0, 0], [8.0, 0, 0]])
    assert true_contacts(ca).tolist() == [[True, True, False], [True, True, True], [False, True, True]]


def test_best_heads_are_chosen_by_the_mean() -> None:
    one, two = np.array([[0.9, 0.2], [0.5, 0.1]]), np.array([[0.0, 0.2], [0.6, 0.1]])
    assert best_heads([one, two], 2) == [(1, 0), (0, 0)]


def test_heads_chosen_elsewhere_find_contacts(model: ResidueModel, examples: Path) -> None:
    proteins = {}
    for name in ("1ubi.pdb.gz", "1hpv.pdb.gz", "3mht.pdb.gz"):
        whole = read_structure(examples / name)
        protein = whole.select_chains(whole.chains[:1])
        evidence = contact_evidence(look_inside(model, protein.sequence()).attention)
        contacts = true_contacts(protein.residues.ca_coord)
        proteins[name] = evidence, contacts, *contact_precision(evidence, contacts)
    chosen = best_heads([proteins[name][2] for name in ("1ubi.pdb.gz", "1hpv.pdb.gz")])
    evidence, contacts, _, base = proteins["3mht.pdb.gz"]
    precision, _ = contact_precision(np.mean([evidence[k, h] for k, h in chosen], axis=0), contacts)
    assert precision > 4 * base
