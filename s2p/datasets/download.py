"""Large downloads that can be interrupted: parts on disk, HTTP ranges, checksums.

A transfer that breaks goes on where it stopped, in this call or the next one, if the server says that the file is still the same
(ETag or date) or a checksum will tell. The address rules and sentences are those of :mod:`s2p.io.fetch`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from s2p.datasets.archives import DownloadConfig
from s2p.errors import FetchError
from s2p.io.fetch import check_url, readable_size, safe_opener
from s2p.io.files import make_folder, write_text

__all__ = ["Checksum", "checksum_of", "download_resumable"]

_CHUNK = 1 << 18
_ALGORITHMS = {"sha256": 64, "md5": 32}
_LIMIT_NOTE = "larger than the limit of {limit}; not downloaded"

Checksum = tuple[str, str]
"""Algorithm (``sha256`` or ``md5``) and hex digest."""


def checksum_of(path: Path, algorithm: str) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def download_resumable(
    url: str,
    target: str | Path,
    *,
    checksum: Checksum | None = None,
    size: int | None = None,
    what: str | None = None,
    config: DownloadConfig | None = None,
    quiet: bool = False,
) -> Path:
    """Download a file; ``target`` is either complete and checked, or untouched.

    Parameters
    ----------
    url
        An https address (http only on this machine).
    checksum
        What the file must have. A ``target`` that has it already is not downloaded again.
    size
        Expected size in bytes, if known.
    what
        What is being downloaded, for messages; default the address.
    config
        Timeout (s), attempts and pause (s) between them, size limit (bytes).
    quiet
        No progress bar.

    Raises
    ------
    FetchError
        With one sentence. What has arrived stays beside ``target`` (``.NAME.part``) and the next call goes on from there, except
        after a wrong checksum or size, when it is thrown away.
    """
    config = config or DownloadConfig()
    target, what = Path(target), what or url
    check_url(url, what)
    digits = _ALGORITHMS.get(checksum[0], 0) if checksum is not None else 0
    if checksum is not None and not (digits and re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", checksum[1])):
        raise FetchError(f"{what}: {checksum[0]} {checksum[1]!r} is no checksum that can be tested")
    if size is not None and size > config.max_bytes:
        raise FetchError(f"{what}: {_LIMIT_NOTE.format(limit=readable_size(config.max_bytes))}")
    if checksum is not None and target.is_file() and checksum_of(target, checksum[0]) == checksum[1].lower():
        return target
    make_folder(target.parent)
    part = target.with_name(f".{target.name}.part")
    try:
        with _only_one(part, what):
            _transfer(url, part, checksum, size, what, config, quiet)
            if checksum is not None and (found := checksum_of(part, checksum[0])) != checksum[1].lower():
                _discard(part)
                raise FetchError(
                    f"{what}: wrong checksum ({checksum[0]} {found[:12]}…, expected {checksum[1][:12]}…); thrown away"
                )
            os.replace(part, target)
            _state_file(part).unlink(missing_ok=True)
    except OSError as error:  # network trouble became a FetchError already, so this is the disk
        raise FetchError(f"{what}: cannot be written to {target} ({error.strerror or error})") from None
    return target


def _transfer(
    url: str, part: Path, checksum: Checksum | None, size: int | None, what: str, config: DownloadConfig, quiet: bool
) -> None:
    """Fill ``part``, connection after connection, until all is there."""
    host = str(urllib.parse.urlsplit(url).hostname)
    failures = reached = 0
    while True:
        before = _usable(part, url, checksum)
        if size is not None and before == size:
            return
        reason: object
        try:
            if _one_connection(url, part, before, size, what, config, quiet):
                return
            reason = f"the connection closed after {part.stat().st_size} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise FetchError(f"{what}: not found at {host} (status {error.code})") from None
            if error.code == 416:  # nothing is left to send, or the file has changed: from the start
                _discard(part)
            elif error.code < 500 and error.code not in (408, 429):
                raise FetchError(f"{what}: {host} answered with status {error.code}") from None
            reason = f"status {error.code}"
        except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            reason = f"no answer for {config.timeout:g} s" if isinstance(reason, TimeoutError) else reason
        after = part.stat().st_size if part.exists() else 0
        # Progress is more than was ever there: a server that starts anew each time must not keep us for ever.
        failures = 0 if after > max(before, reached) else failures + 1
        reached = max(reached, after)
        if failures >= config.attempts:
            kept = f"; {readable_size(after)} are kept, and the next call goes on from there" if after else ""
            raise FetchError(f"{what}: gave up on {host} after {failures} attempts ({reason}){kept}")
        if failures:
            time.sleep(config.pause * 2 ** (failures - 1))


def _one_connection(url: str, part: Path, start: int, size: int | None, what: str, config: DownloadConfig, quiet: bool) -> bool:
    """Append what one connection gives; whether the file is complete."""
    headers = {"User-Agent": "s2p", "Accept-Encoding": "identity"}
    state = _state(part)
    if start:
        headers["Range"] = f"bytes={start}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]
    with safe_opener().open(urllib.request.Request(url, headers=headers), timeout=config.timeout) as response:
        total = _length(response)
        if response.status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != start:
                raise FetchError(f"{what}: the server sent another range than was asked for; try again without the part {part}")
            total = int(match[2]) if match[2] != "*" else None
        else:
            start = 0  # the server has no ranges, or the file has changed
            write_text(_state_file(part), json.dumps({"url": url, "validator": _validator(response)}))
        if size is not None and total is not None and total != size:
            _discard(part)
            raise FetchError(f"{what}: the server has {total} bytes where {size} are expected; is it another version?")
        limit = size if size is not None else config.max_bytes
        if total is not None and total > limit:
            _discard(part)
            raise FetchError(f"{what}: {_LIMIT_NOTE.format(limit=readable_size(limit))}")
        with open(part, "r+b" if start else "wb") as handle, _bar(what, total, start, quiet) as bar:
            handle.seek(start)
            received = start
            while chunk := response.read1(_CHUNK):
                received += len(chunk)
                if received > limit:
                    handle.close()
                    _discard(part)
                    raise FetchError(f"{what}: {_LIMIT_NOTE.format(limit=readable_size(limit))}")
                handle.write(chunk)
                bar.update(len(chunk))
    # A server that announces nothing closes the connection when it is done: then the end is the end.
    return received == (total if total is not None else size if size is not None else received)


def _usable(part: Path, url: str, checksum: Checksum | None) -> int:
    """Bytes of a part that may be continued: it is of this address, and a change of the file would be noticed."""
    state = _state(part)
    if not part.is_file() or state.get("url") != url or not (state.get("validator") or checksum):
        _discard(part)
        return 0
    return part.stat().st_size


def _state(part: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        state = json.loads(_state_file(part).read_text())
        if isinstance(state, dict):
            return state
    return {}


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)


def _validator(response: Any) -> str:
    """A strong ETag, else the date of the file, else nothing."""
    tag = response.headers.get("ETag", "")
    return str(tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", ""))


def _length(response: Any) -> int | None:
    text = response.headers.get("Content-Length")
    return int(text) if text is not None and text.isdecimal() else None


@contextmanager
def _only_one(part: Path, what: str) -> Iterator[None]:
    """Two downloads into one part would spoil each other."""
    lock = part.with_name(part.name + ".lock")
    with open(lock, "a") as handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows: not guarded; a checksum tells
            pass
        except OSError:
            raise FetchError(f"{what}: another download of it into {part.parent} is running; wait for it") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _bar(what: str, total: int | None, start: int, quiet: bool) -> Any:
    import sys

    from tqdm.auto import tqdm

    hide = quiet or not (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return tqdm(total=total, initial=start, desc=what, unit="B", unit_scale=True, disable=hide, leave=False)
