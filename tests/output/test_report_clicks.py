"""The report under a reader's hands: clicks, keys, sorting, themes, updates, and a large complex."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import open_page
from builders import NASTY, make_prediction

from s2p.output.report import embed_json, render, update
from s2p.output.report_index import write_index
from s2p.output.viewers import chimerax_selection, pymol_selection
from s2p.prediction import Prediction
from s2p.structure.reading import Structure, read_structure

pytestmark = pytest.mark.browser
READY = "#viewer[data-ready]"


def test_click_in_3d_goes_to_the_plot_and_back(tmp_path: Path) -> None:
    (path,) = make_prediction().save(tmp_path, ["html"])
    with open_page() as (page, messages):
        page.goto(path.as_uri())
        page.wait_for_selector("#viewer[data-surfaces='2']")
        for box in ("#surfaces", "#centers"):
            page.uncheck(box)
        view = page.locator("#viewer").bounding_box()
        picked = None
        for k in range(48):  # over the middle of the view until a residue is met
            x, y = view["x"] + view["width"] * (0.3 + 0.05 * (k % 8)), view["y"] + view["height"] * (0.3 + 0.08 * (k // 8))
            page.mouse.click(x, y)
            picked = page.get_attribute("#viewer", "data-picked")
            if picked:
                break
        assert picked and page.inner_text("#readout").startswith(f"{picked} ")
        assert "probability 0." in page.inner_text("#readout")
        # And from the plot to 3D, by mouse and by keyboard.
        page.locator("#plot").click(position={"x": 46, "y": 100})
        assert page.get_attribute("#viewer", "data-revealed") == "A:-3"
        page.focus("#plot")
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        assert page.get_attribute("#viewer", "data-revealed") == "B:24" and page.inner_text("#readout").startswith("B:24 ")
        assert messages == []


def test_table_sorts_toggles_and_copies(tmp_path: Path) -> None:
    p = make_prediction()
    big = replace(p, pockets=(p.pockets[0], replace(p.pockets[1], volume=999.0)))
    with open_page(permissions=["clipboard-read", "clipboard-write"]) as (page, messages):
        page.goto(big.save(tmp_path, ["html"])[0].as_uri())
        page.wait_for_selector(READY)

        def order() -> list[str]:
            return [str(x) for x in page.locator("#pocket-table tr.main").evaluate_all("rows => rows.map(r => r.dataset.rank)")]

        assert order() == ["1", "2"]
        page.focus("[data-sort=volume]")
        page.keyboard.press("Enter")
        assert order() == ["2", "1"]
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("volume")
        # The row with the buttons has moved with its pocket.
        ranks = page.locator("#pocket-table tbody tr").evaluate_all("rows => rows.map(r => r.dataset.rank)")
        assert ranks == ["2", "2", "1", "1"]
        page.click("[data-sort=volume]")
        assert order() == ["1", "2"]
        page.click("[data-copy=pymol][data-rank='2']")
        page.wait_for_selector("#status.on")
        assert page.evaluate("navigator.clipboard.readText()") == f"select pocket2, {pymol_selection(big, big.pockets[1])}"
        page.click("[data-copy=chimerax][data-rank='1']")
        page.wait_for_selector("#status:has-text('ChimeraX')", state="attached")
        assert page.evaluate("navigator.clipboard.readText()") == f"select {chimerax_selection(big, big.pockets[0])}"
        fills = "[...document.querySelectorAll('#plot path')].length"
        before = page.evaluate(fills)
        page.uncheck("[data-show='1']")
        assert page.evaluate(fills) < before
        page.click("[data-zoom='1']")
        assert page.is_checked("[data-show='1']") and page.locator("tr.chosen").count() == 2
        page.click("[data-ligand='0']")
        assert messages == []


def test_themes(tmp_path: Path) -> None:
    with open_page(color_scheme="dark") as (page, _):
        page.goto(make_prediction().save(tmp_path, ["html"])[0].as_uri())
        page.wait_for_selector(READY)
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(21, 24, 27)"
        page.select_option("#theme", "light")
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="light")
        page.select_option("#theme", "dark")
        assert page.evaluate(ground) == "rgb(21, 24, 27)"


def test_contrast_of_text() -> None:
    """WCAG AA, 4.5 to 1, for ink and soft ink on the grounds of both themes."""

    def luminance(color: str) -> float:
        parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    import re

    from s2p.output.report import asset

    blocks = re.findall(r"\{([^{}]*--ground:[^{}]*)\}", asset("report.css"))
    assert len(blocks) == 3
    for block in blocks:
        colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for text in ("ink", "soft", "accent"):
            for ground in ("ground", "panel"):
                a, b = sorted((luminance(colors[text]), luminance(colors[ground])))
                assert (b + 0.05) / (a + 0.05) >= 4.5, (text, ground)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_rules(tmp_path: Path, scheme: str) -> None:
    """The rules of axe-core (WCAG 2 A and AA, best practice) on report, explorer and index of a batch."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    p = make_prediction()
    (report,) = p.save(tmp_path, ["html"])
    explorer = tmp_path / "explorer.html"
    explorer.write_text(render(p, channel="c2"), encoding="utf-8")
    index = write_index(tmp_path, ["demo", "bad"], [("demo.pdb", "ok", 2, "", ""), ("x", "error", 0, "", "is bad")])
    # The rules are a script of their own, which the pages' policy would rightly not run.
    with open_page(color_scheme=scheme, bypass_csp=True) as (page, _):
        for path in (report, explorer, index):
            page.goto(path.as_uri())
            if path != index:
                page.wait_for_selector("#viewer[data-surfaces='2']")
            found = axe.run(page).response
            assert len(found["passes"]) > 10
            assert {rule["id"]: [node["html"] for node in rule["nodes"]] for rule in found["violations"]} == {}, path


def test_channel_brings_other_pockets(tmp_path: Path) -> None:
    p = make_prediction(nasty=True, chains=(NASTY, "B"))
    path = tmp_path / "page.html"
    path.write_text(
        "<!DOCTYPE html><body><iframe width=900 height=800 srcdoc='"
        + render(p, channel="c1").replace("&", "&amp;").replace("'", "&#39;")
        + "'></iframe>",
        encoding="utf-8",
    )
    fewer = replace(p, pockets=p.pockets[:1], settings={"threshold": 0.9})
    with open_page() as (page, messages):
        page.goto(path.as_uri())
        page.wait_for_function("document.querySelector('iframe').contentDocument.querySelector('#viewer[data-ready]')")
        frame = page.frames[1]
        assert frame.locator("#pocket-table tr.main").count() == 2
        frame.evaluate(f"new BroadcastChannel('c1').postMessage({embed_json(update(fewer))})")
        frame.wait_for_selector("body[data-updates='1']")
        assert frame.locator("#pocket-table tr.main").count() == 1
        assert frame.inner_text("#summary").startswith("1 pocket;") and NASTY in frame.inner_text("#summary")
        assert frame.is_checked("[data-show='1']") and messages == []


def large(examples: Path, copies: int) -> Prediction:
    """Copies of a real complex of 1918 residues side by side, with thirty pockets."""
    one = read_structure(examples / "7pbl.pdb.gz")
    n, step = len(one.residues), np.float32([np.ptp(one.residues.ca_coord[:, 0]) + 10, 0, 0])

    def tiled(table: Any, **columns: Any) -> Any:
        repeated = {key: np.concatenate([value] * copies) for key, value in vars(table).items()}
        return type(table)(**(repeated | columns))

    move = [k * step for k in range(copies)]
    structure = Structure(
        "large",
        tiled(
            one.atoms,
            coord=np.concatenate([one.atoms.coord + m for m in move]),
            residue_index=np.concatenate([one.atoms.residue_index + k * n for k in range(copies)]).astype(np.int32),
        ),
        tiled(
            one.residues,
            ca_coord=np.concatenate([one.residues.ca_coord + m for m in move]),
            chain=np.concatenate([np.char.add(one.residues.chain, str(k)) for k in range(copies)]),
        ),
    )
    ca, demo = structure.residues.ca_coord, make_prediction().pockets[0]
    near = [np.argsort(np.linalg.norm(ca - ca[(k + 1) * copies * n // 31], axis=1))[:20] for k in range(30)]
    pockets = tuple(
        replace(demo, rank=k, residues=np.sort(x).astype(np.int32), atoms=np.zeros(1, np.int32), center=ca[x].mean(axis=0))
        for k, x in enumerate(near, start=1)
    )
    positive = np.isin(np.arange(copies * n), np.concatenate(near))
    return Prediction(structure, positive.astype(np.float32), positive & False, positive, pockets, "test", {"threshold": 0.5})


@pytest.mark.slow
def test_large_complex_opens_and_stays_usable(tmp_path: Path, examples: Path) -> None:
    """The time is that of the page's own thread: what it takes on a machine that does nothing else and has a graphics card."""
    prediction = large(examples, 3)
    assert len(prediction.structure.residues) > 5000
    (path,) = prediction.save(tmp_path, ["html"])
    with open_page() as (page, messages):
        measure = page.context.new_cdp_session(page)
        measure.send("Performance.enable", {"timeDomain": "threadTicks"})

        def seconds() -> float:
            metrics = {m["name"]: m["value"] for m in measure.send("Performance.getMetrics")["metrics"]}
            return float(metrics["TaskDuration"])

        page.goto(path.as_uri(), wait_until="commit")

        def until(condition: str) -> None:
            # Asked by the clock: by frames, the usual way, would be as slow as software rendering.
            end = time.monotonic() + 120
            while not page.evaluate(condition):
                assert time.monotonic() < end, condition
                page.wait_for_timeout(200)

        until(f"document.querySelector({READY!r}) !== null")
        opened = seconds()
        until("document.querySelector('#viewer').dataset.surfaces === '5'")
        drawn = seconds()
        page.evaluate("document.querySelector(\"[data-show='1']\").click()")
        page.evaluate("document.querySelector(\"[data-zoom='2']\").click()")
        used = seconds() - drawn
        print(f"opened in {opened:.1f} s, surfaces {drawn - opened:.1f} s, a click {used / 2:.1f} s")
        assert opened < 5 and used < 4 and messages == []


def test_five_hundred_residues_are_below_three_megabytes(tmp_path: Path, examples: Path) -> None:
    prediction = large(examples, 1)
    assert prediction.save(tmp_path, ["html"])[0].stat().st_size < 3e6  # nearly two thousand residues
