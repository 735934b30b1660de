"""Time of smoothing beside the published way, a call of the classifier for each candidate.

``python -m benchmarks.smoothing`` measures, writes ``smoothing.json`` beside itself and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stages import HERE, LIBRARY_LIMIT, SIZES, input_of, machine, rounded, stand_in

SMOOTHERS = {"published": (2560, 2048), "shipped": (320, 256)}  # embedding and width: paper (3B), our checkpoint


def loop_smooth(smoother: Any, ca: np.ndarray, positive: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """Residues added by the published way: the classifier called once for every candidate."""
    import torch

    distance = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    added = np.zeros(len(ca), bool)
    for i in np.flatnonzero(~positive):
        near = positive & (distance[i] < 15.0)
        if near.any():
            x = np.concatenate([embeddings[i], embeddings[near].mean(axis=0)])
            with torch.no_grad():
                added[i] = torch.sigmoid(smoother(torch.from_numpy(x)[None])).item() > 0.4
    return added


def make_smoother(dim: int, width: int) -> Any:
    """A classifier with random weights whose logits spread over several units around the threshold, as trained ones do."""
    import torch

    from s2p.training.smoother import SmootherModule

    torch.manual_seed(0)
    smoother = SmootherModule(dim, width).eval()
    with torch.no_grad():
        for layer, scale in zip((0, 3, 6), (2 / (2 * dim), 2 / width, 9 / width), strict=True):
            smoother.layers[layer].weight.normal_(0, scale**0.5)
    return smoother


def time_smoothing(sizes: Sequence[int], threads: Sequence[int], repeats: int, budget_s: float = 20.0) -> list[dict[str, Any]]:
    """Milliseconds of :func:`s2p.residues.smooth` and of the loop, run in turns, by classifier and number of threads.

    With one thread its processor time is taken, which other programs disturb less; two threads need the clock on the wall.
    """
    import torch
    from threadpoolctl import threadpool_limits

    from s2p.residues import smooth

    rows = []
    for name, (dim, width) in SMOOTHERS.items():
        module = make_smoother(dim, width)
        smoother = module.learned()
        for n in sizes:
            structure = input_of(n)
            positive, _ = stand_in(structure)
            embeddings = np.random.default_rng(0).standard_normal((n, dim), dtype=np.float32)
            given = structure.residues.ca_coord, positive, embeddings
            added = smooth(smoother, *given)
            row: dict[str, Any] = {"classifier": name, "residues": n, "added": int(added.sum())}
            for n_threads in threads:
                torch.set_num_threads(n_threads)
                threadpool_limits(n_threads)
                ways = {"s2p": partial(smooth, smoother)} | ({"loop": partial(loop_smooth, module)} if n <= LIBRARY_LIMIT else {})
                best = dict.fromkeys(ways, np.inf)
                clock = time.thread_time if n_threads == 1 else time.perf_counter
                begun = time.perf_counter()
                for k in range(repeats):
                    if k and time.perf_counter() - begun > budget_s:
                        break
                    for way, run in ways.items():
                        start = clock()
                        found = run(*given)
                        best[way] = min(best[way], 1000 * (clock() - start))
                        if not np.array_equal(found, added):
                            raise AssertionError(f"{way} adds other residues ({name}, {n} residues, {n_threads} threads)")
                row |= {f"{way}_ms_{n_threads}": ms for way, ms in best.items()}
            rows.append(row)
            print(f"{name}: {n} residues done", file=sys.stderr)
    return rows


def smoothing_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: smoothing beside the loop, thread for thread."""
    threads = [int(key.removeprefix("s2p_ms_")) for key in rows[0] if key.startswith("s2p_ms_")]
    heads = [f"{head}, {k} thread{'s' * (k > 1)}" for k in threads for head in ("s2p", "loop")]
    lines = [f"| classifier | residues | added | {' | '.join(heads)} |", "|---" + "|--:" * (2 + len(heads)) + "|"]
    for row in rows:
        cells = [row["classifier"], str(row["residues"]), str(row["added"])]
        for k in threads:
            ours, loop = row[f"s2p_ms_{k}"], row.get(f"loop_ms_{k}")
            cells += [f"{ours:.3g}", f"{loop:.4g} ({loop / ours:.0f}×)" if loop else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="residues")
    parser.add_argument("--repeats", type=int, default=15, help="runs of each way, of which the fastest counts")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2), metavar="T")
    parser.add_argument("-o", "--output", type=Path, default=HERE, metavar="DIR", help="folder of the JSON")
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = time_smoothing(arguments.sizes, arguments.threads, arguments.repeats)
    written = json.dumps(rounded({"machine": machine(), "rows": rows}), indent=1)
    (arguments.output / "smoothing.json").write_text(written + "\n")
    print("Smoothing (ms), and how many times faster s2p is than the loop:", "", smoothing_table(rows), sep="\n")


if __name__ == "__main__":
    main()
