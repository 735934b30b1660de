"""Device, progress bars, time and memory of a call, and where we run."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

__all__ = ["in_colab", "measure", "peak_megabytes", "pick_device", "progress_bar", "watched"]

T = TypeVar("T")


def pick_device(wanted: str = "auto") -> torch.device:
    """``auto`` takes the GPU where there is one.

    Raises
    ------
    S2PError
        If there is no such device here.
    """
    import torch

    from s2p.errors import S2PError

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted):
        raise S2PError(f"there is no device {wanted!r}; use auto, cpu or cuda")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise S2PError("no CUDA device was found; use --device cpu, or in Colab choose Runtime > Change runtime type > GPU")
    return torch.device(wanted)


def in_colab() -> bool:
    """Whether this is a Google Colab kernel."""
    return "google.colab" in sys.modules


def progress_bar(items: Iterable[T], label: str, quiet: bool = False) -> Iterable[T]:
    """``items`` with a bar on standard error, shown only to a person at a terminal or notebook."""
    from tqdm.auto import tqdm

    total = len(items) if isinstance(items, Sized) else None
    return tqdm(items, desc=label, total=total, disable=quiet or not watched(), leave=False)


def watched() -> bool:
    """Whether a person looks on, at a terminal or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def measure(call: Callable[[], T]) -> tuple[T, float, float]:
    """Result of ``call``, its wall time in seconds, and the peak memory of this process or of its children in MB.

    Where the system can reset the peak (Linux), it is that of the call; else, and for children, the largest so far.
    """
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as handle:
        handle.write("5")
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start, peak_megabytes()


def peak_megabytes() -> float:
    """Peak resident memory of this process, or of a child that has ended if that was larger, in MB (10^6 bytes)."""
    import resource

    unit = 1.0 if sys.platform == "darwin" else 1024.0
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/status") as handle:
        own = next(float(line.split()[1]) * 1024 for line in handle if line.startswith("VmHWM"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return max(own, children) / 1e6
