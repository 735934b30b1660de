"""Ctrl-C that waits for a moment at which it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["interrupts_held"]


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Hold an interrupt (SIGINT) back until the end of the block; what is yielded tells whether one has come.

    For calls that take locks: an exception that is raised between taking one and giving it back leaves it taken for good. In
    another thread than the main one, where interrupts do not arrive, and where they are ignored, nothing is changed.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: False
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(came[0], None)
