"""Kalasanty beside Seq2Pocket and two baselines on held-out complexes: figures, agreement, consensus.

``python -m benchmarks.studies.kalasanty DATA -o FOLDER [--split validation] [--model PATH]`` writes ``kalasanty.json``,
which ``python -m benchmarks.report.results`` shows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import reported
from benchmarks.peers.config import PatchConfig
from benchmarks.recipes.data import read_split
from benchmarks.recipes.kalasanty import CavityComplex
from course.consensus import Agreement, agreement, consensus
from course.kalasanty_training import ball
from s2p import __version__
from s2p.config import DEFAULT_MODEL
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import paired_difference, site_hits, summarise
from s2p.evaluation.provenance import provenance
from s2p.evaluation.rows import ComplexResult, SiteRow
from s2p.io.files import make_folder, write_text
from s2p.io.runtime import progress_bar
from s2p.models.kalasanty.config import KalasantyPocketConfig
from s2p.models.kalasanty.pockets import near_cavity
from s2p.models.kalasanty.predictor import KalasantyPredictor
from s2p.prediction import Pocket, Prediction
from s2p.predictor import Seq2Pocket
from s2p.structure.reading import Structure
from s2p.surface.points import surface_points

__all__ = ["CenterBall", "RandomSurfacePoints", "main", "study"]

RADIUS = 5.0
"""Å: a ball of it has about the volume of a drug-like ligand's site."""
COMPARED = ("dcc_n", "dcc_n_plus", "dca_n", "dca_n_plus")
"""Distances by which agreement and differences are counted, all at 4 Å."""
PAIRS = (("kalasanty", "s2p"), ("consensus", "s2p"), ("kalasanty", "kalasanty, one box"))
"""Whose hits are compared, first less second."""


class CenterBall:
    """One pocket: a ball around the mean of the heavy atoms."""

    name = "center-ball"
    version = __version__

    def predict(self, structure: Structure) -> Prediction:
        """The ball, whatever the protein."""
        center = structure.atoms.coord.mean(axis=0, dtype=np.float64)
        return _balls(structure, center[None], self.name)


class RandomSurfacePoints:
    """Balls around points drawn evenly from the solvent-accessible surface.

    The draw depends on the coordinates alone: the same structure gives the same points.

    Parameters
    ----------
    n
        Pockets.
    """

    name = "random-surface-points"
    version = __version__

    def __init__(self, n: int = PatchConfig.n_patches) -> None:
        self.n = n

    def predict(self, structure: Structure) -> Prediction:
        """Balls in the order in which their points were drawn; none on a protein without a surface."""
        atoms = structure.atoms
        cloud = surface_points(atoms.coord, atoms.element, np.arange(len(atoms)), n_points=PatchConfig.n_points)
        draw = np.random.default_rng(list(hashlib.sha256(atoms.coord.tobytes()).digest()))
        chosen = draw.permutation(len(cloud.coord))[: self.n]
        return _balls(structure, cloud.coord[chosen], self.name)


def _balls(structure: Structure, centers: NDArray[np.float64], name: str) -> Prediction:
    inside = ball(RADIUS).astype(np.float64)
    pockets = []
    for rank, center in enumerate(centers, start=1):
        points = center + inside
        atoms = near_cavity(structure, points, KalasantyPocketConfig.residue_distance)
        residues = np.unique(structure.atoms.residue_index[atoms])
        place = center.astype(np.float32)
        pockets.append(
            Pocket(rank, 1 / rank, float("nan"), residues, atoms, points.astype(np.float32), place, float(len(points)))
        )
    probabilities = np.zeros(len(structure.residues), np.float32)
    for pocket in reversed(pockets):
        probabilities[pocket.residues] = pocket.score
    none = np.zeros(len(probabilities), np.bool_)
    return Prediction(structure, probabilities, none, probabilities > 0, tuple(pockets), name, {"radius": RADIUS})


def study(held: Sequence[CavityComplex], kalasanty: KalasantyPredictor, other: Seq2Pocket) -> dict[str, Any]:
    """Figures of every predictor with intervals over clusters, and who finds what.

    Returns
    -------
    JSON-ready: ``figures`` by predictor (value, low, high), ``agreement`` by distance, ``differences`` of recalls by pair and
    distance (value, low, high, p), ``n_complexes``, ``n_sites`` and ``n_clusters``. The predictor ``kalasanty, one box`` drops
    atoms outside of a single box, as published.
    """
    one_box = KalasantyPredictor(
        replace(kalasanty.checkpoint, pockets=replace(kalasanty.checkpoint.pockets, tiles=False), name="kalasanty, one box")
    )
    alone: dict[str, Callable[[CavityComplex], Prediction]] = {
        "kalasanty": lambda x: kalasanty.predict(x.structure),
        "kalasanty, one box": lambda x: one_box.predict(x.structure),
        "s2p": lambda x: other.predict(x.structure),
        "center-ball": lambda x: CenterBall().predict(x.structure),
        "random-surface-points": lambda x: RandomSurfacePoints().predict(x.structure),
    }
    results: dict[str, list[ComplexResult]] = {name: [] for name in (*alone, "consensus")}
    for x in progress_bar(held, "complexes"):
        found = {name: predict(x) for name, predict in alone.items()}
        found["consensus"] = consensus(found["s2p"], found["kalasanty"])
        for name, prediction in found.items():
            row = evaluate_complex(replace(prediction, model=name), x.ligands, name=x.key, cluster=x.cluster)
            results[name].append(row)
    sites = {name: [row for result in rows for row in result.sites] for name, rows in results.items()}
    figures = {name: {key: [s.value, s.low, s.high] for key, s in summarise(rows).items()} for name, rows in results.items()}
    pairs = {column: _as_json(agreement(sites["s2p"], sites["kalasanty"], column=column)) for column in COMPARED}
    counts = {"n_complexes": len(held), "n_sites": len(sites["s2p"]), "n_clusters": len({x.cluster for x in held})}
    differences = {f"{a} − {b}": {c: _difference(sites[a], sites[b], c) for c in COMPARED} for a, b in PAIRS}
    return counts | {"figures": figures, "agreement": {"s2p, kalasanty": pairs}, "differences": differences}


def _difference(first: Sequence[SiteRow], second: Sequence[SiteRow], column: str) -> list[float]:
    a, b = (site_hits(rows, column, BenchmarkConfig.strict_hit) for rows in (first, second))
    found = paired_difference(a, b, [row.cluster for row in first])
    return [found.value, found.low, found.high, found.p]


def _as_json(found: Agreement) -> dict[str, Any]:
    return asdict(found) | {"either": found.either}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.kalasanty", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--splits", type=Path, default=Path("data/splits/complexes.csv"))
    parser.add_argument("--model", default="kalasanty", metavar="NAME|PATH")
    parser.add_argument("--other", default=DEFAULT_MODEL, metavar="NAME|PATH", help="Seq2Pocket checkpoint")
    options = parser.parse_args(argv)
    kalasanty = KalasantyPredictor.load(options.model, device="cpu")
    held = read_split(options.data, options.splits, options.split, CavityComplex.read)
    found = study(held, kalasanty, Seq2Pocket.load(options.other, device="cpu"))
    make_folder(options.out)
    text = json.dumps(found | {"split": options.split} | provenance(), indent=1, ensure_ascii=False)
    print(f"wrote {write_text(options.out / 'kalasanty.json', text + chr(10))}")
    for name, table in found["figures"].items():
        shown = {key: table[key] for key in ("dcc < 4 Å, top N", "dca < 4 Å, top N", "dvo", "F1, dcc <= 4 Å")}
        print(f"{name}: " + "; ".join(f"{key} {v:.3f} ({low:.3f}–{high:.3f})" for key, (v, low, high) in shown.items()))


if __name__ == "__main__":
    sys.exit(main())
