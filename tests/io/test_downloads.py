"""Downloads, against a server on this machine."""

from __future__ import annotations

import hashlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from s2p.errors import FetchError
from s2p.io import downloads
from s2p.io.downloads import download


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


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
        download(server.url + "/f", target, checksum=("sha256", "0" * 64))
    assert leftovers(tmp_path) == []
    good = hashlib.sha256(b"weights").hexdigest()
    assert download(server.url + "/f", target, checksum=("sha256", good.upper())).read_bytes() == b"weights"
    download(server.url + "/f", target, checksum=("sha256", good))
    download(server.url + "/f", target, checksum=("md5", hashlib.md5(b"weights").hexdigest()))
    assert len(server.asked) == 2  # what has the checksum is not downloaded again
    target.write_bytes(b"damaged")
    assert download(server.url + "/f", target, checksum=("sha256", good)).read_bytes() == b"weights"


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


def test_busy_servers_are_asked_again_and_refusals_are_not(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    server.body("/f", b"x")
    server.status = [503, 429]
    assert download(server.url + "/f", tmp_path / "f", attempts=3).read_bytes() == b"x"
    assert len(server.asked) == 3
    server.status = [503, 503]
    with pytest.raises(FetchError, match=r"status 503; try again later; gave up after 2 attempts"):
        download(server.url + "/f", tmp_path / "g", attempts=2)
    for status, message in ((404, "not found at"), (410, "not found at"), (403, r"refused the request \(status 403\)")):
        server.asked.clear()
        server.status = [status]
        with pytest.raises(FetchError, match=message):
            download(server.url + "/f", tmp_path / "g", attempts=5)
        assert len(server.asked) == 1
    assert leftovers(tmp_path) == ["f"]


def test_a_broken_transfer_starts_anew(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    whole, lengths = b"0123456789" * 1000, [10_000, 3000, 4000]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(whole)))
        handler.end_headers()
        handler.wfile.write(whole[: lengths.pop()])

    server.answers["/f"] = answer
    assert download(server.url + "/f", tmp_path / "f", attempts=3).read_bytes() == whole
    assert leftovers(tmp_path) == ["f"]


@pytest.mark.parametrize("announce", [None, -1], ids=["announced", "not announced"])
def test_another_size_than_expected(server, tmp_path, announce):
    server.body("/f", b"x" * 100, announce=announce)
    with pytest.raises(FetchError, match=r"100 (bytes where|of) 5"):
        download(server.url + "/f", tmp_path / "f", size=5)
    assert leftovers(tmp_path) == []
    assert download(server.url + "/f", tmp_path / "f", size=100).stat().st_size == 100


def test_two_downloads_of_one_file_do_not_mix(server, tmp_path):
    server.body("/f", bytes(range(256)) * 4000)
    with ThreadPoolExecutor(4) as pool:
        for path in pool.map(lambda _: download(server.url + "/f", tmp_path / "f"), range(8)):
            assert path.stat().st_size == 1_024_000
    assert leftovers(tmp_path) == ["f"]
