"""Does smoother training at the paper's size fit a small machine? A stand-in of random numbers, trained on for some minutes.

``python -m benchmarks.stand_in FOLDER --minutes 15`` writes 28 GB of random half-precision embeddings and trains the published
classifier (5120-2048-2048-1). Chains are as many and as long as those of enhanced sc-PDB (17,077 chains, 5,558,460 residues,
14.8 % binding), each a ball of CA atoms as dense as a protein, whose binding residues are the ones around two points of its
surface. Times are of the processor, since other programs may run; memory is the process's own, without the pages of mapped files.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import reported
from benchmarks.recipes.published_plan import SMOOTHER
from s2p.io.files import make_folder, write_text
from s2p.training.smoother import PairStream, SmootherModule, SmoothingExample, train_smoother

CHAINS, RESIDUES, WIDTH, BINDING = 17_077, 5_558_460, 2560, 0.148
VOLUME = 140.0
"""Å³ of a residue in a protein."""
POOL = 1 << 26
"""Random numbers that the chains take slices of: drawing 14 billion would take longer than training on them."""


def chain_lengths(n: int, total: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Lengths of ``n`` chains with that many residues in all, distributed like those of chains in the PDB."""
    lengths = np.clip(draw.lognormal(0, 0.5, n), 0.2, 5)
    ends = np.round(np.cumsum(lengths) / lengths.sum() * total).astype(np.int64)
    counts: NDArray[np.int64] = np.diff(ends, prepend=0)
    return counts


def globule(n: int, draw: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(n, 3) CA atoms, Å, of a ball, and its binding residues."""
    radius = (n * VOLUME * 3 / (4 * np.pi)) ** (1 / 3)
    directions = draw.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ca = (directions * radius * draw.random((n, 1)) ** (1 / 3)).astype(np.float32)
    distance = np.min([np.linalg.norm(ca - center, axis=1) for center in directions[:2] * radius], axis=0)
    return ca, np.sort(np.argsort(distance)[: round(BINDING * n)])


def stand_in(folder: Path, chains: int, width: int) -> list[SmoothingExample]:
    """Examples whose embeddings are memory-mapped from ``folder``, where they are written on the first call."""
    draw = np.random.default_rng(0)
    lengths = chain_lengths(chains, round(RESIDUES * chains / CHAINS), draw)
    starts = np.cumsum(lengths) - lengths
    path = folder / f"stand_in_{chains}_{width}.npy"
    if not path.is_file():
        make_folder(folder)
        pool = draw.standard_normal(min(POOL, int(lengths.max() + chains) * width), dtype=np.float32).astype(np.float16)
        part = path.with_suffix(".part")
        stored = np.lib.format.open_memmap(part, "w+", np.float16, (int(lengths.sum()), width))
        for start, n in zip(starts.tolist(), lengths.tolist(), strict=True):
            first = int(draw.integers(0, len(pool) - n * width))
            stored[start : start + n] = pool[first : first + n * width].reshape(n, width)
        stored.flush()
        part.rename(path)
    mapped = np.asarray(np.load(path, mmap_mode="r"))
    examples = []
    for start, n in zip(starts.tolist(), lengths.tolist(), strict=True):
        ca, site = globule(n, np.random.default_rng(start))
        examples.append(SmoothingExample(mapped[start : start + n], ca, (site,)))
    return examples


def anonymous_memory() -> float:
    """GB that the process itself takes, without pages of mapped files, which the system may drop (Linux)."""
    with open("/proc/self/status") as handle:
        return next(float(line.split()[1]) for line in handle if line.startswith("RssAnon")) * 1024 / 1e9


class MemoryLog(threading.Thread):
    """Reads the memory of the process every second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_time, self.rows = time.monotonic(), [(0.0, anonymous_memory())]

    def run(self) -> None:
        """Until the process ends."""
        while True:
            time.sleep(1)
            self.rows.append((time.monotonic() - self.start_time, anonymous_memory()))

    def by_minute(self) -> list[float]:
        """Highest value of each minute, GB."""
        minutes = range(int(self.rows[-1][0] // 60) + 1)
        return [round(max((m for t, m in self.rows if t // 60 == k), default=0.0), 2) for k in minutes]


def measure(folder: Path, chains: int, width: int, minutes: float) -> dict[str, Any]:
    """Train for some minutes, then classify the validation pairs as after an epoch; steps a second and memory."""
    memory = MemoryLog()
    memory.start()
    examples, work = stand_in(folder, chains, width), folder / "work"
    held = chains // 10
    times, streams = [time.process_time()], list[PairStream]()
    timer = threading.Timer(60 * minutes, signal.raise_signal, [signal.SIGINT])
    inputs = PairStream.inputs

    def watched(stream: PairStream, block: int, chosen: NDArray[np.int64]) -> torch.Tensor:
        """As ever; the first call is where training begins."""
        if not streams:
            streams.append(stream)
            times.append(time.process_time())
            timer.start()
        return inputs(stream, block, chosen)

    with mock.patch.object(PairStream, "inputs", watched), suppress(KeyboardInterrupt):
        train_smoother(examples[held:], examples[:held], SMOOTHER, folder=work)
    timer.cancel()
    times.append(time.process_time())
    done = json.loads(torch.load(work / "state.pt", map_location="cpu", weights_only=True, mmap=True)["log"])["step"]
    PairStream(examples[:held], SMOOTHER).logits(SmootherModule(width, SMOOTHER.width))
    times.append(time.process_time())
    prepared, trained, validated = np.diff(times).tolist()
    pairs, near = streams[0], streams[0].near
    steps = len(list(pairs.batches(SMOOTHER.batch_size)))
    return {
        "chains": chains,
        "residues": sum(len(x.embeddings) for x in examples),
        "training pairs": len(pairs.targets),
        "positive": round(float(pairs.targets.mean()), 4),
        "residues in a context": round(near.nnz / len(pairs.targets), 1),
        "index, GB": round(sum(x.nbytes for x in (pairs.rows, pairs.targets, near.data, near.indices, near.indptr)) / 1e9, 3),
        "blocks": len(pairs.first),
        "steps an epoch": steps,
        "index and hash of everything, s": round(prepared),
        "minutes of training on the clock": minutes,
        "steps done": done,
        "a step, s": round(trained / done, 2),
        "validation, s": round(validated),
        "an epoch, h": round((steps * trained / done + validated) / 3600, 2),
        "state, GB": round((work / "state.pt").stat().st_size / 1e9, 2),
        "memory by minute, GB": memory.by_minute(),
        "peak, GB": round(max(m for _, m in memory.rows), 2),
        "smoother": asdict(SMOOTHER),
    }


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stand_in", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for embeddings, state and figures; remove it afterwards")
    parser.add_argument("--chains", type=int, default=CHAINS)
    parser.add_argument("--width", type=int, default=WIDTH, help="numbers in an embedding (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=15.0, help="of training (default: %(default)g)")
    options = parser.parse_args(argv)
    result = measure(options.folder, options.chains, options.width, options.minutes)
    print(json.dumps(result, indent=1))
    write_text(options.folder / "stand_in.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
