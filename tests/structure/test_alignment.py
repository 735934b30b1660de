"""Alignment of chains of one protein, against Biopython."""

from __future__ import annotations

import numpy as np
import pytest

from s2p.structure.alignment import align, labels_on_chain

REFERENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"


def test_labels_follow_the_alignment() -> None:
    """The structure lacks the first three and two inner residues, and one residue is mutated."""
    binding = [4, 12, 20, 32]
    observed = "AYIAKQRQISFVKSHASRQLERLGLIEVQ"
    labels = labels_on_chain(observed, REFERENCE, binding)
    assert [observed[i] for i in np.flatnonzero(labels)] == [REFERENCE[i] for i in binding]
    assert len(labels) == len(observed)


def test_letters_without_a_counterpart_are_minus_one_and_never_bind() -> None:
    position = align("WWWWW" + REFERENCE, REFERENCE)
    assert position.tolist() == [-1] * 5 + list(range(33))
    assert labels_on_chain("WWWWW" + REFERENCE, REFERENCE, [0, 32]).sum() == 2
    assert align(REFERENCE, REFERENCE).tolist() == list(range(33))


@pytest.mark.parametrize("seed", range(5))
def test_score_equals_biopython(seed: int) -> None:
    """Several alignments may be best; ours must be one of them."""
    from Bio.Align import PairwiseAligner

    draw = np.random.default_rng(seed)
    reference = "".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 120))
    observed = "".join(c for c in reference if draw.random() > 0.1)
    aligner = PairwiseAligner(match_score=2, mismatch_score=-3, open_gap_score=-7, extend_gap_score=-1)
    position = align(observed, reference)
    assert (np.diff(position[position >= 0]) > 0).all()
    columns = []
    i = 0
    for k, j in enumerate(position.tolist()):
        if j < 0:
            columns.append((k, -1))
            continue
        columns += [(-1, x) for x in range(i, j)] + [(k, j)]
        i = j + 1
    columns += [(-1, x) for x in range(i, len(reference))]
    score, previous = 0, "M"
    for a, b in columns:
        kind = "M" if a >= 0 and b >= 0 else "D" if a < 0 else "I"
        if kind == "M":
            score += 2 if observed[a] == reference[b] else -3
        else:
            score += -1 if kind == previous else -7
        previous = kind
    assert score == aligner.score(observed, reference)
