"""Bytes of a PDB, mmCIF or BinaryCIF file to a ``gemmi.Structure``, or a sentence about what is wrong with them.

PDB and mmCIF are parsed by gemmi; BinaryCIF is decoded by biotite and handed to gemmi as the same mmCIF tables.
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

from s2p.config import ReadConfig
from s2p.errors import StructureError

__all__ = ["parse_file"]


def parse_file(path: Path, config: ReadConfig) -> Any:
    """The file as a ``gemmi.Structure``; the format is told from the content.

    Raises
    ------
    StructureError
        If the file is missing, damaged, too large, or no structure.
    """
    return _parse(_read_bytes(path, config), path)


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
