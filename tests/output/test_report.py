"""The report is one file, needs no network, and shows names from files as text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from builders import NASTY, make_prediction

from s2p.output.palette import POCKETS, ink, pocket_color, rgb
from s2p.output.pictures import static_figure
from s2p.output.report import embed_json, render
from s2p.pockets.hits import ligand_hits
from s2p.prediction import Prediction


class Page(HTMLParser):
    """Tags, and the text of scripts and of the rest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def data(self) -> dict:  # type: ignore[type-arg]
        return json.loads(self.scripts[0])  # type: ignore[no-any-return]


def test_self_contained() -> None:
    text = render(make_prediction())
    page = Page(text)
    assert len(text) < 3e6 and len(page.scripts) == 3
    for _, attributes in page.tags:
        assert not {"src", "href", "srcset", "onclick", "onload"} & set(attributes)
    assert "@import" not in text and "url(" not in text.split("</style>")[0]
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe-inline'; script" not in policy
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_names_stay_text() -> None:
    p = make_prediction(NASTY, nasty=True, settings={NASTY: NASTY, "threshold": 0.5, "placeholder": "{{data}}"})
    odd = Prediction(p.structure, p.probabilities, p.smoothed, p.positive, p.pockets, NASTY, p.settings, (NASTY, "<!-- x"))
    page = Page(render(odd))
    assert len(page.scripts) == 3
    assert page.text.count(NASTY) >= 5
    assert "a note & <b>more</b>" in page.text and "{{data}}" in page.text
    assert NASTY in page.data()["structure"]
    assert not re.search("[<>&\u2028\u2029]", page.scripts[0])


def test_embed_json_round_trip() -> None:
    value = {"x": "</script><!-- & \u2028\u2029 é 'quote' \"", "n": [1, 2.5, None, True], "f": np.float32(0.5)}
    text = embed_json(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {**value, "f": 0.5}


def test_data_agrees_with_prediction() -> None:
    p = make_prediction()
    data = Page(render(p)).data()
    assert data["residues"]["id"] == p.structure.residues.ids()
    assert data["residues"]["p"] == pytest.approx(p.probabilities.tolist(), abs=1e-4)
    assert [x["residues"] for x in data["pockets"]] == [x.residues.tolist() for x in p.pockets]
    assert [x["color"] for x in data["pockets"]] == [pocket_color(1), pocket_color(2)]
    assert data["pockets"][0]["pymol"].startswith(r"select pocket1, (chain A and resi \-3+0+0A")
    assert data["pockets"][0]["chimerax"].startswith("select /A:-3,0,0A")
    assert data["threshold"] == 0.5 and data["format"] == "pdb" and not data["trace"]


def test_known_ligands() -> None:
    """Molecules, not ions, with the figures of the ligand table that the command line and the notebook show."""
    p = make_prediction()
    (hit,) = ligand_hits(p, p.structure.ligands[:1])
    text = Page(render(p)).text
    assert "BNZ A:900" in text and "ZN B:901" not in text
    shown = (hit.n_atoms, "yes" if hit.found else "no", hit.pocket, f"{hit.dca:.1f}", f"{hit.dcc:.1f}")
    assert "".join(f"<td>{x}</td>" for x in shown) in render(p)


def test_no_pockets_and_no_ligands() -> None:
    from dataclasses import replace

    p = make_prediction()
    bare = replace(p, structure=replace(p.structure, ligands=()), pockets=(), positive=p.positive & False, settings={})
    text = Page(render(bare)).text
    assert "No pocket was predicted" in text and "contains no ligand" in text and "dashed line" not in text


def test_write_report(tmp_path: Path) -> None:
    (path,) = make_prediction("a/b").save(tmp_path / "new", ["html"])
    assert path == tmp_path / "new" / "a_b_report.html" and path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("color", POCKETS)
def test_numbers_on_pocket_colours_can_be_read(color: str) -> None:
    """WCAG AA, 4.5 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(color)]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    contrast = {"#FFFFFF": 1.05 / (luminance + 0.05), "#000000": (luminance + 0.05) / 0.05}
    assert contrast[ink(color)] == max(contrast.values()) >= 4.5


def test_copies_are_named_wherever_a_pocket_is() -> None:
    p = make_prediction()
    first, second = p.pockets
    p = replace(p, pockets=(first, replace(second, copy_of=1)))
    figure = static_figure(p)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    for text in (render(p), p._repr_html_(), repr(p), p.view()._make_html()):
        assert text.count("copy of pocket 1") == 1
    assert "\n".join(legend).count("copy of 1") == 1  # short, so that legends fit beside each other
    assert "copy of pocket" not in render(make_prediction())


def test_a_long_site_names_and_marks_its_centres() -> None:
    prediction = make_prediction()
    first, second = prediction.pockets
    sites = np.stack([first.center, first.center + 7.0]).astype(np.float32)
    page = render(replace(prediction, pockets=(replace(first, sites=sites), second)))
    x, y, z = (f"{value:.1f}" for value in sites[1].tolist())
    assert page.count("a long site with 2 centres") == 1 and f"also at {x}, {y}, {z} Å" in page
    marked = [p["sites"] for p in json.loads(Page(page).scripts[0])["pockets"]]
    np.testing.assert_allclose(marked[0], sites[1:], atol=1e-3)
    assert marked[1] == []
