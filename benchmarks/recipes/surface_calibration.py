"""Two logistic regressions that rank the pockets of a surface network, fitted on structures that the network has not seen.

``python -m benchmarks.recipes.surface_calibration DATA READINGS -o VOTES.json`` fits them on the clusters that training left out,
prints figures of the validation splits, and writes models fitted on both. READINGS are those of
``benchmarks.recipes.surface_readings``: a file for each assembly, ``<set>~<id>~<number>.npz``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import matthews_corrcoef

from benchmarks.command import log, reported
from benchmarks.recipes.seq2pocket import calibration, fit_pocket_model
from course.surface_training import UNKNOWN
from s2p.datasets.labelled import read_ligand
from s2p.errors import S2PError
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import summarise
from s2p.evaluation.rows import ComplexResult
from s2p.io.files import read_csv, write_text
from s2p.pockets.hits import HIT, dca, dcc, site_center
from s2p.pockets.ranking import PocketModel
from s2p.pockets.voting import Candidates, VoteConfig, VoteModel, candidates, find_voted_pockets, grouped, pocket_features
from s2p.prediction import Prediction
from s2p.structure.reading import Structure, read_structure
from s2p.surface.points import SoftPoints
from s2p.surface.reading import Reading
from s2p.surface.surroundings import Surroundings, assemblies

__all__ = ["Sample", "calibration_error", "figures", "fit_votes", "read_samples"]

C_MIDDLE, C_ATOM = 0.01, 0.1
"""Inverse strengths of regularisation."""
FIGURES = tuple(f"{measure} < 4 Å, top {rank}" for measure in ("dca", "dcc") for rank in ("N", "N+2", "all"))
"""Printed, with PFI."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A structure with its ligands, and the network's output for its assemblies."""

    key: str
    cluster: str
    structure: Structure
    parts: tuple[Surroundings, ...]
    """The assemblies that were read."""
    readings: tuple[Reading, ...]
    ligands: tuple[NDArray[np.float32], ...]
    """(L, 3) Å each."""


def read_reading(path: Path) -> Reading:
    """From an ``.npz``, with the points of its cloud as ``points``, ``owner`` and ``share``."""
    with np.load(path, allow_pickle=False) as x:
        cloud = SoftPoints(x["points"].astype(np.float64), x["owner"].astype(np.int64), x["share"].astype(np.float64))
        return Reading(cloud, *(x[name].astype(np.float32) for name in ("ligandability", "centers", "extent", "residues")))


def read_samples(data: Path, readings: Path, table: Path, splits: Iterable[str]) -> list[Sample]:
    """Complexes of these splits that have readings; :class:`S2PError` if there are none."""
    wanted = set(splits)
    files: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in sorted(readings.rglob("*.npz")):
        name, _, number = path.stem.rpartition("~")
        files[name.replace("~", "/")][int(number)] = path
    found = []
    for row in read_csv(table, ("set", "id", "split", "clusters30")):
        key = f"{row['set']}/{row['id']}"
        if row["split"] not in wanted or key not in files:
            continue
        place = next(data / name / key for name in ("complexes", "complexes2") if (data / name / key).is_dir())
        structure = read_structure(place / "protein.pdb")
        parts = assemblies(structure)
        ligands = tuple(read_ligand(path)[0] for path in sorted(place.glob("ligand_*.pdb")))
        chosen = tuple(parts[k] for k in sorted(files[key]))
        said = tuple(read_reading(files[key][k]) for k in sorted(files[key]))
        found.append(Sample(key, row["clusters30"].split(" ")[0], structure, chosen, said, ligands))
    if not found:
        raise S2PError(f"{readings}: there are no readings of the splits {', '.join(sorted(wanted))}; write them first")
    return found


def _weights(samples: Sequence[Sample]) -> list[float]:
    """Weights of the samples, so that each cluster counts the same."""
    sizes = Counter(sample.cluster for sample in samples)
    return [1 / sizes[sample.cluster] for sample in samples]


def _hits(found: Candidates, right: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Copies of a site that holds a ligand are right, too: files often give the ligand of one subunit."""
    return np.isin(found.original, found.original[right])


def fit_votes(
    samples: Sequence[Sample], config: VoteConfig | None = None, found: Sequence[Sequence[Candidates]] | None = None
) -> VoteModel:
    """Both models; ``found`` are the candidates of each assembly, where they have been made."""
    config = config or VoteConfig()
    if found is None:
        found = [[candidates(r, p, config) for r, p in zip(s.readings, s.parts, strict=True)] for s in samples]
    rows = [(s, c, w) for s, own, w in zip(samples, found, _weights(samples), strict=True) for c in own if len(c.center)]
    x = [c.features for _, c, _ in rows]
    y = [_hits(c, dcc([site_center(a) for a in s.ligands], c.center) < HIT) for s, c, _ in rows]
    middle = _fitted(x, y, [np.full(len(c.center), w) for _, c, w in rows], C_MIDDLE)
    x, y, weights = [], [], []
    for s, c, w in rows:
        chance = middle.probability(c.features)
        groups = grouped(c, chance, config)
        right = _hits(c, dca(c.center, np.concatenate(s.ligands)) < HIT)[[group[0] for group in groups]]
        # Those that are never reported are not calibrated either.
        x.append(pocket_features(c, groups, chance))
        y.append(right)
        weights.append(np.full(len(groups), w))
    return VoteModel(middle, _fitted(x, y, weights, C_ATOM), config)


def _fitted(
    x: Sequence[NDArray[np.float64]], y: Sequence[NDArray[np.bool_]], weights: Sequence[NDArray[np.float64]], c: float
) -> PocketModel:
    hit = np.concatenate(y)
    if hit.all() or not hit.any():
        raise S2PError("pockets cannot be calibrated: all of them, or none, are right; give more readings")
    return fit_pocket_model(np.concatenate(x), hit, np.concatenate(weights), c=c)


def figures(samples: Sequence[Sample], model: VoteModel) -> dict[str, float]:
    """As ``s2p evaluate`` counts them, and the calibration error (:func:`calibration_error`).

    Once with copies of a pocket that finds a ligand taken as right, which the models are fitted to, and once as misses.
    """
    results: list[ComplexResult] = []
    strict, hits, chances = [], [], []
    for s in samples:
        pockets = find_voted_pockets(model, s.structure, s.readings, s.parts)
        n, none = len(s.structure.residues), np.zeros(len(s.structure.residues), bool)
        prediction = Prediction(s.structure, np.zeros(n, np.float32), none, none, pockets, "votes")
        results.append(evaluate_complex(prediction, s.ligands, name=s.key, cluster=s.cluster))
        right = {p.rank for p in pockets if dca([p.center], np.concatenate(s.ligands))[0] < HIT}
        copied = {p.copy_of or p.rank for p in pockets if p.rank in right}
        strict += [p.rank in right for p in pockets]
        hits += [(p.copy_of or p.rank) in copied for p in pockets]
        chances += [p.probability for p in pockets]
    table = summarise(results, BenchmarkConfig(n_bootstrap=1))
    found = {name: table[name].value for name in (*FIGURES, "PFI", "pockets per protein")}
    for name, truth in (("calibration error", hits), ("calibration error, copies missed", strict)):
        found[name] = calibration_error(np.array(chances), np.array(truth))
    return found


def calibration_error(chances: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Mean gap of probability and share of hits in ten bins of equal count."""
    bins = np.array(calibration(truth, chances))
    return float(np.abs(bins[:, 0] - bins[:, 1]) @ bins[:, 2] / bins[:, 2].sum())


def residue_threshold(readings: Path, keys: Collection[str]) -> tuple[float, float]:
    """Probability above which residues are shown as binding, and its correlation coefficient (MCC), on assemblies of these keys.

    Residues at a place that binds in another copy of their chain are left out.
    """
    truth, said = [], []
    for path in sorted(readings.glob("*.npz")):
        if path.stem.rsplit("~", 1)[0].replace("~", "/") in keys:
            with np.load(path, allow_pickle=False) as x:
                known = x["label"] != UNKNOWN
                truth.append(x["label"][known] == 1)
                said.append(x["residues"][known])
    label, p = np.concatenate(truth), np.concatenate(said)
    steps = np.arange(0.1, 0.7, 0.02)
    scores = [float(matthews_corrcoef(label, p > step)) for step in steps]
    return round(float(steps[int(np.argmax(scores))]), 2), max(scores)


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.surface_calibration", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("readings", type=Path)
    parser.add_argument("--table", type=Path, default=Path("data/splits/surface.csv"))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args(argv)
    fit, held = (
        read_samples(options.data, options.readings, options.table, x) for x in (["train"], ["validation", "validation2"])
    )
    found = {name: round(value, 3) for name, value in figures(held, fit_votes(fit)).items()}
    threshold, mcc = residue_threshold(options.readings, {sample.key for sample in held})
    how = f"{len(fit)} structures of clusters left out of training and {len(held)} of validation clusters"
    card = {
        "pockets": {"fitted_on": f"{how}; figures: fitted on the former, measured on the latter", **found},
        "residues": {"mcc_validation": round(mcc, 3)},
    }
    log(f"fitted on {len(fit)} structures, measured on {len(held)}: {found}; residues above {threshold}: MCC {mcc:.3f}")
    write_text(options.out, json.dumps({"votes": fit_votes([*fit, *held]).to_dict(), "threshold": threshold, "card": card}))


if __name__ == "__main__":
    sys.exit(main())
