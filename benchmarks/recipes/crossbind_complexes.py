"""Complexes with DNA and RNA: their labels, and a split that no relative crosses.

``python -m benchmarks.recipes.crossbind_complexes DATA -o data/splits/nucleic.csv``. DATA holds ``nucleic`` (``index.csv``,
``chain_clusters_all.csv``, folders of complexes) and ``sequences/nucleic``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.data import MIN_HELD_OUT_CHAIN, example_files, read_chains
from benchmarks.recipes.surface_data import Entry, groups, related
from s2p.datasets.splits import drawn
from s2p.io.files import read_csv, write_csv
from s2p.io.runtime import progress_bar
from s2p.structure.arrays import Structure
from s2p.structure.nucleic import nucleic_kind, touching
from s2p.structure.reading import read_structure

__all__ = ["COLUMNS", "KINDS", "NucleicComplex", "nucleotides", "read_nucleic", "split_nucleic"]

COLUMNS = ("set", "id", "split", "group", "kinds", "chains")
KINDS = ("dna", "rna")
TEST, VALIDATION = "test", "validation"
SHARES = {"dna": (0.4, 0.2), "rna": (0.5, 0.5)}
"""Of the groups that may be held out, the shares of test and validation. RNA trains on what the sequence sets are related to."""
SALT = "crossbind-complexes-1"


@dataclass(frozen=True, eq=False)
class NucleicComplex:
    """The chains of a protein that touch DNA or RNA. The others are left out, because copies of them may bind elsewhere."""

    set: str
    id: str
    structure: Structure
    labels: dict[str, NDArray[np.uint8]]
    """Kind -> (N,), 1 where a residue touches it; kinds that are not in the complex are absent."""
    clusters: tuple[str, ...]
    """30 % clusters of all chains in the file."""
    sequences: tuple[str, ...]
    """Of all chains in the file with 20 residues and more."""

    @property
    def key(self) -> str:
        """``set/id``."""
        return f"{self.set}/{self.id}"


def nucleotides(paths: Iterable[Path]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.str_]]]:
    """Coordinates (M, 3) Å and elements (M,) of the heavy atoms of each kind of nucleic acid (:func:`nucleic_kind` of chains)."""
    import gemmi

    found: dict[str, tuple[list[list[float]], list[str]]] = {}
    for path in paths:
        for chain in gemmi.read_structure(str(path))[0]:
            kind = nucleic_kind([residue.name for residue in chain], (atom.name for residue in chain for atom in residue))
            coord, element = found.setdefault(kind, ([], []))
            for atom in (atom for residue in chain for atom in residue if not atom.is_hydrogen()):
                coord.append(atom.pos.tolist())
                element.append(atom.element.name.upper())
    return {kind: (np.array(coord), np.array(element)) for kind, (coord, element) in found.items()}


def read_complex(folder: Path, clusters: Sequence[str]) -> NucleicComplex | None:
    """A complex from its folder; ``None`` if its protein touches no nucleic acid."""
    structure = read_structure(folder / "protein.pdb")
    labels = {kind: touching(structure, *atoms) for kind, atoms in nucleotides(sorted(folder.glob("ligand_*.pdb"))).items()}
    labels = {kind: table for kind, table in sorted(labels.items()) if table.any()}
    touched = [c for c in structure.chains if any(table[structure.residues.chain == c].any() for table in labels.values())]
    if not touched:
        return None
    sequences = tuple(sorted({q for c in structure.chains if len(q := structure.sequence(c)) >= MIN_HELD_OUT_CHAIN}))
    kept = np.isin(structure.residues.chain, touched)
    part = {kind: table[kept] for kind, table in labels.items()}
    return NucleicComplex(
        folder.parent.name, folder.name, structure.select_chains(touched), part, tuple(sorted(clusters)), sequences
    )


def read_nucleic(folder: Path) -> list[NucleicComplex]:
    """All complexes of ``folder/nucleic`` whose protein touches the nucleic acid, sorted."""
    clusters: dict[str, set[str]] = {}
    for row in read_csv(folder / "nucleic" / "chain_clusters_all.csv", ("chain", "cluster30")):
        clusters.setdefault("/".join(row["chain"].split("|")[:2]), set()).add(row["cluster30"])
    rows = sorted((row["set"], row["id"]) for row in read_csv(folder / "nucleic" / "index.csv", ("set", "id")))
    places = [folder / "nucleic" / name / one for name, one in rows]
    read = (read_complex(p, sorted(clusters[f"{p.parent.name}/{p.name}"])) for p in progress_bar(places, "complexes"))
    return [x for x in read if x is not None]


def split_nucleic(
    complexes: Sequence[NucleicComplex], trained: Iterable[str], tested: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Split (``train``, ``validation``, ``test``, ``unused``) and group of every complex, by ``set/id``.

    Complexes that share a cluster, or have relatives at 30 % identity, form one group, and a group is in one split only.
    Groups with DNA are drawn at random: nearly all have relatives among the sequences of DNA_573, so a sequence branch must
    be trained without these to be compared. Groups with RNA are held out only if they have no relative among the sequences
    that the branch was trained on. Groups with both kinds are for training.

    Parameters
    ----------
    trained
        Sequences that the sequence branch for RNA learned from.
    tested
        Sequences of the public test sets and of bundled structures: their relatives neither train nor validate.
    """
    entries = [Entry(x.set, x.id, "", x.clusters, x.sequences) for x in complexes]
    of = groups(entries)
    group = {x.key: of[x.clusters[0]] for x in complexes}
    own = {q for x in complexes for q in x.sequences}
    seen, public = related(own, trained)[0], related(own, tested)[0]
    members: dict[str, list[NucleicComplex]] = {}
    for x in complexes:
        members.setdefault(group[x.key], []).append(x)
    split = {}
    for inside in members.values():
        kinds = {kind for x in inside for kind in x.labels}
        near = any(seen.intersection(x.sequences) for x in inside)
        like_public = any(public.intersection(x.sequences) for x in inside)
        place = "train"
        if len(kinds) == 1 and not (kinds == {"rna"} and near):
            test, validation = SHARES[next(iter(kinds))]
            draw = drawn(f"{SALT}:{min(q for x in inside for q in x.sequences)}")
            place = TEST if draw < test or like_public else VALIDATION if draw < test + validation else "train"
        for x in inside:
            split[x.key] = "unused" if place != TEST and public.intersection(x.sequences) else place
    # The E-value of a hit grows with the number of sequences searched: among fewer, a second search may find more.
    kept = [x for x in complexes if split[x.key] in ("train", VALIDATION)]
    public, _ = related({q for x in kept for q in x.sequences}, tested)
    return split | {x.key: "unused" for x in kept if public.intersection(x.sequences)}, group


def without_relatives(sequences: Mapping[str, str], held_out: Iterable[str]) -> set[str]:
    """The names of the sequences that have no relative among those held out, searched from both sides."""
    near, _ = related(sequences.values(), held_out)
    return {name for name, sequence in sequences.items() if sequence not in near}


def public_sequences(folder: Path, pattern: str) -> set[str]:
    """Sequences of the public sets whose file names match."""
    found = sorted((folder / "sequences" / "nucleic").glob(pattern))
    return {c.sequence for path in found for c in read_chains(path)}


def bundled_sequences(examples: Path) -> set[str]:
    """Chains of the bundled structures that contain nucleotides."""
    read = (read_structure(path) for path in example_files(examples))
    return {s.sequence(c) for s in read if any(x.kind == "nucleic" for x in s.ligands) for c in s.chains}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.crossbind_complexes", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    complexes = read_nucleic(options.data)
    trained, tested = public_sequences(options.data, "*train*"), public_sequences(options.data, "*test*")
    split, group = split_nucleic(complexes, trained, tested | bundled_sequences(options.examples))
    rows = [(x.set, x.id, split[x.key], group[x.key], " ".join(x.labels), " ".join(x.structure.chains)) for x in complexes]
    write_csv(options.out, rows, COLUMNS)
    for (kinds, name), count in sorted(Counter((row[4], row[2]) for row in rows).items()):
        log(f"{kinds}, {name}: {count} in {len({row[3] for row in rows if (row[4], row[2]) == (kinds, name)})} groups")


if __name__ == "__main__":
    sys.exit(main())
