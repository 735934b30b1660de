"""Which residues of a file are protein, by chemistry: names, backbone atoms and peptide bonds.

TER records, HETATM and the entities of mmCIF depend on the program that wrote them, so they decide only if chemistry does not: a
known amino acid without bonds is a residue between gaps, or a ligand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.structure.arrays import Columns, changes, codes
from s2p.structure.files.names import CAPS, STANDARD
from s2p.structure.grouping import Grouped

__all__ = ["Kinds", "classify", "residue_facts"]

PEPTIDE_BOND = 2.0
"""Å: C and N of an amide at most; 1.33 in a good model, and no two atoms that are not bonded come so close."""
PHOSPHODIESTER = 2.4
"""Å, O3' and P likewise."""
CA_DISTANCE = 4.5
"""Å between the CA of neighbours, 3.8 in a good model; used where C or N is missing."""
UNKNOWN = ("UNK", "UNL", "UNX")
BEADS = 6
"""Beads of the largest amino acid in coarse-grained models."""
SMALL = 4
"""Heavy atoms of the largest group bonded to a chain that is neither residue nor ligand."""


@lru_cache(maxsize=4096)
def residue_facts(name: str) -> tuple[bool, bool, str]:
    """(amino acid, nucleotide, one letter of the parent or X) of a residue name."""
    import gemmi

    info = gemmi.find_tabulated_residue(name)
    amino = info.is_amino_acid() and name not in CAPS
    return amino, info.is_nucleic_acid(), (info.one_letter_code.strip().upper() or "X") if amino else "X"


@dataclass(frozen=True, eq=False)
class Kinds(Columns):
    """What each of R residues is; of those that are nothing else, a ligand."""

    protein: NDArray[np.bool_]
    nucleic: NDArray[np.bool_]  # Nucleotides of a chain.
    part: NDArray[np.bool_]  # Caps and other small groups of a chain: neither residue nor ligand.
    bonded: NDArray[np.bool_]  # Whether a residue is bonded to the residue of the protein before it in its chain.
    ends: NDArray[np.bool_]  # Whether a residue ends a chain: it has a second oxygen of a carboxylate, or a cap follows.
    letter: NDArray[np.str_]


def classify(groups: Grouped) -> Kinds:
    """Tell protein, nucleic acid and caps from ligands."""
    name = groups.column("residue_name")
    distinct, code = np.unique(name, return_inverse=True)
    code = code.reshape(-1)
    amino, nucleic, letter = (np.array(x)[code] for x in zip(*map(residue_facts, distinct.tolist()), strict=True))
    n, ca, c = groups.backbone
    oxygen, phosphorus = groups.of_name("O3'", "O3*"), groups.of_name("P")
    phosphodiesters = _bonds(groups, oxygen[oxygen >= 0], phosphorus[phosphorus >= 0], PHOSPHODIESTER)
    backbone_of_dna = np.isin(np.arange(len(name)), phosphodiesters)
    nucleic |= backbone_of_dna & ~amino & (groups.of_name("C1'", "C1*") >= 0)
    known = amino & ~np.isin(name, UNKNOWN)
    standard, cap = np.isin(name, list(STANDARD)), np.isin(name, list(CAPS))
    whole = (n >= 0) & (ca >= 0) & (c >= 0)
    some = (n >= 0) | (ca >= 0) | (c >= 0)
    record, label = ~groups.column("het"), groups.column("label_number") > 0
    to_n, to_c = _amide_bonds(groups, (whole | known) & ~nucleic, nucleic)
    linked = to_n | to_c
    trace = _ca_trace(groups)

    # A ligand may be called like an amino acid; a few atoms of other names are what is left of one, or beads.
    bare = standard & (groups.sizes <= BEADS)
    protein = (record & ((known & some) | bare)) | (linked & (whole | known)) | (to_n & to_c & (ca >= 0)) | trace
    protein &= ~nucleic & ~cap
    end = groups.of_name("OXT") >= 0
    chain, part = groups.column("chain"), groups.column("part")
    stretch = codes(groups.column("model"), groups.column("block"), chain, part)
    inside, between = _place(stretch, protein)
    closed = inside & (part < part.max(initial=0))  # a TER comes after it
    alone = known & ~record & some & ~linked & inside
    protein |= alone & ~nucleic & ~cap & (between | label | (closed & ~standard & ~end))
    bonded, capped = _along(groups, protein, cap)
    if (protein & record).any():  # peptides of HETATM records only, behind a chain, are ligands, as in the files of the PDB
        run = np.cumsum(protein & ~bonded)
        of_records = np.bincount(run, weights=protein & record)[run] > 0
        protein &= of_records | ~standard | _place(stretch, protein & record)[1] | label
    rows = np.flatnonzero(protein)
    held = (linked | trace)[rows]
    if held.any():  # a complete free amino acid that does not continue a chain is a ligand
        begins = changes(chain[rows]) | np.r_[True, end[rows][:-1]]
        protein[rows] = held | ~(begins & end[rows])
    chain_part = ~protein & ~nucleic & linked & (cap | (groups.sizes <= SMALL))
    in_chain = nucleic & (record | label | backbone_of_dna)
    return Kinds(protein, in_chain, chain_part, bonded, (end & protein) | capped, letter)


def _bonds(
    groups: Grouped, first: NDArray[np.int64], second: NDArray[np.int64], limit: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of different residues that an atom of the ``first`` of one, and of the ``second`` of the other, bonds together."""
    if not len(first) or not len(second):
        return first[:0], second[:0]
    xyz = groups.atoms.coord
    _, near = cKDTree(xyz[second]).query(xyz[first], k=[1, 2, 3], distance_upper_bound=limit)
    which, place = np.nonzero(near < len(second))  # that is its length where there is none
    a, b = groups.row[first[which]], groups.row[second[near[which, place]]]
    return a[a != b], b[a != b]


def _amide_bonds(
    groups: Grouped, amino: NDArray[np.bool_], nucleic: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(R,) whether the nitrogen, or the carbon, of a residue is bonded to that of another amino acid.

    Of a residue without an atom N any nitrogen counts: chromophores, and what links two residues, name their atoms otherwise.
    """
    n, _, c = groups.backbone
    carbon, nitrogen = (
        np.r_[named[named >= 0], np.flatnonzero((groups.atoms.element == symbol) & ((named < 0) & ~nucleic)[groups.row])]
        for symbol, named in (("C", c), ("N", n))
    )
    a, b = _bonds(groups, carbon, nitrogen, PEPTIDE_BOND)
    place = np.arange(len(n))
    return np.isin(place, b[amino[a]]), np.isin(place, a[amino[b]])


def _ca_trace(groups: Grouped) -> NDArray[np.bool_]:
    """(R,) residues of one atom, a CA, as far from that of a neighbour as in a protein."""
    ca = groups.backbone[1]
    only = (ca >= 0) & (groups.sizes == 1)
    first = np.flatnonzero((ca >= 0)[:-1] & (ca >= 0)[1:] & (only[:-1] | only[1:]))
    second = first + 1
    chain = groups.column("chain")
    distance = np.linalg.norm(groups.atoms.coord[ca[first]] - groups.atoms.coord[ca[second]], axis=1)
    near = (chain[first] == chain[second]) & (distance > 2.5) & (distance < CA_DISTANCE)
    near = np.r_[first[near], second[near]]
    return np.asarray(only & np.isin(np.arange(len(ca)), near))


def _place(stretch: NDArray[np.int64], protein: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(R,) whether there is protein in the same stretch of the file, and whether there is some before and after."""
    n = int(stretch.max(initial=-1)) + 1
    place = np.arange(len(stretch))
    first, last = np.full(n, len(stretch)), np.full(n, -1)
    np.minimum.at(first, stretch[protein], place[protein])
    np.maximum.at(last, stretch[protein], place[protein])
    return last[stretch] >= 0, (place > first[stretch]) & (place < last[stretch])


def _along(groups: Grouped, protein: NDArray[np.bool_], cap: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(R,) which residues are bonded to the one before, and which have a cap behind them, before the next."""
    n, ca, c = groups.backbone
    bonded, capped = np.zeros(len(protein), dtype=bool), np.zeros(len(protein), dtype=bool)
    rows = np.flatnonzero(protein)
    before, after = rows[:-1], rows[1:]
    chain, xyz = groups.column("chain"), groups.atoms.coord
    middle = np.where(ca >= 0, ca, groups.start)
    amide = np.linalg.norm(xyz[c[before]] - xyz[n[after]], axis=1) <= PEPTIDE_BOND
    close = np.linalg.norm(xyz[middle[before]] - xyz[middle[after]], axis=1) <= CA_DISTANCE
    bonded[after] = (chain[before] == chain[after]) & np.where((c[before] >= 0) & (n[after] >= 0), amide, close)
    n_caps = np.cumsum(cap & (groups.column("residue_name") != "ACE"))
    capped[before] = n_caps[after] > n_caps[before]
    return bonded, capped
