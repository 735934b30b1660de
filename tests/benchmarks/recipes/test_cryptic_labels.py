"""Residue numbers of structures placed in sequences: what is known of shifts, and what scores add."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recipes.cryptic_labels import Construct, place, shift_prior, signal_peptide, training_line

PLAIN = "MKTAYIAKQRSEDGKNPTEE" * 6
SECRETED = "MKKLLLLLLLLLLAVASASA" + PLAIN


def construct(sequence: str = PLAIN, offset: int | None = 0, numbers: tuple[int, ...] = (50, 51, 54)) -> Construct:
    return Construct("1abc", sequence, np.array(numbers), offset)


def test_a_signal_peptide_is_a_hydrophobic_stretch_near_the_start() -> None:
    assert signal_peptide(SECRETED)
    assert not signal_peptide(PLAIN)
    assert not signal_peptide(PLAIN + "L" * 30)
    assert not signal_peptide("MKT")


def test_the_prior_is_a_distribution_that_knows_cut_signal_peptides() -> None:
    shifts = np.arange(-49, 60)
    plain, secreted = (np.exp(shift_prior(construct(sequence), shifts)) for sequence in (PLAIN, SECRETED))
    assert plain.sum() == pytest.approx(1)
    assert secreted.sum() == pytest.approx(1)
    assert shifts[plain.argmax()] == 0
    assert secreted[(shifts >= 14) & (shifts <= 45)].sum() > secreted[shifts == 0][0]
    # Numbers that start after the peptide were never part of it.
    late = np.exp(shift_prior(construct(SECRETED, offset=-24), shifts))
    assert late.argmax() == plain.argmax()


def test_evidence_moves_numbers_only_where_it_is_strong() -> None:
    evidence = np.full(len(PLAIN), -1.0)
    assert place(construct(), evidence) == (0, pytest.approx(0.85, abs=0.01))
    evidence[[67, 68, 71]] = 4  # the same three residues, 18 further on
    numbers = (50, 51, 54)
    weak = place(construct(numbers=numbers), evidence)
    assert weak is not None
    assert weak[0] == 0
    many = tuple(range(50, 56))
    evidence[67:73] = 4
    strong = place(construct(numbers=many), evidence)
    assert strong is not None
    assert strong[0] == 18
    assert place(construct(numbers=(1, 200)), evidence) is None


def test_training_labels_are_cut_to_what_the_construct_is_known_to_hold() -> None:
    line = training_line(construct(SECRETED, offset=-24, numbers=(30, 33)), 0)
    assert line.sequence.startswith(SECRETED[24:40])
    assert [line.sequence[i] for i in line.indices] == [SECRETED[29], SECRETED[32]]
    whole = training_line(construct(offset=None, numbers=(30, 33)), 2)
    assert whole.indices.tolist() == [31, 34]
