"""The program: what ``python -m s2p`` and the command ``s2p`` run. Ctrl-C ends it with one sentence, whatever it is doing."""

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
    """The command line, and its exit status; interrupts are taken care of before anything else is imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may have had them ignored
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _again
    try:
        from s2p.commands import main

        return main()
    except KeyboardInterrupt:  # a second one, while the first was answered
        sys.stderr.write(SENTENCE)
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left to do is the interpreter's


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise ``KeyboardInterrupt`` but end at once while something is imported: it would abort compiled modules that start."""
    above = frame
    while above is not None:
        if above.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, SENTENCE.encode())
            os._exit(130)
        above = above.f_back
    raise KeyboardInterrupt


def _again(raised: sys.UnraisableHookArgs) -> None:
    """An interrupt that met a destructor, where Python can only report and forget it, comes once more, a moment later."""
    if issubclass(raised.exc_type, KeyboardInterrupt):
        import threading

        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(raised)


if __name__ == "__main__":  # worker processes import this module again
    sys.exit(run())
