"""Share of native residue types that PocketGen recovers, on every available cluster, by heads trained without its relatives.

``python -m benchmarks.studies.pocketgen DATA -o FOLDER --work DIR`` writes ``pocketgen.json``, which ``python -m
benchmarks.report.results`` shows, and ``pocketgen_rows.csv`` with a line for each pocket. The test split has some eighty
clusters, and with so few the intervals of two means are wide; here the clusters of all splits and of LIGYSIS chains are dealt
into folds, and the heads that name the types of one fold are fitted to the others. With ``--work`` of the recipe the
outputs of the language model are not computed again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.command import reported
from benchmarks.recipes.data import read_split
from benchmarks.recipes.pocketgen_data import (
    Protein,
    Tracer,
    chains_of,
    clustered,
    few_of_each,
    pockets_of,
    prepare_places,
    read_chains,
    related,
    trace_rows,
)
from benchmarks.recipes.pocketgen_heads import KINDS, Places, TraceRows, fit_heads, fit_trace, trace_error
from course.pocketgen_training import PocketGenTrainConfig
from s2p.datasets.splits import read_splits
from s2p.errors import S2PError
from s2p.evaluation.intervals import bootstrap_mean, paired_difference
from s2p.evaluation.provenance import provenance
from s2p.io.files import csv_text, make_folder, write_text
from s2p.io.runtime import progress_bar
from s2p.models.encoder import start_encoder
from s2p.models.pocketgen.config import PocketConfig, PocketGenConfig
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.network import PocketGen
from s2p.models.pocketgen.surroundings.trace import TraceNet

__all__ = ["FOLDS", "Row", "cross_validate", "fold_of", "main", "summary"]

FOLDS = 5
SITES = "sites"
"""Stands for the split of a row that is a site of a LIGYSIS chain, named without its ligand."""
CHOSEN_ON = "validation"
"""Split whose clusters decided on settings: figures are also given without them."""


@dataclass(frozen=True)
class Row:
    """Figures of one pocket."""

    name: str
    cluster: str
    split: str
    fold: int
    residues: int
    recovery: float
    """Of the likeliest types by language model and surroundings."""
    language: float
    """Of the likeliest types by the language model alone."""
    frequent: float
    """Of the most frequent residue of the pockets learned from."""
    entropy: float
    """Mean cross-entropy of the native types, nat."""
    language_entropy: float


def fold_of(cluster: str, folds: int) -> int:
    """The fold of a cluster, by its name."""
    return int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:8], "big") % folds


def cross_validate(
    complexes: Mapping[str, Sequence[Protein]],
    chains: Sequence[Protein],
    places: Places,
    pockets: Sequence[Pocket],
    learned: Sequence[NDArray[np.bool_]],
    per_cluster: int = 4,
    seed: int = 0,
) -> list[Row]:
    """Fit heads without each fold and without anything related to it, and let them name its pockets and sites.

    Parameters
    ----------
    complexes
        By split.
    chains
        With their clusters: their sites are named without a ligand.
    places
        Of all complexes in the order of the splits, and then of the chains.
    pockets
        Of the complexes, to be named.
    learned
        From :func:`unlike`: what the heads of each fold learn from.
    per_cluster
        Most sites of a cluster of chains that are named.
    """
    proteins = [*(x for part in complexes.values() for x in part), *chains]
    split = {x.key: name for name, part in complexes.items() for x in part}
    chosen = _sites(places, proteins, per_cluster)
    folds = len(learned)
    rows: list[Row] = []
    for fold in range(folds):
        own = {x.key for x in proteins if fold_of(x.cluster, folds) == fold}
        if not own:
            continue
        part = places.of(learned[fold][places.owner])
        _check(len(part), fold, folds)
        model = PocketGen(PocketGenConfig(language_width=part.language.shape[1]))
        fit_heads(model, part, seed)
        real = part.types[part.kind == KINDS.index("pockets")]
        frequent = int(np.bincount(real if len(real) else part.types).argmax())
        before = len(rows)
        for p in pockets:
            if fold_of(p.cluster, folds) == fold:
                known = _figures(model, p.language, p.environment, p.types[p.pocket], frequent)
                rows.append(Row(p.name, p.cluster, split[p.name.rsplit("|", 1)[0]], fold, *known))
        for owner, place in chosen:
            x = proteins[owner]
            if x.key in own:
                site = places.of((places.owner == owner) & (places.place == place))
                known = _figures(model, site.language, site.environment, site.types, frequent)
                rows.append(Row(f"{x.key}|{place}", x.cluster, SITES, fold, *known))
        count = f"{int(learned[fold].sum())} proteins, {len(part)} residues, {len(rows) - before} pockets and sites"
        print(f"fold {fold + 1}: {count}", flush=True)
    return rows


def unlike(proteins: Sequence[Protein], folds: int = FOLDS) -> list[NDArray[np.bool_]]:
    """For each fold (n,) which proteins are not of it and share no sequence with any of it."""
    sequences = chains_of(proteins)
    found = []
    for fold in progress_bar(range(folds), "relatives"):
        inside = [x for x in proteins if fold_of(x.cluster, folds) == fold]
        near = related(sequences, chains_of(inside)) if inside else {}
        own = {x.key for x in inside}
        found.append(np.array([x.key not in near and x.key not in own for x in proteins]))
    return found


def fit_traces(proteins: Sequence[Protein], rows: TraceRows, learned: Sequence[NDArray[np.bool_]], seed: int = 0) -> Tracer:
    """For each protein what places its CA atoms, fitted to ``rows`` of none of its fold and of nothing related to that."""
    folds = len(learned)
    fitted: dict[int, TraceNet] = {}
    for fold in sorted({fold_of(x.cluster, folds) for x in proteins}):
        part = rows.of(learned[fold][rows.owner])
        _check(len(part.owner), fold, folds)
        fitted[fold] = fit_trace(part, seed=seed)
        own = np.array([fold_of(x.cluster, folds) == fold for x in proteins])
        line, placed = trace_error(fitted[fold], rows.of(own[rows.owner]))
        print(f"fold {fold + 1}: CA {placed:.2f} Å off instead of {line:.2f} (medians)", flush=True)
    return lambda x: fitted[fold_of(x.cluster, folds)]


def _check(left: int, fold: int, folds: int) -> None:
    if not left:
        raise S2PError(f"nothing is left to learn from without fold {fold + 1} of {folds}: give more complexes, or fewer folds")


def _sites(places: Places, proteins: Sequence[Protein], per_cluster: int) -> list[tuple[int, int]]:
    """Owner and place of the first sites of each cluster."""
    rows = places.kind == KINDS.index("sites")
    pairs = np.unique(np.stack([places.owner[rows], places.place[rows]], axis=1), axis=0)
    taken: dict[str, int] = {}
    chosen = []
    for owner, place in pairs.tolist():
        name = proteins[owner].cluster
        taken[name] = taken.get(name, 0) + 1
        if taken[name] <= per_cluster:
            chosen.append((owner, place))
    return chosen


def _figures(
    model: PocketGen,
    language: NDArray[np.floating],
    environment: NDArray[np.floating],
    types: NDArray[np.int64],
    frequent: int,
) -> tuple[int, float, float, float, float, float]:
    """The last fields of :class:`Row`."""
    native = torch.from_numpy(types) - 1
    features = torch.from_numpy(language.astype(np.float32))
    with torch.no_grad():
        alone = model.language(features) if model.language is not None else torch.zeros(len(native), 20)
        told = alone + model.surroundings(features, torch.from_numpy(environment.astype(np.float32)))
    right = [float((x.argmax(dim=1) == native).float().mean()) for x in (told, alone)]
    lost = [float(F.cross_entropy(x, native)) for x in (told, alone)]
    return len(native), right[0], right[1], float((native == frequent - 1).float().mean()), lost[0], lost[1]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over pockets with intervals over clusters, JSON-ready; the gain is of the same pockets."""
    groups = [row.cluster for row in rows]

    def mean(name: str) -> list[float]:
        found = bootstrap_mean([float(getattr(row, name)) for row in rows], groups)
        return [round(x, 4) for x in (found.value, found.low, found.high)]

    gain = paired_difference([row.recovery for row in rows], [row.language for row in rows], groups)
    return {
        "pockets": len(rows),
        "clusters": len(set(groups)),
        "residues": sum(row.residues for row in rows),
        "recovery": mean("recovery"),
        "recovery, language model alone": mean("language"),
        "recovery, most frequent residue": mean("frequent"),
        "gain over the language model": [round(x, 4) for x in (gain.value, gain.low, gain.high, gain.p)],
        "cross-entropy": mean("entropy"),
        "cross-entropy, language model alone": mean("language_entropy"),
    }


def _table(rows: Sequence[Row]) -> str:
    """A line for each pocket and site."""
    table = [{key: round(x, 4) if isinstance(x, float) else x for key, x in asdict(row).items()} for row in rows]
    return csv_text(table, [x.name for x in fields(Row)])


def read_all(folder: Path, splits: Path) -> dict[str, list[Protein]]:
    """The complexes of every split that the table has."""
    return {name: read_split(folder, splits, name, Protein.read) for name in sorted(set(read_splits(splits).values()))}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.pocketgen", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=Path("runs/pocketgen"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits/complexes.csv"))
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--per-cluster", type=int, default=4, help="most pockets of a cluster measured (default: %(default)s)")
    options = parser.parse_args(argv)
    training, pocket = PocketGenTrainConfig(), PocketConfig()
    make_folder(options.out)
    kept = options.work / "language"
    make_folder(kept)
    backbone = start_encoder()
    complexes, chains = read_all(options.data, options.splits), clustered(read_chains(options.data))
    every = [x for part in complexes.values() for x in part]
    proteins = [*every, *chains]
    learned = unlike(proteins, options.folds)
    trace = fit_traces(proteins, trace_rows(proteins, pocket, training.decoys), learned)
    places, _, _ = prepare_places(proteins, backbone, pocket, trace, training.decoys, 0, kept)
    chosen = few_of_each(every, options.per_cluster)
    pockets = pockets_of(chosen, backbone, pocket, trace, kept)
    rows = cross_validate(complexes, chains, places, pockets, learned, options.per_cluster)
    real = [row for row in rows if row.split != SITES]
    parts = {
        "complexes": real,
        f"complexes, {CHOSEN_ON} clusters left out": [row for row in real if row.split != CHOSEN_ON],
        "complexes, test clusters": [row for row in real if row.split == "test"],
        "LIGYSIS sites, the ligand not given": [row for row in rows if row.split == SITES],
    }
    found = {
        "folds": options.folds,
        "proteins": len(every) + len(chains),
        "rows": {name: summary(part) for name, part in parts.items() if part},
    }
    text = json.dumps(found | provenance(), indent=1, ensure_ascii=False)
    for name, figures in found["rows"].items():
        print(f"{name}: {json.dumps(figures)}", flush=True)
    write_text(options.out / "pocketgen_rows.csv", _table(rows))
    print(f"wrote {write_text(options.out / 'pocketgen.json', text + chr(10))}")


if __name__ == "__main__":
    sys.exit(main())
