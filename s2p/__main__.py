"""Entry point of ``python -m s2p`` and of the command ``s2p``. Ctrl-C ends the program with one sentence at any time."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes as long to import as all of this
    from types import FrameType

__all__ = ["run"]

SENTENCE = "s2p: error: interrupted\n"


def run() -> int:
    """Run the command line and return its exit status; interrupts are handled before anything else is imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not so if the shell ignores interrupts
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _again
    try:
        from s2p.commands import main

        return main()
    except KeyboardInterrupt:  # a second one, while the first was being handled
        sys.stderr.write(SENTENCE)
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the interpreter's shutdown is left


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise ``KeyboardInterrupt``, but exit at once during an import, where it would abort the start of a compiled module."""
    above = frame
    while above is not None:
        if above.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, SENTENCE.encode())
            os._exit(130)
        above = above.f_back
    raise KeyboardInterrupt


def _again(raised: sys.UnraisableHookArgs) -> None:
    """Send an interrupt again a moment later if it arrived in a destructor, where Python only reports exceptions."""
    if issubclass(raised.exc_type, KeyboardInterrupt):
        import threading

        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(raised)


if __name__ == "__main__":  # worker processes import this module again
    sys.exit(run())
