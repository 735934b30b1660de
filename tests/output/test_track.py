"""The prediction along the sequence: residues, pockets and ticks are where they should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_prediction

from s2p.output.palette import pocket_color
from s2p.output.track import SMOOTHED_HEIGHT, in_words, residue_axis, strips, track_figure


def test_strips_cover_the_residues_of_their_pocket() -> None:
    p = make_prediction()
    x = residue_axis(p.structure)
    assert x[24] - x[23] == 4  # a gap between chains
    for pocket in p.pockets:
        ((edges, _, _, color),) = (s for s in strips(p) if s[2] == f"pocket {pocket.rank}")
        # Pocket 1 spans both chains: no box does.
        covered = [i for i, at in enumerate(x) if any(a < at < b for a, b in edges)]
        assert covered == np.flatnonzero(p.pocket_of_residue == pocket.rank).tolist()
        assert color == pocket_color(pocket.rank)
    assert f"in {len(p.pockets)} pockets; pocket 1 has" in in_words(p)


def test_figure() -> None:
    p = make_prediction()
    (ax,) = track_figure(p).axes
    bars = ax.collections[0].get_paths()
    assert [path.vertices[:, 1].max() for path in bars] == pytest.approx(p.probabilities.tolist())
    assert {line.get_label(): line.get_ydata()[0] for line in ax.lines} == {"threshold 0.5": 0.5}
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels[0] == "-3\nchain A" and "1\nchain B" in labels
    (added,) = (c for c in ax.collections if c.get_label() == "added by smoothing")
    places = [[x, SMOOTHED_HEIGHT] for x in residue_axis(p.structure)[p.smoothed]]
    np.testing.assert_allclose(added.get_offsets(), places)


def test_next_to_nothing() -> None:
    p = make_prediction(n=1)
    bare = replace(p, pockets=(), positive=p.positive & False, smoothed=p.smoothed & False, settings={})
    (ax,) = track_figure(bare).axes
    assert len(ax.collections) == 1 and ax.get_legend() is None and not ax.lines
