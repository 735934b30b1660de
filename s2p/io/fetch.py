"""Download structures by PDB id, UniProt accession or AlphaFold id into a cache.

Names in the cache are made from the checked identifier, never from the answer of a server.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Any, Literal

from s2p.config import ReadConfig
from s2p.errors import FetchError
from s2p.io.downloads import Unreachable, cache_folder, download, read_json

__all__ = ["classify", "fetch_structure"]

TIMEOUT = 20.0
"""Seconds without an answer after which a download fails."""
MAX_BYTES = 200 << 20
"""Largest download accepted."""
PDB_URL = "https://files.rcsb.org/download/{id}.cif.gz"
ALPHAFOLD_API = "https://alphafold.ebi.ac.uk/api/prediction/{accession}"
_PDB = re.compile(r"[0-9][A-Za-z0-9]{3}")
_PDB_EXTENDED = re.compile(r"pdb_[0-9A-Za-z]{8}", re.IGNORECASE)
# https://www.uniprot.org/help/accession_numbers
_ACCESSION = r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}"
_UNIPROT = re.compile(_ACCESSION, re.IGNORECASE)
_ALPHAFOLD = re.compile(rf"AF-(?P<accession>{_ACCESSION})-F(?P<fragment>[1-9][0-9]{{0,3}})(?:-model_v[0-9]+)?", re.IGNORECASE)


def classify(text: str) -> Literal["pdb", "uniprot", "alphafold"] | None:
    """What kind of database identifier ``text`` is, or ``None`` if it is not one.

    Examples
    --------
    >>> classify("1ake"), classify("pdb_00001ake"), classify("P69441"), classify("AF-P69441-F1"), classify("../1ake")
    ('pdb', 'pdb', 'uniprot', 'alphafold', None)
    """
    if not text.isascii():
        return None
    if _PDB.fullmatch(text) or _PDB_EXTENDED.fullmatch(text):
        return "pdb"
    if _UNIPROT.fullmatch(text):
        return "uniprot"
    return "alphafold" if _ALPHAFOLD.fullmatch(text) else None


def fetch_structure(identifier: str, cache_dir: str | Path | None = None) -> Path:
    """The mmCIF file of a database entry, downloaded unless it is already in the cache.

    Parameters
    ----------
    identifier
        PDB id (``1ake``, ``pdb_00001ake``), UniProt accession (``P69441``: its AlphaFold model) or AlphaFold id
        (``AF-P69441-F1``; a model version after it is ignored, the database serves the current one).
    cache_dir
        Folder of the cache; default :func:`s2p.io.downloads.cache_folder`, subfolder ``structures``.

    Raises
    ------
    FetchError
        If the identifier is none of these or unknown to the database, or the download fails.
    """
    folder = Path(cache_dir) if cache_dir is not None else cache_folder() / "structures"
    kind = classify(identifier)
    if kind is None:
        raise FetchError(f"{identifier!r} is not a PDB id (1ake), UniProt accession (P69441) or AlphaFold id (AF-P69441-F1)")
    accession = ""
    if kind == "pdb":
        entry = identifier.lower().removeprefix("pdb_0000")
        target, what = folder / f"{entry}.cif.gz", f"PDB entry {entry}"
    else:
        match = _ALPHAFOLD.fullmatch(identifier)
        accession = (match["accession"] if match else identifier).upper()
        entry = f"AF-{accession}-F{match['fragment'] if match else 1}"
        target, what = folder / f"{entry}.cif", f"AlphaFold model {entry}"
    if target.is_file():
        return target
    try:
        url = _alphafold_url(accession, entry) if accession else PDB_URL.format(id=entry)
        return download(url, target, timeout=TIMEOUT, max_bytes=MAX_BYTES, what=what, check=_check_cif)
    except Unreachable as error:
        raise FetchError(f"{error}; a structure file works without a network") from None


def _alphafold_url(accession: str, entry: str) -> str:
    """Ask the AlphaFold DB API for the address of the mmCIF file of ``entry``, which changes with every model version."""
    what = f"AlphaFold model {entry}"
    answer = read_json(ALPHAFOLD_API.format(accession=accession), what, TIMEOUT)
    models = [model for model in answer if isinstance(model, dict)] if isinstance(answer, list) else []
    for model in models:
        if entry in (model.get("entryId"), model.get("modelEntityId")) and isinstance(model.get("cifUrl"), str):
            return str(model["cifUrl"])
    raise FetchError(f"{what}: AlphaFold DB lists no such model ({len(models)} others for {accession})")


def _check_cif(path: Path) -> str | None:
    """What is wrong with a downloaded mmCIF file: login pages are HTML with status 200."""
    try:
        with open(path, "rb") as handle:
            zipped = handle.read(2) == b"\x1f\x8b"
            handle.seek(0)
            stream: Any = gzip.GzipFile(fileobj=handle) if zipped else handle
            # Read to the end, because a damaged file would stay in the cache.
            start: bytes = stream.read(ReadConfig.max_bytes + 1)[:4096]
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "damaged gzip data"
    return None if re.match(rb"(?:\s|#.*\n)*data_", start, re.IGNORECASE) else "the answer is not an mmCIF file"
