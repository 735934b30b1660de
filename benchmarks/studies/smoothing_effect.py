"""Where smoothing helps and where it does not: pockets with and without it, at the paper's settings and at tuned ones.

``python -m benchmarks.studies.smoothing_effect DATA --work DIR -o benchmarks/studies [--cryptic LABELS [--train LABELS]]``

The method is the published one (:meth:`s2p.config.PredictConfig.published`: sequence alone, no structure context). Proteins are
of validation clusters. Tuned settings are those of the highest residue MCC on one half of the clusters, applied to the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.cryptic_pockets import separate_sites
from benchmarks.report.smoothing import picture
from s2p.config import DEFAULT_MODEL, PredictConfig, SmoothingConfig
from s2p.datasets.label_files import read_annotations
from s2p.datasets.splits import COVERAGE, IDENTITY, cluster, drawn, homologous
from s2p.errors import S2PError
from s2p.evaluation.cases import FAR, find_cases
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import bootstrap
from s2p.evaluation.metrics import rank_limits
from s2p.evaluation.provenance import provenance
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.files import make_folder, write_text
from s2p.io.runtime import progress_bar
from s2p.pockets.hits import dcc, site_center, site_overlaps
from s2p.prediction import sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.residues import candidates, smoother_logits
from s2p.structure.alignment import labels_on_chain
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import Structure, read_structure
from s2p.training.config import SmootherTrainConfig
from s2p.training.smoother import SmoothingExample, train_smoother

__all__ = ["Example", "Setting", "differences", "figures", "measured", "placed", "sites_of", "sums", "tuned"]

THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
SMOOTHING_THRESHOLDS = np.round(np.arange(0.1, 1.0, 0.05), 2)
RADII = (6.0, 10.0, 15.0)
"""Å; what is tuned over."""
SMALLEST_SITE = 3
SHORTEST = 30
"""Least number of residues of a chain."""
SAME, OBSERVED = 0.95, 0.8
"""Identity of a structure's chain to a labelled sequence, and share of its labelled residues that must be observed."""
PAIRS = {"published": ("published, without", "published, with"), "tuned": ("tuned, without", "tuned, with")}


@dataclass(frozen=True, eq=False)
class Example:
    """A protein with its known sites."""

    name: str
    cluster: str
    structure: Structure
    labels: NDArray[np.bool_]  # (N,) residues that bind.
    sites: tuple[NDArray[np.integer], ...]  # Residue indices of each site; none where sites are not told apart.


@dataclass(frozen=True)
class Setting:
    """Of the published method."""

    threshold: float = 0.7
    smoothing_threshold: float | None = 0.4  # None: no smoothing.
    radius: float = 15.0  # Å.

    def config(self) -> PredictConfig:
        """For :meth:`Seq2Pocket.pockets`."""
        return replace(
            PredictConfig.published(),
            threshold=self.threshold,
            smoothing_threshold=self.smoothing_threshold,
            use_smoothing=self.smoothing_threshold is not None,
            smoothing=SmoothingConfig(self.radius),
        )


def _counts(labels: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """True and false positives, false and true negatives."""
    tp, n, p = int((labels & predicted).sum()), int(labels.sum()), int(predicted.sum())
    return tp, p - tp, n - tp, len(labels) - n - p + tp


def sums(
    model: Seq2Pocket, example: Example, scores: ResidueScores, setting: Setting
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """(13,) sums from which :func:`figures` computes the metrics over proteins, and (N,) scores for the AUPRC.

    In the scores a residue that smoothing added stands right at the threshold, below all that are predicted without it.
    """
    benchmark = BenchmarkConfig()
    found = model.pockets(example.structure, scores, setting.config())
    centers = np.array([pocket.center for pocket in found.pockets], float).reshape(-1, 3)
    middles = np.array([site_center(example.structure.residues.ca_coord[site]) for site in example.sites]).reshape(-1, 3)
    near = [dcc(centers[:n], middles) for n in rank_limits(len(middles), len(centers)).values()]
    hits = [int((d < cutoff).sum()) for cutoff in (benchmark.strict_hit, benchmark.loose_hit) for d in near]
    touching = (site_overlaps(example.sites, [pocket.residues for pocket in found.pockets]) > 0).sum(axis=1)
    row = (*_counts(example.labels, found.positive), *hits, len(middles), int(touching.sum()), int((touching > 0).sum()))
    raised = np.where(found.smoothed, np.float32(setting.threshold), found.probabilities)
    return np.array(row, float), raised


def figures(totals: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Figures of (..., 13) sums over proteins, each (...); NaN where there is nothing to judge.

    MCC and F1 pool residues, recall of sites is by the distance of a pocket's centre to the mean CA of the site's residues (DCC),
    PFI is the mean number of pockets on sites that any touches.
    """
    tp, fp, fn, tn, *hits, sites, touches, touched = np.moveaxis(np.asarray(totals, float), -1, 0)
    n = tp + fp + fn + tn
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        f1, other = 2 * tp / (2 * tp + fp + fn), 2 * tn / (2 * tn + fp + fn)
        weighted = (f1 * (tp + fn) + other * (tn + fp)) / n
        found = {"MCC": np.where(root > 0, (tp * tn - fp * fn) / np.maximum(root, 1), 0.0), "F1": f1, "weighted F1": weighted}
        for (cutoff, rank), hit in zip(product((4, 12), ("N", "N+2", "all")), hits, strict=True):
            found[f"DCC < {cutoff} Å, {rank}"] = hit / sites
        return found | {"PFI": touches / touched}


def differences(
    without: NDArray[np.float64], smoothed: NDArray[np.float64], clusters: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """Figure -> difference (with less without smoothing) and its 95 % interval over clusters, from (P, 13) sums of P proteins."""
    names, code = np.unique(np.asarray(clusters), return_inverse=True)
    draw = np.random.default_rng(BenchmarkConfig.seed)
    draws = draw.multinomial(len(names), np.full(len(names), 1 / len(names)), BenchmarkConfig.n_bootstrap)
    tables = []
    for rows in (without, smoothed):
        of_cluster = np.zeros((len(names), rows.shape[1]))
        np.add.at(of_cluster, code, rows)
        tables.append((figures(rows.sum(axis=0)), figures(draws @ of_cluster)))
    (first, spread), (second, spread2) = tables
    found = {}
    for key in first:
        low, high = np.nanpercentile(spread2[key] - spread[key], [2.5, 97.5]) if np.isfinite(first[key]) else (np.nan, np.nan)
        found[key] = float(second[key] - first[key]), float(low), float(high)
    return found


def _grid(model: Seq2Pocket, example: Example, scores: ResidueScores) -> NDArray[np.float64]:
    """(thresholds, radii, smoothing thresholds and none, 4) counts of residues."""
    table = np.zeros((len(THRESHOLDS), len(RADII), len(SMOOTHING_THRESHOLDS) + 1, 4))
    ca, p = example.structure.residues.ca_coord, scores.sequence
    for (i, threshold), (j, radius) in product(enumerate(THRESHOLDS), enumerate(RADII)):
        positive = p > threshold
        found, x, _ = candidates(ca, positive, scores.embeddings, radius)
        chance = np.zeros(len(p))
        if len(found) and model.checkpoint.smoother is not None:
            chance[found] = sigmoid(smoother_logits(model.checkpoint.smoother, x))
        for k, least in enumerate((*SMOOTHING_THRESHOLDS, 1.0)):
            table[i, j, k] = _counts(example.labels, positive | (chance > least))
    return table


def tuned(counts: NDArray[np.float64]) -> tuple[Setting, Setting]:
    """Settings without and with smoothing of the highest MCC, from summed counts of :func:`_grid`."""
    mcc = figures(np.concatenate([counts, np.zeros((*counts.shape[:-1], 9))], axis=-1))["MCC"]
    alone = Setting(float(THRESHOLDS[mcc[:, 0, -1].argmax()]), None)
    i, j, k = np.unravel_index(mcc[..., :-1].argmax(), mcc[..., :-1].shape)
    return alone, Setting(float(THRESHOLDS[i]), float(SMOOTHING_THRESHOLDS[k]), RADII[j])


def sites_of(structure: Structure, binding: NDArray[np.bool_]) -> tuple[NDArray[np.integer], ...]:
    """Sites of a chain whose labels are a union: groups of residues that hang together, of at least :data:`SMALLEST_SITE`."""
    groups = separate_sites(structure.residues.ca_coord, np.flatnonzero(binding))
    return tuple(group for group in groups if len(group) >= SMALLEST_SITE)


def placed(
    labels: Mapping[str, tuple[str, Sequence[int]]], chains: Mapping[str, str], read: Callable[[str], Structure]
) -> list[Example]:
    """Labelled sequences (name -> sequence, 0-based binding residues) on structures of the same proteins, one chain each.

    Each takes the chain (name -> sequence, and what reads it) that is nearly identical (:data:`SAME`) and shows most of its
    labelled residues.
    """
    names = {sequence: name for name, (sequence, _) in labels.items()}
    hits = homologous({s: s for s in names}, chains, identity=SAME, coverage=OBSERVED)
    best: dict[str, tuple[int, str, NDArray[np.bool_]]] = {}
    for key, name in sorted((key, names[sequence]) for key, found in hits.items() for sequence in found):
        binding = labels_on_chain(chains[key], *labels[name]).astype(bool)
        if binding.sum() >= OBSERVED * len(labels[name][1]) and binding.sum() > best.get(name, (0,))[0]:
            best[name] = int(binding.sum()), key, binding
    groups = cluster({name: labels[name][0] for name in best}, identity=IDENTITY, coverage=COVERAGE) if best else []
    examples = []
    for group in groups:
        for _, key, binding in (best[name] for name in group):
            structure = read(key)
            examples.append(Example(key.replace("/", "_"), group[0], structure, binding, sites_of(structure, binding)))
    return examples


def measured(model: Seq2Pocket, examples: Sequence[Example], scores: Sequence[ResidueScores]) -> dict[str, Any]:
    """All settings on one set of proteins, as JSON."""
    clusters = [example.cluster for example in examples]
    half = np.array([drawn(f"smoothing:{name}") < 0.5 for name in clusters])
    grids = np.stack([_grid(model, *pair) for pair in zip(examples, scores, strict=True)])
    chosen = {bool(side): tuned(grids[half != side].sum(axis=0)) for side in (False, True)}  # by the other half
    settings = {
        "published, without": lambda side: Setting(smoothing_threshold=None),
        "published, with": lambda side: Setting(),
        "tuned, without": lambda side: chosen[side][0],
        "tuned, with": lambda side: chosen[side][1],
    }
    rows, raised = {}, {}
    for name, of_half in settings.items():
        given = zip(examples, scores, half.tolist(), strict=True)
        rows[name], raised[name] = zip(*(sums(model, e, s, of_half(side)) for e, s, side in given), strict=True)
        log(f"{name}: done")
    table = {name: np.stack(found) for name, found in rows.items()}

    def auprc(name: str, index: NDArray[np.int64]) -> float:
        return auprc_trapezoid(
            np.concatenate([examples[k].labels for k in index]), np.concatenate([raised[name][k] for k in index])
        )

    def gain(first: str, second: str, index: NDArray[np.int64]) -> float:
        return auprc(second, index) - auprc(first, index)

    every = np.arange(len(examples))
    values = {n: {k: float(v) for k, v in figures(t.sum(axis=0)).items()} | {"AUPRC": auprc(n, every)} for n, t in table.items()}
    delta = {}
    for name, (a, b) in PAIRS.items():
        change = bootstrap(partial(gain, a, b), clusters, n=200)
        delta[name] = differences(table[a], table[b], clusters) | {"AUPRC": (change.value, change.low, change.high)}
    return {
        "model": model.name,
        "proteins": len(examples),
        "clusters": len(set(clusters)),
        "sites": sum(len(example.sites) for example in examples),
        "residues": int(sum(len(example.labels) for example in examples)),
        "binding": float(np.concatenate([example.labels for example in examples]).mean()),
        "tuned": {f"half {int(side) + 1}": [asdict(x) for x in pair] for side, pair in chosen.items()},
        "figures": values,
        "differences": delta,
    }


def _scored(model: Seq2Pocket, examples: Sequence[Example], folder: Path) -> list[ResidueScores]:
    """What the language model says, kept in ``folder``."""
    make_folder(folder)
    found = []
    for example in progress_bar(examples, "language model"):
        path = folder / f"{example.name.replace('/', '_')}.npz"
        if not path.is_file():
            said = model.score(example.structure, PredictConfig.published())
            np.savez(path, logits=said.sequence_logits, embeddings=said.embeddings.astype(np.float16))
        with np.load(path) as kept:
            logits, embeddings = kept["logits"], kept["embeddings"].astype(np.float32)
        found.append(ResidueScores(sigmoid(logits).astype(np.float32), embeddings, logits))
    return found


def _general(data: Path) -> dict[str, list[Example]]:
    """Validation complexes, and validation chains of LIGYSIS, whose sites are not told apart."""
    sets: dict[str, list[Example]] = {}
    for name, folder, split in (("complexes", "complexes", "validation"), ("LIGYSIS", "ligysis", FAR)):
        found = sets.setdefault(f"general, {name}", [])
        for case in progress_bar(find_cases(data / folder, split).cases, name):
            truth = case.read()
            sites = [binding_residues(truth.structure, ligand) for ligand in truth.ligands]
            found.append(Example(case.id, case.cluster, truth.structure, truth.labels, tuple(s for s in sites if len(s))))
    chains = {x.name: x for x in sets["general, LIGYSIS"]}  # named by their accessions, which are no clusters
    groups = cluster({name: x.structure.sequence() for name, x in chains.items()}, identity=IDENTITY, coverage=COVERAGE)
    sets["general, LIGYSIS"] = [replace(chains[name], cluster=group[0]) for group in groups for name in group]
    return sets


def _chains(data: Path, kept: Path) -> dict[str, str]:
    """Sequences of single chains of every structure at hand, ``PATH|CHAIN``, through a file that keeps them."""
    if kept.is_file():
        found: dict[str, str] = json.loads(kept.read_text("utf-8"))
        return found
    found = {}
    paths = [*sorted((data / "ligysis" / "chains").iterdir()), *sorted(data.glob("complexes*/*/*/protein.pdb"))]
    for path in progress_bar(paths, "structures"):
        try:
            structure = read_structure(path)
        except S2PError:
            continue
        found |= {f"{path}|{chain}": structure.sequence(chain) for chain in structure.chains}
    found = {key: sequence for key, sequence in found.items() if len(sequence) >= SHORTEST}
    make_folder(kept.parent)
    write_text(kept, json.dumps(found))
    return found


def _chain(key: str) -> Structure:
    path, _, chain = key.rpartition("|")
    return read_structure(path, chains=[chain])


def _labels(paths: Sequence[Path]) -> dict[str, tuple[str, Sequence[int]]]:
    """Labelled sequences of label files, the lines of a chain joined."""
    found: dict[str, tuple[str, Sequence[int]]] = {}
    for a in (a for path in paths for a in read_annotations(path)):
        known = found.get(a.id, (a.sequence, ()))[1]
        found[a.id] = a.sequence, sorted({*known, *a.indices.tolist()})
    return found


def _with_smoother(model: Seq2Pocket, examples: Sequence[Example], scores: Sequence[ResidueScores]) -> tuple[Seq2Pocket, str]:
    """The model with a smoother trained as published (radii 15 and 10 Å); a fifth of the clusters stop it early."""
    pairs = list(zip(examples, scores, strict=True))
    sides: tuple[list[SmoothingExample], list[SmoothingExample]] = [], []
    for example, said in pairs:
        held = drawn(f"smoother:{example.cluster}") < 0.2
        sides[held].append(
            SmoothingExample(
                said.embeddings, example.structure.residues.ca_coord, tuple(x.astype(np.int64) for x in example.sites)
            )
        )
    smoother, rows = train_smoother(*sides, SmootherTrainConfig())
    best = max(row.validation_auprc for row in rows)
    text = f"the smoother was trained on {len(sides[0])} proteins, early stopping on {len(sides[1])} others (AUPRC {best:.3f})"
    return Seq2Pocket(replace(model.checkpoint, smoother=smoother)), text


def _cryptic(options: argparse.Namespace) -> tuple[list[Example], Seq2Pocket, str]:
    """Validation proteins of cryptic sites on the structures at hand, and the model, with a smoother."""
    model, note = Seq2Pocket.load(options.cryptic_model, device="cpu"), ""
    chains = _chains(options.data, options.work / "chains.json")
    if model.checkpoint.smoother is None:
        if options.train is None:
            raise S2PError(f"{model.name} has no smoother; give the labels that it was trained on (--train)")
        training = placed(_labels(options.train), chains, _chain)
        model, note = _with_smoother(model, training, _scored(model, training, options.work / model.name))
    labels = _labels(options.cryptic)
    examples = placed(labels, chains, _chain)
    return examples, model, f"{len(examples)} of {len(labels)} validation chains have an available structure; {note}."


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.smoothing_effect", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path, help="folder that holds complexes/ and ligysis/")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|PATH", help="default: %(default)s")
    parser.add_argument("--cryptic", type=Path, nargs="+", metavar="LABELS", help="validation chains of cryptic sites")
    parser.add_argument(
        "--train", type=Path, nargs="+", metavar="LABELS", help="training chains of cryptic sites, for a model without smoother"
    )
    parser.add_argument("--cryptic-model", default="s2p-cryptic-8m", metavar="NAME|PATH", help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path("runs/smoothing-effect"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/studies"), metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(argv)
    place = options.out / "smoothing_effect.json"
    sets: dict[str, dict[str, Any]] = json.loads(place.read_text("utf-8"))["sets"] if place.is_file() else {}
    if options.cryptic is None:
        general = Seq2Pocket.load(options.model, device="cpu")
        for name, examples in _general(options.data).items():
            sets[name] = measured(general, examples, _scored(general, examples, options.work / general.name))
    else:
        examples, model, note = _cryptic(options)
        sets["cryptic, CryptoBench"] = measured(model, examples, _scored(model, examples, options.work / model.name)) | {
            "note": note
        }
    make_folder(options.out)
    short = json.loads(json.dumps(sets), parse_float=lambda text: round(float(text), 5))
    write_text(place, json.dumps(provenance() | {"sets": short}, indent=1, ensure_ascii=False) + "\n")
    picture(short, options.out / "smoothing_effect.png")
    log(f"wrote {place}")


if __name__ == "__main__":
    sys.exit(main())
