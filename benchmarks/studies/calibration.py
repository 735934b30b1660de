"""Does the probability of a pocket mean what it says? ``python -m benchmarks.studies.calibration DATA -o calibration.json``.

Measured on unbound structures (``DATA/apo``), all of them and those without a relative among the proteins that the surface
network was trained on. ``benchmarks.recipes.surface_calibration`` measures the same on the validation complexes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.surface_calibration import calibration_error
from benchmarks.recipes.surface_data import TRAINING, related
from benchmarks.recipes.surface_examples import Source, sources
from benchmarks.studies.perturbed import case_of
from s2p.datasets.labelled import read_ligand
from s2p.errors import S2PError
from s2p.evaluation.runner import record_of
from s2p.evaluation.tables import predictor_figures
from s2p.io.files import write_text
from s2p.pockets.hits import HIT, dca
from s2p.prediction import Prediction
from s2p.predictor import Seq2Pocket
from s2p.structure.reading import read_structure

__all__ = ["reliability", "site_hits", "unbound", "unrelated"]

FIGURES = (
    *(f"{measure} < 4 Å, top {rank}" for measure in ("dca", "dcc") for rank in ("N", "N+2")),
    *("dcc < 12 Å, top N+2", "dcc < 12 Å, top all", "PFI", "pockets per protein"),
    *("best residue overlap", "residue average precision"),
)
BINS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


def site_hits(prediction: Prediction, ligands: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """(K,) whether a ligand atom is within 4 Å of a pocket's centre, or of a copy's: files often give one subunit its ligand."""
    if not prediction.pockets:
        return np.zeros(0, bool)
    near = dca([p.center for p in prediction.pockets], np.concatenate(list(ligands))) < HIT
    site = np.array([p.copy_of or p.rank for p in prediction.pockets])
    return np.isin(site, site[near])


def reliability(probability: NDArray[np.float64], hit: NDArray[np.bool_]) -> dict[str, Any]:
    """Calibration error, what it would be by chance if the probabilities were right, and a table of bins."""
    draw = np.random.default_rng(0)
    by_chance = [calibration_error(probability, draw.random(len(hit)) < probability) for _ in range(300)]
    number = np.clip(np.digitize(probability, BINS) - 1, 0, len(BINS) - 2)
    rows = [
        [BINS[k], round(float(probability[own].mean()), 3), round(float(hit[own].mean()), 3), int(own.sum())]
        for k in range(len(BINS) - 1)
        for own in [number == k]
        if own.any()
    ]
    error = {"error": round(calibration_error(probability, hit), 4), "error by chance": round(float(np.mean(by_chance)), 4)}
    return {"pockets": len(hit), "hits": int(hit.sum()), **error, "from, mean, share of hits, pockets": rows}


def unrelated(structures: Sequence[Source], training: Iterable[str]) -> list[Source]:
    """The structures of which no chain has a relative among these sequences, by a search in both directions."""
    own = {x.key: {x.structure.sequence(chain) for chain in x.structure.chains} for x in structures}
    known, _ = related(set().union(*own.values()), training)
    return [x for x in structures if not own[x.key] & known]


def unbound(folder: Path) -> list[Source]:
    """Unbound structures with the ligand of the bound form in their place."""
    places = sorted(place for place in folder.iterdir() if place.is_dir())
    return [
        Source(p.name, "", p.name, read_structure(p / "protein.pdb"), [read_ligand(x)[0] for x in sorted(p.glob("ligand_*.pdb"))])
        for p in places
    ]


def measure(model: Seq2Pocket, structures: Iterable[Source]) -> dict[str, Any]:
    """Figures of ``s2p evaluate``, and the reliability of the pockets' probabilities."""
    probability: list[float] = []
    hits: list[bool] = []
    records = []
    for source in structures:
        case, truth = case_of(source)
        prediction = model.predict(truth.structure)
        probability += [p.probability for p in prediction.pockets]
        hits += site_hits(prediction, truth.ligands).tolist()
        records.append(record_of(truth, prediction, case))
    table = predictor_figures(records)
    found = {key: [round(x, 3) for x in (table[key].value, table[key].low, table[key].high)] for key in FIGURES}
    sizes = {"complexes": len(records), "sites": sum(len(r.sites) for r in records)}
    return {**sizes, **found, **reliability(np.array(probability), np.array(hits, bool))}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.calibration", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--table", type=Path, default=Path("data/splits/surface.csv"))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    if not (options.data / "apo").is_dir():
        raise S2PError(f"{options.data}: it contains no folder apo; give the folder of the data")
    model = Seq2Pocket.load(device="cpu")
    table: dict[str, Any] = {}
    apo = unbound(options.data / "apo")
    learned = sources(options.data, options.table, TRAINING)
    training = {x.structure.sequence(chain) for x in learned for chain in x.structure.chains}
    sets = {"unbound": apo, "unbound, no relative in training": unrelated(apo, training)}
    for name, structures in sets.items():
        table[name] = measure(model, structures)
        log(f"{name}: {table[name]}")
    write_text(options.out, json.dumps(table, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
