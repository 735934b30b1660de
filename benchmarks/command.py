"""What the commands of recipes, studies and the results page share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence

from s2p.errors import S2PError

__all__ = ["log", "reported"]


def reported(main: Callable[[Sequence[str] | None], None]) -> Callable[..., int]:
    """Make a command of ``main``: it returns the exit status, and an error that a user can cause is one sentence."""

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        try:
            main(argv)
        except S2PError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    return run


def log(message: str) -> None:
    """Print at once, so that a long run can be watched."""
    print(message, flush=True)
