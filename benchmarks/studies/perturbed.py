"""How much do predictions depend on the exact coordinates? ``python -m benchmarks.studies.perturbed DATA -o FOLDER``.

The validation complexes of the surface network are predicted as they are, and again with atoms that are moved or left out. Sites
and labels are those of the unchanged structure. FOLDER gets the records, so that a run can be resumed, and ``perturbed.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.moved import cut_side_chains, noisy, turned
from benchmarks.recipes.surface_examples import Source, sources
from s2p.datasets.splits import drawn
from s2p.evaluation.cases import Case, Truth
from s2p.evaluation.config import OURS
from s2p.evaluation.intervals import Summary, bootstrap, paired_difference, recall_name, site_hits
from s2p.evaluation.residues import average_precision
from s2p.evaluation.runner import Record, read_lines, record_of
from s2p.evaluation.tables import predictor_figures
from s2p.io.files import file_stem, make_folder, write_text
from s2p.predictor import Seq2Pocket
from s2p.structure.arrays import Structure, binding_residues

__all__ = ["PLAN", "SETTINGS", "case_of", "differences"]

SPLITS = ("validation", "validation2")
DRAWS = 200
"""Of the bootstrap of the residues' average precision, as in ``s2p evaluate``; the others have 1,000."""


SETTINGS: dict[str, Callable[[Structure, Generator], Structure]] = {
    "crystal": lambda structure, draw: structure,
    "noise 0.3 Å": partial(noisy, sd=0.3),
    "noise 0.5 Å": partial(noisy, sd=0.5),
    "side chains turned": partial(turned, most=30.0),
    "side chains cut": cut_side_chains,
}
PLAN = {
    "s2p": ("crystal", "noise 0.3 Å", "noise 0.5 Å", "side chains turned", "side chains cut"),
    "s2p-published": ("crystal", "noise 0.5 Å", "side chains turned"),
}
"""Settings of each method."""


def case_of(source: Source) -> tuple[Case, Truth]:
    """A structure with its sites, as ``s2p evaluate`` reads them."""
    structure = replace(source.structure, name=source.key, ligands=())
    sites = tuple(binding_residues(structure, ligand) for ligand in source.ligands)
    labels = np.isin(np.arange(len(structure.residues)), np.concatenate(sites))
    names = tuple(str(k + 1) for k in range(len(sites)))
    truth = Truth(structure, names, tuple(source.ligands), labels, sites)
    return Case(source.key, source.cluster, Path(), "files"), truth


def measured(model: Seq2Pocket, source: Source, settings: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Record]:
    """A record for each method and setting. The language model reads the sequence alone, so it runs once for each method."""
    case, truth = case_of(source)
    structure = truth.structure
    distinct = list(dict.fromkeys(structure.sequence(chain) for chain in structure.chains))
    outputs = {
        method: dict(zip(distinct, model.read_sequences(distinct, OURS[method]), strict=True))
        for method in dict.fromkeys(method for method, _ in settings)
    }
    found = {}
    for method, setting in settings:
        draw = np.random.default_rng(int(drawn(f"{setting}:{source.key}") * 2**32))
        other = SETTINGS[setting](structure, draw)
        prediction = replace(model.finish(other, outputs[method], OURS[method]), model=f"{method}, {setting}")
        found[method, setting] = record_of(truth, prediction, case)
    return found


def differences(moved: Sequence[Record], crystal: Sequence[Record]) -> dict[str, Summary]:
    """Figures of one setting less those of another, the same structures in the same order, with intervals over clusters."""
    sites, others = ([row for record in own for row in record.sites] for own in (moved, crystal))
    groups, table = [row.cluster for row in sites], {}
    for measure in ("dca", "dcc"):
        for rank, end in (("N", "n"), ("N+2", "n_plus")):
            x, y = (site_hits(rows, f"{measure}_{end}", 4.0) for rows in (sites, others))
            table[recall_name(measure, 4.0, rank)] = paired_difference(x, y, groups)
    x, y = (np.array([row.pockets_touching or np.nan for row in rows], np.float64) for rows in (sites, others))
    table["PFI"] = paired_difference(x, y, groups)
    scores = [[np.array(record.scores) for record in own] for own in (moved, crystal)]
    labels = [np.array(list(record.labels)) == "1" for record in moved]

    def precision(rows: NDArray[np.int64]) -> float:
        truth = np.concatenate([labels[k] for k in rows])
        one, other = (average_precision(truth, np.concatenate([own[k] for k in rows])) for own in scores)
        return one - other

    table["residue average precision"] = bootstrap(precision, [record.protein.cluster for record in moved], n=DRAWS)
    return table


def table_of(records: dict[tuple[str, str], list[Record]]) -> dict[str, Any]:
    """Figures of every method and setting, and their differences to the crystal: [value, low, high]."""

    def shown(figures: dict[str, Summary]) -> dict[str, list[float]]:
        return {name: [round(x, 3) for x in (found.value, found.low, found.high)] for name, found in figures.items()}

    first = next(iter(records.values()))
    sizes = {
        "complexes": len(first),
        "sites": sum(len(r.sites) for r in first),
        "clusters": len({r.protein.cluster for r in first}),
    }
    rows: dict[str, Any] = {}
    for (method, setting), found in records.items():
        figures, less = predictor_figures(found), differences(found, records[method, "crystal"])
        row = {"value": shown({name: figures[name] for name in less})}
        rows.setdefault(method, {})[setting] = row if setting == "crystal" else row | {"less crystal": shown(less)}
    return sizes | rows


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.perturbed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of complexes and complexes2")
    parser.add_argument("--table", type=Path, default=Path("data/splits/surface.csv"))
    parser.add_argument("--limit", type=int, metavar="N", help="the first N complexes of a fixed random order (default: all)")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(argv)
    make_folder(options.out)
    settings = [(method, setting) for method, own in PLAN.items() for setting in own]
    files = {key: options.out / f"{file_stem(', '.join(key))}.jsonl" for key in settings}
    known = {key: {r.protein.protein: r for r in read_lines(path)} for key, path in files.items()}
    done = frozenset.intersection(*map(frozenset, known.values()))
    model = Seq2Pocket.load(device="cpu")
    left = None if options.limit is None else max(0, options.limit - len(done))
    for source in islice(sources(options.data, options.table, SPLITS, done), left):
        for key, record in measured(model, source, [key for key in settings if source.key not in known[key]]).items():
            known[key][source.key] = record
            with open(files[key], "a", encoding="utf-8") as handle:
                handle.write(record.to_json() + "\n")
        log(f"{source.key}: {min(len(found) for found in known.values())} done")
    whole = sorted(frozenset.intersection(*map(frozenset, known.values())))
    records = {key: [found[name] for name in whole] for key, found in known.items()}
    write_text(options.out / "perturbed.json", json.dumps(table_of(records), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
