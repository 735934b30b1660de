"""Enhancement of labels: a residue binds where it binds in any structure of the same protein (paper: enhanced sc-PDB).

One crystal shows one ligand; the other sites of the protein would be taught as not binding. The union over all its structures
mends that, and every residue that is added keeps the chain and the ligand it was seen with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2p.config import Checked, LabelConfig, Share
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import cluster
from s2p.errors import S2PError
from s2p.io.files import csv_text
from s2p.structure.alignment import align
from s2p.structure.ligands import ligand_sites
from s2p.structure.reading import Structure

__all__ = ["EnhanceConfig", "EnhancedChain", "Evidence", "enhance_structures", "evidence_table", "join_chains"]


@dataclass(frozen=True)
class EnhanceConfig(Checked):
    """Which chains are one protein (identity and coverage are ours), and whether ions count."""

    identity: Share = 0.95
    coverage: Share = 0.8
    """Share of both sequences that the alignment covers."""
    include_ions: bool = True
    """Count the ions of the structures too, as the enhanced sc-PDB does."""


@dataclass(frozen=True)
class Evidence:
    """One reason why a residue counts as binding."""

    index: int
    """0-based in the representative chain."""
    source: str
    """Id of the chain in which it binds."""
    source_index: int
    """0-based in that chain."""
    source_letter: str
    ligand: str
    """What it binds there; empty where that is not known."""


@dataclass(frozen=True, eq=False)
class EnhancedChain:
    """The representative of a protein with the union of the labels of its chains."""

    chain: LabelledChain
    members: tuple[str, ...]
    """Ids of all chains that were joined, the representative first."""
    evidence: tuple[Evidence, ...]
    """By index, then in the order of the members; every binding residue has at least one."""
    lost: int
    """Binding residues of members that the representative lacks (not observed in it)."""


def enhance_structures(
    structures: Sequence[Structure], *, config: EnhanceConfig | None = None, labels: LabelConfig | None = None
) -> list[EnhancedChain]:
    """Labels of the chains of structures, joined protein by protein.

    Parameters
    ----------
    structures
        With their ligands; ``NAME_CHAIN`` is the id of a chain.
    config
        When chains are one protein, and whether ions count.
    labels
        What a ligand and a contact are.

    Returns
    -------
    list of EnhancedChain
        In the order of first appearance; the longest chain of a protein represents it. Proteins without any site have labels
        that are all 0.

    Raises
    ------
    S2PError
        If two structures have the same name.
    """
    config = config or EnhanceConfig()
    found: dict[str, tuple[LabelledChain, list[tuple[str, NDArray[np.int_]]]]] = {}
    for structure in structures:
        sites = ligand_sites(structure, labels, include_ions=config.include_ions).sites
        for chain in structure.chains:
            own = np.flatnonzero(structure.residues.chain == chain)
            name = f"{structure.name}_{chain}"
            if name in found:
                raise S2PError(
                    f"there are two structures {structure.name!r} with a chain {chain}; give the files different names"
                )
            inside = [(site.ligand.id, np.flatnonzero(np.isin(own, site.residues))) for site in sites]
            # Labels are set where sites are joined.
            unlabelled = LabelledChain(name, structure.sequence(chain), np.zeros(len(own), np.uint8), structure.name)
            found[name] = unlabelled, inside
    sequences = {name: chain.sequence for name, (chain, _) in found.items()}
    groups = cluster(sequences, identity=config.identity, coverage=config.coverage) if found else []
    order = {name: k for k, name in enumerate(found)}
    # The longest chain first, since what the representative lacks is lost; then as the structures came.
    ordered = [sorted(group, key=lambda name: (-len(sequences[name]), order[name])) for group in groups]
    ordered.sort(key=lambda group: min(order[name] for name in group))
    return [join_chains([found[name] for name in group]) for group in ordered]


def evidence_table(chains: Sequence[EnhancedChain]) -> str:
    """All evidence as CSV text: which structure and ligand gave each residue."""
    rows = [{"chain": x.chain.id, "letter": x.chain.sequence[e.index], **vars(e)} for x in chains for e in x.evidence]
    return csv_text(rows, ("chain", "index", "letter", "source", "source_index", "source_letter", "ligand"))


def join_chains(members: Sequence[tuple[LabelledChain, Sequence[tuple[str, NDArray[np.int_]]]]]) -> EnhancedChain:
    """The first of the chains of a protein, binding wherever it or another does.

    Each chain comes with its ligands and their binding residues (0-based); the first one's own labels count besides.
    """
    first = members[0][0]
    labels = first.labels.copy()
    evidence: list[Evidence] = []
    lost: set[tuple[int, int]] = set()
    for number, (chain, sites) in enumerate(members):
        same = chain.sequence == first.sequence
        position = np.arange(len(chain.sequence)) if same else align(chain.sequence, first.sequence)
        for ligand, k in ((ligand, k) for ligand, residues in sites for k in residues.tolist()):
            index = int(position[k])
            if index < 0:
                lost.add((number, k))
            else:
                labels[index] = 1
                evidence.append(Evidence(index, chain.id, k, chain.sequence[k], ligand))
    evidence.sort(key=lambda e: e.index)
    joined = LabelledChain(first.id, first.sequence, labels, first.source)
    return EnhancedChain(joined, tuple(chain.id for chain, _ in members), tuple(evidence), len(lost))
