"""What the commands of recipes, studies and the results page share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from s2p.errors import S2PError

__all__ = ["status"]


def status(run: Callable[[argparse.Namespace], object], options: argparse.Namespace) -> int:
    """Run a command and return its exit status; an error that a user can cause is one sentence."""
    try:
        run(options)
    except S2PError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
