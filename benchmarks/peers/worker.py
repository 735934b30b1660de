"""Runs one outside tool on one PDB file and writes what it says as JSON: a script for the interpreter that has the tool.

It imports nothing of ``s2p``, which that interpreter may lack. Arguments: the tool's name here, the PDB file, the file to
write, threads, and the process to die with. Each loader returns a function of the file, so that importing packages and
reading weights are not in the time measured. Distances are in Å, volumes in Å³.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
"""``pockets``, best first, each with ``score``, ``center`` and ``points``, and, where the tool says so, ``residues``
(chain letter and number), ``probability`` and ``volume``; ``residue_scores`` by ``chain:number``, where the tool has them."""


def load_pocketnet(threads: int) -> Callable[[str], Answer]:
    """PocketNet's ensemble with its own extraction settings."""
    import torch
    from pocketnet import PocketPredictor

    torch.set_num_threads(threads)
    predictor = PocketPredictor()

    def run(path: str) -> Answer:
        result = predictor.predict(path)
        return {
            "pockets": [
                {
                    "score": pocket.score,
                    "probability": pocket.probability,
                    "center": pocket.center,
                    "residues": [_split(key) for key in pocket.residues],
                    "points": result.points[pocket.point_indices].tolist(),
                    "volume": pocket.volume(result.points),
                }
                for pocket in result
            ],
            "residue_scores": result.residue_scores,
        }

    return run


def load_fpocket_rs(threads: int, key: str = "score") -> Callable[[str], Answer]:
    """The Rust port of fpocket, whose own order is that of ``score``."""
    import fpocket_rs

    def run(path: str) -> Answer:
        pockets = []
        for pocket in sorted(fpocket_rs.detect_pockets(path)["pockets"], key=lambda pocket: -pocket[key]):
            points = [sphere[:3] for sphere in pocket["alpha_spheres"]]
            pockets.append(
                {
                    "score": pocket[key],
                    "center": _mean(points),
                    "residues": [list(key) for key in pocket["residues"]],
                    "points": points,
                    "volume": pocket["volume"],
                }
            )
        return {"pockets": pockets}

    return run


def load_fpocket_rs_druggability(threads: int) -> Callable[[str], Answer]:
    """The same pockets in the order of their druggability score."""
    return load_fpocket_rs(threads, "drug_score")


def load_pocketeer(threads: int) -> Callable[[str], Answer]:
    """pocketeer, whose score is a probability."""
    import pocketeer

    def run(path: str) -> Answer:
        return {
            "pockets": [
                {
                    "score": pocket.score,
                    "probability": pocket.score,
                    "center": pocket.centroid.tolist(),
                    "residues": [[chain, number] for chain, number, _ in pocket.residues],
                    "points": pocket.coords.tolist(),
                    "volume": pocket.volume,
                }
                for pocket in pocketeer.find_pockets(pocketeer.load_structure(path))
            ]
        }

    return run


def load_pykvfinder(threads: int) -> Callable[[str], Answer]:
    """pyKVFinder; it does not rank its cavities, so the largest comes first."""
    import numpy as np
    import pyKVFinder

    def run(path: str) -> Answer:
        result = pyKVFinder.run_workflow(path, nthreads=threads)
        if result is None:  # no cavity
            return {"pockets": []}
        pockets = []
        for label, (name, volume) in enumerate(result.volume.items(), start=2):  # labels of the grid start at 2
            points = result._vertices[0] + np.argwhere(result.cavities == label) * result._step
            pockets.append(
                {
                    "score": volume,
                    "center": points.mean(axis=0).tolist(),
                    "residues": [[chain, int(number)] for number, chain, _ in result.residues[name]],
                    "points": points.tolist(),
                    "volume": volume,
                }
            )
        return {"pockets": sorted(pockets, key=lambda pocket: -pocket["score"])}

    return run


def load_fpocket(threads: int) -> Callable[[str], Answer]:
    """The C program; it writes a folder beside its input."""
    return lambda path: _program(["fpocket", "-f", path])


def load_p2rank(threads: int) -> Callable[[str], Answer]:
    """P2Rank; without pictures its prediction is the same."""
    return lambda path: _program(["prank", "predict", "-f", path, "-o", "out", "-threads", str(threads), "-visualizations", "0"])


def _program(command: list[str]) -> Answer:
    """Run a program, whose files the caller reads."""
    code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    if code:
        raise RuntimeError(f"{command[0]} ended with status {code}")
    return {}


def _split(key: str) -> list[Any]:
    chain, number = key.split(":")
    return [chain, int(number)]


def _mean(points: list[Any]) -> list[float]:
    return [sum(column) / len(points) for column in zip(*points)]  # noqa: B905 - the interpreter may be Python 3.9


def _cpu_seconds() -> float:
    """Processor time of this process and the programs it ran."""
    return sum(os.times()[:4])


def _peak_mb() -> float:
    """Largest resident memory of this process or of a program it ran, MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, child = (resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux a new program inherits the maximum of the process that started it; this one is its own.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        own = int(line.split()[1]) * 1024
    return max(own, child) / 1e6


def _die_with(parent: int) -> None:
    """End this process and what it started when the parent is gone, however that ended, and remove its folder."""
    while os.getppid() == parent:
        time.sleep(0.5)
    if Path.cwd().name.startswith("s2p-"):  # the parent's temporary one, and nothing else
        shutil.rmtree(Path.cwd(), ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(name: str, pdb: str, output: str, threads: str, parent: str) -> None:
    """Run the tool ``name``."""
    threading.Thread(target=_die_with, args=(int(parent),), daemon=True).start()
    run = globals()[f"load_{name.replace('-', '_')}"](int(threads))
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    answer = run(pdb)
    answer["seconds"] = time.perf_counter() - start
    answer["cpu_seconds"] = _cpu_seconds() - cpu_start
    answer["peak_mb"] = _peak_mb()
    Path(output).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    del sys.path[0]  # this folder, in which a package may have found a namesake
    main(*sys.argv[1:])
