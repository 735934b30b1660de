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


def test_the_legend_fits_into_the_picture() -> None:
    """Also where pockets are copies of others and cryptic, which makes their lines long."""
    p = make_prediction()
    one = replace(p.pockets[0], residues=p.pockets[0].residues[:1])
    long = [replace(one, rank=k, copy_of=k + 10, site="both", residues=np.arange(120, dtype=np.int32) % 9) for k in range(11, 19)]
    for pockets in (p.pockets, (one, replace(p.pockets[1], copy_of=1)), tuple(long)):
        figure = static_figure(replace(p, pockets=pockets))
        figure_png(figure)
        box, (legend,) = figure.bbox, figure.legends
        shown = legend.get_window_extent()
        assert box.x0 <= shown.x0 and shown.x1 <= box.x1 and box.y0 <= shown.y0 and shown.y1 <= box.y1
    texts = [text.get_text() for text in static_figure(replace(p, pockets=(one,))).legends[0].get_texts()]
    assert any(text.endswith(", 1 residue") for text in texts)


def test_picture_of_probabilities() -> None:
    """Colours of the trace follow the probability and not the pockets."""
    p = make_prediction()
    plain, probable = (static_png(p, style=style, dpi=50) for style in ("pocket", "probability"))
    assert plain == static_png(p, dpi=50) != probable
    assert static_png(replace(p, probabilities=p.probabilities * 0), style="probability", dpi=50) != probable
    assert static_png(replace(p, probabilities=p.probabilities * 0), dpi=50) == plain
