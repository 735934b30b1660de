"""The errors a user can meet; each message is one sentence that says what is wrong, where, and what to do."""

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
    """Base class: something about the input or the environment that the user can act on.

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
    """A file that cannot be read as a protein structure, or a chain or model that it does not hold."""


class FetchError(S2PError):
    """A structure or weights file that could not be downloaded."""


class TargetError(S2PError):
    """A folder or disk that takes no files; in a batch, no later input could be written either."""


class WeightsError(S2PError):
    """Weights or a checkpoint that are missing, damaged or of the wrong kind."""


def sentence(error: Exception) -> str:
    """An error as one line of text; of one that is none of these, ``S2P_DEBUG=1`` prints where it happened."""
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
    """Where PyTorch is imported that is not part of the base install: :class:`S2PError` if there is none."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "esm"):
            raise
        raise S2PError(sentence(error)) from None
