"""Public data sets by name: their address, their licence, and what is known about their files.

A checksum or size that the source does not state is ``None`` and shown as unknown. For records at Zenodo, names, sizes and
checksums of the files are requested when they are downloaded. Licences are those that the sources state.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from s2p.datasets.archives import is_archive, unpack
from s2p.errors import FetchError, S2PError
from s2p.io.downloads import Checksum, cache_folder, download, read_json
from s2p.io.files import file_stem

__all__ = ["DATASETS", "LOCAL_LAYOUTS", "Dataset", "RemoteFile", "dataset", "dataset_folder", "fetch_dataset"]

ZENODO_API = "https://zenodo.org/api/records/{record}"
TIMEOUT = 30.0
"""Seconds without an answer after which a connection is closed."""
ATTEMPTS = 5
"""How often a download is tried if the server is busy or the connection breaks."""
MAX_BYTES = 64 << 30
"""Largest file accepted."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download."""

    name: str
    url: str
    size: int | None = None
    """Bytes; ``None`` if the source does not state it."""
    checksum: Checksum | None = None
    """Likewise."""


@dataclass(frozen=True)
class Dataset:
    """A named public set."""

    name: str
    title: str
    source: str
    """Page a person can read."""
    licence: str | None
    """``None`` if the source states none, or we could not read it."""
    citation: str
    files: tuple[RemoteFile, ...] = ()
    zenodo: str | None = None
    """Record whose list of files is requested when the set is downloaded, if ``files`` is empty."""
    note: str = ""


def _read_sets() -> tuple[Dataset, ...]:
    def remote(name: str, url: str, md5: str | None = None) -> RemoteFile:
        return RemoteFile(name, url, checksum=None if md5 is None else ("md5", md5))

    table = tomllib.loads(Path(__file__).with_name("sets.toml").read_text(encoding="utf-8"))["set"]
    return tuple(
        Dataset(**{"licence": None, **entry, "files": tuple(remote(**file) for file in entry.get("files", ()))})
        for entry in table
    )


DATASETS = _read_sets()
"""The sets, in the order they are listed."""

LOCAL_LAYOUTS = {
    "index.csv, chain_clusters.csv and SET/ID/protein.pdb with ligand_NN.pdb": ("complexes", "index.csv", "chain_clusters.csv"),
    "chains.csv and chains/ with one file a protein (s2p evaluate)": ("ligysis", "chains.csv", "chains/"),
    "label files: published lines, CSV or records of three lines": ("labels", "**/*.txt"),
}
"""Content of a local folder: the name of the layout, and patterns that each match a file."""


def dataset(name: str) -> Dataset:
    """The set of that name; the message of :class:`S2PError` lists the available names."""
    names = {entry.name: entry for entry in DATASETS}
    if name.lower() not in names:
        raise S2PError(f"there is no data set {name!r}; the names are {', '.join(names)}")
    return names[name.lower()]


def dataset_folder(name: str, folder: str | Path | None = None) -> Path:
    """Folder of a set, whether it exists or not: ``folder``/NAME, by default in :func:`s2p.io.downloads.cache_folder`."""
    return (Path(folder) if folder is not None else cache_folder() / "datasets") / name


def fetch_dataset(name: str | Dataset, folder: str | Path | None = None, *, quiet: bool = False) -> tuple[Path, list[str]]:
    """Download a set and unpack archives in the same folder. Files that exist are not downloaded again.

    The set, one of :data:`DATASETS` or an entry of your own, gets its own folder in ``folder`` (default: the cache); this path is
    returned with notes on files that could not be verified and on the source. :class:`S2PError` if the set cannot be downloaded
    automatically, or the download fails.
    """
    entry = dataset(name) if isinstance(name, str) else name
    place = dataset_folder(entry.name, folder)
    files = entry.files or (_zenodo_files(entry.zenodo) if entry.zenodo else ())
    if not files:
        raise S2PError(f"{entry.name}: {entry.note or 'no file is known'} ({entry.source})")
    notes = [entry.note] if entry.note else []
    for remote in files:
        target = place / file_stem(remote.name)
        # Without a checksum, only the name of the file can be checked.
        if remote.checksum is not None or not target.is_file():
            download(
                remote.url,
                target,
                checksum=remote.checksum,
                size=remote.size,
                timeout=TIMEOUT,
                max_bytes=MAX_BYTES,
                attempts=ATTEMPTS,
                what=f"{entry.name}: {remote.name}",
                progress=not quiet,
            )
        if remote.checksum is None:
            notes.append(f"{remote.name}: not verified, the source states no checksum")
        unpacked = target.with_name(re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", target.name) + "_unpacked")
        if is_archive(target) and not unpacked.exists():
            unpack(target, unpacked)
    return place, notes


def _zenodo_files(record: str) -> tuple[RemoteFile, ...]:
    """The files of a record with their sizes and checksums, as Zenodo states them."""
    url = ZENODO_API.format(record=record)
    what = f"Zenodo record {record}"
    answer = read_json(url, what, TIMEOUT)
    try:
        files = []
        for entry in answer["files"]:
            kind, _, digest = str(entry.get("checksum", "")).partition(":")
            checksum = (kind, digest) if kind in ("md5", "sha256") else None
            files.append(RemoteFile(str(entry["key"]), str(entry["links"]["self"]), int(entry["size"]), checksum))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FetchError(f"{what}: the answer of {url} is not the list of files that was expected") from None
    return tuple(files)
