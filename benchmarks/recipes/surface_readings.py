"""Outputs of trained members for examples, from which the models that rank pockets are fitted.

``python -m benchmarks.recipes.surface_readings CACHE MEMBER [MEMBER ...] -o READINGS`` writes a file for each assembly of the
validation splits, and of the training clusters that the members left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.command import reported
from benchmarks.recipes.surface_examples import read_example
from benchmarks.recipes.surface_network import FOLDS, fold, read_member
from course.surface_training import inputs_of
from s2p.io.runtime import progress_bar
from s2p.surface.network import forward
from s2p.surface.points import SoftPoints
from s2p.surface.reading import averaged, kind_rows

__all__ = ["write_readings"]


def write_readings(paths: Sequence[Path], members: Sequence[Path], out: Path, left_out: int | None = None) -> int:
    """Write readings of the examples of these files, of one fold only if it is given; returns their number.

    Readings that are already in ``out`` are kept.
    """
    found = [read_member(path) for path in members]
    _, types, config = found[0]
    weights = [{name: value.float().numpy() for name, value in own.items()} for own, *_ in found]
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for path in progress_bar(paths, "readings"):
        x = read_example(path)
        if left_out is not None and fold(x.cluster) != left_out:
            continue
        count += 1
        if (out / path.name).is_file():
            continue
        inputs = inputs_of(x, kind_rows(x.kind, x.element, types), config)
        cloud = SoftPoints(x.points.astype(np.float64), x.owner, x.share.astype(np.float64))
        said = averaged([forward(own, inputs, config) for own in weights], cloud)
        fields = {name: getattr(said, name) for name in ("ligandability", "centers", "extent", "residues")}
        np.savez(out / path.name, points=x.points, owner=x.owner, share=x.share, label=x.label, **fields)
    return count


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.surface_readings", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("members", type=Path, nargs="+", help="member.safetensors of runs with the same seed modulo 8")
    parser.add_argument("--seed", type=int, default=0, help="of the runs: it tells the clusters that they left out")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(argv)
    for split, left_out in (("validation", None), ("validation2", None), ("train", options.seed % FOLDS)):
        paths = sorted((options.cache / split).glob("*.npz"))
        print(f"{split}: {write_readings(paths, options.members, options.out, left_out)} assemblies")


if __name__ == "__main__":
    sys.exit(main())
