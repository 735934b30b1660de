"""Binding residues from the ligands of a structure.

A residue binds when one of its heavy atoms lies within a cutoff (4.5 Å, our choice) of a heavy atom of a relevant ligand.
Which molecules of a crystal structure are relevant is a convention: see :data:`ADDITIVES`. Molecules bonded to each other are
one ligand; those bonded to the protein, sugars of a glycan and peptides are told apart (:mod:`s2p.structure.ligand_bonds`) and
said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from s2p.config import LabelConfig
from s2p.errors import StructureError
from s2p.structure.ligand_bonds import Bond, attachments, connected, file_bonds, is_sugar
from s2p.structure.reading import Atoms, Ligand, Structure, read_structure

__all__ = [
    "ADDITIVES",
    "BIOLOGICAL_IONS",
    "LABEL_COLUMNS",
    "LigandReport",
    "LigandSite",
    "binding_residues",
    "label_rows",
    "ligand_labels",
    "ligand_sites",
    "peptide_chains",
    "read_sdf_ligand",
    "read_sdf_molecule",
    "relevant_ligands",
]

LABEL_COLUMNS = ("structure", "file", "chain", "ligand", "ligand_id", "residues")
"""Columns of a label table such as ``data/examples/labels.csv``."""

_ADDITIVES = {
    "ignored by P2Rank": "ABA GLC GOL MAN MPD NAG PO4 SO4 UNK",
    "buffers": "ACT ACY B3P BCT BTB BO3 CAC CO3 CIT CXS EPE FLC FMT IMD MES MLA MLI MLT MOH MPO NHE TAR TLA TRS",
    "salts, small ions": "AZI CYN NH4 NO3 PI POP SCN SUL VO4 WO4",
    "polyols and cryoprotectants": "BU1 BU2 BU3 DIO EDO EGL MRD PDO PGO PGR SUC TRE XYL",
    "polyethylene glycols": "12P 15P 1PE 1PG 2PE 7PE C8E CE9 ETE M2M ME2 MXE P33 P3G P4C P6G PE3 PE4 PE5 PE6 PE7 PE8 PEG PEU PG0"
    " PG4 PG5 PG6 PGE PGF TOE XPE",
    "solvents": "ACN CCN DMF DMS EOH ETF IPA IPH MEE NMP POL TBU THF",
    "reducing agents": "BME DTD DTT DTU DTV HED TCE",
    "detergents and lipids of crystallisation": "BNG BOG DAO DDQ DMU HTG JEF LDA LMN LMT MC3 MYS OCT OLA OLB OLC PX4 SDS UND UMQ",
    "caps": "ACE NH2 NME",
    "unknown": "UNL UNX",
}

ADDITIVES = frozenset(code for codes in _ADDITIVES.values() for code in codes.split())
"""Residue names that are not taken as ligands of interest: what was added to make crystals, or is unidentified.

Our selection. The families are those of published conventions: P2Rank's default ``ignore_het_groups`` (all of them; water is
dropped by the reader), the artifact list of BioLiP and the crystallisation aids of the AlphaFold 3 supplement, from which we take
common buffers, salts, polyols, glycols, solvents, reducing agents and detergents. A few of them are substrates of some enzyme
(sucrose, citrate, glucose): pass ``exclude`` where that matters. Cofactors, cholesterol and fatty acids that cells make are *not*
excluded.
"""

BIOLOGICAL_IONS = frozenset({"CA", "CO", "CU", "CU1", "FE", "FE2", "K", "MG", "MN", "NA", "NI", "ZN"})
"""Single-atom ions that proteins bind for their function; taken only on request."""


@dataclass(frozen=True, eq=False)
class LigandSite:
    """A ligand and the residues that bind it."""

    ligand: Ligand
    """Of several bonded residues: all their atoms, with the name ``GAL-BGC`` and the number of the first."""
    kind: Literal["molecule", "covalent", "peptide", "ion"]
    """``covalent``: a molecule bonded to a residue of the protein."""
    residues: NDArray[np.int32]
    """(K,), 0-based, ascending."""
    bonded_to: tuple[int, ...] = ()
    """Residues the ligand is bonded to; they are among ``residues``."""


@dataclass(frozen=True)
class LigandReport:
    """The sites of a structure, and sentences about what was decided on the way."""

    sites: tuple[LigandSite, ...]
    notes: tuple[str, ...]

    def labels(self, n: int) -> NDArray[np.bool_]:
        """(n,) which of ``n`` residues are in any site: the union."""
        label = np.zeros(n, dtype=np.bool_)
        for site in self.sites:
            label[site.residues] = True
        return label


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
        What :func:`s2p.structure.ligand_bonds.file_bonds` read from the file; bonds are also found by distance.

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
        if not members:
            continue
        bonded = sorted({r for ligand in group for r in attachments(structure, ligand, config, bonds)})
        # The protein end of a glycan is NAG or the like, which is an additive and no member; so the whole group is looked at.
        sugars = [ligand for ligand in members if is_sugar(ligand.name)] if bonded else []
        if sugars:
            names = ", ".join(ligand.id for ligand in sugars)
            notes.append(f"{names}: left out, part of a glycan bonded to {', '.join(ids[r] for r in bonded)}")
            members = [ligand for ligand in members if not is_sugar(ligand.name)]
            if not members:
                continue
        whole = _merge(members)
        residues = binding_residues(structure, whole.coord, config.cutoff)
        kind: Literal["molecule", "covalent", "ion"] = "ion" if whole.kind == "ion" else "covalent" if bonded else "molecule"
        if kind == "covalent":
            notes.append(f"{whole.id}: covalent ligand, bonded to {', '.join(ids[r] for r in bonded)}, which counts as binding")
        sites.append(LigandSite(whole, kind, residues, tuple(bonded)))
    for chain, coord in peptide_chains(structure, config):
        own = structure.residues.chain == chain
        first = int(np.flatnonzero(own)[0])
        text = f"chain {chain}: a peptide of {int(own.sum())} residues at the protein, "
        notes.append(
            text + ("counted as a ligand" if include_peptides else "not counted as a ligand unless peptides are asked for")
        )
        if include_peptides:
            atoms = own[structure.atoms.residue_index]
            peptide = Ligand(
                "PEPTIDE",
                chain,
                int(structure.residues.number[first]),
                str(structure.residues.insertion_code[first]),
                coord,
                structure.atoms.element[atoms],
                structure.atoms.name[atoms],
                "peptide",
            )
            near = binding_residues(structure, coord, config.cutoff)
            sites.append(LigandSite(peptide, "peptide", near[~own[near]]))
    return LigandReport(tuple(sites), tuple(notes))


def peptide_chains(structure: Structure, config: LabelConfig | None = None) -> list[tuple[str, NDArray[np.float32]]]:
    """Chains that are peptide ligands, with their atoms: short ones within the cutoff of a chain that is not short.

    Returns
    -------
    list of (chain id, (L, 3) coordinates in Å)
        Empty if every chain is short: then the peptides are what the file is about.
    """
    config = config or LabelConfig()
    chain, count = np.unique(structure.residues.chain, return_counts=True)
    short = chain[count <= config.max_peptide_residues]
    owner = structure.residues.chain[structure.atoms.residue_index]
    protein = ~np.isin(owner, short)
    if not len(short) or not protein.any():
        return []
    tree = cKDTree(structure.atoms.coord[protein])
    found = []
    for name in (c for c in structure.chains if c in set(short.tolist())):
        coord = structure.atoms.coord[owner == name]
        if np.isfinite(tree.query(coord, distance_upper_bound=config.cutoff)[0]).any():
            found.append((name, coord))
    return found


def _merge(members: list[Ligand]) -> Ligand:
    """Bonded residues as one ligand."""
    first = members[0]
    if len(members) == 1:
        return first
    coord, element, atom_name = (np.concatenate([getattr(x, key) for x in members]) for key in ("coord", "element", "atom_name"))
    name = "-".join(x.name for x in members)
    return Ligand(name, first.chain, first.number, first.insertion_code, coord, element, atom_name, first.kind)


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


def binding_residues(
    structure: Structure | Atoms, ligand_coord: ArrayLike, cutoff: float = LabelConfig.cutoff
) -> NDArray[np.int32]:
    """Residues with a heavy atom within ``cutoff`` of a ligand heavy atom.

    Parameters
    ----------
    structure
        Or its ``atoms``.
    ligand_coord
        (L, 3) heavy-atom coordinates, Å.
    cutoff
        Å, inclusive.

    Returns
    -------
    (K,) int32
        0-based residue indices, ascending.
    """
    atoms = structure.atoms if isinstance(structure, Structure) else structure
    ligand = np.asarray(ligand_coord, dtype=np.float64).reshape(-1, 3)
    if not len(ligand) or not len(atoms):
        return np.empty(0, dtype=np.int32)
    distance, _ = cKDTree(ligand).query(atoms.coord.astype(np.float64), distance_upper_bound=np.nextafter(cutoff, np.inf))
    return np.unique(atoms.residue_index[distance <= cutoff]).astype(np.int32)


def ligand_labels(structure: Structure, config: LabelConfig | None = None, *, include_ions: bool = False) -> NDArray[np.bool_]:
    """(N,) which residues bind any relevant ligand of the structure: the union of :func:`ligand_sites`."""
    return ligand_sites(structure, config, include_ions=include_ions).labels(len(structure.residues))


def label_rows(path: str | Path, sdf: str | Path | None = None, config: LabelConfig | None = None) -> list[tuple[str, ...]]:
    """Rows of a label table for one file, one per ligand, with the columns :data:`LABEL_COLUMNS`.

    Parameters
    ----------
    path
        A structure file.
    sdf
        A ligand that was taken out of it; its row comes first and its ``ligand_id`` is the file's name.

    Returns
    -------
    list of tuple of str
        ``chain`` holds the protein chains that touch the ligand, comma-separated; ``residues`` is ``A:45 A:46A …``.
    """
    config = config or LabelConfig()
    structure = read_structure(path)
    found = [(x.ligand.name, x.ligand.id, x.residues) for x in ligand_sites(structure, config, bonds=file_bonds(path)).sites]
    if sdf is not None:
        coord, _ = read_sdf_ligand(sdf)
        with open(sdf, encoding="utf-8", errors="replace") as handle:
            title = handle.readline().strip()
        found.insert(0, (title or Path(sdf).stem, Path(sdf).name, binding_residues(structure, coord, config.cutoff)))
    ids = structure.residues.ids()
    rows: list[tuple[str, ...]] = []
    for name, ligand_id, residues in found:
        chains = ",".join(dict.fromkeys(structure.residues.chain[residues].tolist()))
        text = " ".join(ids[i] for i in residues.tolist())
        rows.append((structure.name, Path(path).name, chains, name, ligand_id, text))
    return rows


def read_sdf_ligand(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Heavy atoms of the first molecule of an SDF or MOL file (V2000 or V3000).

    Returns
    -------
    coord, element
        (L, 3) float32 Å and (L,) upper-case element symbols.

    Raises
    ------
    StructureError
        If the file is missing, no SDF, or has no heavy atom.
    """
    atoms = read_sdf_molecule(path)
    element = np.char.upper(np.asarray(atoms.element).astype(str))
    heavy = ~np.isin(element, ("H", "D"))
    return np.asarray(atoms.coord, dtype=np.float32)[heavy], element[heavy]


def read_sdf_molecule(path: str | Path) -> Any:
    """The first molecule of an SDF or MOL file as biotite's ``AtomArray``, bonds and hydrogens included.

    Raises
    ------
    StructureError
        As :func:`read_sdf_ligand`.
    """
    from biotite.structure.io.mol import MOLFile  # the first molecule of an SDF file is a MOL file

    path = Path(path)
    try:
        atoms = MOLFile.read(str(path)).get_structure()
    except FileNotFoundError:
        raise StructureError(f"{path}: no such file; give an SDF or MOL file with the ligand") from None
    except Exception as error:  # biotite raises InvalidFileError, ValueError, IndexError, KeyError by the kind of damage
        raise StructureError(f"{path}: cannot be read as an SDF or MOL file ({' '.join(str(error).split())[:200]})") from None
    if np.isin(np.char.upper(np.asarray(atoms.element).astype(str)), ("H", "D")).all():
        raise StructureError(f"{path}: the molecule has no heavy atom")
    return atoms
