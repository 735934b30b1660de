"""Structures by their identifiers, against a server on this machine."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from local_server import Server

from s2p.errors import FetchError
from s2p.io import fetch
from s2p.io.downloads import cache_folder
from s2p.io.fetch import classify, fetch_structure

CIF = b"# comment\ndata_1ABC\n_cell.length_a 10\n"
CIF_GZ = gzip.compress(CIF * 100)


@pytest.fixture(autouse=True)
def served_here(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 5.0)
    monkeypatch.setattr(fetch, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(fetch, "PDB_URL", server.url + "/pdb/{id}.cif.gz")
    monkeypatch.setattr(fetch, "ALPHAFOLD_API", server.url + "/api/{accession}")


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1ake", "pdb"),
        ("6WQA", "pdb"),
        ("pdb_00001abc", "pdb"),
        ("P69441", "uniprot"),
        ("a0a024r1r8", "uniprot"),
        ("AF-P69441-F1", "alphafold"),
        ("AF-P69441-F1-model_v4", "alphafold"),
        ("AF-A0A024R1R8-F12", "alphafold"),
        ("ake1", None),
        ("1akex", None),
        ("pdb_0001abc", None),
        ("P6944", None),
        ("AF-P69441", None),
        ("AF-P69441-F0", None),
        ("../1ake", None),
        ("1a/e", None),
        ("1ake\n", None),
        ("١ake", None),
        ("AF-P69441-F1/../x", None),
        ("", None),
    ],
)
def test_classify(text, kind):
    assert classify(text) == kind


def test_pdb_entry_is_fetched_once(server, tmp_path):
    server.body("/pdb/1abc.cif.gz", CIF_GZ)
    path = fetch_structure("1ABC", tmp_path)
    assert path == tmp_path / "1abc.cif.gz"
    assert path.read_bytes() == CIF_GZ
    assert fetch_structure("1abc", tmp_path) == path
    assert fetch_structure("pdb_00001abc", tmp_path) == path
    assert server.asked == ["/pdb/1abc.cif.gz"]
    assert leftovers(tmp_path) == ["1abc.cif.gz"]


def test_default_folder_is_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("S2P_CACHE", str(tmp_path / "cache"))
    server.body("/pdb/1abc.cif.gz", CIF_GZ)
    assert fetch_structure("1abc") == tmp_path / "cache" / "structures" / "1abc.cif.gz"
    monkeypatch.delenv("S2P_CACHE")
    assert cache_folder().name == "s2p"


def test_unknown_entry(server, tmp_path):
    with pytest.raises(FetchError, match=r"PDB entry 9zzz: not found at 127\.0\.0\.1"):
        fetch_structure("9zzz", tmp_path)
    assert leftovers(tmp_path) == []


def test_server_error_is_not_called_unknown(server, tmp_path):
    server.answers["/pdb/1abc.cif.gz"] = lambda handler: handler.send_error(503)
    with pytest.raises(FetchError, match="status 503; try again later; a structure file works without a network"):
        fetch_structure("1abc", tmp_path)


@pytest.mark.parametrize("identifier", ["../../etc/passwd", "1ab", "AF-P69441-F1/../../x", "file:///etc/passwd", ""])
def test_what_is_no_identifier_is_not_asked_for(server, tmp_path, identifier):
    with pytest.raises(FetchError, match="is not a PDB id"):
        fetch_structure(identifier, tmp_path)
    assert server.asked == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>please log in</html>", "not an mmCIF file"),
        (b"", "not an mmCIF file"),
        (CIF_GZ[: len(CIF_GZ) // 2], "damaged gzip"),
        (gzip.compress(b"HEADER    HYDROLASE"), "not an mmCIF file"),
    ],
    ids=["html", "empty", "half-gzip", "pdb"],
)
def test_content_is_checked(server, tmp_path, content, why):
    server.body("/pdb/1abc.cif.gz", content)
    with pytest.raises(FetchError, match=why):
        fetch_structure("1abc", tmp_path)
    assert leftovers(tmp_path) == []


def models(server: Server, **changes: object) -> bytes:
    entry = {"entryId": "AF-P69441-F1", "uniprotAccession": "P69441", "cifUrl": server.url + "/files/x-model_v9.cif", **changes}
    isoform = {"entryId": "AF-P69441-2-F1", "cifUrl": server.url + "/files/isoform.cif"}
    return json.dumps([isoform, entry]).encode()


@pytest.mark.parametrize("identifier", ["p69441", "AF-P69441-F1", "AF-P69441-F1-model_v4"])
def test_alphafold_goes_where_the_api_says(server, tmp_path, identifier):
    server.body("/api/P69441", models(server))
    server.body("/files/x-model_v9.cif", CIF)
    path = fetch_structure(identifier, tmp_path)
    assert path == tmp_path / "AF-P69441-F1.cif"
    assert path.read_bytes() == CIF
    assert fetch_structure(identifier, tmp_path) == path
    assert server.asked == ["/api/P69441", "/files/x-model_v9.cif"]


def test_alphafold_file_name_is_ours(server, tmp_path):
    server.body("/api/P69441", models(server, cifUrl=server.url + "/files/..%2F..%2Fevil.cif"))
    server.body("/files/..%2F..%2Fevil.cif", CIF)
    fetch_structure("P69441", tmp_path / "cache")
    assert leftovers(tmp_path) == ["AF-P69441-F1.cif"]


@pytest.mark.parametrize("url", ["http://example.org/x.cif", "file:///etc/hostname", "//example.org/x.cif"])
def test_alphafold_address_must_be_https(server, tmp_path, url):
    server.body("/api/P69441", models(server, cifUrl=url))
    with pytest.raises(FetchError, match="refused"):
        fetch_structure("P69441", tmp_path)
    assert server.asked == ["/api/P69441"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"<html>", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no such model"),
        (b"null", "no such model"),
        (b'[1, "x", {"entryId": "AF-P69441-F1", "cifUrl": 7}]', "no such model"),
        (b'{"error": "no"}', "no such model"),
    ],
)
def test_alphafold_answers_that_make_no_sense(server, tmp_path, answer, why):
    server.body("/api/P69441", answer)
    with pytest.raises(FetchError, match=why):
        fetch_structure("P69441", tmp_path)


def test_alphafold_unknown_accession(server, tmp_path):
    with pytest.raises(FetchError, match="AF-P69441-F1: not found"):
        fetch_structure("P69441", tmp_path)


def test_alphafold_missing_fragment(server, tmp_path):
    server.body("/api/P69441", models(server))
    with pytest.raises(FetchError, match="AF-P69441-F2: AlphaFold DB lists no such model"):
        fetch_structure("AF-P69441-F2", tmp_path)
