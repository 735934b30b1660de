"""The errors a user can meet; each message is one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

__all__ = ["ConfigError", "FetchError", "S2PError", "StructureError", "TargetError", "WeightsError"]


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
