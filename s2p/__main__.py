"""``python -m s2p``."""

from __future__ import annotations

import sys

from s2p.commands import main

if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
