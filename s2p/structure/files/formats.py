"""Read a PDB, mmCIF or BinaryCIF file into a table of atom records, or say in a sentence what is wrong with the file.

A ligand on its own comes as an SDF or MOL file, which biotite reads.
"""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.arrays import AtomTable

__all__ = ["Content", "read_annotations", "read_content", "read_sdf_ligand", "read_sdf_molecule", "read_table"]

_ATOM_LINES = re.compile(rb"^(?:ATOM|HETATM|ANISOU|SIGATM|SIGUIJ|TER|MODEL|ENDMDL|END)[^\n]*\n?", re.IGNORECASE | re.MULTILINE)
_CIF = re.compile(rb"(?:\s|#[^\n]*\n)*data_", re.IGNORECASE)
"""How a CIF starts, after comments and blank lines."""
_ANNOTATIONS = ("struct_conn", "pdbx_struct_assembly", "pdbx_struct_assembly_gen", "pdbx_struct_oper_list", "cell", "symmetry")


@dataclass(frozen=True, eq=False)
class Content:
    """A file as it was read."""

    path: Path
    data: bytes
    """Decompressed; text in UTF-8 with newlines."""
    kind: Literal["pdb", "cif", "bcif"]


def read_content(path: Path, config: ReadConfig) -> Content:
    """The file's bytes and its format, which is told from the content.

    :class:`StructureError` if the file is missing, damaged, empty or too large.
    """
    data = _read_bytes(path, config).removeprefix(b"\xef\xbb\xbf")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode()
    # Where the name promises a text format, a byte that is not ASCII is no sign of BinaryCIF.
    if data[:1] >= b"\x80" and not path.name.lower().removesuffix(".gz").endswith((".pdb", ".ent", ".cif", ".mmcif")):
        return Content(path, data, "bcif")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Content(path, data, "cif" if _CIF.match(data) else "pdb")


def read_table(content: Content, config: ReadConfig) -> AtomTable:
    """The atom records of a file; :class:`StructureError` if the file is damaged, too large, or no structure."""
    if content.kind == "pdb":
        from s2p.structure.files.pdb import read_pdb as read
    elif content.kind == "cif":
        from s2p.structure.files.cif import read_cif as read
    else:
        from s2p.structure.files.cif import read_binary_cif as read
    path = content.path
    try:
        table = read(content.data, path, config)
    except StructureError:
        raise
    except Exception as error:  # gemmi raises RuntimeError, ValueError, IndexError by the kind of damage, biotite still others
        kind = "BinaryCIF" if content.kind == "bcif" else "a structure"
        raise StructureError(f"{path}: cannot be read as {kind} ({_reason(error)})") from None
    if not len(table):
        raise StructureError(f"{path}: no atoms found; it is not a PDB, mmCIF or BinaryCIF structure file")
    return table


def read_annotations(content: Content, config: ReadConfig) -> Any:
    """What a file says beside its atoms, as a ``gemmi.Structure`` without models: connections, assemblies, cell.

    :class:`StructureError` if gemmi cannot read it.
    """
    import gemmi

    try:
        if content.kind == "pdb":
            text = content.data.decode("ascii", errors="replace").encode("ascii", errors="replace")
            return gemmi.read_pdb_string(_ATOM_LINES.sub(b"", text))
        block = gemmi.cif.Document().add_new_block("x")
        if content.kind == "bcif":
            from s2p.structure.files.cif import read_categories

            for name, columns in next(iter(read_categories(content.data, config, _ANNOTATIONS)), {}).items():
                block.set_mmcif_category(
                    f"_{name}.", {key: [x or None for x in c.astype(str).tolist()] for key, c in columns.items()}
                )
        else:
            whole = gemmi.cif.read_string(content.data.decode(errors="replace"))[0]
            for name in _ANNOTATIONS:
                if table := whole.get_mmcif_category(f"_{name}.", raw=True):
                    block.set_mmcif_category(f"_{name}.", table, raw=True)
        return gemmi.make_structure_from_block(block)
    except Exception as error:
        raise StructureError(f"{content.path}: bonds and assemblies in it cannot be read ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """A parser's message as part of a sentence, without the bytes of the file, which must not reach a terminal or a table."""
    text = " ".join(str(error).split())[:200]
    return "".join(character if character.isprintable() else "?" for character in text)


def _read_bytes(path: Path, config: ReadConfig) -> bytes:
    """The decompressed content of the file; :class:`StructureError` if it cannot be read."""
    if path.is_dir():
        raise StructureError(f"{path} is a folder, not a structure file")
    try:
        if path.exists() and not path.is_file():
            raise StructureError(f"{path}: not a file but a pipe or a device; save its content as a file first")
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


def read_sdf_ligand(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """(L, 3) coordinates in Å and (L,) upper-case elements of what :func:`read_sdf_molecule` reads."""
    atoms = read_sdf_molecule(path)
    return np.asarray(atoms.coord, dtype=np.float32), np.asarray(atoms.element)


def read_sdf_molecule(path: str | Path) -> Any:
    """Heavy atoms of the first molecule of an SDF or MOL file (V2000 or V3000).

    biotite's ``AtomArray``, with bonds and upper-case elements. :class:`StructureError` if the file is missing, no SDF, or has no
    heavy atom.
    """
    from biotite.structure.io.mol import MOLFile  # the first molecule of an SDF file is a MOL file

    path = Path(path)
    try:
        atoms = MOLFile.read(str(path)).get_structure()
    except FileNotFoundError:
        raise StructureError(f"{path}: no such file; give an SDF or MOL file with the ligand") from None
    except Exception as error:  # biotite raises InvalidFileError, ValueError, IndexError, KeyError by the kind of damage
        raise StructureError(f"{path}: cannot be read as an SDF or MOL file ({_reason(error)})") from None
    atoms.element = np.char.upper(np.asarray(atoms.element).astype(str))
    heavy = ~np.isin(atoms.element, ("H", "D"))
    if not heavy.any():
        raise StructureError(f"{path}: the molecule has no heavy atom")
    return atoms[heavy]
