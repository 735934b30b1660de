"""Shared fixtures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_server import Server, serving

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "data" / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    """Folder of the bundled structures."""
    return EXAMPLES


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Interrupts arrive here and in what is started from here, though a shell that put the tests behind ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine; what it answers is set by the test."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as state:
        yield state
