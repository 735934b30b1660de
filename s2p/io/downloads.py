"""Downloads over https with a limit, a timeout and a checksum; a download is complete or fails with one sentence.

Only the standard library is used. An incomplete file has a unique name, so that two downloads of one file do not mix; a transfer
that breaks starts again from the beginning.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from s2p.errors import FetchError
from s2p.io.files import replacing, sha256_file

__all__ = ["Checksum", "Unreachable", "cache_folder", "download", "read_json", "readable_size"]

_CHUNK = 1 << 18
_MAX_JSON = 16 << 20
PAUSE = 1.0
"""Seconds before the second attempt, doubled each time."""

Checksum = tuple[str, str]
"""Algorithm (``sha256`` or ``md5``) and hex digest."""


class Unreachable(FetchError):
    """A temporary failure of a server, after which another attempt may succeed."""


def cache_folder() -> Path:
    """``$S2P_CACHE``, or the folder ``s2p`` in the platform's cache folder."""
    if chosen := os.environ.get("S2P_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("s2p", appauthor=False)


def download(
    url: str,
    target: str | Path,
    *,
    checksum: Checksum | None = None,
    size: int | None = None,
    timeout: float = 20.0,
    max_bytes: int = 4 << 30,
    attempts: int = 1,
    what: str | None = None,
    check: Callable[[Path], str | None] | None = None,
    progress: bool = False,
) -> Path:
    """Download a file; ``target`` is either complete and checked, or untouched.

    Parameters
    ----------
    url
        An https address (http only on this machine).
    checksum
        Checksum of the file. A ``target`` that already has it is not downloaded again.
    size
        Expected size in bytes, if known.
    timeout
        Seconds without an answer before giving up.
    max_bytes
        Largest download accepted; the transfer stops once it is exceeded.
    attempts
        How often to try if the server is busy or the connection breaks.
    what
        Description of the download for messages; default: the address.
    check
        Called with the downloaded file; returns what is wrong with its content, or ``None``.
    progress
        Show a progress bar in a terminal or notebook.

    Raises
    ------
    FetchError
        With one sentence about what went wrong.
    """
    target, what = Path(target), what or url
    if checksum is not None and target.is_file() and sha256_file(target, checksum[0]) == checksum[1].lower():
        return target
    try:
        with replacing(target) as part:
            for attempt in range(1, attempts + 1):
                try:
                    with _open(url, what, timeout) as response:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        with open(part, "wb") as handle:
                            handle.writelines(_chunks(response, what, timeout, max_bytes, size, progress))
                    break
                except Unreachable as error:
                    if attempts == 1:
                        raise
                    if attempt == attempts:
                        raise Unreachable(f"{error}; gave up after {attempts} attempts") from None
                time.sleep(PAUSE * 2 ** (attempt - 1))
            if checksum is not None and (found := sha256_file(part, checksum[0])) != checksum[1].lower():
                wrong = f"wrong checksum ({checksum[0]} {found[:12]}…, expected {checksum[1][:12]}…); thrown away"
                raise FetchError(f"{what}: {wrong}")
            if check is not None and (reason := check(part)):
                raise FetchError(f"{what}: {reason}; the download from {url} was deleted")
    except OSError as error:  # network errors are FetchErrors already, so this is the disk
        raise FetchError(f"{what}: cannot be written to {target} ({error.strerror or error})") from None
    return target


def read_json(url: str, what: str, timeout: float) -> Any:
    """The JSON answer of a server; :class:`FetchError` if it cannot be reached, or the answer is not JSON."""
    with _open(url, what, timeout) as response:
        text = b"".join(_chunks(response, what, timeout, _MAX_JSON))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FetchError(f"{what}: the answer of {url} is not JSON; is a login page in the way?") from None


def readable_size(n_bytes: int) -> str:
    """``3 MiB``, or ``12 bytes`` below one."""
    return f"{n_bytes >> 20} MiB" if n_bytes >= 1 << 20 else f"{n_bytes} bytes"


def _open(url: str, what: str, timeout: float) -> Any:
    """An open response (a context manager); network errors become a :class:`FetchError` with one sentence."""
    _check_url(url, what)
    host = str(urllib.parse.urlsplit(url).hostname)
    request = urllib.request.Request(url, headers={"User-Agent": "s2p", "Accept-Encoding": "identity"})
    try:
        return urllib.request.build_opener(_CheckedRedirects).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise FetchError(f"{what}: not found at {host} (status {error.code}); check the identifier") from None
        if error.code < 500 and error.code not in (408, 429):
            raise FetchError(f"{what}: {host} refused the request (status {error.code})") from None
        raise Unreachable(f"{what}: {host} answered with status {error.code}; try again later") from None
    except (OSError, HTTPException) as error:
        raise _unreachable(what, host, timeout, error.reason if isinstance(error, urllib.error.URLError) else error) from None


def _unreachable(what: str, host: str, timeout: float, reason: object) -> Unreachable:
    if isinstance(reason, TimeoutError):
        return Unreachable(f"{what}: {host} gave no answer for {timeout:g} s; try again later")
    return Unreachable(f"{what}: cannot reach {host} ({reason}); is there a network?")


def _chunks(
    response: Any, what: str, timeout: float, max_bytes: int, expected: int | None = None, progress: bool = False
) -> Iterator[bytes]:
    """Yield the body in chunks; an error if it is larger than ``max_bytes`` or smaller than the server announced."""
    from tqdm.auto import tqdm

    from s2p.io.runtime import watched

    host = str(urllib.parse.urlsplit(response.url).hostname)
    announced = response.headers.get("Content-Length")
    size = int(announced) if announced is not None and announced.isdecimal() else expected
    if expected is not None and size != expected:
        raise FetchError(f"{what}: the server has {size} bytes where {expected} are expected; is it another version?")
    too_large = FetchError(f"{what}: larger than the limit of {readable_size(max_bytes)}; not downloaded")
    if size is not None and size > max_bytes:
        raise too_large
    received = 0
    with tqdm(total=size, desc=what, unit="B", unit_scale=True, leave=False, disable=not (progress and watched())) as bar:
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
            bar.update(len(chunk))
            yield chunk
    # http.client raises no error for a connection that is closed early when it reads in chunks.
    if size is not None and received != size:
        raise Unreachable(f"{what}: the connection closed after {received} of {size} bytes; try again")


def _check_url(url: str, what: str) -> None:
    """Allow https, or http to this machine (tests, a local mirror), but no other scheme and no credentials in the address."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise FetchError(f"{what}: {url!r} is not a web address") from None
    here = parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")
    if host and parts.username is None and (parts.scheme == "https" or here):
        return
    raise FetchError(f"{what}: refused to download from {url!r}; only https addresses are used")


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Apply the same rule to every redirect as to the first address."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_url(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
