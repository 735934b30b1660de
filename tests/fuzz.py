"""Fuzz the readers: ``python tests/fuzz.py --minutes 30`` (Linux, with the extra ``hardening``).

atheris (libFuzzer) chooses what to change next by the Python code that an input reaches; the changes are those of
``mutations.py``. It runs in a process that may die: a crash in compiled code, an exception that is no sentence, a minute
without an answer or more than 2 GB end it, leave the input in the folder of findings, and it is started again.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
TIMEOUT = 60
MEMORY = 2048


def main() -> int:
    """Supervise; the exit status is 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, default=HERE.parent / ".cache" / "fuzz", help="corpus and findings")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    options = parser.parse_args()
    corpus, findings = options.folder / "corpus", options.folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    sys.path.insert(0, str(HERE))
    from mutations import seeds

    for name, data in seeds().items():
        (corpus / name).write_bytes(data)
    before, executions, start = set(findings.iterdir()), 0, time.monotonic()
    while (left := options.minutes * 60 - (time.monotonic() - start)) > 1:
        log = options.folder / "log.txt"
        with open(log, "wb") as handle:
            command = [sys.executable, __file__, "--worker", str(corpus), f"-artifact_prefix={findings}/"]
            limits = [f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}", f"-max_total_time={int(left) + 1}", "-max_len=1000000"]
            seed = [f"-seed={options.seed}"] if options.seed else []
            whole = [*command, *limits, *seed, "-print_final_stats=1"]
            code = subprocess.run(whole, stdout=handle, stderr=handle, check=False).returncode
        text = log.read_text(errors="replace")
        counts = re.findall(r"^#(\d+)", text, re.MULTILINE)
        executions += int(counts[-1]) if counts else 0
        found = set(findings.iterdir()) - before
        before |= found
        print(f"{(time.monotonic() - start) / 60:5.1f} min, {executions} executions, exit {code}", flush=True)
        for path in sorted(found):
            reason = re.findall(r"^(?:\w*Error|\w*Exception|ERROR|==\d+== ?ERROR).*", text, re.MULTILINE)
            path.with_name(path.name + ".log").write_text(text[-20_000:])
            before.add(path.with_name(path.name + ".log"))
            print(f"  {path.name}: {reason[0][:200] if reason else 'see its log'}", flush=True)
        if code and not found:
            print(text[-2000:], file=sys.stderr)
            return 2
    n_found = len([path for path in findings.iterdir() if path.suffix != ".log"])
    print(f"{executions} executions in {options.minutes:g} minutes, {n_found} findings in {findings}")
    return 1 if n_found else 0


def worker(arguments: list[str]) -> None:
    """The process that atheris takes over."""
    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parent)]
    # Compiled by numba, which must see the code as it is.
    compiled = ["s2p.surface.kernels", "s2p.residues", "s2p.surface.points"]
    with atheris.instrument_imports(include=["s2p", "biotite.structure.io.pdbx"], exclude=compiled):
        from examination import examine
    from mutations import mutate, seeds

    folder = Path(tempfile.mkdtemp(prefix="s2p-fuzz-"))
    good = folder / "good.pdb"
    good.write_bytes(seeds()["bare.pdb"])
    examine(good, folder)  # compiling takes longer than an input may

    def test(data: bytes) -> None:
        draw = zlib.crc32(data)
        path = folder / ("x.pdb" if draw % 4 == 0 else "x")
        path.write_bytes(data)
        examine(path, folder if draw % 16 < 2 else None)

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.1:
            return bytes(atheris.Mutate(data, max_size))
        return mutate(data, rng, max_size=max_size)

    atheris.Setup([sys.argv[0], *arguments], test, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2:])
    else:
        sys.exit(main())
