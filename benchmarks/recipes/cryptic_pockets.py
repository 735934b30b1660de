"""Pockets on cryptic sites: from the cryptic head alone, the structure-based default alone, and both in one list.

``python -m benchmarks.recipes.cryptic_pockets LABELS/test.txt TABLE.csv --trained FASTA -o FILE.json``

TABLE has a row a chain: ``pdb`` of the label file, ``file`` and ``chain`` of a structure of that protein, and ``kind``, ``own``
if it is the unbound entry itself. Labels are carried over by alignment. A structure of another entry is often a bound one, in
which the site may be open: such rows flatter every method that sees the structure, so the others are counted by themselves.

The label file has the union of a chain's sites. Labelled residues whose CA atoms are linked by steps below 10 Å are one site.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.cryptic import compare, relatives, rounded
from benchmarks.recipes.data import read_chains
from s2p.config import PredictConfig
from s2p.datasets.labelled import LabelledChain
from s2p.evaluation.intervals import bootstrap_mean, paired_difference
from s2p.evaluation.metrics import best_overlap, rank_limits
from s2p.io.files import read_csv, write_text
from s2p.pockets.hits import dcc
from s2p.prediction import sigmoid
from s2p.predictor import load
from s2p.structure.alignment import align
from s2p.structure.reading import Structure, read_structure

__all__ = ["carried_over", "separate_sites", "site_rows"]

STEP = 10.0
"""Å between CA atoms of neighbours in a site."""
IDENTITY, FOUND = 0.9, 0.8
"""Share of aligned residues that must be identical, and of labelled ones that must be in the structure."""
KINDS: tuple[Literal["general", "cryptic", "both"], ...] = ("cryptic", "general", "both")


def carried_over(chain: LabelledChain, structure: Structure) -> NDArray[np.int64] | None:
    """Residues of a structure of one chain that are labelled in ``chain``; ``None`` if it is another protein or not all there."""
    sequence = structure.sequence()
    place = align(sequence, chain.sequence)
    pairs = np.flatnonzero(place >= 0)
    same = np.mean([sequence[i] == chain.sequence[place[i]] for i in pairs]) if len(pairs) else 0.0
    labelled = pairs[chain.labels[place[pairs]] > 0]
    return labelled if same >= IDENTITY and len(labelled) >= FOUND * chain.labels.sum() else None


def separate_sites(coordinates: NDArray[np.floating], residues: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Residues in groups that are connected by steps below :data:`STEP`."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    near = cdist(coordinates[residues], coordinates[residues]) < STEP
    n, label = connected_components(near, directed=False)
    return [residues[label == k] for k in range(n)]


def site_rows(
    pockets: Sequence[Any], sites: Sequence[NDArray[np.int64]], ca: NDArray[np.floating]
) -> dict[str, NDArray[np.float64]]:
    """(S,) distance of the nearest pocket by the top N, N+2 and all, and the share of the site in the best pocket."""
    centers = np.array([p.center for p in pockets], float).reshape(-1, 3)
    middles = np.array([ca[site].mean(axis=0) for site in sites])
    limits = rank_limits(len(sites), len(centers), 2)
    rows = {rank: dcc(centers[:best], middles) for rank, best in limits.items()}
    return rows | {"overlap": best_overlap(sites, [p.residues for p in pockets])}


def pocket_table(
    found: dict[str, list[dict[str, NDArray[np.float64]]]], keep: NDArray[np.bool_], groups: Sequence[str]
) -> dict[str, Any]:
    """Figures of each kind of pockets over the sites ``keep`` of the chains ``groups``, and what both gain."""
    columns: dict[str, dict[str, NDArray[np.float64]]] = {}
    for kind in KINDS:
        rows = {key: np.concatenate([entry[key] for entry in found[kind]])[keep] for key in found[kind][0]}
        hits = {f"DCC < {cut} Å, {rank}": rows[rank] < cut for cut in (12, 4) for rank in rows if rank != "overlap"}
        columns[kind] = {name: values.astype(float) for name, values in hits.items()} | {"best overlap": rows["overlap"]}
    table: dict[str, Any] = {
        kind: {name: rounded(bootstrap_mean(values, groups)) for name, values in own.items()} for kind, own in columns.items()
    }
    table["both less general"] = {
        name: rounded(paired_difference(values, columns["general"][name], groups)) for name, values in columns["both"].items()
    }
    return table


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.cryptic_pockets", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("labels", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--trained", type=Path, metavar="FASTA", help="sequences the general model was trained on")
    parser.add_argument("--relatives", type=Path, default=Path("runs/cryptic/relatives_test.json"), help="cache of the recipe")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    chains = {c.id.rsplit("_", 1)[0]: c for c in read_chains(options.labels)}
    model: Any = load()
    found: dict[str, list[dict[str, NDArray[np.float64]]]] = {kind: [] for kind in KINDS}
    names: list[tuple[str, str]] = []
    residues: dict[str, tuple[LabelledChain, dict[str, NDArray[np.float64]]]] = {}
    left = []
    for row in read_csv(options.table, ("pdb", "file", "chain", "kind")):
        structure = read_structure(row["file"], chains=[row["chain"]])
        labelled = carried_over(chains[row["pdb"]], structure)
        if labelled is None:
            left.append(row["pdb"])
            continue
        sites = separate_sites(structure.residues.ca_coord, labelled)
        names += [(row["pdb"], row["kind"])] * len(sites)
        scores = model.score(structure)
        known = {"general, sequence alone": sigmoid(scores.sequence_logits.astype(float))}
        for kind in KINDS:
            prediction = model.predict(structure, PredictConfig(sites=kind))
            found[kind].append(site_rows(prediction.pockets, sites, structure.residues.ca_coord))
            if kind != "both":
                known["general, with structure" if kind == "general" else kind] = prediction.probabilities
        labels = np.isin(np.arange(len(structure.residues)), labelled).astype(np.uint8)
        residues[row["pdb"]] = LabelledChain(row["pdb"], structure.sequence(), labels), known
        log(f"{row['pdb']}: {len(sites)} sites")
    near = set().union(*relatives(list(chains.values()), options.trained, options.relatives).values())
    unseen = [chains[pdb].id not in near for pdb, _ in names]
    subsets = {"all": [True] * len(names), "own unbound structure": [kind == "own" for _, kind in names], "unseen": unseen}
    table: dict[str, Any] = {"left out": left}
    for subset, chosen in subsets.items():
        groups = [pdb for (pdb, _), use in zip(names, chosen, strict=True) if use]
        if groups:
            members = [residues[pdb] for pdb in dict.fromkeys(groups)]
            columns = {name: ([known[name] for _, known in members], 0.5) for name in members[0][1]}
            table[subset] = {"chains": len(members), "sites": len(groups)} | pocket_table(found, np.array(chosen, bool), groups)
            table[subset]["residues"] = compare([c for c, _ in members], columns, "cryptic")
    write_text(options.out, json.dumps(table, indent=1))
    log(json.dumps(table))


if __name__ == "__main__":
    sys.exit(main())
