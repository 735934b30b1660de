"""Figures of hidden states and attention: numbers by hand and against scikit-learn, and that they can be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from course.attention import contact_precision
from course.embeddings import (
    CLASSES,
    attention_chart,
    attention_picture,
    heads_picture,
    logit_chart,
    share_by_layer,
    share_explained,
    type_map,
)
from s2p.errors import S2PError

PNG = b"\x89PNG"
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def test_classes_hold_every_amino_acid_once() -> None:
    assert sorted("".join(CLASSES.values())) == list(LETTERS)


def test_share_explained_by_hand() -> None:
    # Means of the groups 0 and 4, of all 2: variance 4 between, 1 within.
    e = np.array([[-1.0], [1.0], [3.0], [5.0]])
    assert share_explained(e, "AAGG") == pytest.approx(4 / 5)
    assert share_explained(e, "ACDE") == pytest.approx(1)
    assert share_explained(e, "AAAA") == pytest.approx(0)
    assert share_explained(e, ["one", "one", "two", "two"]) == share_explained(e, "AAGG")


def test_equal_embeddings_are_an_error() -> None:
    with pytest.raises(S2PError, match="no variance"):
        share_explained(np.ones((3, 2)), "AAA")


def test_type_map_is_the_plane_of_largest_variance() -> None:
    rng = np.random.default_rng(0)
    e = rng.normal(size=(200, 5)) * np.array([5, 3, 0.1, 0.1, 0.1])
    chart = type_map(e, "".join(rng.choice(list(LETTERS), 200)))
    x = np.concatenate([layer.x for layer in chart.layers])
    assert len(x) == 200
    assert x.var() == pytest.approx(np.linalg.eigvalsh(np.cov(e.T, bias=True))[-1])
    assert chart.png(dpi=40).startswith(PNG)
    with pytest.raises(S2PError, match="three residues"):
        type_map(e[:2], "AC")


def test_logit_chart_line_has_as_many_above_as_bind() -> None:
    z, y = np.array([3.0, 2.0, 1.0, 0.0, -1.0]), np.array([1, 0, 1, 0, 0], bool)
    chart = logit_chart(z, y, bins=5)
    assert chart.layers[-1].x.tolist() == [2.0, 2.0]
    assert "50% bind" in chart.alt
    assert chart.layers[0].y[:-1].sum() == pytest.approx(1)
    with pytest.raises(S2PError, match="none of these residues binds"):
        logit_chart(z, np.zeros(5, bool))


def test_heads_picture_names_the_best() -> None:
    precision = np.zeros((2, 4))
    precision[1, 2] = 0.5
    picture = heads_picture(precision, 0.01, [(1, 2)])
    assert "layer 2, head 3, precision 0.50" in picture.alt
    assert picture.png().startswith(PNG)


def test_attention_picture_measures_the_band() -> None:
    assert "100% of the attention" in attention_picture(np.eye(10), "x").alt
    away = np.zeros((10, 10))
    away[0, 9] = 1
    assert ": 0% of the attention" in attention_picture(away, "x").alt


def test_attention_chart_counts_as_precision_does() -> None:
    rng = np.random.default_rng(1)
    e = rng.normal(size=(30, 30))
    e, c = e + e.T, rng.random((30, 30)) < 0.2
    c = c | c.T
    chart = attention_chart(e, c, "x")
    wrong, right = chart.layers[1:]
    precision, _ = contact_precision(e, c)
    assert len(right.x) / 30 == pytest.approx(float(precision))
    assert len(right.x) + len(wrong.x) == 30
    assert (right.y > right.x).all()  # below the diagonal, for the axis points down
    assert chart.png(dpi=40).startswith(PNG)


def test_share_by_layer_says_first_and_last() -> None:
    assert "100% of the variance before the first layer and 20% after" in share_by_layer([1.0, 0.5, 0.2]).alt
