"""Bytes of a PDB, mmCIF or BinaryCIF file to a ``gemmi.Structure``, or a sentence about what is wrong with them.

PDB and mmCIF are parsed by gemmi; BinaryCIF is decoded by biotite and handed to gemmi as the same mmCIF tables. A ligand on
its own comes as an SDF or MOL file, which biotite reads.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import StructureError

__all__ = ["check_count", "parse_file", "read_sdf_ligand", "read_sdf_molecule", "reason"]

_ATOM_RECORD = re.compile(rb"^(?:ATOM|HETATM)", re.IGNORECASE | re.MULTILINE)
_UNUSED_RECORD = re.compile(rb"^(?:ANISOU|SIGATM|SIGUIJ)[^\n]*\n", re.MULTILINE)
"""gemmi refuses a file for an ANISOU record out of place, and s2p uses none."""
_BAD_NUMBER = re.compile(rb"^((?:ATOM  |HETATM)[^\n]{16}(?=[^\n]{0,3}[^ \w\n-]|    )[^\n]{8})[^\n]{24}", re.MULTILINE)
_BAD_COORDINATE = re.compile(
    rb"^((?:ATOM  |HETATM)[^\n]{24})(?=[^\n]{0,23}[^ \d.eE+\n-]|(?:[^\n]{8}){0,2} {8})[^\n]{24}", re.MULTILINE
)
"""Records whose residue number or a coordinate is blank, ``****`` or otherwise no number, which gemmi reads as 0."""
_PIECE = 1 << 22


def parse_file(path: Path, config: ReadConfig) -> Any:
    """The file as a ``gemmi.Structure``; the format is told from the content.

    Raises
    ------
    StructureError
        If the file is missing, damaged, too large, or no structure.
    """
    data = _read_bytes(path, config).removeprefix(b"\xef\xbb\xbf")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode()
    # Where the name promises a text format, a byte that is not ASCII is no sign of BinaryCIF.
    binary = data[:1] >= b"\x80" and not path.name.lower().removesuffix(".gz").endswith((".pdb", ".ent", ".cif", ".mmcif"))
    if not binary and b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    read = _structure_of_binary_cif if binary else _structure_of_cif if _looks_like_cif(data) else _structure_of_pdb
    try:
        return read(data, path, config)
    except StructureError:
        raise
    except Exception as error:  # gemmi raises RuntimeError, ValueError, IndexError by the kind of damage, biotite still others
        kind = "BinaryCIF" if binary else "a structure"
        raise StructureError(f"{path}: cannot be read as {kind} ({reason(error)})") from None


def reason(error: Exception) -> str:
    """What a parser said, as part of a sentence: it quotes the file, whose bytes must not reach a terminal or a table."""
    text = " ".join(str(error).split())[:200]
    return "".join(character if character.isprintable() else "?" for character in text)


def _read_bytes(path: Path, config: ReadConfig) -> bytes:
    """The file's content, decompressed, or a sentence about why not."""
    if path.is_dir():
        raise StructureError(f"{path} is a folder, not a structure file")
    try:
        if path.exists() and not path.is_file():
            raise StructureError(f"{path}: not a file but a pipe or a device; save what it gives as a file first")
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


def _as_text(data: bytes) -> str:
    """UTF-8, or Latin-1 where it is not: gemmi hands names on as UTF-8 and fails on anything else."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _structure_of_pdb(data: bytes, path: Path, config: ReadConfig) -> Any:
    import gemmi

    if not data.isascii():
        # One byte a character, because the columns of a PDB file are characters to whoever wrote it.
        data = _as_text(data).encode("ascii", errors="replace")
    check_count(sum(1 for _ in _ATOM_RECORD.finditer(data)), config.max_atoms, "atom records", path)
    data = _UNUSED_RECORD.sub(b"", data)
    for pattern in (_BAD_NUMBER, _BAD_COORDINATE):
        data = pattern.sub(rb"\1" + 3 * b"     nan", data)
    try:
        return gemmi.read_pdb_string(data)
    except (RuntimeError, ValueError):
        # Files from before 1996 carry the entry id and a line number in columns 73-80, where element and charge are now.
        return gemmi.read_pdb_string(data, max_line_length=72)


def _structure_of_cif(data: bytes, path: Path, config: ReadConfig) -> Any:
    import gemmi

    check_count(_count_words(data), config.max_values, "values", path)
    for block in gemmi.cif.read_string(_as_text(data).encode()):
        if len(block.find_values("_atom_site.Cartn_x")):
            return _structure_of_block(block, path, config)
    raise StructureError(f"{path}: the CIF file has no atom coordinates (_atom_site); it is not a structure")


def check_count(found: int, most: int, what: str, path: Path) -> None:
    """Raise ``StructureError`` for a file that would take too much memory or time."""
    if found > most:
        raise StructureError(
            f"{path}: holds {found} {what}; at most {most} are read, so split it or leave out what is not needed"
        )


def _count_words(data: bytes) -> int:
    """Words between white space: what gemmi makes a string of each, however short."""
    count = 0
    for start in range(0, len(data), _PIECE):
        blank = np.frombuffer(data, np.uint8, min(_PIECE, len(data) - start), start) <= 32
        count += int(np.count_nonzero(blank[:-1] & ~blank[1:])) + 1
    return count


def _looks_like_cif(data: bytes) -> bool:
    """CIF starts, after comments and blank lines, with ``data_``."""
    for line in data[:65536].splitlines():
        line = line.strip()
        if line and not line.startswith(b"#"):
            return line[:5].lower() == b"data_"
    return False


def _structure_of_block(block: Any, path: Path, config: ReadConfig) -> Any:
    """A ``gemmi.Structure`` from an mmCIF block; columns that gemmi insists on but programs leave out are filled in."""
    import gemmi

    sites = block.find_mmcif_category("_atom_site.")
    n_atoms = len(sites)
    check_count(n_atoms, config.max_atoms, "atom records", path)
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
    _fill_numbers(block)
    _check_chains(block, path, config)
    return gemmi.make_structure_from_block(block)


def _fill_numbers(block: Any) -> None:
    """Put the place in the sequence where the author gave no residue number: gemmi makes one residue of all those."""
    numbers, places = block.find_values("_atom_site.auth_seq_id"), block.find_values("_atom_site.label_seq_id")
    if numbers and places:
        for k, number in enumerate(numbers):
            if number in "?.":
                numbers[k] = places[k]


def _check_chains(block: Any, path: Path, config: ReadConfig) -> None:
    """Refuse chains so long that gemmi, which looks for every residue from the start of its chain, would take minutes."""
    if len(block.find_mmcif_category("_atom_site.")) <= config.max_chain_residues:
        return
    change: Any = False  # of the residue, between a row and the next
    chain: Any = 0
    for tag in ("pdbx_PDB_model_num", "auth_asym_id", "auth_seq_id", "pdbx_PDB_ins_code", "label_seq_id", "label_comp_id"):
        if column := list(block.find_values(f"_atom_site.{tag}")):
            names: dict[str, int] = {}
            code = np.array([names.setdefault(name, len(names)) for name in column])
            change |= code[1:] != code[:-1]
            if tag in ("pdbx_PDB_model_num", "auth_asym_id"):
                chain = chain * len(names) + code
    if np.ndim(chain):
        lengths = np.unique(chain[np.r_[True, change]], return_counts=True)[1].astype(float)
        check_count(int(np.sqrt((lengths**2).sum())), config.max_chain_residues, "residues in one chain", path)


def _structure_of_binary_cif(data: bytes, path: Path, config: ReadConfig) -> Any:
    import gemmi

    from s2p.structure.binary_cif import read_categories

    categories = read_categories(data, config)
    if not categories:
        raise StructureError(f"{path}: the BinaryCIF file has no atom coordinates; it is not a structure")
    block = gemmi.cif.Document().add_new_block("bcif")
    for name in list(categories):
        block.set_mmcif_category(f"_{name}.", categories.pop(name))
    return _structure_of_block(block, path, config)


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
    return np.asarray(atoms.coord, dtype=np.float32), np.asarray(atoms.element)


def read_sdf_molecule(path: str | Path) -> Any:
    """Heavy atoms of the first molecule of an SDF or MOL file as biotite's ``AtomArray``, with bonds and upper-case elements.

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
        raise StructureError(f"{path}: cannot be read as an SDF or MOL file ({reason(error)})") from None
    atoms.element = np.char.upper(np.asarray(atoms.element).astype(str))
    heavy = ~np.isin(atoms.element, ("H", "D"))
    if not heavy.any():
        raise StructureError(f"{path}: the molecule has no heavy atom")
    return atoms[heavy]
