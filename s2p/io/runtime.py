"""Environment of a run: the device, a folder for numba's compiled kernels, progress bars, time and memory of a call.

The package's kernels import numba from here, so that its cache folder is set before the first kernel needs it. numba stores
compiled kernels next to their source or in the user's cache folder, and fails if neither is writable, as in many containers
and on clusters. ``NUMBA_CACHE_DIR`` sets another folder; if it is not set, a folder for temporary files is used instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sized
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numba
from numba.core import dispatcher, event

from s2p.errors import S2PError, pytorch_wanted

if TYPE_CHECKING:
    import torch

__all__ = [
    "announcing",
    "device_name",
    "in_colab",
    "measure",
    "numba",
    "peak_megabytes",
    "pick_device",
    "progress_bar",
    "watched",
]

T = TypeVar("T")


def device_name(wanted: str = "auto") -> str:
    """``cpu``, or ``cuda`` or ``cuda:N`` if PyTorch finds such a GPU; ``auto`` uses the GPU if there is one.

    PyTorch takes a second or more to import, so it is used only if it and fair-esm are installed and a GPU driver is found.

    Raises
    ------
    S2PError
        If there is no such device here.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted):
        raise S2PError(f"there is no device {wanted!r}; use auto, cpu or cuda")
    if wanted == "cpu" or (wanted == "auto" and not (_driver() and find_spec("torch") and find_spec("esm"))):
        return "cpu"
    with pytorch_wanted():
        import torch

    there = torch.cuda.is_available()
    if wanted != "auto" and not there:
        raise S2PError("no CUDA device was found; use --device cpu, or in Colab choose Runtime > Change runtime type > GPU")
    return wanted.replace("auto", "cuda" if there else "cpu")


def _driver() -> bool:
    """Whether the library through which CUDA programs find a GPU exists, or the device file of AMD's counterpart."""
    try:
        return bool(ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"))
    except OSError:
        return os.path.exists("/dev/kfd")


def pick_device(wanted: str = "auto") -> torch.device:
    """:func:`device_name` as a PyTorch device."""
    with pytorch_wanted():
        import torch

    return torch.device(device_name(wanted))


def in_colab() -> bool:
    """Whether this is a Google Colab kernel."""
    return "google.colab" in sys.modules


def progress_bar(items: Iterable[T], label: str, quiet: bool = False) -> Iterable[T]:
    """``items`` with a progress bar on standard error, shown only in a terminal or notebook."""
    from tqdm.auto import tqdm

    total = len(items) if isinstance(items, Sized) else None
    return tqdm(items, desc=label, total=total, disable=quiet or not watched(), leave=False)


def watched() -> bool:
    """Whether the output is shown in a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def measure(call: Callable[[], T]) -> tuple[T, float, float]:
    """Result of ``call``, its wall time in seconds, and the peak memory of this process or of its children in MB.

    If the system can reset the peak (Linux), it is that of the call; otherwise, and for children, the largest so far.
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


PREFIX = "s2p-numba-"
"""Start of the name of the folder for temporary files."""


class _Line(event.Listener):
    said = False

    def on_start(self, event: Any) -> None:
        if not self.said:
            print("compiling kernels (first use only, about 10 s) ...", file=sys.stderr, flush=True)
        self.said = True

    def on_end(self, event: Any) -> None:
        pass


def announcing(quiet: bool = False) -> contextlib.AbstractContextManager[Any]:
    """Within this context, the first kernel that is compiled and not in the cache prints why this takes long."""
    return contextlib.nullcontext() if quiet else event.install_listener("numba:compile", _Line())


def _probe() -> None:
    """An empty function, to find out where numba would cache its compiled code."""


def _private_folder() -> str:
    """A folder that no other user can write, because cached code is executed: that of an earlier process, or a new one."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        found = path.lstat()
        if hasattr(os, "getuid") and found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077:
            return str(path)
    return tempfile.mkdtemp(prefix=PREFIX)


def _find_place() -> None:
    try:
        numba.njit(cache=True)(_probe)
        return
    except RuntimeError:
        reason = "neither the package's folder nor the user's cache can be written; set NUMBA_CACHE_DIR to a permanent folder"
    try:
        folder = _private_folder()
        numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]  # made from the environment
        os.environ["NUMBA_CACHE_DIR"] = folder  # for worker processes
        where = f"are stored in {folder}"
    except OSError:  # no writable folder for temporary files either
        dispatcher.Dispatcher.enable_caching = lambda self: None  # type: ignore[method-assign]
        where = "are not stored, so that every start takes some 10 s longer"
    logging.getLogger("s2p").warning("compiled kernels %s: %s", where, reason)


_find_place()
