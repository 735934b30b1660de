"""The index of a batch: pictures from the reports, failures in words, names as text."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from builders import NASTY, make_prediction

from s2p.batch.inputs import BatchOptions, expand_inputs
from s2p.batch.run import predict_batch
from s2p.output.palette import pocket_color
from s2p.output.report_index import write_index
from s2p.output.thumbnail import thumbnail


def test_thumbnail_is_svg_with_pockets() -> None:
    p = make_prediction(NASTY)
    root = ElementTree.fromstring(thumbnail(p))
    numbers = [node.text for node in root if node.tag.endswith("text")]
    assert numbers == ["2", "1"]  # the best on top
    colors = {node.get("stroke") for node in root} | {node.get("fill") for node in root}
    assert {pocket_color(1), pocket_color(2)} <= colors
    assert root.get("data-residues") == "48" and root.get("data-best") == "0.80" and NASTY in str(root.get("aria-label"))
    trace = root[0].get("d") or ""
    assert trace.count("M") == 2 and trace.count("M") + trace.count("L") == 48  # two chains
    xy = [float(v) for pair in re.findall(r"[ML](-?\d+) (-?\d+)", trace) for v in pair]
    assert min(xy) >= 0 and max(xy) <= 240


def test_thumbnail_of_much_and_of_little() -> None:
    large = make_prediction(n=2500)
    tracemalloc.start()
    assert len(thumbnail(large)) < 40_000
    assert tracemalloc.get_traced_memory()[1] < 20 << 20  # a value for every pair of residues would be 200 MB
    tracemalloc.stop()
    p = make_prediction(n=1)
    assert ElementTree.fromstring(thumbnail(replace(p, pockets=(), positive=p.positive & False))).get("data-best") == ""


def test_thumbnail_of_atoms_on_a_line_through_the_pocket() -> None:
    p = make_prediction()
    residues = p.structure.residues
    line = np.outer(np.arange(len(residues)), [3.8, 0, 0]).astype(np.float32)
    pocket = replace(p.pockets[0], center=np.array([5, 0, 0], np.float32))
    flat = replace(p, structure=replace(p.structure, residues=replace(residues, ca_coord=line)), pockets=(pocket,))
    assert "nan" not in thumbnail(flat)


def test_index(tmp_path: Path) -> None:
    make_prediction("one").save(tmp_path, ["html"])
    rows = [("one.pdb", "ok", 2, "", ""), ("gone.pdb", "ok", 1, "", ""), (NASTY, "error", 0, "", f"{NASTY} is bad")]
    text = write_index(tmp_path, ["one", "gone", "bad"], rows).read_text(encoding="utf-8")
    assert (
        text.count("<svg") == 1 and "href='one_report.html'" in text and "2 pockets, 48 residues; best probability 0.80" in text
    )
    assert "<script" not in text and text.count("&lt;script&gt;") == 2 and "gone.pdb" in text
    assert "1 of 3 inputs have a report" in text and "default-src 'none'" in text


class Fake:
    """A predictor that needs no weights."""

    name = "fake"

    def predict(self, structure: object, config: object) -> object:
        return replace(make_prediction(), structure=replace(make_prediction().structure, name=structure.name))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("formats", "there"), [(("csv", "html"), True), (("csv",), False)])
def test_batch_writes_it(tmp_path: Path, examples: Path, formats: tuple[str, ...], there: bool) -> None:
    items = expand_inputs([str(examples / "1ubi.pdb.gz"), str(examples / "4CUP.cif"), str(tmp_path / "none.pdb")])
    options = BatchOptions(tmp_path / "out", Fake, formats, quiet=True)
    rows = list(predict_batch(items, options))
    assert [row.status for row in rows] == ["ok", "ok", "error"]
    index = tmp_path / "out" / "index.html"
    assert index.exists() is there
    if there:
        assert index.read_text().count("<svg") == 2
        # Done already: the pictures come from the reports of the first run.
        again = list(predict_batch(items, replace(options, resume=True)))
        assert [row.status for row in again] == ["skipped", "skipped", "error"] and index.read_text().count("<svg") == 2
        # Another run without reports.
        list(predict_batch(items, replace(options, formats=("csv",))))
        assert not index.exists()
