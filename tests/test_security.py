"""What must never be in the package, and what hostile names, addresses and servers must never reach."""

from __future__ import annotations

import ast
import http.server
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from examination import examine_whole
from hypothesis import given
from hypothesis import strategies as st
from mutations import cases

import s2p
from s2p.errors import FetchError
from s2p.io.downloads import download
from s2p.io.files import file_stem, write_text

PACKAGE = Path(s2p.__file__).parent
UNPICKLERS = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "pandas.io.pickle",
}
INSECURE = {"_create_unverified_context", "CERT_NONE", "extractall", "unpack_archive", "mktemp", "read_pickle", "unsafe_load"}


def offences(source: str) -> list[str]:
    """Calls and imports that could run what a file holds, run a shell, or trust a server unseen."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"import {name.name}" for name in node.names if name.name.split(".")[0] in UNPICKLERS]
        elif isinstance(node, ast.ImportFrom):
            found += [f"from {node.module}"] if (node.module or "").split(".")[0] in UNPICKLERS else []
        elif isinstance(node, ast.Attribute) and node.attr in INSECURE:
            found.append(node.attr)
        elif isinstance(node, ast.Call):
            given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
            name = ast.unparse(node.func)
            if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"):
                found.append(name)
            if name == "torch.load" and given.get("weights_only") is not True:
                found.append("torch.load without weights_only=True")
            if given.get("allow_pickle") or given.get("shell") or given.get("verify", True) is False:
                found.append(f"{name}({', '.join(str(key) for key in given)})")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_in_the_package_runs_what_a_file_holds(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import marshal as m",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "eval(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "requests.get(url, verify=False)",
        "context.verify_mode = ssl.CERT_NONE",
        "tarfile.open(path).extractall()",
    ],
)
def test_offences_are_seen(line: str) -> None:
    assert len(offences(line)) == 1


@given(st.text(max_size=300) | st.text("./\\:~-\0 aé\n", max_size=300))
def test_a_file_name_never_leaves_its_folder(name: str) -> None:
    stem = file_stem(name)
    assert stem == Path(stem).name == Path(f"/somewhere/{stem}").resolve().name
    assert not set(stem) & set('/\\:\0\n\r*?"<>|') and not stem.startswith((".", "-")) and ".." not in stem
    assert 0 < len(stem.encode()) <= 150
    assert file_stem(stem) == stem


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x", "a/../../b", "~root", "\0", "...", "-rf"]
)
def test_hostile_names_are_written_inside(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    write_text(inside / f"{file_stem(name)}.txt", "x")
    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [inside]


def test_markup_in_a_structure_stays_text(tmp_path: Path) -> None:
    """Chain ids and names with tags go through the whole prediction; the report shows them and runs none."""
    (case,) = (case for case in cases() if case.name == "a script as chain id")
    path = tmp_path / "<img src=x onerror=alert(1)>.cif"
    path.write_bytes(case.data)
    pages = []

    def look(folder: Path) -> None:
        pages.extend(page.read_text(encoding="utf-8") for page in folder.glob("*.html"))

    assert examine_whole(path, tmp_path / "out", look) == ""
    (page,) = pages
    assert "<script>alert" not in page and "<img src=x" not in page
    assert "alert(1)" in page  # it is there, as text


@pytest.fixture
def self_signed(tmp_path: Path) -> str:
    """The address of an https server on this machine that nobody vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with openssl, which is not here")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        "-days",
        "1",
    ]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"https://localhost:{server.server_port}/x"
    server.shutdown()
    server.server_close()


def test_a_certificate_that_nobody_vouches_for_is_refused(
    self_signed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    with pytest.raises(FetchError, match="certificate verify failed"):
        download(self_signed, tmp_path / "x")
    assert not (tmp_path / "x").exists()
