"""How fast batches run and what memory they take: the language model, the stages after it, sizes, bookkeeping, and a long run.

``python benchmarks/throughput.py model stages memory bookkeeping run`` measures what is named, puts it into ``throughput.json``
beside itself, and prints Markdown; ``run`` also draws ``throughput.png``.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from stages import EXAMPLES, HERE, machine, rounded, tile, write_cif

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
LENGTHS = (100, 300, 600)  # residues of a chain
PER_LENGTH = 3000  # residues in all, of each length
ATOMS = (3_000, 10_000, 30_000, 100_000)
COMPLEXES = ("1ubi.pdb.gz", "4CUP.cif", "1s3v.pdb.gz", "1pwc.pdb.gz", "3enl.pdb.gz", "7CFN.cif.gz")
SIZES = ("8M", "35M", "150M", "650M", "3B")
PARTS = ("model", "stages", "memory", "bookkeeping", "run")
SAMPLE_S = 0.5  # between looks at the memory of a long run
Rows = list[dict[str, Any]]


def seconds_of(run: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Least wall and least processor time (all threads) of some runs: others are disturbed runs."""
    wall, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return min(wall), min(cpu)


def model_speed(sizes: Sequence[str], threads: Sequence[int], repeats: int) -> Rows:
    """Residues per second of ESM-2 backbones, chain by chain and in batches; with random weights, which are no slower."""
    import torch

    from s2p.config import WindowConfig
    from s2p.io.runtime import pick_device
    from s2p.language.esm import ResidueModel
    from s2p.language.sequences import BACKBONES, predict_residues

    device = pick_device("auto")
    before = torch.get_num_threads()
    rows = []
    for size in sizes:
        (name,) = (name for name in BACKBONES if f"_{size}_" in name)
        model = ResidueModel(name).to(device).eval()
        draw = np.random.default_rng(0)
        for length in LENGTHS:
            lengths = draw.integers(round(0.9 * length), round(1.1 * length) + 1, PER_LENGTH // length)
            sequences = ["".join(draw.choice(LETTERS, n)) for n in lengths]
            total = int(lengths.sum())
            for n_threads in threads:
                torch.set_num_threads(n_threads)
                for budget in (1, WindowConfig.token_budget):
                    windows = WindowConfig(token_budget=budget)
                    run = partial(predict_residues, model, sequences, windows)
                    wall, cpu = seconds_of(run, repeats)
                    row = {"backbone": size, "length": length, "threads": n_threads, "batched": budget > 1, "device": device.type}
                    rows.append(row | {"residues_per_s": total / wall, "residues_per_cpu_s": total / cpu})
    torch.set_num_threads(before)
    return rows


def stage_speed(repeats: int) -> Rows:
    """Milliseconds of reading, of the stages after the language model, and of writing, in one thread."""
    import torch

    from s2p.predictor import Seq2Pocket
    from s2p.structure.reading import read_structure

    torch.set_num_threads(1)
    whole = Seq2Pocket.load(device="cpu")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in COMPLEXES:
            structure = read_structure(EXAMPLES / name)
            sequences = list(dict.fromkeys(structure.sequence(chain) for chain in structure.chains))
            outputs = dict(zip(sequences, whole.read_sequences(sequences), strict=True))
            prediction = whole.finish(structure, outputs)
            parts = {
                "read": lambda: read_structure(EXAMPLES / name),  # noqa: B023 - called at once, as the others
                "finish": lambda: whole.finish(structure, outputs),  # noqa: B023
                "write csv": lambda: prediction.save(folder, ("csv",)),  # noqa: B023
                "write html": lambda: prediction.save(folder, ("html",)),  # noqa: B023
            }
            times = {f"{part}_ms": 1000 * seconds_of(run, repeats)[1] for part, run in parts.items()}
            rows.append({"input": name, "residues": len(structure.residues), "atoms": len(structure.atoms)} | times)
    return rows


def memory_of(atoms: int) -> dict[str, float]:
    """Peak memory of one prediction in a fresh process, and the same of a process that only loads the predictor."""
    run = [sys.executable, __file__, "--peak-of"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    answer = subprocess.run([*run, str(atoms)], capture_output=True, text=True, check=True, env=environment)
    values: dict[str, float] = json.loads(answer.stdout)
    return values


def _peak(atoms: int) -> dict[str, float]:
    from s2p.batch.inputs import BatchOptions, expand_inputs, load_predictor
    from s2p.batch.run import predict_batch
    from s2p.config import DEFAULT_MODEL
    from s2p.io.runtime import peak_megabytes
    from s2p.structure.reading import read_structure

    with tempfile.TemporaryDirectory() as folder:
        enolase = read_structure(EXAMPLES / "3enl.pdb.gz")
        n = round(atoms * len(enolase.residues) / len(enolase.atoms))
        path = Path(folder) / "large.cif"
        write_cif(tile(enolase, n), path)
        predictor = load_predictor(DEFAULT_MODEL, None, "cpu")
        options = BatchOptions(Path(folder), lambda: predictor, quiet=True)
        list(predict_batch(expand_inputs([str(EXAMPLES / "1ubi.pdb.gz")]), options))
        start, before = time.process_time(), peak_megabytes()
        (row,) = predict_batch(expand_inputs([str(path)]), options)
        assert row.status == "ok", row.message
        return {"residues": n, "small_mb": before, "peak_mb": peak_megabytes(), "cpu_s": time.process_time() - start}


# ------------------------------------------------------------------------------------------------ bookkeeping


class Instant:
    """A predictor that takes no time."""

    name = "instant"

    def read_sequences(self, sequences: Sequence[str], config: Any = None) -> list[tuple[Any, Any]]:
        nothing = np.zeros(0, np.float32)
        return [(nothing, nothing)] * len(sequences)

    def finish(self, structure: Any, outputs: Any, config: Any = None) -> Any:
        return self.predict(structure)

    def predict(self, structure: Any, config: Any = None) -> Any:
        return SimpleNamespace(pockets=(), notes=(), save=lambda folder, formats: [])


def bookkeeping(n: int) -> Rows:
    """Time and memory of everything in a batch but reading, predicting and writing: order, journal, rows, summary, resuming."""
    import psutil

    from s2p.batch import journal, run
    from s2p.batch.inputs import BatchOptions, Item
    from s2p.structure.reading import read_structure

    structure = read_structure(EXAMPLES / "1ubi.pdb.gz")
    # Functions, not mocks, which would remember every call.
    unchanged: dict[str, Callable[..., Any]] = {"digest_input": lambda item: "0" * 64, "intact": lambda *_: True}
    process = psutil.Process()
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(run, read_structure=lambda *_, **__: structure),
        mock.patch.multiple(journal, **unchanged),
    ):
        for resume in (False, True):
            before, start = process.memory_info().rss, time.process_time()
            items = [Item(f"in/structure_{k}.pdb", f"structure_{k}", path=Path(f"in/structure_{k}.pdb")) for k in range(n)]
            options = BatchOptions(Path(folder), Instant, ("csv",), resume=resume, quiet=True)
            peak = before
            for k, row in enumerate(run.predict_batch(items, options)):
                assert row.status == ("skipped" if resume else "ok"), row.message
                if k % 1000 == 0 or k == n - 1:
                    peak = max(peak, process.memory_info().rss)
            with open(Path(folder) / "summary.csv", newline="") as handle:
                assert sum(1 for _ in csv.reader(handle)) == n + 1
            spent, grown = time.process_time() - start, peak - before
            rows.append({"inputs": n, "resume": resume, "us_each": 1e6 * spent / n, "bytes_each": grown / n})
            del items
    return rows


# ------------------------------------------------------------------------------------------------ a long run


def long_run(inputs: Path, n: int, jobs: int) -> dict[str, Any]:
    """Memory of ``s2p predict`` and its workers against structures done, over copies of the files in a folder."""
    import psutil

    files = sorted(
        (path for path in inputs.iterdir() if path.name.endswith((".pdb", ".gz", ".cif"))), key=lambda p: p.stat().st_size
    )
    files = [path for path in files if ".sdf" not in path.name][:n]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        source.mkdir()
        for k in range(n):
            path = files[k % len(files)]
            (source / f"n{k:04}_{path.name}").symlink_to(path.resolve())
        command = [
            sys.executable,
            "-m",
            "s2p",
            "predict",
            str(source),
            "-o",
            f"{folder}/out",
            "--format",
            "csv",
            "--jobs",
            str(jobs),
        ]
        start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        )
        done: list[float] = []
        samples: list[tuple[int, float, float]] = []
        with _watched(psutil.Process(process.pid), lambda memory: samples.append((len(done), *memory))):
            assert process.stdout is not None
            for _ in range(n):  # a line for each structure, and then the total
                process.stdout.readline()
                done.append(time.monotonic() - start)
            process.stdout.read()
            status = process.wait()
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)  # of its workers too, which it has waited for
        with open(f"{folder}/out/summary.csv", newline="") as handle:
            summary = list(csv.DictReader(handle))
        residues = sum(path.read_text().count("\n") - 1 for path in Path(folder, "out").glob("*_residues.csv"))
    return {
        "structures": n,
        "distinct": len(files),
        "residues": residues,
        "jobs": jobs,
        "status": status,
        "failed": sum(row["status"] == "error" for row in summary),
        "wall_s": done[-1],
        "cpu_s": spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime,
        "memory_mb": [[k, parent, workers] for k, parent, workers in samples],
    }


@contextlib.contextmanager
def _watched(process: Any, note: Callable[[tuple[float, float]], None]) -> Iterator[None]:
    """Call ``note`` now and then with the memory (MB) of a process and of those it has started, shared pages counted once."""
    import psutil

    over = threading.Event()

    def look() -> None:
        while not over.wait(SAMPLE_S):
            try:
                memory = [x.memory_full_info().pss / 1e6 for x in (process, *process.children(recursive=True))]
            except psutil.Error:
                continue
            note((memory[0], sum(memory[1:])))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def plot(run: dict[str, Any], path: Path) -> None:
    """Memory against structures done."""
    import matplotlib.pyplot as plt

    done, parent, workers = np.array([sample for sample in run["memory_mb"] if sample[0] < run["structures"]]).T
    fig, ax = plt.subplots(figsize=(7, 3.2))
    ax.plot(done, parent + workers, color="#222222", label="all processes")
    ax.plot(done, workers, color="#0072B2", label=f"{run['jobs']} workers")
    ax.plot(done, parent, color="#D55E00", label="first process")
    ax.set(xlabel="structures done", ylabel="memory (MB)", ylim=(0, None), xlim=(0, run["structures"]))
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    fig.tight_layout()
    fig.savefig(path, dpi=100)
    plt.close(fig)


def table(rows: Rows) -> str:
    """Markdown."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|--:" * len(names) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(str(row[name]) for name in names)} |" for row in rows)])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--backbones", nargs="+", choices=SIZES, default=("8M",), help="sizes of ESM-2")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2), metavar="T", help="threads of the language model")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the fastest counts")
    parser.add_argument("--inputs", type=Path, default=EXAMPLES, metavar="DIR", help="structures of the long run, smallest first")
    parser.add_argument("-n", type=int, default=1000, help="structures of the long run")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes of the long run")
    parser.add_argument("--simulated", type=int, default=100_000, help="structures of the bookkeeping")
    parser.add_argument("-o", "--output", type=Path, default=HERE, metavar="DIR", help="folder of the JSON and the plot")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.peak_of:
        print(json.dumps(_peak(arguments.peak_of)))
        return
    if not arguments.parts or not set(arguments.parts) <= set(PARTS):
        parser.error(f"name what to measure: {', '.join(PARTS)}")
    path: Path = arguments.output / "throughput.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = machine()
    for part in arguments.parts:
        if part == "model":
            results[part] = model_speed(arguments.backbones, arguments.threads, arguments.repeats)
        elif part == "stages":
            results[part] = stage_speed(arguments.repeats)
        elif part == "memory":
            results[part] = [{"atoms": atoms} | memory_of(atoms) for atoms in ATOMS]
        elif part == "bookkeeping":
            results[part] = bookkeeping(arguments.simulated)
        else:
            results[part] = long_run(arguments.inputs, arguments.n, arguments.jobs)
            plot(results[part], arguments.output / "throughput.png")
        results = rounded(results)
        arguments.output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results) + "\n")
        print(part, "", table(results[part]) if isinstance(results[part], list) else "", sep="\n")


if __name__ == "__main__":
    main()
