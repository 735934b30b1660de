"""Read a protein structure into flat arrays.

PDB and mmCIF are parsed by gemmi; BinaryCIF is decoded by biotite and handed to gemmi as the same mmCIF tables, so the
rules below hold for all three:

* polymer amino-acid residues are kept, modified ones included; waters are dropped; everything else is a ligand;
* per residue the conformer with the highest mean occupancy is kept (tie: the first), conformers are never mixed;
* hydrogens are dropped; residues keep the author's chain, number and insertion code.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import StructureError

__all__ = ["SUFFIXES", "Atoms", "Ligand", "Residues", "Structure", "read_structure", "stem"]

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".bcif")
"""File name endings that are read, each also with ``.gz``."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """Heavy atoms of the protein, in file order, A of them."""

    coord: NDArray[np.float32]
    """(A, 3), Å."""
    element: NDArray[np.str_]
    """(A,), upper case."""
    name: NDArray[np.str_]
    """(A,), e.g. ``CA``."""
    residue_index: NDArray[np.int32]
    """(A,), index into :class:`Residues`, ascending."""
    b_factor: NDArray[np.float32]
    """(A,)."""

    def __len__(self) -> int:
        return len(self.coord)


@dataclass(frozen=True, eq=False)
class Residues:
    """Amino-acid residues of the protein, N of them; identified outside by ``(chain, number, insertion_code)``."""

    chain: NDArray[np.str_]
    """(N,), author chain id."""
    number: NDArray[np.int32]
    """(N,), author residue number."""
    insertion_code: NDArray[np.str_]
    """(N,), ``""`` where there is none."""
    label_seq_id: NDArray[np.int32]
    """(N,), position in the entity's sequence; 0 where the file gives none."""
    name: NDArray[np.str_]
    """(N,), residue name, e.g. ``MSE``."""
    one_letter: NDArray[np.str_]
    """(N,), parent letter for modified residues, ``X`` if there is none."""
    ca_coord: NDArray[np.float32]
    """(N, 3) Å, the CA, or the first heavy atom of a residue that lacks it."""
    has_ca: NDArray[np.bool_]
    """(N,)."""
    standard: NDArray[np.bool_]
    """(N,), one of the twenty standard amino acids."""

    def __len__(self) -> int:
        return len(self.chain)

    def ids(self) -> list[str]:
        """``A:45``, ``A:46A`` ... for every residue: how residues are written at every border."""
        return [
            f"{c}:{n}{i}" for c, n, i in zip(self.chain.tolist(), self.number.tolist(), self.insertion_code.tolist(), strict=True)
        ]


_Table = TypeVar("_Table", Atoms, Residues)


@dataclass(frozen=True, eq=False)
class Ligand:
    """Heavy atoms of one molecule (or ion, or modified nucleotide) that is neither protein nor water."""

    name: str
    chain: str
    number: int
    insertion_code: str
    coord: NDArray[np.float32]
    """(L, 3), Å."""
    element: NDArray[np.str_]
    """(L,)."""
    atom_name: NDArray[np.str_]
    """(L,)."""
    kind: str = "molecule"
    """``molecule``, ``ion`` (one atom) or ``nucleic`` (a nucleotide of a polymer)."""

    @property
    def id(self) -> str:
        """``NAME chain:number``."""
        return f"{self.name} {self.chain}:{self.number}{self.insertion_code}"


@dataclass(frozen=True, eq=False)
class Structure:
    """One model of a protein structure as arrays."""

    name: str
    """File stem or database id."""
    atoms: Atoms
    residues: Residues
    ligands: tuple[Ligand, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about what was unusual in the file."""

    @property
    def chains(self) -> list[str]:
        """Author chain ids that hold protein, in file order."""
        return list(dict.fromkeys(self.residues.chain.tolist()))

    @property
    def plddt(self) -> NDArray[np.float32]:
        """(N,) mean B-factor per residue, which is pLDDT in AlphaFold models."""
        count = np.bincount(self.atoms.residue_index, minlength=len(self.residues))
        total = np.bincount(self.atoms.residue_index, weights=self.atoms.b_factor, minlength=len(self.residues))
        return (total / np.maximum(count, 1)).astype(np.float32)

    def sequence(self, chain: str | None = None) -> str:
        """One-letter sequence of the observed residues of ``chain`` (default: of all, in order)."""
        letters = self.residues.one_letter
        return "".join(letters if chain is None else letters[self.residues.chain == chain])

    def select_chains(self, chains: Sequence[str]) -> Structure:
        """The same structure with the protein of ``chains`` only (ligands all stay).

        Raises
        ------
        StructureError
            If a chain is not in the structure.
        """
        for chain in chains:
            if chain not in self.chains:
                raise StructureError(
                    f"{self.name}: there is no protein chain {chain!r}; the chains are {', '.join(map(repr, self.chains))}"
                )
        keep = np.isin(self.residues.chain, list(chains))
        new_index = np.cumsum(keep, dtype=np.int32) - 1
        atoms = _take(self.atoms, keep[self.atoms.residue_index])
        atoms = replace(atoms, residue_index=new_index[atoms.residue_index].astype(np.int32))
        return replace(self, atoms=atoms, residues=_take(self.residues, keep))

    def __repr__(self) -> str:
        return (
            f"Structure({self.name!r}: {len(self.residues)} residues and {len(self.atoms)} atoms in chains "
            f"{', '.join(self.chains)}; {len(self.ligands)} ligands)"
        )


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
    """
    path = Path(path)
    data = _read_bytes(path, config or ReadConfig())
    structure = _from_gemmi(_parse(data, path), stem(path), path, model)
    return structure if chains is None else structure.select_chains(chains)


def _read_bytes(path: Path, config: ReadConfig) -> bytes:
    """The file's content, decompressed, or a sentence about why not."""
    if path.is_dir():
        raise StructureError(f"{path} is a folder, not a structure file")
    try:
        with open(path, "rb") as handle:
            zipped = handle.read(2) == b"\x1f\x8b"
            handle.seek(0)
            stream: Any = gzip.GzipFile(fileobj=handle) if zipped else handle
            data: bytes = stream.read(config.max_bytes + 1)
    except FileNotFoundError:
        raise StructureError(f"{path}: no such file; give a structure file, a folder, a PDB id or a UniProt accession") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StructureError(f"{path}: damaged gzip file ({error}); download it again") from None
    except OSError as error:
        raise StructureError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > config.max_bytes:
        raise StructureError(f"{path}: larger than {config.max_bytes >> 20} MiB when decompressed; not read")
    if not data.strip():
        raise StructureError(f"{path}: the file is empty")
    return data


def _parse(data: bytes, path: Path) -> Any:
    """A ``gemmi.Structure`` from the file's bytes."""
    import gemmi

    data = data.removeprefix(b"\xef\xbb\xbf")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode()
    if not _name_promises_text(path) and data[:1] >= b"\x80":
        return _parse_binary_cif(data, path)
    try:
        if _looks_like_cif(data):
            structure = _structure_of_block(_atom_block(gemmi.cif.read_string(data), path))
        else:
            structure = _parse_pdb(data)
    except StructureError:
        raise
    except Exception as error:  # gemmi raises RuntimeError, ValueError, IndexError by the kind of damage
        reason = " ".join(str(error).split())[:200]
        raise StructureError(f"{path}: cannot be read as a structure ({reason})") from None
    return structure


def _parse_pdb(data: bytes) -> Any:
    import gemmi

    try:
        return gemmi.read_pdb_string(data)
    except (RuntimeError, ValueError):
        # Files from before 1996 carry the entry id and a line number in columns 73-80, where element and charge are now.
        return gemmi.read_pdb_string(data, max_line_length=72)


def _name_promises_text(path: Path) -> bool:
    """Whether the name promises a text format, so that non-ASCII bytes are no sign of BinaryCIF."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((".pdb", ".ent", ".cif", ".mmcif"))


def _looks_like_cif(data: bytes) -> bool:
    """CIF starts, after comments and blank lines, with ``data_``."""
    for line in data[:65536].splitlines():
        line = line.strip()
        if line and not line.startswith(b"#"):
            return line[:5].lower() == b"data_"
    return False


def _atom_block(document: Any, path: Path) -> Any:
    for block in document:
        if len(block.find_values("_atom_site.Cartn_x")):
            return block
    raise StructureError(f"{path}: the CIF file has no atom coordinates (_atom_site); it is not a structure")


def _structure_of_block(block: Any) -> Any:
    """A ``gemmi.Structure`` from an mmCIF block; columns that gemmi insists on but programs leave out are filled in."""
    import gemmi

    sites = block.find_mmcif_category("_atom_site.")
    n_atoms = len(sites)
    given = {tag.removeprefix("_atom_site.").lower() for tag in sites.tags}
    names = block.find_values("_atom_site.auth_atom_id") or block.find_values("_atom_site.label_atom_id")
    fill = {
        "id": lambda: [str(i) for i in range(1, n_atoms + 1)],
        "type_symbol": lambda: [gemmi.cif.as_string(name).lstrip("0123456789")[:1] or "X" for name in names],
        "label_alt_id": lambda: ["."] * n_atoms,
        "label_asym_id": lambda: list(block.find_values("_atom_site.auth_asym_id")) or ["A"] * n_atoms,
    }
    missing = {tag: make() for tag, make in fill.items() if tag not in given}
    if missing and n_atoms:
        sites.loop.add_columns([f"_atom_site.{tag}" for tag in missing], ".")
        for tag, values in missing.items():
            column = block.find_values(f"_atom_site.{tag}")
            for i, value in enumerate(values):
                column[i] = value
    return gemmi.make_structure_from_block(block)


def _parse_binary_cif(data: bytes, path: Path) -> Any:
    """Decode BinaryCIF with biotite and hand gemmi the categories it needs."""
    import gemmi
    from biotite.structure.io.pdbx import BinaryCIFFile

    try:
        source = BinaryCIFFile.read(io.BytesIO(data))
        blocks = [source[name] for name in source if "atom_site" in source[name]]
        if not blocks:
            raise StructureError(f"{path}: the BinaryCIF file has no atom coordinates; it is not a structure")
        block = gemmi.cif.Document().add_new_block("bcif")
        for category in ("atom_site", "entity", "entity_poly", "struct_asym"):
            if category in blocks[0]:
                columns = {}
                for name, column in blocks[0][category].items():
                    values = column.as_array(str, masked_value="?").astype(object)
                    values[(values == "?") | (values == ".")] = None  # as text they would be quoted, that is, literal
                    columns[name] = values.tolist()
                block.set_mmcif_category(f"_{category}.", columns)
        return _structure_of_block(block)
    except StructureError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise StructureError(f"{path}: cannot be read as BinaryCIF ({reason})") from None


def _from_gemmi(parsed: Any, name: str, path: Path, model_number: int | None) -> Structure:
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
    single = gemmi.Structure()
    single.add_model(model)
    single.entities = parsed.entities
    single.merge_chain_parts()  # ligands of a chain stand at the end of a PDB file
    single.setup_entities()
    return _build(single, name, path)


@lru_cache(maxsize=4096)
def _residue_facts(name: str) -> tuple[bool, bool, bool, str, bool]:
    """(amino acid, nucleotide, water, one letter of the parent or X, standard amino acid) of a residue name."""
    import gemmi

    info = gemmi.find_tabulated_residue(name)
    letter = info.one_letter_code.strip().upper() or "X"
    amino = info.is_amino_acid()
    return amino, info.is_nucleic_acid(), info.is_water(), letter if amino else "X", name in STANDARD


STANDARD = frozenset("ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split())


def _build(single: Any, name: str, path: Path) -> Structure:
    """Turn a one-model ``gemmi.Structure`` with entities into a :class:`Structure`."""
    import gemmi

    polymer = gemmi.EntityType.Polymer
    # One tuple a residue: gemmi's flat arrays hold names of seven characters at most and lack label_seq_id.
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
    chain, icode, resname = (np.array(columns[k], dtype=str) for k in (0, 2, 3))
    number, label = (np.array(columns[k], dtype=np.int32) for k in (1, 4))
    is_polymer, is_atom_record, n_atoms = np.array(columns[5]), np.array(columns[6]), np.array(columns[7])

    try:
        flat = gemmi.FlatStructure(single)
    except RuntimeError:
        _shorten_names(single[0])
        try:
            flat = gemmi.FlatStructure(single)
        except RuntimeError as error:  # atom names of eight characters or more
            raise StructureError(f"{path}: cannot be read as a structure ({error})") from None
    row = np.repeat(np.arange(len(rows)), n_atoms)
    coord = np.asarray(flat.pos).astype(np.float32)
    atom_name = _text(flat.atom_names)
    element = np.char.upper(np.asarray(flat.element_names).astype(str))
    notes: list[str] = []

    finite = np.isfinite(coord).all(axis=1) & (np.abs(coord) < 1e6).all(axis=1)
    if not finite.all():
        notes.append(f"{int((~finite).sum())} atoms without usable coordinates were left out")
    unique_names, name_code = np.unique(resname, return_inverse=True)
    amino, nucleic, water, letter, standard = (
        np.array(column)[name_code] for column in zip(*(_residue_facts(n) for n in unique_names.tolist()), strict=True)
    )
    keep = finite & ~np.isin(element, ("H", "D")) & ~water[row]
    group = np.cumsum(np.r_[True, (chain[1:] != chain[:-1]) | (number[1:] != number[:-1]) | (icode[1:] != icode[:-1])]) - 1
    keep[keep] = _one_conformer(row[keep], group[row[keep]], np.asarray(flat.altlocs)[keep], np.asarray(flat.occ)[keep])
    keep[keep] = _first_of_each(row[keep], atom_name[keep])
    row, coord, atom_name, element = row[keep], coord[keep], atom_name[keep], element[keep]
    b_factor = np.asarray(flat.b_iso)[keep].astype(np.float32)

    is_ca = (atom_name == "CA") & (element == "C")
    has_ca = np.zeros(len(rows), dtype=bool)
    has_ca[row[is_ca]] = True
    has_atoms = np.bincount(row, minlength=len(rows)) > 0
    # Standard amino acids in ATOM records count even where the file's own bookkeeping (TER, entities) is missing.
    protein = has_atoms & ~nucleic & ((is_polymer & (amino | has_ca)) | (is_atom_record & standard))
    if not protein.any():
        held = "nucleic acid" if (nucleic & has_atoms).any() else "no amino-acid residues, only other molecules or hydrogens"
        raise StructureError(f"{path}: no protein found in it ({held}); s2p predicts pockets of proteins")
    if not has_ca[protein].all():
        notes.append(f"{int((~has_ca[protein]).sum())} residues have no CA atom; their first heavy atom stands in")

    new_index = (np.cumsum(protein) - 1).astype(np.int32)
    own = protein[row]
    atoms = Atoms(coord[own], element[own], atom_name[own], new_index[row[own]], b_factor[own])
    if len(atoms) == len(np.unique(atoms.residue_index)):
        notes.append("one atom per residue (CA-only model?): surface points and pockets are rough")
    first = np.searchsorted(atoms.residue_index, np.arange(int(protein.sum())))
    ca_coord = atoms.coord[first].copy()
    ca_coord[new_index[row[own & is_ca]]] = coord[own & is_ca]
    residues = Residues(
        chain[protein],
        number[protein],
        icode[protein],
        label[protein],
        resname[protein],
        letter[protein],
        ca_coord,
        has_ca[protein],
        standard[protein],
    )
    other = has_atoms & ~protein & ~(is_polymer & ~nucleic)  # caps such as ACE belong to the polymer: neither residue nor ligand
    ligands = _ligands(np.flatnonzero(other), row, chain, number, icode, resname, nucleic & is_polymer, coord, element, atom_name)
    return Structure(name, atoms, residues, ligands, tuple(notes))


def _shorten_names(model: Any) -> None:
    """Drop names that gemmi's flat arrays refuse (8 characters or more); they were read already."""
    for chain in model:
        if len(chain.name) > 7:
            chain.name = ""
        for residue in chain:
            if len(residue.subchain) > 7:
                residue.subchain = ""
            if len(residue.name) > 7:
                residue.name = ""


def _text(codes: Any) -> NDArray[np.str_]:
    """gemmi's (n, 8) zero-padded characters as strings."""
    array = np.ascontiguousarray(codes)
    return array.view(f"S{array.shape[1]}").ravel().astype(str)


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


def _ligands(
    which: NDArray[np.int_],
    row: NDArray[np.int_],
    chain: NDArray[np.str_],
    number: NDArray[np.int32],
    icode: NDArray[np.str_],
    resname: NDArray[np.str_],
    nucleic: NDArray[np.bool_],
    coord: NDArray[np.float32],
    element: NDArray[np.str_],
    atom_name: NDArray[np.str_],
) -> tuple[Ligand, ...]:
    start, end = np.searchsorted(row, which), np.searchsorted(row, which, side="right")
    return tuple(
        Ligand(
            str(resname[k]),
            str(chain[k]),
            int(number[k]),
            str(icode[k]),
            coord[a:b],
            element[a:b],
            atom_name[a:b],
            "nucleic" if nucleic[k] else "ion" if b - a == 1 else "molecule",
        )
        for k, a, b in zip(which.tolist(), start.tolist(), end.tolist(), strict=True)
    )


def _take(table: _Table, mask: NDArray[np.bool_]) -> _Table:
    """Rows of a dataclass of equally long arrays."""
    columns: dict[str, Any] = {key: value[mask] for key, value in vars(table).items()}
    return type(table)(**columns)
