"""Still pictures of predictions."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_prediction

from s2p.output.palette import pocket_color, rgb
from s2p.output.pictures import figure_png, static_figure, static_png


def test_static_png(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "x.png"
    data = static_png(make_prediction("a $x$ name"), path)
    assert path.read_bytes() == data
    pixels = np.asarray(image.open(io.BytesIO(data)).convert("RGB")).reshape(-1, 3).astype(float) / 255
    for rank in (1, 2):
        assert (np.abs(pixels - rgb(pocket_color(rank))).max(axis=1) < 0.02).sum() > 100
    assert 0.5 < (pixels == 1).all(axis=1).mean() < 0.99


def test_pictures_without_pockets_or_ligands() -> None:
    p = make_prediction()
    bare = replace(
        p, structure=replace(p.structure, ligands=()), pockets=(), positive=p.positive & False, smoothed=p.smoothed & False
    )
    assert static_png(bare).startswith(b"\x89PNG")


def test_tiny_structures() -> None:
    p = make_prediction(n=1)
    one = replace(p, structure=p.structure.select_chains(["A"]), pockets=())
    one = replace(one, probabilities=p.probabilities[:1], smoothed=p.smoothed[:1], positive=p.positive[:1])
    assert static_png(one).startswith(b"\x89PNG")


def test_description_travels_in_the_file() -> None:
    image = pytest.importorskip("PIL.Image")
    figure = static_figure(make_prediction(), dpi=30)
    data = figure_png(figure, dpi=40, description="two pockets – Å, β")
    opened = image.open(io.BytesIO(data))
    assert opened.size == (288, 216) and opened.text["Description"].startswith("two pockets ? Å")
    assert figure_png(figure) == figure_png(figure)
