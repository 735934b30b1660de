"""Training, validation and test data of the recipe, without homologues between them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from s2p.datasets.enhancement import join_chains
from s2p.datasets.label_files import read_annotations
from s2p.datasets.labelled import Complex, LabelledChain, read_complexes
from s2p.datasets.splits import cluster, homologous, read_splits, split_complexes
from s2p.errors import S2PError
from s2p.io.files import read_csv, write_csv
from s2p.io.runtime import progress_bar
from s2p.structure.alignment import labels_on_chain
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import Structure, read_structure

__all__ = [
    "Data",
    "Site",
    "assign_folds",
    "example_files",
    "prepare",
    "read_chains",
    "read_ligysis",
    "read_split",
]

T = TypeVar("T")
MIN_CHAIN = 30
"""Least number of residues of a training chain."""
MIN_HELD_OUT_CHAIN = 20
"""Least number of residues of a held-out chain whose homologues are removed from the training data."""
N_FOLDS = 2


@dataclass(frozen=True, eq=False)
class Site:
    """A complex in memory."""

    source: Complex
    structure: Structure
    ligands: list[NDArray[np.float32]]
    sites: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, eq=False)
class Data:
    """Everything the recipe trains, tunes and tests on."""

    training: list[LabelledChain]
    ligysis_training: list[tuple[LabelledChain, Structure]]
    ligysis_validation: list[tuple[LabelledChain, Structure]]
    """All chains of the LIGYSIS validation split."""
    seen: frozenset[str]
    """Those of its ids that have a homologue in ``training``."""
    complexes: dict[str, list[Site]]
    """By split."""
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def validation(self) -> list[tuple[LabelledChain, Structure]]:
        """LIGYSIS validation chains without a homologue in training."""
        return [pair for pair in self.ligysis_validation if pair[0].id not in self.seen]


def prepare(folder: Path, examples: Path, splits: Path) -> Data:
    """Read, split and clean the data; write the splits."""
    found = read_complexes(folder / "complexes")
    loaded = {}
    for source in found:
        structure, ligands = source.read(), source.ligand_coords()
        sites = tuple(binding_residues(structure, x).astype(np.int64) for x in ligands)
        loaded[source.key] = Site(source, structure, ligands, sites)
    chains = {
        f"{key}|{chain}": site.structure.sequence(chain)
        for key, site in loaded.items()
        for chain in site.structure.chains
        if len(site.structure.sequence(chain)) >= MIN_CHAIN
    }
    bundled = {
        f"{path.name}|{chain}": s.sequence(chain)
        for path in example_files(examples)
        for s in [read_structure(path)]
        for chain in s.chains
    }
    near_bundled = homologous(bundled, chains)
    forced = {c for chain in near_bundled for c in loaded[chain.rsplit("|", 1)[0]].source.clusters}
    split = split_complexes(found, always_test=forced)
    held_out = bundled | {chain: sequence for chain, sequence in chains.items() if split[chain.rsplit("|", 1)[0]] != "train"}
    from_complexes = _complex_chains([loaded[key] for key, name in split.items() if name == "train"])
    scpdb = [c for c in read_chains(folder / "sequences/small/scpdb.txt") if len(c.sequence) >= MIN_CHAIN and c.labels.any()]
    ligysis = list(read_ligysis(folder / "ligysis", "train"))
    candidates = {f"scpdb|{k}": c for k, c in enumerate(scpdb)} | {f"ligysis|{k}": c for k, (c, _) in enumerate(ligysis)}
    leaks = homologous(held_out, {key: c.sequence for key, c in candidates.items()})
    everything = from_complexes + [c for key, c in candidates.items() if key not in leaks]
    split |= _left_over(loaded, split, [c.sequence for c in everything])
    splits.mkdir(parents=True, exist_ok=True)
    table = [(x.dataset, x.id, split[x.key], " ".join(x.clusters)) for x in found]
    write_csv(splits / "complexes.csv", table, ("dataset", "id", "split", "clusters30"))
    groups = cluster({str(k): c.sequence for k, c in enumerate(everything)})
    # The LIGYSIS chain stands for a protein that is in several sets: its labels are a union already.
    ordered = [sorted(map(int, group), key=lambda k: everything[k].source != "ligysis_train") for group in groups]
    ordered.sort()  # mmseqs2 writes its clusters in no fixed order
    training = [_joined([everything[k] for k in group]) for group in ordered]
    left = homologous(bundled, {str(k): c.sequence for k, c in enumerate(training)})
    validation = list(read_ligysis(folder / "ligysis", "validation"))
    seen = homologous({str(k): c.sequence for k, c in enumerate(everything)}, {c.id: c.sequence for c, _ in validation})
    write_csv(splits / "ligysis.csv", [(c.id,) for c, _ in validation if c.id not in seen], ("uniprot",))
    by_split: dict[str, list[Site]] = {}
    for key, name in split.items():
        by_split.setdefault(name, []).append(loaded[key])
    counts = {
        "training_chains": len(training),
        "training_residues": sum(len(c.labels) for c in training),
        "training_positive": round(sum(int(c.labels.sum()) for c in training) / sum(len(c.labels) for c in training), 4),
        "training_chains_by_set": {s: sum(c.source == s for c in training) for s in ("scpdb", "ligysis_train", "complexes")},
        "dropped_as_homologous_to_held_out": len(leaks),
        "bundled_examples_homologous_to_training": sorted({name.split(".")[0] for names in left.values() for name in names}),
        "validation_chains": len(validation) - len(seen),
        "validation_chains_homologous_to_training": len(seen),
        "complexes": {name: len(sites) for name, sites in sorted(by_split.items())},
        "clusters": {name: len({c for s in sites for c in s.source.clusters}) for name, sites in sorted(by_split.items())},
    }
    kept = [pair for k, pair in enumerate(ligysis) if f"ligysis|{k}" not in leaks]
    return Data(training, kept, validation, frozenset(seen), by_split, counts)


def _joined(chains: Sequence[LabelledChain]) -> LabelledChain:
    """The first of the chains of one protein, binding wherever any of them does."""
    return join_chains([(chain, [("", np.flatnonzero(chain.labels))]) for chain in chains]).chain


def read_chains(path: Path) -> list[LabelledChain]:
    """Chains of an archive of labels, in which ids may repeat and chains may be short or without a binding residue."""
    return [LabelledChain(a.id, a.sequence, a.labels, path.stem) for a in read_annotations(path)]


def read_ligysis(folder: Path, split: str) -> Iterator[tuple[LabelledChain, Structure]]:
    """Chains of one LIGYSIS split (``train`` or ``validation``) with labels on the observed residues."""
    columns = ("split", "chain_file", "binding_residues_0based_uniprot", "uniprot_sequence", "uniprot")
    for row in read_csv(folder / "chains.csv", columns):
        if row["split"] == split:
            structure = read_structure(folder / "chains" / row["chain_file"])
            indices = [int(token[1:]) for token in row["binding_residues_0based_uniprot"].split()]
            labels = labels_on_chain(structure.sequence(), row["uniprot_sequence"], indices)
            yield LabelledChain(row["uniprot"], structure.sequence(), labels, f"ligysis_{split}"), structure


def read_split(folder: Path, splits: Path, wanted: str, make: Callable[[Complex], T]) -> list[T]:
    """What ``make`` reads of the complexes of one split, ``train``, ``validation``, ``test`` or ``unused``, by their names.

    Raises
    ------
    S2PError
        If the table of splits cannot be read or names none of the complexes.
    """
    split = read_splits(splits)
    found = (x for x in read_complexes(folder / "complexes") if split.get(x.key) == wanted)
    sources: list[Complex] = sorted(found, key=lambda x: x.key)
    if not sources:
        raise S2PError(f"{splits} names no {wanted} complex of {folder / 'complexes'}")
    return [make(x) for x in progress_bar(sources, f"reading {wanted}")]


def _left_over(loaded: Mapping[str, Site], split: Mapping[str, str], training: Sequence[str]) -> dict[str, str]:
    """Held-out complexes with a chain that is homologous to anything trained on, as ``unused``.

    Clusters are built around representatives, so members of two clusters can still be homologous. A search finds different
    pairs in each direction, so both are run. Here the held-out complexes are removed.
    """
    sides: dict[bool, dict[str, str]] = {True: {f"|{k}": sequence for k, sequence in enumerate(training)}, False: {}}
    for key, site in loaded.items():
        if split[key] in ("train", "validation", "test"):
            own = {f"{key}|{chain}": site.structure.sequence(chain) for chain in site.structure.chains}
            sides[split[key] == "train"] |= {name: q for name, q in own.items() if len(q) >= MIN_HELD_OUT_CHAIN}
    learned, held_out = sides[True], sides[False]
    related = set(homologous(learned, held_out)).union(*homologous(held_out, learned).values())
    return {name.rsplit("|", 1)[0]: "unused" for name in related}


def example_files(examples: Path) -> list[Path]:
    """The structures in the folder of bundled examples."""
    return sorted(p for p in examples.iterdir() if p.name.lower().removesuffix(".gz").endswith((".cif", ".pdb")))


def _complex_chains(sites: Sequence[Site]) -> list[LabelledChain]:
    """Chains that touch a ligand, with the union of the contacts."""
    chains = []
    for site in sites:
        labels = union(site)
        for chain in site.structure.chains:
            own = site.structure.residues.chain == chain
            if own.sum() >= MIN_CHAIN and labels[own].any():
                chains.append(
                    LabelledChain(f"{site.source.key}|{chain}", site.structure.sequence(chain), labels[own], "complexes")
                )
    return chains


def union(site: Site) -> NDArray[np.uint8]:
    """(N,) 1 where a residue touches any of the complex's ligands."""
    labels = np.zeros(len(site.structure.residues), np.uint8)
    labels[np.concatenate(site.sites)] = 1
    return labels


def assign_folds(data: Data) -> dict[str, int]:
    """Two halves of everything that is trained on, by whole clusters at 30 % identity.

    Returns
    -------
    Fold of training chain k as ``t{k}``, of LIGYSIS training structure k as ``l{k}`` and of a chain of a training complex
    as ``c|dataset/id|chain`` (chains under 20 residues are in none).
    """
    sequences = {f"t{k}": c.sequence for k, c in enumerate(data.training)}
    for site in data.complexes["train"]:
        for chain in site.structure.chains:
            sequence = site.structure.sequence(chain)
            if len(sequence) >= 20:
                sequences[f"c|{site.source.key}|{chain}"] = sequence
    sequences |= {f"l{k}": c.sequence for k, (c, _) in enumerate(data.ligysis_training)}
    folds: dict[str, int] = {}
    for group in cluster(sequences, identity=0.3, coverage=0.5):
        members = sorted(group)
        fold = int(hashlib.sha256(members[0].encode()).hexdigest(), 16) % N_FOLDS
        folds |= dict.fromkeys(members, fold)
    return folds


def training_fold(data: Data, folds: Mapping[str, int], fold: int) -> list[LabelledChain]:
    """The training chains that are not in ``fold``."""
    return [c for k, c in enumerate(data.training) if folds[f"t{k}"] != fold]
