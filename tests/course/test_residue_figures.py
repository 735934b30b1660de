"""All residue measures at once, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from course.residue_figures import residue_figures


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_against_scikit_learn(rows: list[tuple[bool, int, bool]]) -> None:
    y, s, p = (np.array(column) for column in zip(*rows, strict=True))
    found = residue_figures(y, s, p)
    assert (found.n_residues, found.prevalence) == (len(y), pytest.approx(y.mean()))
    assert found.mcc == pytest.approx(metrics.matthews_corrcoef(y, p), abs=1e-12)
    if (y | p).any():
        assert found.f1 == pytest.approx(metrics.f1_score(y, p, zero_division=0))
        assert found.weighted_f1 == pytest.approx(metrics.f1_score(y, p, average="weighted", zero_division=0))
    if y.any():
        assert found.average_precision == pytest.approx(metrics.average_precision_score(y, s))
        assert found.recall == pytest.approx(metrics.recall_score(y, p))
    if p.any():
        assert found.precision == pytest.approx(metrics.precision_score(y, p))
    assert np.isnan(residue_figures([], [], []).prevalence)
