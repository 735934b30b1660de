"""JupyterLab opens the quickstart: the explorer draws, and its sliders move the pockets."""

from __future__ import annotations

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


def test_explorer_in_jupyterlab(lab: str, tmp_path: Path) -> None:
    with open_page(1200, 940) as (page, _):
        page.on("dialog", lambda dialog: dialog.accept())  # leaving a page with changes
        seen = []
        for _ in range(3):  # on a busy machine JupyterLab now and then loses the command, or the connection to its kernel
            page.goto(f"{lab}/lab/tree/tutorial/{NOTEBOOK.name}", wait_until="domcontentloaded")
            page.wait_for_selector(".jp-Notebook", timeout=120_000)
            page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']", state="attached", timeout=120_000)
            page.click(".lm-MenuBar-itemLabel:text-is('Run')", timeout=60_000)
            page.click("text=Run All Cells")
            if frame := drawn(page, 240):
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
