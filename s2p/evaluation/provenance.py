"""Origin of measurements: date, versions, hardware."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from s2p import __version__

__all__ = ["provenance"]

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "numba", "gemmi", "fair-esm")


def provenance() -> dict[str, Any]:
    """Date (UTC), versions of Python and of the packages that affect results, and the hardware, but not its name."""
    packages = {name: metadata.version(name) for name in PACKAGES if any(metadata.distributions(name=name))}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {"s2p": __version__, "python": platform.python_version(), **packages},
        "hardware": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gb": _memory(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def _processor() -> str:
    if sys.platform.startswith("linux"):
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            for line in handle:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
