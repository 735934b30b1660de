"""What PocketGen learns from and is measured on: proteins with ligands or known sites, masked residues, and pockets.

Proteins are complexes with their ligands, and chains whose sites are known. Three kinds of places are masked and asked for:
pockets of ligands; decoys, pockets around a stretch of the protein itself; and sites of which only the residues are known. What
the language model says of a protein's places is kept in a folder, a file for each protein, so that a stopped run resumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from benchmarks.recipes.data import MIN_HELD_OUT_CHAIN, example_files, read_ligysis
from benchmarks.recipes.ligand_bonds import with_bonds
from benchmarks.recipes.pocketgen_heads import Places, TraceRows
from s2p.datasets.labelled import Complex, read_ligand
from s2p.datasets.splits import cluster, homologous
from s2p.errors import S2PError
from s2p.io.runtime import progress_bar
from s2p.models.encoder import encoder_digest
from s2p.models.pocketgen.atoms import N_LIGAND_FEATURES, slot_arrays
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import (
    LigandAtoms,
    Pocket,
    interpolate,
    make_pocket,
    masked_features,
    pocket_residues,
    role_features,
)
from s2p.models.pocketgen.surroundings.counts import environment
from s2p.models.pocketgen.surroundings.trace import TraceNet, place_trace, trace_inputs
from s2p.structure.reading import Structure, read_structure

__all__ = [
    "LEAST",
    "Kept",
    "Protein",
    "Tracer",
    "chains_of",
    "clustered",
    "decoy",
    "few_of_each",
    "pockets_of",
    "prepare_places",
    "read_chains",
    "read_examples",
    "related",
    "sites_of",
    "trace_rows",
]

LEAST = 3
"""Residues of a pocket that is learned from or measured on."""
SITE_WIDTH = 18.0
"""Å between CA atoms; binding residues farther apart belong to different sites. Pockets of ligands are about as wide."""
LEAST_AROUND, TRIES = 4, 20
"""Residues of a decoy pocket, and stretches tried to find one with so many."""
TOGETHER = 4
"""Decoys masked at once; pockets and sites are masked by themselves, as in a design."""
NOWHERE = LigandAtoms(np.zeros((0, 3), np.float32), np.zeros(0, np.str_))
"""Placeholder for the unknown ligand of a site."""


@dataclass(frozen=True, eq=False)
class Protein:
    """A protein in memory, with the ligands of a complex or with the sites of a chain."""

    key: str
    cluster: str
    structure: Structure
    ligands: list[LigandAtoms] = field(default_factory=list)
    sites: list[NDArray[np.int64]] = field(default_factory=list)
    """Residues that bind, of each site; what binds there is not known."""

    @classmethod
    def read(cls, source: Complex) -> Protein:
        """A complex on disk."""
        return cls(source.key, source.clusters[0], source.read(), [LigandAtoms(*read_ligand(x)) for x in source.ligands])


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

    A search finds different pairs in each direction, so both are run.
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


Tracer = Callable[[Protein], TraceNet | None]
"""Gives the network that places the CA atoms of a protein's masked residues."""
_Masked = tuple[LigandAtoms, NDArray[np.int64], NDArray[np.int64]]
"""A ligand, (P,) residues around it, and (k,) residues that are not seen."""


@dataclass(frozen=True, eq=False)
class _Place:
    """Residues that are masked together."""

    ligand: LigandAtoms
    residues: NDArray[np.int64]
    hidden: NDArray[np.int64]
    """Residues that are not seen."""
    language: NDArray[np.float16]
    """(P, d)."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Cache of the language model's outputs, and what they depend on."""

    folder: Path | None
    encoder: str

    @classmethod
    def of(cls, folder: Path | None, backbone: torch.nn.Module) -> Kept:
        """In ``folder``; ``None``: nowhere."""
        return cls(folder, encoder_digest(backbone))

    def path(self, protein: Protein, masks: Sequence[NDArray[np.int64]]) -> Path | None:
        """A file whose name tells encoder, protein and masked residues."""
        if self.folder is None:
            return None
        known = hashlib.sha256(self.encoder.encode())
        known.update(" ".join(protein.structure.sequence(chain) for chain in protein.structure.chains).encode())
        for mask in masks:
            known.update(mask.astype("<i8").tobytes() + b"|")
        return self.folder / f"{known.hexdigest()[:32]}.npy"


def _say(
    backbone: torch.nn.Module, structure: Structure, masks: Sequence[NDArray[np.int64]], path: Path | None
) -> list[NDArray[np.float16]]:
    """(m, d) outputs of the language model for each mask, read from the file if it exists."""
    cuts = np.cumsum([len(mask) for mask in masks])[:-1]
    if path is not None and path.is_file():
        return np.split(np.load(path, allow_pickle=False), cuts)
    # As it comes back from the file, so that a resumed run reads the same numbers.
    said = [masked_features(backbone, structure, mask).astype(np.float16) for mask in masks]
    if path is not None:
        partial = path.with_suffix(".part.npy")
        np.save(partial, np.concatenate(said))
        partial.replace(path)
    return said


def decoy(
    structure: Structure, config: PocketConfig, rng: np.random.Generator
) -> tuple[LigandAtoms, NDArray[np.int64], NDArray[np.int64]] | None:
    """A stretch of one to four residues in the ligand's place, and the pocket around it.

    Pockets of ligands are few; inside of proteins side chains are bound by residues in much the same way.

    Returns
    -------
    The stretch's atoms, (P,) pocket, and (k,) residues that must not be seen: the stretch. ``None`` if nothing suits.
    """
    residues, atoms = structure.residues, structure.atoms
    for _ in range(TRIES):
        length = int(rng.integers(1, 5))
        first = int(rng.integers(0, max(len(residues) - length, 1)))
        stretch = np.arange(first, min(first + length, len(residues)))
        if len(set(residues.chain[stretch].tolist())) > 1:
            continue
        own = np.isin(atoms.residue_index, stretch)
        found = pocket_residues(structure, atoms.coord[own], config)
        # The neighbours in sequence are bonded to it: they are no pocket.
        found = found[(found < first - 3) | (found > stretch[-1] + 3)]
        if len(found) >= LEAST_AROUND:
            return LigandAtoms(atoms.coord[own], atoms.element[own]), found, stretch.astype(np.int64)
    return None


def _draw(protein: Protein, config: PocketConfig, decoys: int) -> tuple[list[_Masked], list[_Masked], list[_Masked]]:
    """Pockets of ligands, decoys and sites of a protein, the same ones every time."""
    rng = np.random.default_rng(list(protein.key.encode()))
    nothing = np.zeros(0, np.int64)
    found = [(ligand, pocket_residues(protein.structure, ligand.coord, config), nothing) for ligand in protein.ligands]
    drawn = [decoy(protein.structure, config, rng) for _ in range(decoys)]
    sites = [(NOWHERE, site[: config.max_residues], nothing) for site in protein.sites]
    return [place for place in found if len(place[1]) >= LEAST], [place for place in drawn if place is not None], sites


def trace_rows(proteins: Sequence[Protein], config: PocketConfig, decoys: int) -> TraceRows:
    """Masked residues of all places of ``proteins``, for what places CA atoms; the parameters are those of the places."""
    inputs, steps, owners = [], [], []
    for owner, x in enumerate(progress_bar(proteins, "traces")):
        ca, has_ca = x.structure.residues.ca_coord, x.structure.residues.has_ca
        for _, residues, hidden in (place for group in _draw(x, config, decoys) for place in group):
            line = interpolate(x.structure, residues)
            read, frame = trace_inputs(x.structure, residues, hidden, line)
            ok = has_ca[residues]
            inputs.append(read[ok].astype(np.float16))
            steps.append(np.einsum("px,pax->pa", ca[residues[ok]] - line[ok], frame[ok]).astype(np.float32))
            owners.append(np.full(int(ok.sum()), owner, np.int64))
    if not inputs:
        raise S2PError("none of the proteins has a place to learn from: no ligand, no site, and too short for a decoy")
    return TraceRows(np.concatenate(inputs), np.concatenate(steps), np.concatenate(owners))


def _places(
    protein: Protein, backbone: torch.nn.Module, config: PocketConfig, decoys: int, kept: Kept
) -> tuple[list[_Place], list[_Place], list[_Place]]:
    """Pockets of ligands, decoys and sites of a protein."""
    real, false, sites = _draw(protein, config, decoys)
    groups = [[k] for k in range(len(real))]
    groups += [list(range(len(real) + k, len(real) + min(k + TOGETHER, len(false)))) for k in range(0, len(false), TOGETHER)]
    groups += [[len(real) + len(false) + k] for k in range(len(sites))]
    every = [(with_bonds(ligand, config), residues, hidden) for ligand, residues, hidden in (*real, *false, *sites)]
    if not every:
        return [], [], []
    masks = [np.unique(np.concatenate([every[k][1] for k in group])) for group in groups]
    said = _say(backbone, protein.structure, masks, kept.path(protein, masks))
    found = [
        _Place(*every[k], words[np.searchsorted(mask, every[k][1])])
        for group, mask, words in zip(groups, masks, said, strict=True)
        for k in group
    ]
    return found[: len(real)], found[len(real) : len(real) + len(false)], found[len(real) + len(false) :]


def _pocket(protein: Protein, place: _Place, name: str, config: PocketConfig, trace: TraceNet | None) -> Pocket:
    language = place.language.astype(np.float32)
    made = make_pocket(
        protein.structure,
        place.ligand,
        place.residues,
        language,
        config=config,
        cluster=protein.cluster,
        without=place.hidden,
        trace=trace,
    )
    return replace(made, name=f"{protein.key}|{name}")


def pockets_of(
    proteins: Sequence[Protein], backbone: torch.nn.Module, config: PocketConfig, trace: Tracer, folder: Path | None = None
) -> list[Pocket]:
    """Pockets of all ligands of ``proteins``; ``folder`` keeps what the language model says."""
    kept = Kept.of(folder, backbone)
    found = []
    for x in progress_bar(proteins, "pockets"):
        real, _, _ = _places(replace(x, sites=[]), backbone, config, 0, kept)
        found += [_pocket(x, place, str(k), config, trace(x)) for k, place in enumerate(real)]
    return found


def prepare_places(
    proteins: Sequence[Protein],
    backbone: torch.nn.Module,
    config: PocketConfig,
    trace: Tracer,
    decoys: int,
    whole: int,
    folder: Path | None = None,
) -> tuple[Places, list[Pocket], list[Pocket]]:
    """Places of ``proteins`` for the heads; pockets of their ligands and the first ``whole`` decoys of each for the network.

    Parameters
    ----------
    trace
        What places the CA atoms of a protein.
    decoys
        Of each protein.
    folder
        Keeps what the language model says.
    """
    kept = Kept.of(folder, backbone)
    pockets: list[Pocket] = []
    false: list[Pocket] = []
    parts: list[Places] = []
    for owner, x in enumerate(progress_bar(proteins, "places")):
        groups = _places(x, backbone, config, decoys, kept)
        pockets += [_pocket(x, place, str(k), config, trace(x)) for k, place in enumerate(groups[0])]
        false += [_pocket(x, place, f"decoy {k}", config, trace(x)) for k, place in enumerate(groups[1][:whole])]
        parts += _rows(x.structure, groups, owner, config, trace(x))
    return Places.joined(parts), pockets, false


def _rows(
    structure: Structure, groups: Sequence[Sequence[_Place]], owner: int, config: PocketConfig, trace: TraceNet | None
) -> list[Places]:
    """The places of one protein, in the order of their kinds."""
    types, coord, present = slot_arrays(structure)
    chains = np.unique(structure.residues.chain, return_inverse=True)[1].astype(np.int64)
    found: list[Places] = []
    for kind, places in enumerate(groups):
        for place in places:
            line, ligand = interpolate(structure, place.residues), place.ligand
            start = place_trace(trace, structure, place.residues, place.hidden, line)
            features = role_features(ligand, config) if len(ligand.coord) else np.zeros((0, N_LIGAND_FEATURES), np.float32)
            around = environment(types, coord, present, chains, place.residues, start, place.hidden, ligand.coord, features)
            n = len(place.residues)
            wanted = types[place.residues]
            ok = wanted > 0
            found.append(
                Places(
                    place.language[ok],
                    around.astype(np.float16)[ok],
                    wanted[ok],
                    np.full(n, owner, np.int64)[ok],
                    np.full(n, kind, np.int8)[ok],
                    np.full(n, len(found), np.int64)[ok],
                )
            )
    return found
