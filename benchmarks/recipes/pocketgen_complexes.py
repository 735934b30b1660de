"""Proteins that PocketGen learns from and is measured on: complexes with their ligands, and chains whose sites are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from benchmarks.recipes.data import MIN_HELD_OUT_CHAIN, complexes_of_split, example_files
from s2p.datasets.labelled import read_ligysis
from s2p.datasets.splits import cluster, homologous
from s2p.io.runtime import progress_bar
from s2p.models.pocketgen.data import LigandAtoms
from s2p.structure.reading import Structure, read_structure

__all__ = [
    "LEAST",
    "Protein",
    "chains_of",
    "clustered",
    "few_of_each",
    "read_chains",
    "read_examples",
    "read_split",
    "related",
    "sites_of",
]

LEAST = 3
"""Residues of a pocket that is learned from or measured on."""
SITE_WIDTH = 18.0
"""Å between CA atoms: binding residues of a chain further apart are of different sites. Pockets of ligands are about as wide."""


@dataclass(frozen=True, eq=False)
class Protein:
    """A protein in memory, with the ligands of a complex or with the sites of a chain."""

    key: str
    cluster: str
    structure: Structure
    ligands: list[LigandAtoms] = field(default_factory=list)
    sites: list[NDArray[np.int64]] = field(default_factory=list)
    """Residues that bind, of each site; what binds there is not known."""


def read_ligand(path: Path) -> LigandAtoms:
    """Heavy atoms of a ligand file in PDB format."""
    import gemmi

    flat = gemmi.FlatStructure(gemmi.read_structure(str(path)))
    element = np.char.upper(np.asarray(flat.element_names).astype(str))
    heavy = ~np.isin(element, ("H", "D"))
    return LigandAtoms(np.asarray(flat.pos)[heavy].astype(np.float32), element[heavy])


def read_split(folder: Path, splits: Path, wanted: str) -> list[Protein]:
    """The complexes of one split, ``train``, ``validation``, ``test`` or ``unused``, in the order of their names.

    Raises
    ------
    S2PError
        If the table of splits cannot be read or names none of the complexes.
    """
    sources = complexes_of_split(folder, splits, wanted)
    bar = progress_bar(sources, f"reading {wanted}")
    return [Protein(x.key, x.clusters[0], x.read(), [read_ligand(path) for path in x.ligands]) for x in bar]


def few_of_each(complexes: Sequence[Protein], per_cluster: int) -> list[Protein]:
    """The first ``per_cluster`` complexes of each cluster, with the first ligand of each: what is measured on."""
    taken: dict[str, int] = {}
    chosen = []
    for x in complexes:
        taken[x.cluster] = taken.get(x.cluster, 0) + 1
        if taken[x.cluster] <= per_cluster:
            chosen.append(replace(x, ligands=x.ligands[:1]))
    return chosen


def sites_of(structure: Structure, binding: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Binding residues of a chain in groups no wider than :data:`SITE_WIDTH`: (k,) ascending indices of each.

    Complete linkage of the CA atoms: a chain's label is the union of its sites.
    """
    rows = np.flatnonzero(binding & structure.residues.has_ca)
    if len(rows) < LEAST:
        return []
    group = fcluster(linkage(structure.residues.ca_coord[rows].astype(float), "complete"), SITE_WIDTH, "distance")
    found = [rows[group == k] for k in np.unique(group)]
    return [site.astype(np.int64) for site in found if len(site) >= LEAST]


def read_chains(folder: Path) -> list[Protein]:
    """LIGYSIS chains with the sites of their ligands; none without the data."""
    if not (folder / "ligysis").is_dir():
        return []
    return [
        Protein(f"ligysis/{chain.id}", "", structure, sites=sites_of(structure, np.asarray(chain.labels, bool)))
        for split in ("train", "validation")
        for chain, structure in progress_bar(read_ligysis(folder / "ligysis", split), f"reading {split} chains")
    ]


def clustered(chains: Sequence[Protein]) -> list[Protein]:
    """The chains with clusters at 30 % identity, each named by its first member."""
    if not chains:
        return []
    name: dict[str, str] = {}
    for group in cluster({x.key: x.structure.sequence() for x in chains}, identity=0.3, coverage=0.5):
        name |= dict.fromkeys(group, min(group))
    return [replace(x, cluster=name[x.key]) for x in chains]


def read_examples(folder: Path) -> list[Protein]:
    """The bundled structures, which are kept out of training."""
    return [Protein(path.name, "", read_structure(path)) for path in example_files(folder)]


def chains_of(proteins: Sequence[Protein]) -> dict[str, str]:
    """Sequences of all chains that are long enough to be compared, by ``key|chain``."""
    every = {f"{x.key}|{chain}": x.structure.sequence(chain) for x in proteins for chain in x.structure.chains}
    return {name: sequence for name, sequence in every.items() if len(sequence) >= MIN_HELD_OUT_CHAIN}


def related(ours: Mapping[str, str], others: Mapping[str, str]) -> dict[str, set[str]]:
    """Key of a protein of ``ours`` -> keys of those of ``others`` that share sequence with it (see :func:`chains_of`).

    What a search finds depends on its side, so both are searched.
    """
    found: dict[str, set[str]] = {}
    for name, hits in homologous(others, ours).items():
        found.setdefault(_key(name), set()).update(map(_key, hits))
    for name, hits in homologous(ours, others).items():
        for hit in hits:
            found.setdefault(_key(hit), set()).add(_key(name))
    return found


def _key(name: str) -> str:
    return name.rsplit("|", 1)[0]
