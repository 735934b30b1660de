"""Archives from other sources, unpacked so that no file in them can be written outside the folder."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from s2p.errors import FetchError
from s2p.io.downloads import readable_size
from s2p.io.files import make_folder

__all__ = ["is_archive", "unpack"]

MAX_UNPACKED_BYTES = 256 << 30
"""Largest archive accepted, unpacked."""
MAX_MEMBERS = 2_000_000
"""Most files in one archive."""
_CHUNK = 1 << 18


def is_archive(path: Path) -> bool:
    """Whether :func:`unpack` knows the kind of file: zip, or tar with or without compression."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip or tar archive completely or not at all into ``folder``, which must not exist or be empty.

    :class:`FetchError` if a member would leave the folder, is a link or a device, or the archive is damaged, too large or of
    another kind.
    """
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    try:
        _unpack_members(archive, temporary)
        os.replace(temporary, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise FetchError(f"{archive}: damaged or of a kind that cannot be read ({error})") from None
    except OSError as error:
        raise FetchError(f"{archive}: cannot be unpacked into {folder} ({error.strerror or error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _unpack_members(archive: Path, folder: Path) -> None:
    left = MAX_UNPACKED_BYTES
    for number, (name, stream) in enumerate(_members(archive), 1):
        if number > MAX_MEMBERS:
            raise FetchError(f"{archive}: contains more than {MAX_MEMBERS} files; not unpacked")
        pure = PurePosixPath(name.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or ":" in pure.parts[0] or "\0" in name:
            raise FetchError(f"{archive}: the member {name!r} would leave the folder; nothing was unpacked")
        path = folder.joinpath(*pure.parts)
        if stream is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # "xb": a repeated name, or one that differs only in capitals, must not overwrite a file silently.
        with stream, open(path, "xb") as out:
            while chunk := stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise FetchError(f"{archive}: larger than {readable_size(MAX_UNPACKED_BYTES)} unpacked; not unpacked")
                out.write(chunk)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of each file; ``None`` for a folder. Anything else is refused."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                mode = entry.external_attr >> 16
                if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise FetchError(f"{archive}: the member {entry.filename!r} is a link or a device; nothing was unpacked")
                yield entry.filename, None if entry.is_dir() else packed.open(entry)
        return
    with tarfile.open(archive) as tape:
        for member in tape:
            if not (member.isreg() or member.isdir()):
                raise FetchError(f"{archive}: the member {member.name!r} is a link or a device; nothing was unpacked")
            yield member.name, None if member.isdir() else tape.extractfile(member)
