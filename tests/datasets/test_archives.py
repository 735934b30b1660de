"""Archives: what is in them arrives, and nothing leaves the folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from s2p.datasets import archives
from s2p.datasets.archives import is_archive, unpack
from s2p.errors import FetchError


def make_tar(path: Path, members: list[tuple[str, bytes | str]], mode: str = "w:gz") -> Path:
    """``bytes``: a file; ``str``: a symbolic link to it, or ``hard:NAME``, ``dir``, ``fifo``."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                continue
            kinds = {"dir": tarfile.DIRTYPE, "fifo": tarfile.FIFOTYPE}
            info.type = kinds.get(content, tarfile.LNKTYPE if content.startswith("hard:") else tarfile.SYMTYPE)
            info.linkname = content.removeprefix("hard:")
            archive.addfile(info)
    return path


def make_zip(path: Path, members: list[tuple[str, bytes | str]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            if isinstance(content, str):
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return path


GOOD: list[tuple[str, bytes | str]] = [("a/one.txt", b"one"), ("two.txt", b"2" * 5000), ("a/b/empty", b"")]


@pytest.mark.parametrize("kind", ["w:gz", "w:xz", "w:bz2", "w", "zip"])
def test_everything_arrives(tmp_path: Path, kind: str) -> None:
    path = make_zip(tmp_path / "x", GOOD) if kind == "zip" else make_tar(tmp_path / "x", [("a", "dir"), *GOOD], kind)
    assert is_archive(path)
    folder = unpack(path, tmp_path / "out")
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == dict(GOOD)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x"]
    with pytest.raises(FetchError, match="cannot be unpacked"):
        unpack(path, folder)


BAD_NAMES = ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_no_member_leaves_the_folder(tmp_path: Path, name: str, kind: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    make = make_tar if kind == "tar" else make_zip
    path = make(inner / "x", [("fine", b"x"), (name, b"evil")])
    with pytest.raises(FetchError, match="would leave the folder"):
        unpack(path, inner / "out")
    assert sorted(p.name for p in inner.iterdir()) == ["x"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inner"]


@pytest.mark.parametrize("content", ["/etc/passwd", "hard:fine", "fifo"])
def test_links_and_devices_are_refused(tmp_path: Path, content: str) -> None:
    path = make_tar(tmp_path / "x", [("fine", b"x"), ("link", content), ("link/evil", b"x")])
    with pytest.raises(FetchError, match="is a link or a device"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_zip_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is a link or a device"):
        unpack(make_zip(tmp_path / "x", [("link", "/etc/passwd")]), tmp_path / "out")


def test_bombs_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    path = make_tar(tmp_path / "x", [("zeros", bytes(5_000_000))])
    assert path.stat().st_size < 50_000
    with pytest.raises(FetchError, match="larger than 1 MiB unpacked"):
        unpack(path, tmp_path / "out")
    with pytest.raises(FetchError, match="more than 2 files"):
        unpack(make_zip(tmp_path / "y", GOOD), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="cannot be unpacked"):
        unpack(make_tar(tmp_path / "x", [("a", b"1"), ("a", b"2")]), tmp_path / "out")


@pytest.mark.parametrize("kind", ["text", "half a tar", "half a zip"])
def test_damaged_files_give_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    draw = bytes((k * k * 7 + k // 3) % 251 for k in range(60_000))
    if kind == "text":
        path.write_text("hello")
        assert not is_archive(path)
    else:
        (make_tar if "tar" in kind else make_zip)(path, [("a", draw)])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FetchError, match="damaged or of a kind that cannot be read"):
        unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
