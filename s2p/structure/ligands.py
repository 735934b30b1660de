"""Ligands of a structure: which of its molecules count, what they are bonded to, and which residues bind them.

A residue binds when one of its heavy atoms lies within a cutoff (4.5 Å, our choice) of a heavy atom of a ligand that counts
(:func:`~s2p.structure.arrays.binding_residues`). Which molecules of a crystal structure count is a convention, and this
module holds it: :func:`relevant_ligands` takes molecules that are large enough and none of :data:`ADDITIVES`, one residue at
a time. It is what evaluation, explorer and notebooks call a true ligand. :func:`ligand_sites`, which makes labels for
training, starts from the same molecules and looks at their bonds: those bonded to each other become one ligand, and a sugar
of a glycan on the protein is left out. Both give the same ligands in every structure of ``data/examples``. Pictures and
reports show all molecules, additives too.

Bonds are what the file says (LINK records, ``struct_conn`` of type covale) and what distances say: two non-metal atoms closer
than the sum of their covalent radii and a tolerance. Coordination of metals is not covalent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.config import LabelConfig, ReadConfig
from s2p.structure.arrays import Atoms, Ligand, Structure, binding_residues
from s2p.structure.files.formats import read_annotations, read_content
from s2p.structure.files.names import known_names
from s2p.structure.reading import read_molecules

__all__ = [
    "ADDITIVES",
    "BIOLOGICAL_IONS",
    "LABEL_COLUMNS",
    "Bond",
    "LigandReport",
    "LigandSite",
    "attachments",
    "connected",
    "file_bonds",
    "is_sugar",
    "label_row",
    "ligand_labels",
    "ligand_sites",
    "peptides",
    "relevant_ligands",
]

LABEL_COLUMNS = ("structure", "file", "chain", "ligand", "ligand_id", "residues")
"""Columns of a label table such as ``data/examples/labels.csv``."""

ADDITIVES = frozenset(known_names("additive"))
"""Residue names that are not taken as ligands of interest: what was added to make crystals, or is unidentified.

Our selection, in ``files/names.tsv``. The families are those of published conventions: P2Rank's default ``ignore_het_groups``
(all of them; water is dropped by the reader), the artifact list of BioLiP and the crystallisation aids of the AlphaFold 3
supplement, from which we take common buffers, salts, polyols, glycols, solvents, reducing agents and detergents. A few of them
are substrates of some enzyme (sucrose, citrate, glucose): pass ``exclude`` where that matters. Cofactors, cholesterol and fatty
acids that cells make are *not* excluded.
"""

BIOLOGICAL_IONS = frozenset({"CA", "CO", "CU", "CU1", "FE", "FE2", "K", "MG", "MN", "NA", "NI", "ZN"})
"""Single-atom ions that proteins bind for their function; taken only on request."""


Address = tuple[str, int, str]
"""Chain, number, insertion code."""
Bond = tuple[Address, Address]

_SHORTEST = 0.8
"""Å: atoms closer than this are alternatives of each other, not bonded."""


@dataclass(frozen=True, eq=False)
class LigandSite:
    """A ligand and the residues that bind it."""

    ligand: Ligand  # Of several bonded residues: all their atoms, with the name ``GAL-BGC`` and the number of the first.
    kind: str  # ``molecule``, ``ion``, ``peptide``, or ``covalent``: a molecule bonded to a residue of the protein.
    residues: NDArray[np.int32]  # (K,), 0-based, ascending.
    bonded_to: tuple[int, ...] = ()  # Residues the ligand is bonded to; they are among ``residues``.


@dataclass(frozen=True)
class LigandReport:
    """The sites of a structure, and sentences about what was decided on the way."""

    sites: tuple[LigandSite, ...]
    notes: tuple[str, ...]

    def labels(self, n: int) -> NDArray[np.bool_]:
        """(n,) which of ``n`` residues are in any site: the union."""
        return np.isin(np.arange(n), np.concatenate([np.empty(0), *(site.residues for site in self.sites)]))

    def by_chain(self, structure: Structure) -> Iterator[tuple[str, list[tuple[Ligand, NDArray[np.int_]]]]]:
        """Each chain with the ligands that touch it and their residues, 0-based in the chain."""
        for chain in structure.chains:
            own = np.flatnonzero(structure.residues.chain == chain)
            inside = [(site.ligand, np.flatnonzero(np.isin(own, site.residues))) for site in self.sites]
            yield chain, [(ligand, indices) for ligand, indices in inside if len(indices)]


def ligand_sites(
    structure: Structure,
    config: LabelConfig | None = None,
    *,
    include_ions: bool = False,
    include_peptides: bool = False,
    exclude: Iterable[str] = ADDITIVES,
    bonds: Iterable[Bond] = (),
) -> LigandReport:
    """The residues that bind each relevant ligand.

    Parameters
    ----------
    structure
        With its ligands.
    config
        Cutoff (Å), least size of a ligand, longest peptide, tolerance of a bond (Å).
    include_ions, include_peptides
        Count single-atom ions of :data:`BIOLOGICAL_IONS`, and short protein chains at longer ones, as ligands.
    exclude
        Residue names that are never taken.
    bonds
        What :func:`file_bonds` read from the file; bonds are also found by distance.

    Returns
    -------
    LigandReport
        Molecules and ions in file order, then peptides. Its notes name covalent ligands, sugars left out because they are bonded
        to the protein (glycosylation is a modification, not a ligand), and peptides, counted or not.
    """
    config = config or LabelConfig()
    notes: list[str] = []
    ids = structure.residues.ids()
    relevant = {id(ligand) for ligand in relevant_ligands(structure, config, include_ions=include_ions, exclude=exclude)}
    sites: list[LigandSite] = []
    for group in connected([x for x in structure.ligands if x.kind == "molecule" or id(x) in relevant], config, bonds):
        members = [ligand for ligand in group if id(ligand) in relevant]
        bonded = sorted({r for ligand in group for r in attachments(structure, ligand, config, bonds)}) if members else []
        partners = ", ".join(ids[r] for r in bonded)
        # The protein end of a glycan is NAG or the like, which is an additive and no member; so the whole group is looked at.
        if bonded and (sugars := [ligand for ligand in members if is_sugar(ligand.name)]):
            notes.append(f"{', '.join(x.id for x in sugars)}: left out, part of a glycan bonded to {partners}")
            members = [ligand for ligand in members if ligand not in sugars]
        if not members:
            continue
        whole = _merge(members)
        kind = "covalent" if bonded and whole.kind == "molecule" else whole.kind
        if kind == "covalent":
            notes.append(f"{whole.id}: covalent ligand, bonded to {partners}, which counts as binding")
        sites.append(LigandSite(whole, kind, binding_residues(structure, whole.coord, config.cutoff), tuple(bonded)))
    for peptide in peptides(structure, config):
        own = structure.residues.chain == peptide.chain
        verdict = "counted as a ligand" if include_peptides else "not counted as a ligand unless peptides are asked for"
        notes.append(f"chain {peptide.chain}: a peptide of {int(own.sum())} residues at the protein, {verdict}")
        if include_peptides:
            near = binding_residues(structure, peptide.coord, config.cutoff)
            sites.append(LigandSite(peptide, "peptide", near[~own[near]]))
    return LigandReport(tuple(sites), tuple(notes))


def peptides(structure: Structure, config: LabelConfig | None = None) -> list[Ligand]:
    """Short chains within the cutoff of a chain that is not short.

    Where every chain is short there are none: then the peptides are what the file is about.
    """
    config = config or LabelConfig()
    chain, count = np.unique(structure.residues.chain, return_counts=True)
    short = chain[count <= config.max_peptide_residues]
    owner = structure.residues.chain[structure.atoms.residue_index]
    protein = ~np.isin(owner, short)
    if not len(short) or not protein.any():
        return []
    distance, _ = cKDTree(structure.atoms.coord[protein]).query(structure.atoms.coord, distance_upper_bound=config.cutoff)
    found = []
    for name in (c for c in structure.chains if c in short and np.isfinite(distance[owner == c]).any()):
        atoms, first = structure.atoms.take(owner == name), structure.residues.take(structure.residues.chain == name)
        address = name, int(first.number[0]), str(first.insertion_code[0])
        found.append(Ligand("PEPTIDE", *address, atoms.coord, atoms.element, atoms.name, "peptide"))
    return found


def _merge(members: Sequence[Ligand]) -> Ligand:
    """Bonded residues as one ligand."""
    coord, element, atom = (np.concatenate([getattr(x, key) for x in members]) for key in ("coord", "element", "atom_name"))
    return replace(members[0], name="-".join(x.name for x in members), coord=coord, element=element, atom_name=atom)


def relevant_ligands(
    structure: Structure, config: LabelConfig | None = None, *, include_ions: bool = False, exclude: Iterable[str] = ADDITIVES
) -> list[Ligand]:
    """Ligands of interest of a structure: molecules that are large enough and no crystallisation additive.

    Parameters
    ----------
    structure
        Its ``ligands`` are filtered; nucleotides of a nucleic-acid chain are never taken.
    config
        ``min_ligand_atoms`` heavy atoms are needed.
    include_ions
        Take the ions of :data:`BIOLOGICAL_IONS` too, as the enhanced sc-PDB training set of Seq2Pocket does.
    exclude
        Residue names that are never taken.

    Returns
    -------
    list of Ligand
        In file order.
    """
    config = config or LabelConfig()
    excluded = frozenset(exclude)
    return [
        ligand
        for ligand in structure.ligands
        if ligand.name not in excluded
        and (
            (ligand.kind == "molecule" and len(ligand.coord) >= config.min_ligand_atoms)
            or (include_ions and ligand.kind == "ion" and ligand.name in BIOLOGICAL_IONS)
        )
    ]


def ligand_labels(structure: Structure, config: LabelConfig | None = None, *, include_ions: bool = False) -> NDArray[np.bool_]:
    """(N,) which residues bind any relevant ligand of the structure: the union of :func:`ligand_sites`."""
    return ligand_sites(structure, config, include_ions=include_ions).labels(len(structure.residues))


def label_row(structure: Structure, file: str, name: str, ligand_id: str, residues: NDArray[np.int32]) -> tuple[str, ...]:
    """A row of a label table, with the columns :data:`LABEL_COLUMNS`, for one ligand and the 0-based residues that bind it.

    ``chain`` holds the protein chains that touch the ligand, comma-separated; ``residues`` is ``A:45 A:46A …``.
    """
    ids = structure.residues.ids()
    chains = ",".join(dict.fromkeys(structure.residues.chain[residues].tolist()))
    return structure.name, file, chains, name, ligand_id, " ".join(ids[i] for i in residues.tolist())


def file_bonds(path: str | Path) -> frozenset[Bond]:
    """Pairs of residues that the file itself says are bonded covalently (both orders), by the ids that the reader gives them."""
    import gemmi

    content, config = read_content(Path(path), ReadConfig()), ReadConfig()
    bonds: set[Bond] = set()
    told = [
        [(p.chain_name, p.res_id.seqid.num, p.res_id.seqid.icode.strip()) for p in (connection.partner1, connection.partner2)]
        for connection in read_annotations(content, config).connections
        if connection.type == gemmi.ConnectionType.Covale and connection.asu != gemmi.Asu.Different
    ]
    if not told:
        return frozenset()
    found = read_molecules(content, config)
    columns = ("chain", "number", "insertion_code")
    written = zip(*(found.groups.column(key).tolist() for key in columns), strict=True)
    given = zip(*(getattr(found.ids, key).tolist() for key in columns), strict=True)
    names: dict[Address, list[tuple[int, Address]]] = {}
    for k, (address, new) in enumerate(zip(written, given, strict=True)):
        names.setdefault(address, []).append((k, new))
    for a, b in told:
        # Of several molecules under one address, those that are closest.
        pairs = [(found.groups.distance(i, j), x, y) for i, x in names.get(a, []) for j, y in names.get(b, [])]
        bonds |= {pair for distance, x, y in pairs if distance <= min(pairs)[0] + _SHORTEST for pair in ((x, y), (y, x))}
    return frozenset(bonds)


def attachments(structure: Structure, ligand: Ligand, config: LabelConfig | None = None, bonds: Iterable[Bond] = ()) -> list[int]:
    """Residues of the protein that a ligand is bonded to, 0-based and ascending."""
    own = (ligand.chain, ligand.number, ligand.insertion_code)
    partners = {f"{c}:{n}{i}" for a, (c, n, i) in bonds if a == own}
    named = {k for k, name in enumerate(structure.residues.ids()) if name in partners} if partners else set()
    _, other = _bonded(ligand, structure.atoms, config or LabelConfig())
    return sorted(named | set(structure.atoms.residue_index[other].tolist()))


def connected(ligands: Sequence[Ligand], config: LabelConfig | None = None, bonds: Iterable[Bond] = ()) -> list[list[Ligand]]:
    """Ligands in groups that hang together by bonds, in file order."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not ligands:
        return []
    owner = np.repeat(np.arange(len(ligands)), [len(x.coord) for x in ligands])
    everything = _merge(ligands)
    place = {(x.chain, x.number, x.insertion_code): k for k, x in enumerate(ligands)}
    told = np.array([(place[a], place[b]) for a, b in bonds if a in place and b in place], dtype=int).reshape(-1, 2)
    pairs = np.concatenate((owner[np.stack(_bonded(everything, everything, config or LabelConfig()), axis=1)], told))
    graph = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(ligands), len(ligands)))
    _, label = connected_components(graph, directed=False)
    groups: dict[int, list[Ligand]] = {}
    for ligand, k in zip(ligands, label.tolist(), strict=True):
        groups.setdefault(k, []).append(ligand)
    return list(groups.values())


@lru_cache(maxsize=1024)
def is_sugar(name: str) -> bool:
    """Whether gemmi's table of residues knows ``name`` as a saccharide."""
    import gemmi

    info = gemmi.find_tabulated_residue(name)
    return bool(info.found()) and info.kind in (gemmi.ResidueKind.PYR, gemmi.ResidueKind.KET)


@lru_cache(maxsize=256)
def _radius(symbol: str) -> float:
    """Covalent radius, Å; negative infinity for metals, whose bonds are not counted."""
    import gemmi

    element = gemmi.Element(symbol)
    return -np.inf if element.is_metal else float(element.covalent_r)


def _bonded(a: Ligand, b: Ligand | Atoms, config: LabelConfig) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Indices of the atoms of ``a`` and of ``b`` that are bonded."""
    # Longer than any bond between non-metals: I–I, 2.8 Å, and the tolerance.
    pairs = cKDTree(a.coord).sparse_distance_matrix(cKDTree(b.coord), 3.2, output_type="ndarray")
    i, j = pairs["i"], pairs["j"]
    first, second = (np.array(list(map(_radius, x.element.tolist()))) for x in (a, b))
    keep = (pairs["v"] >= _SHORTEST) & (pairs["v"] <= first[i] + second[j] + config.bond_tolerance)
    return i[keep], j[keep]
