"""Device, threads, progress bars, and where we run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

__all__ = ["in_colab", "pick_device", "progress_bar"]

T = TypeVar("T")


def pick_device(wanted: str = "auto") -> torch.device:
    """``auto`` takes the GPU where there is one.

    Raises
    ------
    S2PError
        If ``cuda`` is asked for and there is none.
    """
    import torch

    from s2p.errors import S2PError

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise S2PError("no CUDA device was found; use --device cpu, or in Colab choose Runtime > Change runtime type > GPU")
    return torch.device(wanted)


def in_colab() -> bool:
    """Whether this is a Google Colab kernel."""
    return "google.colab" in sys.modules


def progress_bar(items: Iterable[T], label: str, quiet: bool = False) -> Iterable[T]:
    """``items`` with a bar on standard error, shown only to a person at a terminal or notebook."""
    from tqdm.auto import tqdm

    total = len(items) if isinstance(items, Sized) else None
    hide = quiet or not (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return tqdm(items, desc=label, total=total, disable=hide, leave=False)
