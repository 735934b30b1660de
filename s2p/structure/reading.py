"""Read a protein structure into flat arrays.

The rules, the same for every format (see :mod:`s2p.structure.formats` for the formats):

* polymer amino-acid residues are kept, modified ones included; waters are dropped; everything else is a ligand;
* per residue the conformer with the highest mean occupancy is kept (tie: the first), conformers are never mixed;
* hydrogens are dropped; residues keep the author's chain, number and insertion code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.arrays import Atoms, Ligand, Residues, Structure
from s2p.structure.formats import check_count, parse_file, reason

__all__ = ["SUFFIXES", "Atoms", "Ligand", "Residues", "Structure", "is_structure_file", "read_structure", "stem"]

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".bcif")
"""File name endings that are read, each also with ``.gz``."""

MAX_NAME = 200
"""Characters: NumPy keeps every name as long as the longest."""

STANDARD = frozenset("ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split())


def is_structure_file(path: Path) -> bool:
    """Whether there is a file whose name is that of a structure and not hidden."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()


def stem(path: str | Path) -> str:
    """File name without its structure suffix and ``.gz``: ``1abc.cif.gz`` -> ``1abc``."""
    name = Path(path).name
    for suffix in (".gz", *SUFFIXES):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            name = name[: -len(suffix)]
    return name


def read_structure(
    path: str | Path, *, chains: Sequence[str] | None = None, model: int | None = None, config: ReadConfig | None = None
) -> Structure:
    """Read a PDB, mmCIF or BinaryCIF file, plain or gzipped.

    Parameters
    ----------
    path
        The file; the format is told from the content, not the name.
    chains
        Author chain ids to keep; default all.
    model
        Model number as written in the file; default the first.

    Raises
    ------
    StructureError
        If the file is missing, damaged, no structure, or holds no protein, chain or model of that name.

    Examples
    --------
    >>> import s2p
    >>> structure = s2p.read_structure("data/examples/4CUP.cif")
    >>> len(structure.residues), structure.chains, structure.ligands[0].id
    (115, ['A'], 'ZYB A:2971')
    """
    path = Path(path)
    config = config or ReadConfig()
    structure = _from_gemmi(parse_file(path, config), stem(path), path, model, config)
    return structure if chains is None else structure.select_chains(chains)


def _from_gemmi(parsed: Any, name: str, path: Path, model_number: int | None, config: ReadConfig) -> Structure:
    """Apply the reading rules to a parsed file."""
    import gemmi

    if len(parsed) == 0:
        raise StructureError(f"{path}: no atoms found; it is not a PDB, mmCIF or BinaryCIF structure file")
    if model_number is None:
        model = parsed[0]
    else:
        found = [m for m in parsed if m.num == model_number]
        if not found:
            raise StructureError(f"{path}: there is no model {model_number}; it has {', '.join(str(m.num) for m in parsed)}")
        model = found[0]
    check_count(len(model), config.max_chain_parts, "pieces of chains", path)
    single = gemmi.Structure()
    single.add_model(model)
    single.entities = parsed.entities
    single.merge_chain_parts()  # ligands of a chain stand at the end of a PDB file
    single.setup_entities()
    rows = _rows(single, path)
    notes: list[str] = []
    everything = _atoms(single, rows, path, notes)
    return _structure(name, rows, everything, path, notes)


@lru_cache(maxsize=4096)
def _residue_facts(name: str) -> tuple[bool, bool, bool, str, bool]:
    """(amino acid, nucleotide, water, one letter of the parent or X, standard amino acid) of a residue name."""
    import gemmi

    info = gemmi.find_tabulated_residue(name)
    letter = info.one_letter_code.strip().upper() or "X"
    amino = info.is_amino_acid()
    return amino, info.is_nucleic_acid(), info.is_water(), letter if amino else "X", name in STANDARD


@dataclass(frozen=True, eq=False)
class _Rows:
    """Every residue of a file, waters and ligands included: R rows."""

    chain: NDArray[np.str_]
    number: NDArray[np.int32]
    numbered: NDArray[np.bool_]
    icode: NDArray[np.str_]
    name: NDArray[np.str_]
    label: NDArray[np.int32]
    """``label_seq_id`` of mmCIF, 0 without one."""
    is_polymer: NDArray[np.bool_]
    is_atom_record: NDArray[np.bool_]
    n_atoms: NDArray[np.int_]
    amino: NDArray[np.bool_]
    nucleic: NDArray[np.bool_]
    water: NDArray[np.bool_]
    letter: NDArray[np.str_]
    standard: NDArray[np.bool_]


def _rows(single: Any, path: Path) -> _Rows:
    """One row a residue: gemmi's flat arrays hold names of seven characters at most and lack ``label_seq_id``."""
    import gemmi

    polymer = gemmi.EntityType.Polymer
    rows = [
        (
            c.name,
            r.seqid.num,
            r.seqid.icode.strip(),
            r.name,
            r.label_seq or 0,
            r.entity_type == polymer,
            r.het_flag == "A",
            len(r),
        )
        for c in single[0]
        for r in c
    ]
    if not rows:
        raise StructureError(f"{path}: no atoms found; it is not a PDB, mmCIF or BinaryCIF structure file")
    columns = list(zip(*rows, strict=True))
    if (longest := max(len(text) for k in (0, 3) for text in columns[k])) > MAX_NAME:
        raise StructureError(f"{path}: has a chain or residue name of {longest} characters; it is damaged, or no structure")
    chain, icode, name = (np.array(columns[k], dtype=str) for k in (0, 2, 3))
    numbered = np.array([k is not None for k in columns[1]])
    number, label = np.array([k or 0 for k in columns[1]], np.int32), np.array(columns[4], np.int32)
    is_polymer, is_atom_record, n_atoms = np.array(columns[5]), np.array(columns[6]), np.array(columns[7])
    unique_names, code = np.unique(name, return_inverse=True)
    facts = (np.array(column)[code] for column in zip(*(_residue_facts(n) for n in unique_names.tolist()), strict=True))
    return _Rows(chain, number, numbered, icode, name, label, is_polymer, is_atom_record, n_atoms, *facts)


def _flat(single: Any, path: Path) -> Any:
    """gemmi's arrays of all atoms."""
    import gemmi

    try:
        return gemmi.FlatStructure(single)
    except RuntimeError:
        _shorten_names(single[0])
    try:
        return gemmi.FlatStructure(single)
    except RuntimeError as error:  # atom names of eight characters or more
        raise StructureError(f"{path}: cannot be read as a structure ({reason(error)})") from None


def _atoms(single: Any, rows: _Rows, path: Path, notes: list[str]) -> Atoms:
    """The heavy atoms that stay, of everything but waters; ``residue_index`` is their row. What is left out is noted."""
    flat = _flat(single, path)
    row = np.repeat(np.arange(len(rows.n_atoms)), rows.n_atoms)
    coord = np.asarray(flat.pos)
    atom_name = _text(flat.atom_names)
    element = np.char.upper(np.asarray(flat.element_names).astype(str))

    finite = (np.abs(coord) < 1e6).all(axis=1) & rows.numbered[row]  # not so for NaN
    coord = np.where(finite[:, None], coord, 0).astype(np.float32)
    if not finite.any():
        raise StructureError(f"{path}: none of its {len(finite)} atoms has usable coordinates and a residue number")
    if not finite.all():
        notes.append(f"{int((~finite).sum())} atoms without usable coordinates or residue number were left out")
    keep = finite & ~np.isin(element, ("H", "D")) & ~rows.water[row]
    chain, number, icode = rows.chain, rows.number, rows.icode
    group = np.cumsum(np.r_[True, (chain[1:] != chain[:-1]) | (number[1:] != number[:-1]) | (icode[1:] != icode[:-1])]) - 1
    keep[keep] = _one_conformer(row[keep], group[row[keep]], np.asarray(flat.altlocs)[keep], np.asarray(flat.occ)[keep])
    first_of_name = _first_of_each(row[keep], atom_name[keep])
    if not first_of_name.all():
        notes.append(f"{int((~first_of_name).sum())} atoms that come twice in a residue were left out")
    keep[keep] = first_of_name
    b_factor = np.asarray(flat.b_iso)[keep].astype(np.float32)
    if not np.isfinite(b_factor).all():
        notes.append(f"{int((~np.isfinite(b_factor)).sum())} atoms have a B-factor that is no number; it is taken as 0")
        b_factor[~np.isfinite(b_factor)] = 0
    return Atoms(coord[keep], element[keep], atom_name[keep], row[keep], b_factor)


def _structure(name: str, rows: _Rows, everything: Atoms, path: Path, notes: list[str]) -> Structure:
    """Tell the residues of the protein from the ligands, and number the protein's from 0."""
    row, coord, element, atom_name = everything.residue_index, everything.coord, everything.element, everything.name
    is_ca = (atom_name == "CA") & (element == "C")
    has_ca = np.zeros(len(rows.n_atoms), dtype=bool)
    has_ca[row[is_ca]] = True
    has_atoms = np.bincount(row, minlength=len(has_ca)) > 0
    # Standard amino acids in ATOM records count even where the file's own bookkeeping (TER, entities) is missing.
    protein = has_atoms & ~rows.nucleic & ((rows.is_polymer & (rows.amino | has_ca)) | (rows.is_atom_record & rows.standard))
    if not protein.any():
        held = "nucleic acid" if (rows.nucleic & has_atoms).any() else "no amino-acid residues, only other molecules or hydrogens"
        raise StructureError(f"{path}: no protein found in it ({held}); s2p predicts pockets of proteins")
    if not has_ca[protein].all():
        notes.append(f"{int((~has_ca[protein]).sum())} residues have no CA atom; their first heavy atom stands in")

    new_index = (np.cumsum(protein) - 1).astype(np.int32)
    own = protein[row]
    atoms = Atoms(coord[own], element[own], atom_name[own], new_index[row[own]], everything.b_factor[own])
    if len(atoms) == len(np.unique(atoms.residue_index)):
        notes.append("one atom per residue (CA-only model?): surface points and pockets are rough")
    first = np.searchsorted(atoms.residue_index, np.arange(int(protein.sum())))
    ca_coord = atoms.coord[first].copy()
    ca_coord[new_index[row[own & is_ca]]] = coord[own & is_ca]
    residues = Residues(
        rows.chain[protein],
        rows.number[protein],
        rows.icode[protein],
        rows.label[protein],
        rows.name[protein],
        rows.letter[protein],
        ca_coord,
        has_ca[protein],
        rows.standard[protein],
    )
    # Caps such as ACE belong to the polymer: neither residue nor ligand.
    other = has_atoms & ~protein & ~(rows.is_polymer & ~rows.nucleic)
    return Structure(name, atoms, residues, _ligands(np.flatnonzero(other), rows, everything), tuple(notes))


def _shorten_names(model: Any) -> None:
    """Drop names that gemmi's flat arrays refuse (8 bytes or more); they were read already."""
    for chain in model:
        if len(chain.name) > 7:
            chain.name = ""
        for residue in chain:
            if len(residue.subchain.encode()) > 7:
                residue.subchain = ""
            if len(residue.name.encode()) > 7:
                residue.name = ""


def _text(codes: Any) -> NDArray[np.str_]:
    """gemmi's (n, 8) zero-padded characters as strings."""
    array = np.ascontiguousarray(codes)
    text = array.view(f"S{array.shape[1]}").ravel()
    return text.astype(str) if array.view(np.uint8).max(initial=0) < 128 else np.char.decode(text, "utf-8")  # many times faster


def _one_conformer(
    row: NDArray[np.int_], group: NDArray[np.int_], altloc: NDArray[np.int8], occupancy: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Mask of the atoms that belong to the residue's best conformer, or to none in particular.

    ``group`` joins residues of one number: with micro-heterogeneity they are conformers of each other.
    """
    keep = np.ones(len(row), dtype=bool)
    alternative = np.flatnonzero((altloc != 0) & (altloc != 32))
    if not len(alternative):
        return keep
    conformer = row[alternative] * 256 + altloc[alternative].astype(np.int64)
    ids, first, inverse = np.unique(conformer, return_index=True, return_inverse=True)
    mean = np.round(np.bincount(inverse, weights=occupancy[alternative]) / np.bincount(inverse), 4)
    owner = group[alternative][first]
    order = np.lexsort((first, -mean, owner))
    best = order[np.r_[True, np.diff(owner[order]) != 0]]
    chosen = np.full(int(group.max()) + 1, -1, dtype=np.int64)
    chosen[owner[best]] = ids[best]
    keep[alternative] = conformer == chosen[group[alternative]]
    # Of several residues that share a number, only the one of the chosen conformer stays.
    named = chosen[group] >= 0
    all_alternative = np.zeros(int(row.max()) + 1, dtype=bool)
    all_alternative[row[alternative]] = True
    keep &= ~(named & all_alternative[row] & (row != chosen[group] // 256))
    return keep


def _first_of_each(row: NDArray[np.int_], name: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Mask of the first atom of each name in each residue: files with duplicated atoms exist."""
    code = np.unique(name, return_inverse=True)[1]
    keep = np.zeros(len(row), dtype=bool)
    keep[np.unique(row * (int(code.max(initial=0)) + 1) + code, return_index=True)[1]] = True
    return keep


def _ligands(which: NDArray[np.int_], rows: _Rows, atoms: Atoms) -> tuple[Ligand, ...]:
    """The rows ``which`` as ligands."""
    start, end = (np.searchsorted(atoms.residue_index, which, side=side) for side in ("left", "right"))
    nucleic = rows.nucleic & rows.is_polymer
    return tuple(
        Ligand(
            str(rows.name[k]),
            str(rows.chain[k]),
            int(rows.number[k]),
            str(rows.icode[k]),
            atoms.coord[a:b],
            atoms.element[a:b],
            atoms.name[a:b],
            "nucleic" if nucleic[k] else "ion" if b - a == 1 else "molecule",
        )
        for k, a, b in zip(which.tolist(), start.tolist(), end.tolist(), strict=True)
    )
