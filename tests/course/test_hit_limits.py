"""Recall at a limit is that of the benchmark, and the picture says both panels in words."""

from __future__ import annotations

from dataclasses import fields

import pytest

from course.hit_limits import recall_at, recall_picture
from s2p.errors import S2PError
from s2p.evaluation.rows import SiteRow


def row(protein: str, **distances: float) -> SiteRow:
    values = {f.name: distances.get(f.name, 9.0) for f in fields(SiteRow)}
    return SiteRow(**values | {"protein": protein, "cluster": protein, "predictor": "x", "ligand": "L", "size": "large"})  # type: ignore[arg-type]


ROWS = [row("a", dcc_n=5.0, dcc_n_plus=3.0, dca_n=1.0, dca_n_plus=1.0), row("b", dcc_n=8.0, dcc_n_plus=8.0)]


def test_below_the_limit_is_found() -> None:
    assert recall_at(ROWS, "dcc", 5.0, 0).value == 0.0  # strictly below
    assert recall_at(ROWS, "dcc", 5.5, 0).value == 0.5
    assert recall_at(ROWS, "dcc", 3.5, 2).value == 0.5
    found = recall_at(ROWS, "dca", 15.0, 2)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_only_the_ranks_of_the_rows() -> None:
    with pytest.raises(S2PError, match=r"not N\+1"):
        recall_at(ROWS, "dcc", 4.0, 1)


def test_the_picture_says_both_measures() -> None:
    picture = recall_picture({"ours": ROWS, "other": ROWS[1:]}, 4.0, 2, draws=50)
    assert picture.alt.startswith("DCC < 4 Å, top N+2: ours 0.50 (0.00 to 1.00), other 0.00")
    assert "DCA < 4 Å, top N+2: ours 0.50" in picture.alt
    assert picture.png().startswith(b"\x89PNG")
