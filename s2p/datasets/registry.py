"""Public data sets by name: where they are, under which licence, and what is known of their files.

Nothing here is guessed. A checksum or size that the source does not state is ``None`` and shown as unknown; for records at Zenodo
the names, sizes and checksums of the files are asked for when they are fetched. Licences are those the sources state.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from s2p.datasets.archives import DownloadConfig, is_archive, unpack
from s2p.datasets.download import Checksum, download_resumable
from s2p.errors import FetchError, S2PError
from s2p.io.fetch import cache_folder, check_url, safe_opener
from s2p.io.files import file_stem

__all__ = ["DATASETS", "LOCAL_LAYOUTS", "Dataset", "RemoteFile", "dataset", "dataset_folder", "fetch_dataset"]

ZENODO_API = "https://zenodo.org/api/records/{record}"
_MAX_JSON = 16 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file to download."""

    name: str
    url: str
    size: int | None = None
    """Bytes; ``None`` where the source does not say."""
    sha256: str | None = None
    md5: str | None = None
    """Where this is all that the source states (Zenodo)."""

    @property
    def checksum(self) -> Checksum | None:
        """The best that is known."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


@dataclass(frozen=True)
class Dataset:
    """A named public set."""

    name: str
    title: str
    source: str
    """Page a person can read."""
    licence: str | None
    """``None`` where the source states none, or we could not read it."""
    citation: str
    files: tuple[RemoteFile, ...] = ()
    zenodo: str | None = None
    """Record whose files are asked for when the set is fetched, where ``files`` is empty."""
    note: str = ""


DATASETS = (
    Dataset(
        "scpdb",
        "sc-PDB 2017: druggable binding sites of the PDB, one ligand an entry",
        "http://bioinfo-pharma.u-strasbg.fr/scPDB/",
        None,
        "Desaphy et al., Nucleic Acids Res. 43, D399 (2015), doi:10.1093/nar/gku928",
        note="only an http address is known and no checksum, so it is not fetched: download it from the page by hand",
    ),
    Dataset(
        "scpdb-enhanced",
        "Enhanced sc-PDB: binding residues of all relevant ligands and ions of a protein (training set of Seq2Pocket)",
        "https://zenodo.org/records/18271517",
        None,
        "Škrhák et al., bioRxiv 2026.01.28.702257, data doi:10.5281/zenodo.18271516",
        zenodo="18271517",
    ),
    Dataset(
        "seq2pocket",
        "Data and weights of the Seq2Pocket authors in one archive (ESM-2 3B models: large)",
        "https://github.com/skrhakv/seq2pocket",
        None,
        "Škrhák et al., bioRxiv 2026.01.28.702257",
        (
            RemoteFile(
                "seq2pocket.tar.gz",
                "https://s3.cl4.du.cesnet.cz/a93fcece52e6da0dd335b4459d47b0aebb74836b:share/seq2pocket.tar.gz",
            ),
        ),
        note="the code beside it is MIT; no licence is stated for the archive",
    ),
    Dataset(
        "ligysis",
        "LIGYSIS human: ligand sites of 3,448 chains, aggregated over the structures of a protein",
        "https://zenodo.org/records/13121414",
        "CC-BY-4.0",
        "Utgés and Barton, J. Cheminform. (2024), doi:10.1186/s13321-024-00923-z",
        zenodo="13121414",
        note="some tables in it are Python pickles, which s2p never opens",
    ),
    Dataset(
        "cryptobench",
        "CryptoBench: 1,107 apo structures with cryptic binding sites and their folds",
        "https://osf.io/pz4a9/",
        None,
        "Škrhák et al., Bioinformatics 41, btae745 (2025), doi:10.1093/bioinformatics/btae745",
        (RemoteFile("cryptobench.zip", "https://files.osf.io/v1/resources/pz4a9/providers/osfstorage/?zip="),),
        note="packed by the server on request (about 1.1 GB with structures), so it has no fixed checksum; code beside it is MIT",
    ),
    Dataset(
        "coach420",
        "COACH420, with the other sets of P2Rank (CHEN11, JOINED, HOLO4K …)",
        "https://github.com/rdk/p2rank-datasets",
        None,
        "Krivák and Hoksza, J. Cheminform. 10, 39 (2018), doi:10.1186/s13321-018-0285-8",
        (
            RemoteFile(
                "p2rank-datasets.tar.gz",
                "https://github.com/rdk/p2rank-datasets/archive/0236ecb38cbb60b89849a1ea36fbd9ee93f3e906.tar.gz",
            ),
        ),
        note="no licence file; packed by the server on request, so it has no fixed checksum: the commit fixes the content",
    ),
    Dataset(
        "posebusters",
        "PoseBusters benchmark: 428 protein–ligand complexes released from 2021 on (308 in the journal)",
        "https://zenodo.org/records/8278563",
        "CC-BY-4.0",
        "Buttenschoen, Morris and Deane, Chem. Sci. 15, 3130 (2024), doi:10.1039/D3SC04185A",
        (
            RemoteFile(
                "posebusters_paper_data.zip",
                "https://zenodo.org/records/8278563/files/posebusters_paper_data.zip",
                md5="f004ac7c4e68317b5348497d2bb6bee6",
            ),
        ),
    ),
)
"""The sets, in the order they are listed."""

LOCAL_LAYOUTS: tuple[tuple[str, str, Callable[[Path], bool]], ...] = (
    (
        "complexes",
        "index.csv, chain_clusters.csv and SET/ID/protein.pdb with ligand_NN.pdb (s2p.datasets.labelled.read_complexes)",
        lambda folder: (folder / "index.csv").is_file() and (folder / "chain_clusters.csv").is_file(),
    ),
    (
        "ligysis",
        "chains.csv and chains/ with one file a protein (s2p.datasets.labelled.read_ligysis)",
        lambda folder: (folder / "chains.csv").is_file() and (folder / "chains").is_dir(),
    ),
    (
        "labels",
        "label files: published lines, CSV or records of three lines (s2p.datasets.label_files.read_labels)",
        lambda folder: any(folder.glob("*.txt")) or any(folder.glob("*/*.txt")),
    ),
)
"""Layouts of local folders: name, what is in them, and the test for it."""


def dataset(name: str) -> Dataset:
    """The set of that name.

    Raises
    ------
    S2PError
        Naming the sets there are.
    """
    for entry in DATASETS:
        if entry.name == name.lower():
            return entry
    raise S2PError(f"there is no data set {name!r}; the names are {', '.join(entry.name for entry in DATASETS)}")


def dataset_folder(name: str, folder: str | Path | None = None) -> Path:
    """Where a set is, or will be: ``folder``/NAME, by default in the cache (:func:`s2p.io.fetch.cache_folder`)."""
    return (Path(folder) if folder is not None else cache_folder() / "datasets") / dataset(name).name


def fetch_dataset(
    name: str | Dataset, folder: str | Path | None = None, *, config: DownloadConfig | None = None, quiet: bool = False
) -> tuple[Path, list[str]]:
    """Download a set; archives are unpacked beside themselves. What is there already is not fetched again.

    Parameters
    ----------
    name
        Of :data:`DATASETS`, or an entry of one's own.
    folder
        The set gets a folder of its own in it; default: the cache.

    Returns
    -------
    folder, notes
        Notes say which files could not be verified, and whatever is worth knowing about the source.

    Raises
    ------
    S2PError
        If the set cannot be fetched automatically, or the download fails.
    """
    entry = dataset(name) if isinstance(name, str) else name
    config = config or DownloadConfig()
    parent = Path(folder) if folder is not None else cache_folder() / "datasets"
    place = parent / entry.name
    files = entry.files or (_zenodo_files(entry.zenodo, config) if entry.zenodo else ())
    if not files:
        raise S2PError(f"{entry.name}: {entry.note or 'no file is known'} ({entry.source})")
    notes = [entry.note] if entry.note else []
    for remote in files:
        target = place / file_stem(remote.name)
        # Without a checksum, a file of that name is all there is to go by.
        if remote.checksum is not None or not target.is_file():
            download_resumable(
                remote.url,
                target,
                checksum=remote.checksum,
                size=remote.size,
                what=f"{entry.name}: {remote.name}",
                config=config,
                quiet=quiet,
            )
        if remote.checksum is None:
            notes.append(f"{remote.name}: not verified, the source states no checksum")
        unpacked = target.with_name(re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", target.name) + "_unpacked")
        if is_archive(target) and not unpacked.exists():
            unpack(target, unpacked, config)
    return place, notes


def _zenodo_files(record: str, config: DownloadConfig, api: str = ZENODO_API) -> tuple[RemoteFile, ...]:
    """The files of a record with their sizes and checksums, as Zenodo states them."""
    url = api.format(record=record)
    what = f"Zenodo record {record}"
    check_url(url, what)
    request = urllib.request.Request(url, headers={"User-Agent": "s2p", "Accept": "application/json"})
    try:
        with safe_opener().open(request, timeout=config.timeout) as response:
            answer = json.loads(response.read(_MAX_JSON))
        files = []
        for entry in answer["files"]:
            kind, _, digest = str(entry.get("checksum", "")).partition(":")
            known = {kind: digest} if kind in ("md5", "sha256") else {}
            files.append(RemoteFile(str(entry["key"]), str(entry["links"]["self"]), int(entry["size"]), **known))
    except (urllib.error.URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchError(f"{what}: cannot be asked for its files ({reason}); is there a network?") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FetchError(f"{what}: the answer of {url} is not the list of files that was expected") from None
    return tuple(files)
