"""Downloads, against a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s2p.errors import FetchError
from s2p.io.fetch import FetchConfig, cache_folder, classify, download, fetch_structure

CIF = b"# comment\ndata_1ABC\n_cell.length_a 10\n"
CIF_GZ = gzip.compress(CIF * 100)


@dataclass
class Server:
    """Answers by path; ``asked`` records what was asked for."""

    url: str = ""
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def body(self, path: str, content: bytes, announce: int | None = None) -> None:
        """Answer ``path`` with ``content``; ``announce`` is a false Content-Length, -1 none."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            if announce != -1:
                handler.send_header("Content-Length", str(len(content) if announce is None else announce))
            handler.end_headers()
            handler.wfile.write(content)

        self.answers[path] = answer

    def redirect(self, path: str, to: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", to)
            handler.end_headers()

        self.answers[path] = answer

    @property
    def config(self) -> FetchConfig:
        return FetchConfig(
            timeout=5.0, max_bytes=1 << 20, pdb_url=self.url + "/pdb/{id}.cif.gz", alphafold_api=self.url + "/api/{accession}"
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            answer = state.answers.get(self.path)
            if answer is None:
                self.send_error(404)
            else:
                with suppress(OSError):  # the client left
                    answer(self)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


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
    path = fetch_structure("1ABC", tmp_path, server.config)
    assert path == tmp_path / "1abc.cif.gz"
    assert path.read_bytes() == CIF_GZ
    assert fetch_structure("1abc", tmp_path, server.config) == path
    assert fetch_structure("pdb_00001abc", tmp_path, server.config) == path
    assert server.asked == ["/pdb/1abc.cif.gz"]
    assert leftovers(tmp_path) == ["1abc.cif.gz"]


def test_default_folder_is_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("S2P_CACHE", str(tmp_path / "cache"))
    server.body("/pdb/1abc.cif.gz", CIF_GZ)
    assert fetch_structure("1abc", config=server.config) == tmp_path / "cache" / "structures" / "1abc.cif.gz"
    monkeypatch.delenv("S2P_CACHE")
    assert cache_folder().name == "s2p"


def test_unknown_entry(server, tmp_path):
    with pytest.raises(FetchError, match=r"PDB entry 9zzz: not found at 127\.0\.0\.1"):
        fetch_structure("9zzz", tmp_path, server.config)
    assert leftovers(tmp_path) == []


def test_server_error_is_not_called_unknown(server, tmp_path):
    server.answers["/pdb/1abc.cif.gz"] = lambda handler: handler.send_error(503)
    with pytest.raises(FetchError, match="status 503; try again later"):
        fetch_structure("1abc", tmp_path, server.config)


@pytest.mark.parametrize("identifier", ["../../etc/passwd", "1ab", "AF-P69441-F1/../../x", "file:///etc/passwd", ""])
def test_what_is_no_identifier_is_not_asked_for(server, tmp_path, identifier):
    with pytest.raises(FetchError, match="is no PDB id"):
        fetch_structure(identifier, tmp_path, server.config)
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
        fetch_structure("1abc", tmp_path, server.config)
    assert leftovers(tmp_path) == []


def test_connection_closed_early(server, tmp_path):
    server.body("/f", b"x" * 100, announce=1000)
    with pytest.raises(FetchError, match="closed after 100 of 1000 bytes"):
        download(server.url + "/f", tmp_path / "f")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("announce", [None, -1], ids=["announced", "not announced"])
def test_too_large(server, tmp_path, announce):
    server.body("/f", b"x" * 3_000_000, announce=announce)
    with pytest.raises(FetchError, match="larger than the limit of 1 MiB"):
        download(server.url + "/f", tmp_path / "f", max_bytes=1 << 20)
    assert leftovers(tmp_path) == []
    assert download(server.url + "/f", tmp_path / "f", max_bytes=3_000_000).stat().st_size == 3_000_000


@pytest.mark.parametrize("after", [b"", b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nabc"], ids=["silent", "stalls in the body"])
def test_timeout(server, tmp_path, after):
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(after)
        time.sleep(1.0)

    server.answers["/f"] = answer
    with pytest.raises(FetchError, match=r"127\.0\.0\.1 gave no answer for 0\.2 s"):
        download(server.url + "/f", tmp_path / "f", timeout=0.2)
    assert leftovers(tmp_path) == []


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = taken.getsockname()[1]
    with pytest.raises(FetchError, match=r"cannot reach 127\.0\.0\.1.*is there a network"):
        download(f"http://127.0.0.1:{closed}/f", tmp_path / "f")


def test_checksum(server, tmp_path):
    server.body("/f", b"weights")
    target = tmp_path / "sub" / "f"
    with pytest.raises(FetchError, match="wrong checksum"):
        download(server.url + "/f", target, sha256="0" * 64)
    assert leftovers(tmp_path) == []
    good = hashlib.sha256(b"weights").hexdigest()
    assert download(server.url + "/f", target, sha256=good.upper()).read_bytes() == b"weights"
    download(server.url + "/f", target, sha256=good)
    assert len(server.asked) == 2  # what has the checksum is not downloaded again
    target.write_bytes(b"damaged")
    assert download(server.url + "/f", target, sha256=good).read_bytes() == b"weights"


def test_failed_download_leaves_the_old_file(server, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    server.body("/f", b"x" * 100, announce=1000)
    with pytest.raises(FetchError):
        download(server.url + "/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"old"


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("")
    server.body("/f", b"x")
    with pytest.raises(FetchError, match="cannot be written"):
        download(server.url + "/f", tmp_path / "file" / "f")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/f",
        "file:///etc/hostname",
        "ftp://127.0.0.1/f",
        "https://user:secret@example.org/f",
        "data:,x",
        "https:///f",
        "f",
    ],
)
def test_only_https_is_used(tmp_path, url):
    with pytest.raises(FetchError, match="refused"):
        download(url, tmp_path / "f")


@pytest.mark.parametrize("to", ["http://example.org/f", "ftp://127.0.0.1/f"])
def test_redirects_are_held_to_the_same_rule(server, tmp_path, to):
    server.redirect("/f", to)
    with pytest.raises(FetchError, match="refused"):
        download(server.url + "/f", tmp_path / "f")


def test_redirect_on_the_same_machine_is_followed(server, tmp_path):
    server.redirect("/f", "/g")
    server.body("/g", b"x")
    assert download(server.url + "/f", tmp_path / "f").read_bytes() == b"x"


# ---------------------------------------------------------------------------------------------- AlphaFold DB


def models(server: Server, **changes: object) -> bytes:
    entry = {"entryId": "AF-P69441-F1", "uniprotAccession": "P69441", "cifUrl": server.url + "/files/x-model_v9.cif", **changes}
    isoform = {"entryId": "AF-P69441-2-F1", "cifUrl": server.url + "/files/isoform.cif"}
    return json.dumps([isoform, entry]).encode()


@pytest.mark.parametrize("identifier", ["p69441", "AF-P69441-F1", "AF-P69441-F1-model_v4"])
def test_alphafold_goes_where_the_api_says(server, tmp_path, identifier):
    server.body("/api/P69441", models(server))
    server.body("/files/x-model_v9.cif", CIF)
    path = fetch_structure(identifier, tmp_path, server.config)
    assert path == tmp_path / "AF-P69441-F1.cif"
    assert path.read_bytes() == CIF
    assert fetch_structure(identifier, tmp_path, server.config) == path
    assert server.asked == ["/api/P69441", "/files/x-model_v9.cif"]


def test_alphafold_file_name_is_ours(server, tmp_path):
    server.body("/api/P69441", models(server, cifUrl=server.url + "/files/..%2F..%2Fevil.cif"))
    server.body("/files/..%2F..%2Fevil.cif", CIF)
    fetch_structure("P69441", tmp_path / "cache", server.config)
    assert leftovers(tmp_path) == ["AF-P69441-F1.cif"]


@pytest.mark.parametrize("url", ["http://example.org/x.cif", "file:///etc/hostname", "//example.org/x.cif"])
def test_alphafold_address_must_be_https(server, tmp_path, url):
    server.body("/api/P69441", models(server, cifUrl=url))
    with pytest.raises(FetchError, match="refused"):
        fetch_structure("P69441", tmp_path, server.config)
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
        fetch_structure("P69441", tmp_path, server.config)


def test_alphafold_unknown_accession(server, tmp_path):
    with pytest.raises(FetchError, match="AF-P69441-F1: not found"):
        fetch_structure("P69441", tmp_path, server.config)


def test_alphafold_missing_fragment(server, tmp_path):
    server.body("/api/P69441", models(server))
    with pytest.raises(FetchError, match="AF-P69441-F2: AlphaFold DB lists no such model"):
        fetch_structure("AF-P69441-F2", tmp_path, server.config)
