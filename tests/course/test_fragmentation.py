"""What the pictures of sites and pockets hold."""

from __future__ import annotations

import numpy as np
import pytest

from course.fragmentation import fragment_counts, site_strips, slice_figure


def test_strips_have_a_row_each_and_a_bar_for_every_residue() -> None:
    (ax,) = site_strips({"site": [1, 2, 3]}, {"pocket 1": [2, 9], "pocket 2": []}, "title").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["site", "pocket 1", "pocket 2"]
    shade, site, first, second = ax.containers
    assert len(shade) == 3 and len(site) == 3 and len(second) == 0
    assert [bar.get_x() + bar.get_width() / 2 for bar in first] == pytest.approx([2, 9])


def test_strips_take_texts_for_residues() -> None:
    (ax,) = site_strips({"s": [0]}, {}, ticks=([0, 5], ["A:7", "A:30"])).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["A:7", "A:30"]


def test_fragment_counts_are_shares_with_the_pfi_beside() -> None:
    (ax,) = fragment_counts({"mixed": [0, 1, 2, 3, 9], "nothing": [0, 0]}).axes
    widths = np.array([bar.get_width() for container in ax.containers for bar in container]).reshape(2, 5)
    np.testing.assert_allclose(widths, [[0.2] * 5, [1, 0, 0, 0, 0]])
    assert [text.get_text() for text in ax.texts] == ["PFI 3.75", "PFI –"]


def test_slice_figure_joins_before_and_after() -> None:
    (ax,) = slice_figure({"a": (0.2, 0.6), "b": (0.5, 0.5)}, "recall", ("before", "after")).axes
    lines, before, after = ax.collections
    assert [segment[:, 0].tolist() for segment in lines.get_segments()] == [[0.2, 0.6], [0.5, 0.5]]
    assert before.get_offsets()[:, 0].tolist() == [0.2, 0.5] and after.get_offsets()[:, 0].tolist() == [0.6, 0.5]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
