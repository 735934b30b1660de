"""Read a protein structure into flat arrays.

Every format becomes the same table of atom records (:mod:`s2p.structure.files.formats`), to which the same rules apply:

* waters and hydrogens are dropped; of each residue the conformer with the highest mean occupancy is kept (tie: the first),
  conformers are never mixed (:mod:`s2p.structure.grouping`);
* amino acids of a chain are protein, modified ones included; everything else is a ligand (:mod:`s2p.structure.polymer`);
* residues keep the author's chain, number and insertion code where these are unique (:mod:`s2p.structure.identity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.arrays import Atoms, AtomTable, Ligand, Residues, Structure, changes, codes
from s2p.structure.files.formats import Content, read_annotations, read_content, read_table
from s2p.structure.files.names import DUMMY, STANDARD, standard_names
from s2p.structure.grouping import Grouped, group_atoms
from s2p.structure.identity import Identities, identify
from s2p.structure.polymer import Kinds, classify

__all__ = [
    "SUFFIXES",
    "Atoms",
    "Ligand",
    "ModelChoice",
    "Residues",
    "Structure",
    "is_structure_file",
    "read_atoms",
    "read_molecules",
    "read_structure",
    "stem",
]

ModelChoice = int | Literal["all-chains"] | None
"""Number of a model as the file writes it; all of them as one structure; or the first, with those that complete it."""

LOST = 0.2
"""Largest share of atoms that may be left out as unreadable: what is left of a file with more of them is another protein."""

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".bcif", ".pdbqt", ".pqr")
"""File name endings that are read, each also with ``.gz``."""


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
    path: str | Path,
    *,
    chains: Sequence[str] | None = None,
    model: ModelChoice = None,
    assembly: int | None = None,
    config: ReadConfig | None = None,
) -> Structure:
    """Read a PDB, mmCIF or BinaryCIF file, plain or gzipped.

    Parameters
    ----------
    path
        The file; its format is recognised from the content, not from the name.
    chains
        Author chain ids to keep; default all.
    model
        Model number as written in the file, or ``"all-chains"`` for all models as one structure. Default: the first model, and
        models that contain other chains or copies of its chains at other places.
    assembly
        Number of a biological assembly that the file describes: its chains and their moved copies, each with its own id.

    Raises
    ------
    StructureError
        If the file is missing, damaged, no structure, or holds no protein, chain, model or assembly of that name.

    Examples
    --------
    >>> import s2p
    >>> structure = s2p.read_structure("data/examples/4CUP.cif")
    >>> len(structure.residues), structure.chains, structure.ligands[0].id
    (115, ['A'], 'ZYB A:2971')
    """
    path = Path(path)
    molecules = read_molecules(read_content(path, config or ReadConfig()), config or ReadConfig(), model, assembly)
    structure = _structure(stem(path), molecules, path)
    return structure if chains is None else structure.select_chains(chains)


@dataclass(frozen=True, eq=False)
class Molecules:
    """A file after the rules."""

    table: AtomTable  # All atoms of the models that were chosen.
    groups: Grouped  # Residues; their atoms' ``line`` is the row in ``table``.
    kinds: Kinds
    ids: Identities
    notes: tuple[str, ...]


def read_molecules(content: Content, config: ReadConfig, model: ModelChoice = None, assembly: int | None = None) -> Molecules:
    """Apply the rules to a file."""
    path, table = content.path, read_table(content, config)
    notes = list(table.notes)
    if model is not None or assembly is not None or (table.model != table.model[0]).any():
        from s2p.structure.models import build_assembly, choose_models

        if assembly is None:
            table = choose_models(table, model, path, notes)
        else:
            table = choose_models(table, int(table.model[0]) if model is None else model, path, [])
            table = build_assembly(table, assembly, read_annotations(content, config), config, path)
    finite = np.asarray((np.abs(table.coord) < 1e6).all(axis=1))  # not so for NaN
    if n_lost := int((~finite).sum()):
        if n_lost > LOST * len(finite):
            raise StructureError(
                f"{path}: {n_lost} of its {len(finite)} atoms have no usable coordinates or residue number (the first in line "
                f"or row {int(table.line[np.argmin(finite)])}); write the structure again, as mmCIF or with numbers that fit"
            )
        notes.append(f"{n_lost} atoms without usable coordinates or residue number were left out")
    if len(table) >= 10 and not np.ptp(table.coord[finite], axis=0).any():
        raise StructureError(f"{path}: all its {len(table)} atoms are at one point; write the structure again, with coordinates")
    residue_name, name = standard_names(table.residue_name, table.name, table.element)
    place = np.cumsum(changes(table.chain, table.number, table.insertion_code, table.residue_name))
    second = (name == "O") & (table.name != "O") & np.isin(place, place[table.name == "O"])
    name = np.where(second, table.name, name)  # of O and O1, the second is not the O
    row = np.arange(len(table), dtype=np.int32)
    heavy = finite & ~np.isin(table.element, ("H", "D", DUMMY)) & (residue_name != "HOH")
    if not heavy.any():
        raise _no_protein(path)
    named = replace(table, name=name, residue_name=residue_name, line=row)
    groups = group_atoms(named.take(heavy), _first_line(table.chain, row)[heavy], notes)
    kinds = classify(groups)
    ids = identify(groups, kinds, set(table.chain.tolist()), notes)
    return Molecules(table, groups, kinds, ids, tuple(notes))


def _no_protein(path: Path, held: str = "") -> StructureError:
    held = held or "no amino-acid residues, only other molecules or hydrogens"
    return StructureError(f"{path}: no protein found in it ({held}); s2p predicts pockets of proteins")


def read_atoms(content: Content, config: ReadConfig) -> tuple[AtomTable, NDArray[np.int64]]:
    """All atoms of the default model, waters, hydrogens and other conformers included, under the ids of :func:`read_structure`.

    Beside the table the (n,) index of the protein's residue that an atom belongs to, -1 for none.
    """
    found = read_molecules(content, config)
    table, groups, ids = found.table, found.groups, found.ids
    n = len(table)
    keys = ("model", "block", "label_chain", "chain", "number", "insertion_code", "residue_name")
    run = np.cumsum(changes(*(getattr(table, key) for key in keys)))
    owner = np.full(n, -1)
    owner[groups.atoms.line] = groups.row
    for step in (slice(None), slice(None, None, -1)):  # atoms that were dropped stand with those of their residue that were not
        known, own = owner[step], run[step]
        last = np.maximum.accumulate(np.where(known >= 0, np.arange(n), -1))
        owner[step] = np.where((known < 0) & (last >= 0) & (own == own[last]), known[last], known)
    given = owner >= 0
    columns = {
        key: np.where(given, getattr(ids, key)[owner], getattr(table, key)) for key in ("chain", "number", "insertion_code")
    }
    order = _order(found)
    index = np.full(len(groups.start) + 1, -1)
    index[order[found.kinds.protein[order]]] = np.arange(int(found.kinds.protein[order].sum()))
    keep = ~given | ids.keep[owner]
    return replace(table, **columns, notes=found.notes).take(keep), index[owner][keep]


def _first_line(chain: NDArray[np.str_], line: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n,) where each row's chain starts in the file."""
    code = codes(chain)
    first = np.full(int(code.max(initial=0)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, code, line)
    return first[code]


def _order(found: Molecules) -> NDArray[np.int64]:
    """Residues and ligands that stay, chain by chain as these start in the file."""
    groups, ids = found.groups, found.ids
    order = np.argsort(_first_line(ids.chain, groups.column("line")), kind="stable")
    return order[(ids.keep & ~found.kinds.part)[order]]


def _structure(name: str, molecules: Molecules, path: Path) -> Structure:
    """The protein and the ligands as arrays; the protein's residues are numbered from 0."""
    groups, kinds, ids, notes = molecules.groups, molecules.kinds, molecules.ids, list(molecules.notes)
    if not (kinds.protein & ids.keep).any():
        raise _no_protein(path, "nucleic acid" if kinds.nucleic.any() else "")
    order = _order(molecules)
    groups, kinds, ids = groups.take(order), kinds.take(order), ids.take(order)
    table, row, protein = groups.atoms, groups.row, kinds.protein
    coord, b_factor = table.coord.astype(np.float32), table.b_factor.astype(np.float32)
    if not np.isfinite(b_factor).all():
        notes.append(f"{int((~np.isfinite(b_factor)).sum())} atoms have a B-factor that is not a number; 0 is used instead")
        b_factor[~np.isfinite(b_factor)] = 0
    ca = groups.of_name("CA", element="C")
    has_ca = ca[protein] >= 0
    if not has_ca.all():
        notes.append(f"{int((~has_ca).sum())} residues have no CA atom; their first heavy atom is used instead")
    own = protein[row]
    index = (np.cumsum(protein) - 1).astype(np.int32)[row[own]]
    if len(index) == protein.sum():
        notes.append("one atom per residue (CA-only model?): surface points and pockets are rough")
    residue_name = groups.column("residue_name")
    residues = Residues(
        ids.chain[protein],
        ids.number[protein],
        ids.insertion_code[protein],
        groups.column("label_number")[protein],
        residue_name[protein],
        kinds.letter[protein],
        coord[np.where(ca >= 0, ca, groups.start)[protein]],
        has_ca,
        np.isin(residue_name[protein], list(STANDARD)),
    )
    ligands = []
    for k in np.flatnonzero(~protein).tolist():
        its = slice(groups.start[k], groups.start[k] + groups.sizes[k])
        kind = "nucleic" if kinds.nucleic[k] else "ion" if groups.sizes[k] == 1 else "molecule"
        address = str(residue_name[k]), str(ids.chain[k]), int(ids.number[k]), str(ids.insertion_code[k])
        ligands.append(Ligand(*address, coord[its], table.element[its], table.name[its], kind))
    atoms = Atoms(coord[own], table.element[own], table.name[own], index, b_factor[own])
    told: dict[str, tuple[str, ...]] = {}
    for chain, accession in table.accessions:
        told[chain] = (*told.get(chain, ()), accession)
    written = zip(ids.chain[protein].tolist(), groups.column("chain")[protein].tolist(), strict=True) if told else ()
    uniprot = {chain: told[old] for chain, old in dict.fromkeys(written) if old in told}
    return Structure(name, atoms, residues, tuple(ligands), tuple(notes), uniprot)
