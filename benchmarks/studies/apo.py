"""The same protein without the ligand: pairs of structures, and where the ligand of one lies in the other.

Pairs are made chain by chain, and both structures are cut to that chain, so that only the form of the protein differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.config import Checked, LabelConfig, Natural, NonNegative, Positive, Share
from s2p.datasets.splits import homologous
from s2p.structure.alignment import align
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import Structure
from s2p.structure.transforms import superposition

__all__ = ["ApoPair", "Bare", "Holo", "Placed", "RobustnessConfig", "apo_pairs", "place_ligand"]


@dataclass(frozen=True)
class RobustnessConfig(Checked):
    """Structures that differ from the one with the ligand."""

    side_chain_noise: NonNegative = 0.5
    """Å: standard deviation, along each axis, of the shift of a side chain that touches a ligand."""
    drop_facing: Share = 0.3
    """Share of the side-chain atoms touching a ligand that are left out."""
    identity: Share = 0.95
    """Another structure is of the same protein when so many aligned residues are equal."""
    coverage: Share = 0.8
    """Share of the chain that touches the ligand that must be aligned."""
    site_observed: Share = 0.8
    """Share of the site's residues that the other structure must hold."""
    fit_radius: Positive = 20.0
    """Å around the ligand: CA atoms this close are superposed, so that other domains may move."""
    empty: Positive = 4.0
    """Å: no atom of another ligand may come this close to where the ligand was."""
    same_crystal: Share = 0.05
    """Å: a site whose atoms differ less is of the same crystal with its ligand taken out, and no other form."""
    seed: Natural = 0


CHAIN_SHARE = 0.9
"""Of the residues at a ligand, those in one chain; where fewer are, a chain alone is no form of the site."""


@dataclass(frozen=True, eq=False)
class Holo:
    """A protein with ligands."""

    key: str
    cluster: str
    structure: Structure
    ligands: tuple[NDArray[np.float32], ...]
    """(L, 3) Å heavy atoms of each."""


@dataclass(frozen=True, eq=False)
class Bare:
    """A structure that may be a form without the ligand."""

    key: str
    structure: Structure
    occupied: NDArray[np.float32]
    """(M, 3) Å of all atoms in it that are neither protein nor water; empty where the file holds none."""
    state: str
    """What is known of it, in a few words."""


@dataclass(frozen=True)
class Placed:
    """A ligand put into another structure."""

    coord: NDArray[np.float32]
    """(L, 3) Å."""
    rmsd: float
    """Å over the CA atoms that were superposed."""
    n_fitted: int
    identity: float
    """Of the aligned residues."""
    site_rmsd: float
    """Å over the heavy atoms of the site's residues that both structures have."""


@dataclass(frozen=True, eq=False)
class ApoPair:
    """One chain with and without its ligand."""

    holo: Holo
    """Cut to the chain."""
    apo: Structure
    """Cut to the chain."""
    apo_key: str
    state: str
    placed: tuple[Placed, ...]
    """The ligands of ``holo`` in the frame of ``apo``."""


def place_ligand(
    ligand: NDArray[np.float32],
    holo: Structure,
    apo: Structure,
    config: RobustnessConfig | None = None,
    cutoff: float = LabelConfig.cutoff,
) -> Placed | None:
    """The ligand in the frame of another structure of one chain, or None if that is not a form of the same site.

    Parameters
    ----------
    ligand
        (L, 3) Å in the frame of ``holo``.
    holo, apo
        One chain each.
    """
    config = config or RobustnessConfig()
    position = align(apo.sequence(), holo.sequence())
    mine = np.flatnonzero(position >= 0)
    theirs = position[mine]
    if len(mine) < config.coverage * len(holo.residues):
        return None
    identity = float((apo.residues.one_letter[mine] == holo.residues.one_letter[theirs]).mean())
    site = binding_residues(holo, ligand, cutoff)
    if identity < config.identity or not len(site) or np.isin(site, theirs).mean() < config.site_observed:
        return None
    distance, _ = cKDTree(ligand).query(holo.residues.ca_coord[theirs])
    near = (distance <= config.fit_radius) & apo.residues.has_ca[mine] & holo.residues.has_ca[theirs]
    if near.sum() < 4:
        return None
    rotation, shift, rmsd = superposition(apo.residues.ca_coord[mine[near]], holo.residues.ca_coord[theirs[near]])
    moved = (ligand.astype(np.float64) @ rotation.T + shift).astype(np.float32)
    spread = []
    for a, b in zip(mine.tolist(), theirs.tolist(), strict=True):
        if b in site:
            own, other = (_atoms_of(s, k) for s, k in ((apo, a), (holo, b)))
            spread += [float(((own[n] - (rotation @ other[n] + shift)) ** 2).sum()) for n in own.keys() & other.keys()]
    return Placed(moved, rmsd, int(near.sum()), identity, float(np.sqrt(np.mean(spread))) if spread else float("nan"))


def _atoms_of(structure: Structure, residue: int) -> dict[str, NDArray[np.float64]]:
    own = np.flatnonzero(structure.atoms.residue_index == residue)
    names = structure.atoms.name[own].tolist()
    return dict(zip(names, structure.atoms.coord[own].astype(np.float64), strict=True))


def _by_chain(holo: Holo) -> dict[str, tuple[NDArray[np.float32], ...]]:
    """Ligands by the chain that holds nearly all of their site."""
    found: dict[str, list[NDArray[np.float32]]] = {}
    for ligand in holo.ligands:
        site = binding_residues(holo.structure, ligand)
        names, counts = np.unique(holo.structure.residues.chain[site], return_counts=True)
        if len(site) and counts.max() >= CHAIN_SHARE * len(site):
            found.setdefault(str(names[counts.argmax()]), []).append(ligand)
    return {chain: tuple(ligands) for chain, ligands in found.items()}


def apo_pairs(holos: Sequence[Holo], bare: Mapping[str, Bare], config: RobustnessConfig | None = None) -> list[ApoPair]:
    """For every chain of ``holos`` with ligands, the structures of the same protein in ``bare`` in which their sites are empty.

    Copies of the holo's own crystal without the ligand are left out (:attr:`RobustnessConfig.same_crystal`).

    Returns
    -------
    Pairs by holo, then by fitting RMSD: the first of a holo chain is the one most like it.
    """
    config = config or RobustnessConfig()
    chains: dict[str, tuple[Holo, str]] = {}
    for holo in holos:
        for chain in _by_chain(holo):
            chains[f"{holo.key}|{chain}"] = holo, chain
    queries = {name: holo.structure.sequence(chain) for name, (holo, chain) in chains.items()}
    targets = {f"{key}|{chain}": b.structure.sequence(chain) for key, b in bare.items() for chain in b.structure.chains}
    targets = {name: sequence for name, sequence in targets.items() if len(sequence) >= 20}
    if not queries or not targets:
        return []
    found: dict[str, list[ApoPair]] = {}
    hits = homologous(queries, targets, identity=config.identity, coverage=config.coverage)
    for target in sorted(hits):
        key, other = target.rsplit("|", 1)
        candidate = bare[key]
        apo = replace(candidate.structure.select_chains([other]), ligands=())
        for query in sorted(hits[target]):
            holo, chain = chains[query]
            if holo.key == key:
                continue
            alone = replace(holo.structure.select_chains([chain]), ligands=())
            placed = [place_ligand(ligand, alone, apo, config) for ligand in _by_chain(holo)[chain]]
            kept = [p for p in placed if p is not None]
            other_form = any(p.site_rmsd > config.same_crystal for p in kept)
            if len(kept) == len(placed) and other_form and _empty(kept, candidate.occupied, config.empty):
                cut = Holo(query, holo.cluster, alone, _by_chain(holo)[chain])
                found.setdefault(query, []).append(ApoPair(cut, apo, target, candidate.state, tuple(kept)))
    return [pair for query in sorted(found) for pair in sorted(found[query], key=lambda p: max(x.rmsd for x in p.placed))]


def _empty(placed: Sequence[Placed], occupied: NDArray[np.float32], distance: float) -> bool:
    if not len(occupied):
        return True
    nearest, _ = cKDTree(occupied).query(np.concatenate([p.coord for p in placed]))
    return bool(nearest.min() > distance)
