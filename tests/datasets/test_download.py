"""Downloads that break and go on, against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s2p.datasets.archives import DownloadConfig
from s2p.datasets.download import download_resumable
from s2p.errors import FetchError

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
FAST = DownloadConfig(timeout=5.0, attempts=3, pause=0.01)


@dataclass
class Server:
    """Serves ``body`` at any path; each connection is cut after ``cut`` bytes."""

    url: str = ""
    body: bytes = BODY
    cut: int | None = None
    ranges: bool = True
    etag: str = '"one"'
    announce: bool = True
    status: list[int] = field(default_factory=list)
    """Answers to give before the body."""
    stall: float = 0.0
    asked: list[str | None] = field(default_factory=list)
    """Range of each request."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.status:
                self.send_error(state.status.pop(0))
                return
            fresh = self.headers.get("If-Range") in (None, state.etag)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges and fresh else 0
            if start >= len(state.body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.body) - 1}/{len(state.body)}")
            if state.etag:
                self.send_header("ETag", state.etag)
            part = state.body[start:]
            if state.announce:
                self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(part if state.cut is None else part[: state.cut])
                self.wfile.flush()
                time.sleep(state.stall)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{httpd.server_port}/f"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_whole_download(server: Server, tmp_path: Path) -> None:
    target = download_resumable(
        server.url, tmp_path / "new" / "f", checksum=("sha256", SHA256.upper()), size=len(BODY), config=FAST
    )
    assert target.read_bytes() == BODY
    assert left(target.parent) == ["f"]
    download_resumable(server.url, target, checksum=("md5", MD5), config=FAST)
    assert server.asked == [None]  # what has the checksum is not asked for again


def test_cut_connections_go_on_where_they_stopped(server: Server, tmp_path: Path) -> None:
    server.cut = 300_000
    target = download_resumable(server.url, tmp_path / "f", checksum=("sha256", SHA256), config=FAST)
    assert target.read_bytes() == BODY
    assert server.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert left(tmp_path) == ["f"]


def test_the_next_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    _after_first_connection(server, 503)
    with pytest.raises(FetchError, match=r"gave up on 127\.0\.0\.1 after 3 attempts \(status 503\); 100000 bytes are kept"):
        download_resumable(server.url, tmp_path / "f", config=FAST)
    assert left(tmp_path) == [".f.part", ".f.part.json"]
    assert (tmp_path / ".f.part").read_bytes() == BODY[:100_000]
    server.asked.clear()
    server.cut, server.status = None, []
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY
    assert server.asked == ["bytes=100000-"]
    assert left(tmp_path) == ["f"]


def _after_first_connection(server: Server, status: int) -> None:
    """The first request is served, all later ones get ``status``."""

    class Later(list[int]):
        def __bool__(self) -> bool:
            return len(server.asked) > 1

        def pop(self, *_: object) -> int:  # type: ignore[override]
            return status

    server.status = Later()


def test_a_file_that_changed_is_taken_from_the_start(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".f.part").write_bytes(b"old" * 100)
    (tmp_path / ".f.part.json").write_text(f'{{"url": "{server.url}", "validator": "\\"zero\\""}}')
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY
    assert server.asked == ["bytes=300-"]


@pytest.mark.parametrize("state", ["", "{", '{"url": "https://elsewhere/f", "validator": "x"}', None])
def test_a_part_of_unknown_origin_is_not_continued(server: Server, tmp_path: Path, state: str | None) -> None:
    (tmp_path / ".f.part").write_bytes(b"junk")
    if state is not None:
        (tmp_path / ".f.part.json").write_text(state)
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY
    assert server.asked == [None]


def test_without_etag_or_checksum_every_attempt_starts_anew(server: Server, tmp_path: Path) -> None:
    server.etag, server.cut = "", 300_000
    with pytest.raises(FetchError, match="gave up"):
        download_resumable(server.url, tmp_path / "f", config=FAST)
    assert set(server.asked) == {None}
    assert not (tmp_path / "f").exists()
    server.asked.clear()
    assert download_resumable(server.url, tmp_path / "f", checksum=("sha256", SHA256), config=FAST).read_bytes() == BODY
    assert server.asked[-1] == "bytes=900000-"


def test_a_server_without_ranges_gets_another_try_from_the_start(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut = False, 300_000
    with pytest.raises(FetchError, match="gave up on"):
        download_resumable(server.url, tmp_path / "f", config=FAST)
    server.cut = None
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY


def test_busy_servers_are_asked_again_and_refusals_are_not(server: Server, tmp_path: Path) -> None:
    server.status = [503, 429]
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY
    assert len(server.asked) == 3
    for status, message in ((404, "not found at"), (410, "not found at"), (403, "answered with status 403")):
        server.asked.clear()
        server.status = [status]
        with pytest.raises(FetchError, match=message):
            download_resumable(server.url, tmp_path / "g", config=FAST)
        assert len(server.asked) == 1


def test_a_wrong_checksum_or_size_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(FetchError, match="wrong checksum"):
        download_resumable(server.url, tmp_path / "f", checksum=("sha256", "0" * 64), config=FAST)
    with pytest.raises(FetchError, match=f"{len(BODY)} bytes where 5 are expected"):
        download_resumable(server.url, tmp_path / "f", size=5, config=FAST)
    with pytest.raises(FetchError, match="is no checksum"):
        download_resumable(server.url, tmp_path / "f", checksum=("sha256", "abc"), config=FAST)
    assert left(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.parametrize("announce", [True, False])
def test_too_large(server: Server, tmp_path: Path, announce: bool) -> None:
    server.announce = announce
    with pytest.raises(FetchError, match="larger than the limit"):
        download_resumable(server.url, tmp_path / "f", config=DownloadConfig(max_bytes=1000))
    assert left(tmp_path) == []
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY


def test_a_silent_server(server: Server, tmp_path: Path) -> None:
    server.body, server.cut, server.stall = BODY[:1000], 0, 0.6
    with pytest.raises(FetchError, match=r"gave up .*no answer for 0\.2 s"):
        download_resumable(server.url, tmp_path / "f", config=DownloadConfig(timeout=0.2, attempts=2, pause=0.01))


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".f.part").write_bytes(BODY)
    (tmp_path / ".f.part.json").write_text(f'{{"url": "{server.url}", "validator": "\\"one\\""}}')
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY
    assert server.asked == [f"bytes={len(BODY)}-", None]


def test_two_downloads_of_one_file_do_not_mix(server: Server, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with open(tmp_path / ".f.part.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another download of it"):
            download_resumable(server.url, tmp_path / "f", config=FAST)
    assert download_resumable(server.url, tmp_path / "f", config=FAST).read_bytes() == BODY


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="cannot write into"):
        download_resumable(server.url, tmp_path / "file" / "f", config=FAST)


@pytest.mark.parametrize("url", ["http://example.org/f", "ftp://127.0.0.1/f", "file:///etc/hostname"])
def test_only_https_is_used(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match="refused"):
        download_resumable(url, tmp_path / "f", config=FAST)
