"""The complexes and chains of the surface network, and their splits: ``python -m benchmarks.recipes.surface_data``.

``python -m benchmarks.recipes.surface_data DATA -o data/splits/surface.csv``. DATA holds ``complexes``, ``complexes2``,
``ligysis`` and ``sequences``; without mmseqs2 the search takes long and finds slightly different relatives.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.command import log, reported
from benchmarks.recipes.data import MIN_HELD_OUT_CHAIN, example_files, read_chains, read_ligysis
from s2p.datasets.labelled import Complex, read_complexes
from s2p.datasets.splits import drawn, homologous, read_splits
from s2p.io.files import read_csv, write_csv
from s2p.io.runtime import progress_bar
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import Structure, read_structure

__all__ = [
    "COLUMNS",
    "HELD_OUT",
    "Entry",
    "draw_held_out",
    "new_complexes",
    "related",
    "surface_splits",
    "usable",
    "without_leaks",
]

COLUMNS = ("set", "id", "split", "clusters30")
TRAINING = ("train", "ligysis_train")
FRESH = ("test2", "validation2")
HELD_OUT = ("validation", "test", "ligysis_far", *FRESH)
"""Splits without a relative in ``TRAINING``."""
MIN_RESIDUES, MIN_LIGAND_ATOMS, MIN_CONTACTS = 50, 6, 4
CONTACT = 4.0
"""Å between heavy atoms of a contact."""
TEST_SHARE, VALIDATION_SHARE = 0.55, 0.25
"""Of the groups of new clusters that the language model has not seen; the rest is trained on."""


@dataclass(frozen=True)
class Entry:
    """A complex or a LIGYSIS chain."""

    set: str
    id: str
    split: str
    """Empty for new entries that are not yet in a split."""
    clusters: tuple[str, ...]
    """30 % clusters of its chains."""
    sequences: tuple[str, ...]
    """Of its chains of 20 residues and more."""
    usable: bool = True
    """Large enough, and with a ligand or labels. The language model may have seen entries that are not."""


def related(one: Iterable[str], other: Iterable[str]) -> tuple[set[str], set[str]]:
    """Sequences of either set with a relative in the other. A search finds different pairs in each direction, so both are run."""
    queries, targets = ({q: q for q in sorted(set(side))} for side in (one, other))
    forth, back = homologous(queries, targets), homologous(targets, queries)
    return set(back).union(*forth.values()), set(forth).union(*back.values())


def groups(entries: Sequence[Entry]) -> dict[str, str]:
    """Cluster -> name of its group, the first of its clusters: clusters of one complex, or with relatives, are in one group."""
    parent = {c: c for e in entries for c in e.clusters}

    def root(c: str) -> str:
        while parent[c] != c:
            c = parent[c]
        return c

    def join(clusters: Sequence[str]) -> None:
        first, *others = sorted({root(c) for c in clusters})
        parent.update(dict.fromkeys(others, first))

    holders: dict[str, list[str]] = {}
    for e in entries:
        join(e.clusters)
        for q in e.sequences:
            holders.setdefault(q, []).extend(e.clusters)
    names = {q: q for q in sorted(holders)}
    for q, hits in homologous(names, names).items():
        join([c for s in (q, *hits) for c in holders[s]])
    return {c: root(c) for c in parent}


def draw_held_out(new: Sequence[Entry], seen: Sequence[Entry], sequences: Iterable[str]) -> dict[str, str]:
    """``set/id`` -> ``test2`` or ``validation2``, by whole groups of clusters.

    A cluster takes part if none of its entries is in a cluster of ``seen`` or has a relative there or among ``sequences``.
    """
    leaks, _ = related((q for e in new for q in e.sequences), {q for e in seen for q in e.sequences} | set(sequences))
    taken = {c for e in seen for c in e.clusters}
    taken |= {c for e in new if leaks.intersection(e.sequences) for c in e.clusters}
    free = [e for e in new if taken.isdisjoint(e.clusters)]
    group = groups(free)
    split = {}
    for e in free:
        draw = drawn(f"s2p-surface-1:{group[e.clusters[0]]}")
        if draw < TEST_SHARE + VALIDATION_SHARE:
            split[f"{e.set}/{e.id}"] = "test2" if draw < TEST_SHARE else "validation2"
    return split


def without_leaks(entries: Sequence[Entry], bundled: Iterable[str]) -> list[Entry]:
    """Training entries that share a cluster or a relative with a held-out one or a bundled structure become ``unused``.

    The E-value of a hit grows with the number of sequences searched, so a second search among the remaining entries may find
    more. In that case entries of the fresh sets are removed, because the language model has seen the others.
    """
    held_out = [e for e in entries if e.split in HELD_OUT]
    clusters = {c for e in held_out for c in e.clusters}
    training = [e for e in entries if e.split in TRAINING]
    leaks, _ = related((q for e in training for q in e.sequences), {q for e in held_out for q in e.sequences} | set(bundled))
    kept = {e for e in training if clusters.isdisjoint(e.clusters) and leaks.isdisjoint(e.sequences)}
    fresh = [e for e in held_out if e.split in FRESH]
    leaks, _ = related((q for e in fresh for q in e.sequences), (q for e in kept for q in e.sequences))
    unused = set(training) - kept | {e for e in fresh if leaks.intersection(e.sequences)}
    return [replace(e, split="unused") if e in unused else e for e in entries]


def usable(source: Complex, structure: Structure) -> bool:
    """Whether a complex is large enough and one of its ligands lies at it."""
    return len(structure.residues) >= MIN_RESIDUES and any(
        len(x) >= MIN_LIGAND_ATOMS and len(binding_residues(structure, x, CONTACT)) >= MIN_CONTACTS
        for x in source.ligand_coords()
    )


def surface_splits(folder: Path, examples: Path, splits: Path) -> list[Entry]:
    """The rows of the table, sorted by set and id; ``splits`` is the folder of ``complexes.csv`` and ``ligysis.csv``."""
    clusters: dict[str, set[str]] = {}
    for row in read_csv(folder / "complexes2" / "chain_clusters_all.csv", ("chain", "cluster30")):
        clusters.setdefault("/".join(row["chain"].split("|")[:2]), set()).add(row["cluster30"])
    present = read_splits(splits / "complexes.csv")
    old = _entries([x for x in read_complexes(folder / "complexes") if x.key in present], clusters, present)
    new = _entries(new_complexes(folder / "complexes2"), clusters, {})
    far = {row["uniprot"] for row in read_csv(splits / "ligysis.csv", ("uniprot",))}
    ligysis = []
    for part in ("train", "validation"):
        for chain, _ in read_ligysis(folder / "ligysis", part):
            if part == "train" or chain.id in far:
                split = "ligysis_train" if part == "train" else "ligysis_far"
                large = len(chain.sequence) >= MIN_RESIDUES and chain.labels.sum() >= MIN_CONTACTS
                names = tuple(sorted(clusters[f"LIGYSIS/{chain.id}"]))
                ligysis.append(Entry("ligysis", chain.id, split, names, (chain.sequence,), large))
    bundled = {s.sequence(c) for path in example_files(examples) for s in [read_structure(path)] for c in s.chains}
    scpdb = {c.sequence for c in read_chains(folder / "sequences" / "small" / "scpdb.txt")}
    seen = [e for e in (*old, *ligysis) if e.split in ("train", "validation", "test", "ligysis_train")]
    drawn_splits = draw_held_out([e for e in new if e.usable], seen, bundled | scpdb)
    placed = [replace(e, split=drawn_splits.get(f"{e.set}/{e.id}", "train")) for e in new]
    # The present table keeps its held-out and unused complexes, whatever their size.
    kept = [e for e in (*old, *placed, *ligysis) if e.usable or e.split not in TRAINING]
    return sorted(without_leaks(kept, bundled), key=lambda e: (e.set, e.id))


def _entries(found: Sequence[Complex], clusters: Mapping[str, set[str]], present: Mapping[str, str]) -> list[Entry]:
    """Read complexes."""
    entries = []
    for x in progress_bar(found, "reading complexes"):
        structure = x.read()
        own = [structure.sequence(c) for c in structure.chains]
        sequences = tuple(sorted({q for q in own if len(q) >= MIN_HELD_OUT_CHAIN}))
        names = tuple(sorted(clusters[x.key]))
        entries.append(Entry(x.dataset, x.id, present.get(x.key, ""), names, sequences, usable(x, structure)))
    return entries


def new_complexes(folder: Path) -> list[Complex]:
    """Complexes of the second archive that are in a cluster."""
    return [
        Complex(row["set"], row["id"], place / "protein.pdb", tuple(sorted(place.glob("ligand_*.pdb"))), names)
        for row in read_csv(folder / "index.csv", ("set", "id", "clusters30"))
        for place, names in [(folder / row["set"] / row["id"], tuple(row["clusters30"].split()))]
        if names
    ]


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.surface_data", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument(
        "--splits", type=Path, default=Path("data/splits"), help="folder of the present tables (default: %(default)s)"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    entries = surface_splits(options.data, options.examples, options.splits)
    write_csv(options.out, [(e.set, e.id, e.split, " ".join(e.clusters)) for e in entries], COLUMNS)
    for split, count in sorted(Counter(e.split for e in entries).items()):
        log(f"{split}: {count} in {len({c for e in entries if e.split == split for c in e.clusters})} clusters")


if __name__ == "__main__":
    sys.exit(main())
