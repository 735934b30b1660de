"""JupyterLab opens the quickstart, whose explorer draws and follows its sliders; and a view of NGLView, which draws as told."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import open_page

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "tutorial" / "quickstart.ipynb"
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Address of a JupyterLab with the quickstart in its folder."""
    pytest.importorskip("jupyterlab")
    pytest.importorskip("playwright")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    work = tmp_path / "lab" / "tutorial"
    work.mkdir(parents=True)
    text = NOTEBOOK.read_text(encoding="utf-8").replace("../data/examples", (ROOT / "data" / "examples").as_posix())
    (work / NOTEBOOK.name).write_text(text, encoding="utf-8")
    (work.parent / "notebooks").symlink_to(ROOT / "notebooks")  # for the course's own code
    home = {key: str(tmp_path / key) for key in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={work.parent}", "--ServerApp.port_retries=0"]
    settings = tmp_path / "settings" / "@jupyterlab"
    for name, value in {
        "notebook-extension/tracker": {"windowingMode": "none"},  # cells stay in the page when they are out of sight
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        target = settings / f"{name}.jupyterlab-settings"
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(value))
    home["JUPYTERLAB_SETTINGS_DIR"] = str(settings.parent)
    with open(tmp_path / "lab.log", "wb") as log:
        environment = os.environ | home | {"JUPYTER_PREFER_ENV_PATH": "1", "OMP_NUM_THREADS": "1"}
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=work)
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{address}/api", timeout=2)
                    break
                except OSError:
                    assert server.poll() is None, (tmp_path / "lab.log").read_text()
                    time.sleep(0.5)
            yield address
        finally:
            server.terminate()
            server.wait(30)


def drawn(page: Any, seconds: float) -> Any | None:
    """The frame with the explorer's report, once it has drawn; None if it has not within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for frame in page.frames:
            if not frame.is_detached() and frame.query_selector("body.embedded #viewer[data-ready]"):
                return frame
        page.wait_for_timeout(500)
    return None


def state(page: Any, folder: Path) -> str:
    """What a person would look at first: how far the cells are, and what kernel and server say."""
    prompts = page.eval_on_selector_all(".jp-CodeCell .jp-InputPrompt", "all => all.map(x => x.innerText).join(' ')")
    kernel = page.eval_on_selector_all(".jp-Notebook-ExecutionIndicator", "all => all.map(x => x.dataset.status).join(' ')")
    errors = page.eval_on_selector_all("[data-mime-type$='stderr'], .jp-Dialog", "all => all.map(x => x.innerText).join('\\n')")
    log = (folder / "lab.log").read_text(errors="replace")[-2000:]
    return f"kernel {kernel!r}, cells {prompts}\n{errors}\n{log}"


def binding_residues(page: Any) -> int:
    """How many the explorer says there are."""
    found = re.search(r"\d+ pockets, (\d+) residues \(\d+ by smoothing\), ranking", page.inner_text(".jp-Notebook"))
    assert found, "the explorer gives no summary"
    return int(found[1])


def run_all(page: Any, address: str) -> None:
    """Open a notebook and have all of its cells run; JupyterLab now and then loses the command, and is given it again."""
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook", timeout=120_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']", state="attached", timeout=120_000)
    from playwright.sync_api import TimeoutError as Late

    begun = "() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].some(x => /[0-9*]/.test(x.innerText))"
    for _ in range(4):
        page.keyboard.press("Escape")  # closes a menu that was left open
        for button in page.query_selector_all(".jp-Dialog .jp-mod-accept"):
            button.click()  # a busy server's question whether to try again covers the menu
        with contextlib.suppress(Late):
            page.click(".lm-MenuBar-itemLabel:text-is('Run')", timeout=60_000)
            page.click("text=Run All Cells")
            page.wait_for_function(begun, timeout=30_000)
            return


def test_explorer_in_jupyterlab(lab: str, tmp_path: Path) -> None:
    with open_page(1200, 940) as (page, _):
        page.on("dialog", lambda dialog: dialog.accept())  # leaving a page with changes
        seen = []
        for _ in range(3):  # on a busy machine JupyterLab now and then loses the command, or the connection to its kernel
            run_all(page, f"{lab}/lab/tree/tutorial/{NOTEBOOK.name}")
            if frame := drawn(page, 150):
                break
            seen.append(state(page, tmp_path))
        assert frame, "the explorer did not draw\n" + "\n".join(seen)
        frame.frame_element().evaluate("x => x.closest('.widget-vbox').scrollIntoView()")
        assert frame.locator("#pocket-table tr.main").count() > 3
        assert frame.locator("#plot svg path").count() > 3
        if shots := os.environ.get("S2P_SCREENSHOTS"):
            page.screenshot(path=Path(shots) / "jupyterlab.png", timeout=240_000)
        before = binding_residues(page)
        # By keyboard: a page with software rendering is too busy for a mouse.
        page.locator(".widget-slider", has_text="residue threshold").locator(".noUi-handle").focus()
        for _ in range(15):
            page.keyboard.press("ArrowRight")
        for _ in range(240):
            if binding_residues(page) < before:
                break
            page.wait_for_timeout(500)
        assert 0 < binding_residues(page) < before
        assert frame.locator("#pocket-table tr.main").count() > 0
        assert re.search(r"ZMA A:1202: pocket \d+, DCC [\d.]+ Å", page.inner_text(".jp-Notebook"))
        if shots:
            page.wait_for_timeout(3000)
            page.screenshot(path=Path(shots) / "explorer.png", timeout=240_000)
        assert "Error displaying widget" not in page.inner_text("body")


MOLECULE = """
import sys
import nglview
import numpy as np
from ipywidgets import HTML
from matplotlib.figure import Figure

sys.path.append("../notebooks")
from course.charts import Picture
from course.scene import Beside, look

right, up, front = axes3 = np.array([[0.6, 0.8, 0], [0, 0, 1], [0.8, -0.6, 0]])
places = {"C": 0 * front, "O": 9 * right, "N": 9 * up, "S": 4 * front}
row = "HETATM{0:5d}  {1:<3} LIG A{0:4d}    {2:8.3f}{3:8.3f}{4:8.3f}  1.00  0.00          {1:>2}\\n"
text = "".join(row.format(k, element, *xyz) for k, (element, xyz) in enumerate(places.items(), 1))
view = nglview.NGLWidget(nglview.TextStructure(text, ext="pdb"), default_representation=False)
view.add_representation("spacefill", color_scheme="element")
look(view, axes3)
said = HTML("nothing yet")
view.observe(lambda x: setattr(said, "value", f"picked {x.new.get('atom1', {}).get('resno')}"), "picked")
display(said, Beside(view, Picture(Figure((1, 1)), "a still picture")))
"""
"""Four atoms: oxygen (red) to the right of carbon, nitrogen (blue) above it, and sulphur (yellow) in front of it."""


def test_nglview_draws_the_side_that_the_still_picture_shows(lab: str, tmp_path: Path) -> None:
    pytest.importorskip("nglview")
    nbformat = pytest.importorskip("nbformat")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(MOLECULE)], metadata=kernel)
    nbformat.write(notebook, tmp_path / "lab" / "tutorial" / "views.ipynb")
    with open_page(1200, 940) as (page, _):
        page.on("dialog", lambda dialog: dialog.accept())
        canvas, middles = page.locator(".jp-OutputArea canvas").first, {}
        for attempt in range(90):
            if attempt % 15 == 0:  # a busy JupyterLab now and then loses the command
                run_all(page, f"{lab}/lab/tree/tutorial/views.ipynb")
            page.wait_for_timeout(1000)
            if canvas.count() and len(middles := colored(canvas.screenshot(timeout=240_000))) == 3:
                break
        assert len(middles) == 3, f"{sorted(middles)}\n{state(page, tmp_path)}"
        red, blue, yellow = (np.array(middles[color]) for color in ("red", "blue", "yellow"))
        assert red[0] > yellow[0] + 30 and abs(red[1] - yellow[1]) < 15  # sulphur hides the carbon
        assert blue[1] < yellow[1] - 30 and abs(blue[0] - yellow[0]) < 15
        assert page.locator(".jp-OutputArea img[alt='a still picture']").count() == 1
        canvas.click(position={"x": float(red[0]), "y": float(red[1])})
        page.wait_for_selector("text=picked 2", timeout=60_000)


def colored(png: bytes) -> dict[str, tuple[float, float]]:
    """Middles (x, y) of what is red, blue and yellow in a picture."""
    from PIL import Image

    r, g, b = np.moveaxis(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int), 2, 0)
    marks = {"red": r > g + b, "blue": b > np.maximum(r, g) + 90, "yellow": np.minimum(r, g) > b + 90}
    return {color: (float(np.nonzero(m)[1].mean()), float(np.nonzero(m)[0].mean())) for color, m in marks.items() if m.sum() > 50}
