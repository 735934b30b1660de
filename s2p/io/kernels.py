"""numba for the package's kernels: import it from here, so that its cache has a place before the first kernel asks for one.

numba keeps compiled kernels beside their source or in the user's cache folder, and fails where it can write neither, as in many
containers and on clusters. ``NUMBA_CACHE_DIR`` names another place; without it they go into a folder for temporary files then.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numba
from numba.core import dispatcher, event

__all__ = ["announcing", "numba"]

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


def announcing(quiet: bool = False) -> AbstractContextManager[Any]:
    """While this lasts, the first kernel that is compiled and not found in the cache says why that takes long."""
    return nullcontext() if quiet else event.install_listener("numba:compile", _Line())


def _probe() -> None:
    """What numba is asked with whether it has a place for compiled kernels."""


def _private_folder() -> str:
    """A folder that nobody else can write, since what is cached there is run: that of an earlier process, or a new one."""
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
        reason = "neither the package's folder nor the user's cache can be written; NUMBA_CACHE_DIR names a lasting place"
    try:
        folder = _private_folder()
        numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]  # made from the environment
        os.environ["NUMBA_CACHE_DIR"] = folder  # for worker processes
        where = f"are kept in {folder}"
    except OSError:  # no folder for temporary files either
        dispatcher.Dispatcher.enable_caching = lambda self: None  # type: ignore[method-assign]
        where = "are not kept, so that every start takes some 10 s longer"
    logging.getLogger("s2p").warning("compiled kernels %s: %s", where, reason)


_find_place()
