"""The errors that a user can meet; each message says in one sentence what is wrong, where, and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "DISTRIBUTION",
    "ConfigError",
    "FetchError",
    "S2PError",
    "StructureError",
    "TargetError",
    "WeightsError",
    "pytorch_wanted",
    "sentence",
]


DISTRIBUTION = "s2p-pockets"  # what pip installs; on the package index s2p is the Satellite Stereo Pipeline


class S2PError(Exception):
    """Base class of all errors about the input or the environment that the user can correct.

    Examples
    --------
    >>> import s2p
    >>> try:
    ...     s2p.predict("nowhere.pdb")
    ... except s2p.S2PError as error:
    ...     print(error)
    nowhere.pdb: no such file; give a structure file, a folder, a PDB id or a UniProt accession
    """


class ConfigError(S2PError, ValueError):
    """A setting of the wrong type or outside its range."""


class StructureError(S2PError):
    """A file that cannot be read as a protein structure, or that does not contain the requested chain or model."""


class FetchError(S2PError):
    """A structure or weights file that could not be downloaded."""


class TargetError(S2PError):
    """A folder or disk that cannot be written; in a batch, no later input could be written either."""


class WeightsError(S2PError):
    """Weights or a checkpoint that are missing, damaged or of the wrong kind."""


def sentence(error: Exception) -> str:
    """An error as one line of text; for other exceptions than these, ``S2P_DEBUG=1`` prints the traceback."""
    text = " ".join(str(error).split())
    if isinstance(error, S2PError):
        return text
    if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "esm"):
        return f"this needs PyTorch and fair-esm, which are not both installed; pip install '{DISTRIBUTION}[torch]'"
    if os.environ.get("S2P_DEBUG"):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    return f"unexpected {type(error).__name__}: {text} (S2P_DEBUG=1 shows where)"


@contextmanager
def pytorch_wanted() -> Iterator[None]:
    """Context for imports of PyTorch, which the base install lacks: :class:`S2PError` if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "esm"):
            raise
        raise S2PError(sentence(error)) from None
