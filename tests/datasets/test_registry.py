"""Named data sets: what is said of them, and fetching one from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from local_server import Server

from s2p.datasets import registry
from s2p.datasets.registry import DATASETS, LOCAL_LAYOUTS, Dataset, RemoteFile, dataset, dataset_folder, fetch_dataset
from s2p.errors import FetchError, S2PError


def packed() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("labels.txt", ">a\nACD\n010\n")
    return out.getvalue()


ARCHIVE = packed()


def test_every_set_has_what_a_reader_needs() -> None:
    names = [entry.name for entry in DATASETS]
    assert {"scpdb", "scpdb-enhanced", "ligysis", "cryptobench", "coach420", "posebusters"} <= set(names)
    assert len(set(names)) == len(names)
    for entry in DATASETS:
        assert re.fullmatch(r"https?://\S+", entry.source)
        assert "doi:" in entry.citation or "bioRxiv" in entry.citation
        assert entry.files or entry.zenodo or entry.note
        for remote in entry.files:
            assert remote.url.startswith("https://")
            assert remote.checksum is None or re.fullmatch("[0-9a-f]{32}", remote.checksum[1])
    assert dataset("LIGYSIS").name == "ligysis"
    with pytest.raises(S2PError, match="no data set 'pdb'; the names are scpdb"):
        dataset("pdb")


def test_what_cannot_be_fetched_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(S2PError, match=r"scpdb: .*by hand \(http://bioinfo"):
        fetch_dataset("scpdb", tmp_path)


def test_a_set_is_fetched_checked_and_unpacked(server: Server, tmp_path: Path) -> None:
    url = server.url
    server.body("/x.zip", ARCHIVE)
    server.body("/readme", b"hello")
    good = RemoteFile("x.zip", url + "/x.zip", len(ARCHIVE), ("sha256", hashlib.sha256(ARCHIVE).hexdigest()))
    entry = Dataset(
        "mine", "t", "https://example.org", "MIT", "doi:x", (good, RemoteFile("readme.txt", url + "/readme")), note="a note"
    )
    place, notes = fetch_dataset(entry, tmp_path, quiet=True)
    assert place == tmp_path / "mine"
    assert (place / "x_unpacked" / "labels.txt").read_text().startswith(">a")
    assert notes == ["a note", "readme.txt: not verified, the source states no checksum"]
    fetch_dataset(entry, tmp_path, quiet=True)
    assert server.asked == ["/x.zip", "/readme"]
    bad = Dataset(
        "mine", "t", "https://example.org", None, "doi:x", (RemoteFile("x.zip", url + "/x.zip", checksum=("md5", "0" * 32)),)
    )
    with pytest.raises(FetchError, match="wrong checksum"):
        fetch_dataset(bad, tmp_path / "other", quiet=True)


def test_a_zenodo_record_tells_its_files(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.url
    server.body("/files/x.zip", ARCHIVE)
    digest = hashlib.md5(ARCHIVE).hexdigest()
    record = {
        "files": [{"key": "../x.zip", "size": len(ARCHIVE), "checksum": f"md5:{digest}", "links": {"self": url + "/files/x.zip"}}]
    }
    server.body("/api/7", json.dumps(record).encode())
    monkeypatch.setattr(registry, "ZENODO_API", url + "/api/{record}")
    entry = Dataset("mine", "t", "https://example.org", "MIT", "doi:x", zenodo="7")
    place, notes = fetch_dataset(entry, tmp_path, quiet=True)
    assert notes == []
    assert sorted(p.name for p in place.iterdir()) == ["_x.zip", "_x_unpacked"]
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    for answer in (b"<html>", b"[]", b'{"files": [{"key": "x"}]}'):
        server.body("/api/7", answer)
        with pytest.raises(FetchError, match="is not JSON|not the list of files"):
            fetch_dataset(entry, tmp_path / "other")
    del server.answers["/api/7"]
    with pytest.raises(FetchError, match="Zenodo record 7: not found at"):
        fetch_dataset(entry, tmp_path / "other")


def test_the_cache_is_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2P_CACHE", str(tmp_path))
    assert dataset_folder("ligysis") == tmp_path / "datasets" / "ligysis"
    assert dataset_folder("ligysis", "here") == Path("here") / "ligysis"


def test_local_layouts_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "index.csv").write_text("")
    (tmp_path / "c" / "chain_clusters.csv").write_text("")
    (tmp_path / "l" / "chains").mkdir(parents=True)
    (tmp_path / "l" / "chains.csv").write_text("")
    (tmp_path / "s" / "small").mkdir(parents=True)
    (tmp_path / "s" / "small" / "x.txt").write_text("")
    found = {
        p.name: [name for name, *patterns in LOCAL_LAYOUTS.values() if all(any(p.glob(x)) for x in patterns)]
        for p in tmp_path.iterdir()
    }
    assert found == {"c": ["complexes"], "l": ["ligysis"], "s": ["labels"]}
