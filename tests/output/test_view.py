"""Interactive views for notebooks."""

from __future__ import annotations

import html
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from builders import NASTY, make_prediction

from s2p.errors import S2PError
from s2p.output.files import scores_order
from s2p.output.palette import pocket_color
from s2p.output.pictures import facing
from s2p.output.view import view


def page_of(markup: str) -> str:
    match = re.fullmatch(r'<iframe srcdoc="([^"]*)"[^>]*></iframe>', markup)
    assert match
    return html.unescape(match[1])


def test_py3dmol_view_needs_no_network() -> None:
    py3Dmol = pytest.importorskip("py3Dmol")
    scene = make_prediction().view(width=500, height=300)
    assert isinstance(scene, py3Dmol.view)
    page = page_of(scene._repr_html_())
    assert page.index("3Dmol") < page.index("$3Dmolpromise = Promise.resolve()") < page.index("typeof $3Dmolpromise")
    assert ".addModel(" in page and "$3Dmol.download(" not in page.split("<script>")[-1]
    assert page.count(".addSurface(") >= 2 and pocket_color(1) in page
    assert 'width="500" height="300"' in scene._repr_html_()


def test_py3dmol_view_keeps_names_as_text() -> None:
    pytest.importorskip("py3Dmol")
    page = page_of(make_prediction(nasty=True, chains=("A</script>", "B<!--")).view()._repr_html_())
    # The library, the promise, the view: nothing in the data ends a script or hides its end in a comment.
    assert len(re.findall("</script", page)) == 3
    assert "<!--" not in page and "\\x3c!--" in page


def test_view_names_residues_and_has_a_legend() -> None:
    pytest.importorskip("py3Dmol")
    p = make_prediction(nasty=True, chains=(NASTY, "B"))
    page = page_of(p.view()._repr_html_())
    names = json.loads(re.search(r"const s2pResidues = (.*?\]);", page)[1])  # type: ignore[index]
    assert names[20] == f"{NASTY}:0A LEU:  probability {p.probabilities[4]:.2f}, pocket 1" and names[-1] == ""
    assert "setHoverable" in page and "setClickable" in page
    assert "pocket 1: 0.80" in page and "known ligand" in page and NASTY not in page


def test_what_a_view_shows() -> None:
    pytest.importorskip("py3Dmol")
    pages = {show: page_of(make_prediction().view(show=show)._repr_html_()) for show in ("surface", "points", "sticks")}
    pages = {show: page.split("const s2pResidues")[1] for show, page in pages.items()}  # what follows the library
    count = {show: page.count(".addSurface(") for show, page in pages.items()}
    assert count["surface"] >= 2 and count["points"] == count["sticks"] == 0
    assert '"xyz"' in pages["points"] and '"xyz"' not in pages["sticks"]
    with pytest.raises(S2PError, match="no view show 'x'"):
        view(make_prediction(), show="x")  # type: ignore[arg-type]


def test_a_cryptic_site_is_a_net_with_a_label() -> None:
    pytest.importorskip("py3Dmol")
    p = make_prediction()
    shown = replace(p, pockets=(p.pockets[0], replace(p.pockets[1], site="cryptic")), parts={"cryptic": p.probabilities})
    for prediction, n in ((p, 0), (shown, 1)):
        page = page_of(view(prediction)._repr_html_())
        assert page.count('"wireframe": true') == page.count('"2 cryptic"') == n
        assert (", cryptic</div>" in page) == (", cryptic 0." in page) == bool(n)


def test_view_brings_a_still_picture() -> None:
    pytest.importorskip("py3Dmol")
    assert make_prediction().view()._repr_png_().startswith(b"\x89PNG")


def test_nglview() -> None:
    nglview = pytest.importorskip("nglview")
    p = make_prediction(chains=("A-B", "x y"))  # names that NGL's selection language has no way to write
    scene = p.view(backend="nglview", show="points")
    assert isinstance(scene, nglview.NGLWidget)
    calls = [m for m in scene._ngl_msg_archive if m["methodName"] in ("addRepresentation", "addBuffer")]
    chosen = [m["kwargs"]["sele"] for m in calls if m["methodName"] == "addRepresentation" and m["args"] == ["licorice"]]
    owner = scores_order(p.structure)
    wanted = [np.isin(owner, pocket.residues) for pocket in p.pockets] + [owner < 0]  # each pocket, then the ligands
    assert chosen == ["@" + ",".join(map(str, np.flatnonzero(x))) for x in wanted]
    spheres = [m["kwargs"] for m in calls if m["methodName"] == "addBuffer"]
    assert [len(s["position"]) // 3 for s in spheres] == [len(pocket.points) for pocket in p.pockets]
    surfaces = [m for m in p.view(backend="nglview")._ngl_msg_archive if m.get("args") == ["surface"]]
    assert len(surfaces) == len(p.pockets)
    bundle = scene._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)


def test_probability_style() -> None:
    pytest.importorskip("py3Dmol")
    assert '"gradient": "linear"' in page_of(make_prediction().view(style="probability")._repr_html_())


def test_unknown_choices() -> None:
    p = make_prediction()
    with pytest.raises(S2PError, match="no view style 'x'"):
        view(p, style="x")  # type: ignore[arg-type]
    with pytest.raises(S2PError, match="no view backend 'x'"):
        view(p, backend="x")  # type: ignore[arg-type]


def test_missing_nglview_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nglview", None)
    with pytest.raises(S2PError, match=r"needs nglview: pip install 's2p-pockets\[notebooks\]'"):
        view(make_prediction(), backend="nglview")


def test_the_view_is_turned_as_the_still_picture() -> None:
    """3Dmol's quaternion (x, y, z, w) takes the directions right, up and towards the reader to the axes of the screen."""
    prediction = make_prediction()
    script = view(prediction).startjs
    x, y, z, w = json.loads(re.search(r"\.setView\((\[.*?\])\)", script).group(1))[4:]
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    right_up_front = facing(prediction, prediction.structure.residues.ca_coord.mean(axis=0))
    assert np.allclose(turn @ right_up_front.T, np.eye(3), atol=1e-6)
    assert script.index("setView") < script.rindex("zoomTo")
