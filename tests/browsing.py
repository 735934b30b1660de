"""A headless Chromium with the network off, driven by playwright, for tests that click."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def open_page(width: int = 1280, height: int = 900, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page, and the errors and warnings of its console."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.set_default_timeout(120_000)  # a busy machine draws slowly without a graphics card
        messages: list[str] = []
        # The software renderer remarks on its own speed.
        page.on(
            "console",
            lambda m: messages.append(m.text) if m.type in ("error", "warning") and "GL Driver Message" not in m.text else None,
        )
        page.on("pageerror", lambda error: messages.append(str(error)))
        try:
            yield page, messages
        finally:
            browser.close()
