"""The report and the notebook view drawn by a real browser with the network off; skipped where there is no Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from builders import NASTY, make_prediction

from s2p.output.palette import pocket_color, rgb

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

SIZE = (1400, 1000)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--disable-background-networking --disable-component-update --disable-sync --no-first-run --hide-scrollbars "
    "--host-resolver-rules=MAP\u00a0*\u00a0~NOTFOUND --virtual-time-budget=15000 --enable-logging=stderr"
)


def chromium(page: Path, work: Path, *options: str) -> tuple[str, list[str]]:
    """Standard output and console messages of a visit."""
    command = [str(CHROMIUM), *(x.replace("\u00a0", " ") for x in OPTIONS.split(" ")), f"--user-data-dir={work / 'profile'}"]
    command += [f"--window-size={SIZE[0]},{SIZE[1]}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    messages = re.findall(r"CONSOLE[^\"]*\"(.*)\"", done.stderr.decode(errors="replace"))
    # The software renderer remarks on its own speed.
    return done.stdout.decode(errors="replace"), [x for x in messages if "GL Driver Message" not in x]


def screenshot(page: Path, work: Path) -> tuple[np.ndarray, list[str]]:  # type: ignore[type-arg]
    image = pytest.importorskip("PIL.Image")
    _, messages = chromium(page, work, f"--screenshot={work / 'page.png'}")
    return np.asarray(image.open(work / "page.png").convert("RGB")).astype(float) / 255, messages


def test_report_draws_protein_and_pockets(tmp_path: Path) -> None:
    (path,) = make_prediction().save(tmp_path, ["html"])
    pixels, messages = screenshot(path, tmp_path)
    assert messages == []
    # The 3D view takes the left half below the headings.
    scene = pixels[130:700, 60:740].reshape(-1, 3)
    assert (np.ptp(scene, axis=1) < 0.03).sum() > 0.3 * len(scene)
    grey = (np.ptp(scene, axis=1) < 0.06) & (scene.max(axis=1) < 0.9)
    assert grey.sum() > 1000, "no cartoon"
    for rank in (1, 2):
        towards = np.array(rgb(pocket_color(rank)))
        shade = scene - scene.min(axis=1, keepdims=True)
        length = np.linalg.norm(shade, axis=1)
        hue = (towards - towards.min()) / np.linalg.norm(towards - towards.min())
        alike = (shade @ hue > 0.97 * np.maximum(length, 1e-9)) & (length > 0.2)
        assert alike.sum() > 800, f"pocket {rank} is not to be seen"


def test_report_is_ready_with_plot_and_surfaces(tmp_path: Path) -> None:
    dom, messages = chromium(make_prediction().save(tmp_path, ["html"])[0], tmp_path, "--dump-dom")
    assert messages == []
    assert 'data-ready="1"' in dom and 'data-surfaces="2"' in dom
    plot = dom[dom.index('id="plot"') : dom.index('id="readout"')]
    assert plot.count("<path") >= 5 and "chain B" in plot


def test_names_are_not_run(tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\">"
    p = make_prediction(evil, nasty=True, chains=(NASTY, "B"), settings={evil: evil})
    dom, messages = chromium(p.save(tmp_path, ["html"])[0], tmp_path, "--dump-dom")
    assert messages == []
    assert "<title>owned" not in dom and "<img" not in re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    assert 'data-ready="1"' in dom


def test_notebook_view(tmp_path: Path) -> None:
    pytest.importorskip("py3Dmol")
    page = tmp_path / "notebook.html"
    page.write_text(
        f"<!DOCTYPE html><body>{make_prediction().view(width=700, height=600)._repr_html_()}</body>", encoding="utf-8"
    )
    pixels, messages = screenshot(page, tmp_path)
    assert messages == []
    assert (pixels[10:600, 10:700].min(axis=2) < 0.9).sum() > 5000
