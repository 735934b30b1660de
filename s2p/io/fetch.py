"""Download structures by PDB id, UniProt accession or AlphaFold id into a cache, and any other file with a checksum.

Only the standard library is used. Nothing a server says names a file: cache names are made from the checked identifier.
"""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Literal

from s2p.config import ReadConfig
from s2p.errors import FetchError
from s2p.io.files import sha256_file

__all__ = ["FetchConfig", "cache_folder", "check_url", "classify", "download", "fetch_structure", "readable_size", "safe_opener"]


@dataclass(frozen=True)
class FetchConfig:
    """Downloads of structures."""

    timeout: float = 20.0
    """Seconds without an answer before a download is given up."""
    max_bytes: int = 200 << 20
    """Largest download accepted (bytes)."""
    pdb_url: str = "https://files.rcsb.org/download/{id}.cif.gz"
    alphafold_api: str = "https://alphafold.ebi.ac.uk/api/prediction/{accession}"


_PDB = re.compile(r"[0-9][A-Za-z0-9]{3}")
_PDB_EXTENDED = re.compile(r"pdb_[0-9A-Za-z]{8}", re.IGNORECASE)
# https://www.uniprot.org/help/accession_numbers
_ACCESSION = r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}"
_UNIPROT = re.compile(_ACCESSION, re.IGNORECASE)
_ALPHAFOLD = re.compile(rf"AF-(?P<accession>{_ACCESSION})-F(?P<fragment>[1-9][0-9]{{0,3}})(?:-model_v[0-9]+)?", re.IGNORECASE)
_CHUNK = 1 << 18
_MAX_JSON = 16 << 20


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


def cache_folder() -> Path:
    """``$S2P_CACHE``, or the folder ``s2p`` in the platform's cache folder."""
    if chosen := os.environ.get("S2P_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("s2p", appauthor=False)


def fetch_structure(identifier: str, cache_dir: str | Path | None = None, config: FetchConfig | None = None) -> Path:
    """The mmCIF file of a database entry, downloaded unless it is already in the cache.

    Parameters
    ----------
    identifier
        PDB id (``1ake``, ``pdb_00001ake``), UniProt accession (``P69441``: its AlphaFold model) or AlphaFold id
        (``AF-P69441-F1``; a model version after it is ignored, the database serves the current one).
    cache_dir
        Folder of the cache; default :func:`cache_folder`, subfolder ``structures``.
    config
        Addresses, timeout (s) and size limit (bytes).

    Raises
    ------
    FetchError
        If the identifier is none of these or unknown to the database, or the download fails.
    """
    config = config or FetchConfig()
    folder = Path(cache_dir) if cache_dir is not None else cache_folder() / "structures"
    kind = classify(identifier)
    if kind is None:
        raise FetchError(f"{identifier!r} is no PDB id (1ake), UniProt accession (P69441) or AlphaFold id (AF-P69441-F1)")
    if kind == "pdb":
        entry = identifier.lower().removeprefix("pdb_0000")
        target = folder / f"{entry}.cif.gz"
        url = config.pdb_url.format(id=entry)
        what = f"PDB entry {entry}"
    else:
        match = _ALPHAFOLD.fullmatch(identifier)
        accession = (match["accession"] if match else identifier).upper()
        entry = f"AF-{accession}-F{match['fragment'] if match else 1}"
        target = folder / f"{entry}.cif"
        url = ""
        what = f"AlphaFold model {entry}"
    if target.is_file():
        return target
    if kind != "pdb":
        url = _alphafold_url(accession, entry, config)
    return download(url, target, timeout=config.timeout, max_bytes=config.max_bytes, what=what, check=_check_cif)


def download(
    url: str,
    target: str | Path,
    *,
    sha256: str | None = None,
    timeout: float = 20.0,
    max_bytes: int = 4 << 30,
    what: str | None = None,
    check: Callable[[Path], str | None] | None = None,
) -> Path:
    """Download a file; ``target`` is either complete and checked, or untouched.

    Parameters
    ----------
    url
        An https address (http only on this machine).
    sha256
        Expected checksum in hex. A ``target`` that already has it is not downloaded again.
    timeout
        Seconds without an answer before giving up.
    max_bytes
        Largest download accepted; the transfer stops once it is exceeded.
    what
        What is being downloaded, for messages; default the address.
    check
        Gets the downloaded file and returns what is wrong with its content, or ``None``.

    Raises
    ------
    FetchError
        With one sentence about what went wrong.
    """
    target, what = Path(target), what or url
    if sha256 is not None and target.is_file() and sha256_file(target) == sha256.lower():
        return target
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with _open(url, what, timeout) as response:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "xb") as handle:
                handle.writelines(_chunks(response, what, timeout, max_bytes))
        if sha256 is not None and (found := sha256_file(part)) != sha256.lower():
            raise FetchError(f"{what}: wrong checksum (sha256 {found[:12]}…, expected {sha256[:12]}…); thrown away")
        if check is not None and (reason := check(part)):
            raise FetchError(f"{what}: {reason}; the download from {url} was thrown away")
        os.replace(part, target)
    except OSError as error:  # network trouble became a FetchError already, so this is the disk
        raise FetchError(f"{what}: cannot be written to {target} ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return target


def _alphafold_url(accession: str, entry: str, config: FetchConfig) -> str:
    """Ask the AlphaFold DB API where the mmCIF file of ``entry`` is: file names change with every model version."""
    what = f"AlphaFold model {entry}"
    api = config.alphafold_api.format(accession=accession)
    with _open(api, what, config.timeout) as response:
        text = b"".join(_chunks(response, what, config.timeout, min(_MAX_JSON, config.max_bytes)))
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise FetchError(f"{what}: the answer of {api} is not JSON; is a login page in the way?") from None
    models = [model for model in answer if isinstance(model, dict)] if isinstance(answer, list) else []
    for model in models:
        names = (model.get("entryId"), model.get("modelEntityId"))
        if entry in names and isinstance(model.get("cifUrl"), str):
            return str(model["cifUrl"])
    raise FetchError(f"{what}: AlphaFold DB lists no such model ({len(models)} others for {accession})")


def _open(url: str, what: str, timeout: float) -> Any:
    """An open response (a context manager); every network error becomes a sentence."""
    check_url(url, what)
    host = urllib.parse.urlsplit(url).hostname
    request = urllib.request.Request(url, headers={"User-Agent": "s2p", "Accept-Encoding": "identity"})
    try:
        return safe_opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise FetchError(f"{what}: not found at {host} (status {error.code}); check the identifier") from None
        raise FetchError(f"{what}: {host} answered with status {error.code}; try again later") from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _unreachable(what, str(host), timeout, reason) from None


def _unreachable(what: str, host: str, timeout: float, reason: object) -> FetchError:
    if isinstance(reason, TimeoutError):
        return FetchError(f"{what}: {host} gave no answer for {timeout:g} s; try again later or give a structure file")
    return FetchError(f"{what}: cannot reach {host} ({reason}); is there a network? A structure file works without one")


def _chunks(response: Any, what: str, timeout: float, max_bytes: int) -> Iterator[bytes]:
    """The body in pieces, never more than ``max_bytes``, never less than the server announced."""
    host = str(urllib.parse.urlsplit(response.url).hostname)
    announced = response.headers.get("Content-Length")
    size = int(announced) if announced is not None and announced.isdecimal() else None
    too_large = FetchError(f"{what}: larger than the limit of {readable_size(max_bytes)}; not downloaded")
    if size is not None and size > max_bytes:
        raise too_large
    received = 0
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, HTTPException) as error:
            raise _unreachable(what, host, timeout, error) from None
        if not chunk:
            break
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        yield chunk
    # http.client does not complain about a connection closed early when reading by pieces.
    if size is not None and received != size:
        raise FetchError(f"{what}: the connection closed after {received} of {size} bytes; try again")


def readable_size(n_bytes: int) -> str:
    """``3 MiB``, or ``12 bytes`` below one."""
    return f"{n_bytes >> 20} MiB" if n_bytes >= 1 << 20 else f"{n_bytes} bytes"


def check_url(url: str, what: str) -> None:
    """https, or http to this machine (tests, a local mirror); no other scheme, no credentials in the address."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise FetchError(f"{what}: {url!r} is not a web address") from None
    if host and parts.username is None and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        return
    raise FetchError(f"{what}: refused to download from {url!r}; only https addresses are used")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def safe_opener() -> urllib.request.OpenerDirector:
    """Opens addresses whose redirects all obey :func:`check_url`."""
    return urllib.request.build_opener(_CheckedRedirects)


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Hold every hop of a redirect to the same rule as the first address."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        check_url(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_cif(path: Path) -> str | None:
    """What is wrong with a downloaded mmCIF file: servers behind login pages answer 200 with HTML."""
    limit = ReadConfig().max_bytes
    try:
        with open(path, "rb") as handle:
            zipped = handle.read(2) == b"\x1f\x8b"
            handle.seek(0)
            stream: Any = gzip.GzipFile(fileobj=handle) if zipped else handle
            start: bytes = stream.read(4096)
            size = len(start)
            # To the end, because a damaged file in the cache would be served for ever.
            while zipped and size <= limit and (chunk := stream.read(1 << 20)):
                size += len(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "damaged gzip data"
    lines = (line.strip() for line in start.splitlines())
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    return None if first[:5].lower() == b"data_" else "the answer is not an mmCIF file"
