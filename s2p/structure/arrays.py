"""Atoms in columns: the records of a file as they stand, and the protein structure that every stage works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from s2p.config import LabelConfig
from s2p.errors import StructureError

__all__ = [
    "AtomTable",
    "Atoms",
    "Columns",
    "Ligand",
    "Residues",
    "Structure",
    "binding_residues",
    "changes",
    "check_count",
    "codes",
    "joined",
]


@dataclass(frozen=True, eq=False)
class Columns:
    """A table: a dataclass of equally long arrays."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, rows: NDArray[Any]) -> Self:
        """The rows of a mask, or of indices."""
        return replace(self, **{key: value[rows] for key, value in vars(self).items() if isinstance(value, np.ndarray)})


@dataclass(frozen=True, eq=False)
class AtomTable(Columns):
    """n atom records, in file order, hydrogens and waters included."""

    coord: NDArray[np.float64]  # (n, 3) Å; NaN where the file gives no usable number.
    name: NDArray[np.str_]  # (n,) atom name without blanks.
    element: NDArray[np.str_]  # (n,) upper-case symbol; ``X`` where neither column nor name tells it.
    altloc: NDArray[np.str_]  # (n,) label of the conformer, ``""`` for none.
    residue_name: NDArray[np.str_]  # (n,) as written.
    chain: NDArray[np.str_]  # (n,) author chain id as written, ``""`` for none.
    number: NDArray[np.int32]  # (n,) author residue number.
    insertion_code: NDArray[np.str_]  # (n,) ``""`` for none.
    segment: NDArray[np.str_]  # (n,) segment id of a PDB file, ``""`` for none.
    occupancy: NDArray[np.float32]  # (n,) 1 where the file gives none.
    b_factor: NDArray[np.float32]  # (n,).
    het: NDArray[np.bool_]  # (n,) whether it is a HETATM record.
    model: NDArray[np.int32]  # (n,) model number as written, 1 without models.
    part: NDArray[np.int32]  # (n,) how many TER, END or block borders come before, counted through the file.
    block: NDArray[np.int32]
    """(n,) how many borders of another kind come before: END records (not ENDMDL) of a PDB file, data blocks of mmCIF."""
    label_chain: NDArray[np.str_]  # (n,) ``label_asym_id`` of mmCIF, ``""`` for none.
    label_number: NDArray[np.int32]  # (n,) ``label_seq_id`` of mmCIF, 0 for none.
    line: NDArray[np.int32]  # (n,) line (or row) of the file, from 1, for messages.
    notes: tuple[str, ...] = ()  # Sentences about what was unusual in the file.
    accessions: tuple[tuple[str, str], ...] = ()  # Author chains and UniProt accessions that the file gives them.


@dataclass(frozen=True, eq=False)
class Atoms(Columns):
    """Heavy atoms of the protein, in file order, A of them."""

    coord: NDArray[np.float32]  # (A, 3), Å.
    element: NDArray[np.str_]  # (A,), upper case.
    name: NDArray[np.str_]  # (A,), e.g. ``CA``.
    residue_index: NDArray[np.int32]  # (A,), index into :class:`Residues`, ascending.
    b_factor: NDArray[np.float32]  # (A,).


@dataclass(frozen=True, eq=False)
class Residues(Columns):
    """Amino-acid residues of the protein, N of them; identified outside by ``(chain, number, insertion_code)``."""

    chain: NDArray[np.str_]  # (N,), author chain id.
    number: NDArray[np.int32]  # (N,), author residue number.
    insertion_code: NDArray[np.str_]  # (N,), ``""`` where there is none.
    label_seq_id: NDArray[np.int32]  # (N,), position in the entity's sequence; 0 where the file gives none.
    name: NDArray[np.str_]  # (N,), residue name, e.g. ``MSE``.
    one_letter: NDArray[np.str_]  # (N,), parent letter for modified residues, ``X`` if there is none.
    ca_coord: NDArray[np.float32]  # (N, 3) Å, the CA, or the first heavy atom of a residue that lacks it.
    has_ca: NDArray[np.bool_]  # (N,).
    standard: NDArray[np.bool_]  # (N,), one of the twenty standard amino acids.

    def ids(self) -> list[str]:
        """``A:45``, ``A:46A`` ... for every residue, as residues are written in all outputs."""
        return [
            f"{c}:{n}{i}" for c, n, i in zip(self.chain.tolist(), self.number.tolist(), self.insertion_code.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Ligand:
    """Heavy atoms of one molecule (or ion, or modified nucleotide) that is neither protein nor water."""

    name: str
    chain: str
    number: int
    insertion_code: str
    coord: NDArray[np.float32]  # (L, 3), Å.
    element: NDArray[np.str_]  # (L,).
    atom_name: NDArray[np.str_]  # (L,).
    kind: str = "molecule"  # ``molecule``, ``ion`` (one atom) or ``nucleic`` (a nucleotide of a polymer).

    @property
    def id(self) -> str:
        """``NAME chain:number``."""
        return f"{self.name} {self.chain}:{self.number}{self.insertion_code}"


@dataclass(frozen=True, eq=False)
class Structure:
    """One model of a protein structure as arrays.

    Examples
    --------
    >>> import s2p
    >>> structure = s2p.read_structure("data/examples/4CUP.cif")
    >>> structure.residues.ids()[:2], structure.atoms.coord.shape, structure.sequence("A")[:5]
    (['A:1856', 'A:1857'], (924, 3), 'SMSVK')
    """

    name: str  # File stem or database id.
    atoms: Atoms
    residues: Residues
    ligands: tuple[Ligand, ...] = ()
    notes: tuple[str, ...] = ()  # Sentences about what was unusual in the file.
    uniprot: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Accessions of chains, if the file gives them (PDB: DBREF; mmCIF: ``struct_ref``); several for a chimera."""

    def __post_init__(self) -> None:
        """Outputs identify residues and ligands by their ids, so ids must be unique."""
        residues = self.residues
        place = codes(residues.chain, residues.number, residues.insertion_code)
        repeated = np.flatnonzero(np.bincount(place)[place] > 1) if len(place) else place
        names = [residues.ids()[k] for k in repeated[:1].tolist()]
        seen = Counter(ligand.id for ligand in self.ligands)
        names += [name for name, count in seen.items() if count > 1][:1]
        if names:
            raise StructureError(f"{self.name}: two residues or ligands are called {names[0]}; give each an id of its own")

    @property
    def chains(self) -> list[str]:
        """Author chain ids of the protein chains, in file order."""
        return list(dict.fromkeys(self.residues.chain.tolist()))

    def sequence(self, chain: str | None = None) -> str:
        """One-letter sequence of the observed residues of ``chain`` (default: of all, in order)."""
        letters = self.residues.one_letter
        return "".join(letters if chain is None else letters[self.residues.chain == chain])

    def select_chains(self, chains: Sequence[str]) -> Structure:
        """The same structure with only the protein chains ``chains`` (all ligands are kept).

        :class:`StructureError` if a chain is not in the structure.
        """
        if not chains:
            raise StructureError(f"{self.name}: no chain was asked for; the chains are {', '.join(map(repr, self.chains))}")
        for chain in chains:
            if chain not in self.chains:
                raise StructureError(
                    f"{self.name}: there is no protein chain {chain!r}; the chains are {', '.join(map(repr, self.chains))}"
                )
        keep = np.isin(self.residues.chain, list(chains))
        return self.part(np.flatnonzero(keep), np.flatnonzero(keep[self.atoms.residue_index]))

    def part(self, residues: NDArray[np.integer], atoms: NDArray[np.integer]) -> Structure:
        """The same structure with the residues and all their atoms of these ascending indices only (ligands all stay)."""
        kept = self.atoms.take(atoms)
        kept = replace(kept, residue_index=np.searchsorted(residues, kept.residue_index).astype(np.int32))
        return replace(self, atoms=kept, residues=self.residues.take(residues))

    def __repr__(self) -> str:
        return (
            f"Structure({self.name!r}: {len(self.residues)} residues and {len(self.atoms)} atoms in chains "
            f"{', '.join(self.chains)}; {len(self.ligands)} ligands)"
        )


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


def joined(tables: Sequence[AtomTable]) -> AtomTable:
    """Tables one after the other, each a part and a block of its own."""
    if len(tables) == 1:
        return tables[0]
    columns: dict[str, Any] = {}
    for key, first in vars(tables[0]).items():
        parts = [getattr(table, key) for table in tables]
        columns[key] = np.concatenate(parts) if isinstance(first, np.ndarray) else tuple(dict.fromkeys(sum(parts, ())))
    shift = np.repeat(np.arange(len(tables), dtype=np.int32), [len(t) for t in tables])
    columns["part"], columns["block"] = columns["part"] + shift, columns["block"] + shift
    return AtomTable(**columns)


def check_count(found: int, most: int, what: str, path: Path) -> None:
    """Raise ``StructureError`` for a file that would take too much memory or time."""
    if found > most:
        raise StructureError(
            f"{path}: contains {found} {what}; at most {most} are read, so split it or leave out what is not needed"
        )


def codes(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) a number for each row, from 0 and without gaps, the same where all columns are the same."""
    total = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        code = np.unique(_number(column), return_inverse=True)[1].reshape(-1)
        if code.any():
            total = np.unique(total * (int(code.max()) + 1) + code, return_inverse=True)[1].reshape(-1)
    return total


def changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) whether a row differs from the one before in any column; the first one does."""
    change = np.zeros(max(len(columns[0]) - 1, 0), dtype=bool)
    for column in columns:
        number = _number(column)
        change |= number[1:] != number[:-1]
    return np.concatenate((np.ones(min(len(columns[0]), 1), dtype=bool), change))


def _number(column: NDArray[Any]) -> NDArray[Any]:
    """Short strings as numbers, which sort and compare many times faster."""
    if column.dtype.kind != "U" or not len(column):
        return column
    width = column.dtype.itemsize // 4
    letters = np.ascontiguousarray(column).view(np.uint32).reshape(len(column), width)
    if width > 8 or letters.max() > 255:
        return column
    packed = np.zeros((len(column), 8), np.uint8)
    packed[:, :width] = letters
    return packed.view(np.int64).ravel()
