"""mmCIF and BinaryCIF files as a table of atom records: gemmi reads the text, biotite decodes the binary columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.arrays import AtomTable, check_count, codes, joined
from s2p.structure.files.names import STANDARD, element_of

__all__ = ["read_binary_cif", "read_categories", "read_cif"]

_PIECE = 1 << 22
MAX_NAME = 200
"""Characters of a name."""
MOST_BYTES = 1 << 28
"""Of one decoded column."""
_NUMBERS = frozenset("cartn_x cartn_y cartn_z occupancy b_iso_or_equiv auth_seq_id label_seq_id pdbx_pdb_model_num".split())
_UNUSED = frozenset({"id", "label_entity_id", "pdbx_formal_charge", "cartn_x_esd", "cartn_y_esd", "cartn_z_esd", "occupancy_esd"})
_REFERENCES = {"struct_ref": ("id", "db_name", "pdbx_db_accession"), "struct_ref_seq": ("ref_id", "pdbx_strand_id")}
"""Tables and columns that say which UniProt entries a chain is of."""
Column = Callable[..., "NDArray[Any] | None"]
"""A column of ``_atom_site``, or of a second argument, by its lower-case name; ``None`` without it, ``""`` for missing values."""


def read_cif(data: bytes, path: Path, config: ReadConfig) -> AtomTable:
    """The atoms of all data blocks of an mmCIF text.

    :class:`StructureError` if there are none, or more than ``config`` allows; other errors of gemmi where the text is no CIF.
    """
    import gemmi

    check_count(_count_words(data), config.max_values, "values", path)
    try:
        data.decode()
    except UnicodeDecodeError:  # gemmi hands names on as UTF-8 and fails on anything else
        data = data.decode("latin-1").encode()
    blocks = [(_text_columns(block, path), len(block.find_values("_atom_site.Cartn_x"))) for block in gemmi.cif.read_string(data)]
    return _whole(blocks, path, config, "CIF")


def read_binary_cif(data: bytes, path: Path, config: ReadConfig) -> AtomTable:
    """The atoms of all data blocks of a BinaryCIF file; raises as :func:`read_cif`."""
    blocks: list[tuple[Column, int]] = []
    for found in read_categories(data, config, ("atom_site", *_REFERENCES)):
        get = partial(lambda tables, name, table="atom_site": tables.get(table, {}).get(name), found)
        blocks.append((get, len(found.get("atom_site", {}).get("cartn_x", ()))))
    return _whole(blocks, path, config, "BinaryCIF")


def _whole(blocks: list[tuple[Column, int]], path: Path, config: ReadConfig, kind: str) -> AtomTable:
    """One table of all blocks that have atoms, with the number of atoms of each."""
    check_count(sum(n for _, n in blocks), config.max_atoms, "atom records", path)
    tables = [_table(column, n) for column, n in blocks if n]
    if not tables:
        raise StructureError(f"{path}: the {kind} file has no atom coordinates (_atom_site); it is not a structure")
    return joined(tables)


def _count_words(data: bytes) -> int:
    """Number of words separated by white space; gemmi allocates a string for each, however short."""
    count = 0
    for start in range(0, len(data), _PIECE):
        blank = np.frombuffer(data, np.uint8, min(_PIECE, len(data) - start), start) <= 32
        count += int(np.count_nonzero(blank[:-1] & ~blank[1:])) + 1
    return count


def _text_columns(block: Any, path: Path) -> Column:
    """Columns of a block of text; quotes are taken off and ``?`` and ``.`` are missing."""
    import gemmi

    tables = ("atom_site", *_REFERENCES)
    tags = {tag.lower(): tag for table in tables for tag in block.find_mmcif_category(f"_{table}.").tags}

    def column(name: str, table: str = "atom_site") -> NDArray[Any] | None:
        tag = tags.get(f"_{table}.{name}")
        if tag is None:
            return None
        values = list(block.find_values(tag))
        if name in _NUMBERS:
            try:
                return np.array(list(map(float, values)))
            except ValueError:
                pass
        place = {value: k for k, value in enumerate(dict.fromkeys(values))}
        longest = max(map(len, place), default=0)
        if longest > MAX_NAME or 4 * longest * len(values) > MOST_BYTES:  # NumPy keeps every name as long as the longest
            raise StructureError(
                f"{path}: has a chain, residue or atom name of {longest} characters; it is damaged, or no structure"
            )
        return np.array(list(map(gemmi.cif.as_string, place)))[np.fromiter(map(place.__getitem__, values), np.int64, len(values))]

    return column


def _table(column: Column, n: int) -> AtomTable:
    """The table of one block; columns that programs leave out are filled in from others."""

    def text(*names: str, default: str = "") -> NDArray[np.str_]:
        """The first of some columns, its gaps filled from the next."""
        found = np.full(n, "", dtype="U1")
        for name in names:
            if (gap := found == "").any() and (values := column(name)) is not None:
                found = values.astype(str) if gap.all() else np.where(gap, values, found)
        return np.where(found == "", default, found) if default else found

    def number(name: str, default: float) -> NDArray[np.float64]:
        values = column(name)
        return np.full(n, default) if values is None else _floats(values, default)

    coord = np.stack([number(f"cartn_{axis}", np.nan) for axis in "xyz"], axis=1)
    label = number("label_seq_id", np.nan)
    place = number("auth_seq_id", np.nan)
    place = np.where(np.isfinite(place), place, label)
    name, residue_name = text("auth_atom_id", "label_atom_id"), text("auth_comp_id", "label_comp_id")
    place = np.where(np.isnan(place) & ~np.isin(residue_name, list(STANDARD)), 1, place)  # ligands have no place in a sequence
    coord[~(np.abs(place) < 2**31)] = np.nan  # neither author nor sequence says which residue it is
    written = text("type_symbol")
    kind = codes(name, residue_name, written)
    first = np.unique(kind, return_index=True)[1]
    # In known residues the name decides, whatever stands in the column.
    element = np.array(
        [element_of(*map(str, atom)) for atom in zip(name[first], residue_name[first], written[first], strict=True)]
    )[kind]
    return AtomTable(
        coord=coord,
        name=name,
        element=element,
        altloc=text("label_alt_id"),
        residue_name=residue_name,
        chain=text("auth_asym_id", "label_asym_id", default="A"),
        number=_integers(place),
        insertion_code=text("pdbx_pdb_ins_code"),
        segment=np.full(n, "", dtype="U1"),
        occupancy=number("occupancy", 1).astype(np.float32),
        b_factor=number("b_iso_or_equiv", 0).astype(np.float32),
        het=text("group_pdb") == "HETATM",
        model=_integers(number("pdbx_pdb_model_num", 1)),
        part=np.zeros(n, np.int32),
        block=np.zeros(n, np.int32),
        label_chain=text("label_asym_id"),
        label_number=_integers(label),
        line=np.arange(1, n + 1, dtype=np.int32),
        accessions=_accessions(column),
    )


def _accessions(column: Column) -> tuple[tuple[str, str], ...]:
    """UniProt entry of each author chain."""
    found = {name: [column(key, name) for key in keys] for name, keys in _REFERENCES.items()}
    rows = {name: zip(*([] if x is None else x.astype(str).tolist() for x in table)) for name, table in found.items()}  # noqa: B905
    known = (row for row in rows["struct_ref"] if row[1].upper() == "UNP" and row[2])
    entry = {key: accession.partition("-")[0] for key, _, accession in known}  # of any isoform
    return tuple(dict.fromkeys((chain, entry[key]) for key, chain in rows["struct_ref_seq"] if key in entry))


def _floats(values: NDArray[Any], missing: float) -> NDArray[np.float64]:
    """Numbers; ``missing`` where there is no value, NaN where it is no number."""
    if values.dtype.kind != "U":
        return values.astype(np.float64)
    try:
        return values.astype(np.float64)
    except ValueError:
        import gemmi

        distinct, code = np.unique(values, return_inverse=True)
        # It reads 1.5(3) too, a number with its uncertainty.
        known = [gemmi.cif.as_number(value) if value else missing for value in distinct.tolist()]
        return np.array(known)[code]


def _integers(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Whole numbers, 0 where there is none."""
    return np.where(np.abs(values) < 2**31, values, 0).astype(np.int32)


def read_categories(data: bytes, config: ReadConfig, wanted: Collection[str]) -> Iterator[dict[str, dict[str, NDArray[Any]]]]:
    """Of each block that has any of the ``wanted`` categories: their columns by lower-case name, ``""`` where a value is missing.

    Columns are decoded by biotite. A few bytes of run-length encoding, or one long string in a table of many rows, can stand for
    terabytes, so what a column says of its size is checked before it is decoded.

    Raises
    ------
    ValueError, KeyError, TypeError ...
        By the kind of damage; ``ValueError`` for tables larger than ``config`` allows.
    """
    import msgpack

    tree = msgpack.unpackb(data, use_list=True, raw=False, max_array_len=1 << 16, max_map_len=1 << 16)
    for block in tree["dataBlocks"]:
        categories = {str(category["name"]).lstrip("_").lower(): category for category in block["categories"]}
        if present := [name for name in wanted if name in categories]:
            yield {name: _binary_columns(name, categories[name], config) for name in present}


def _binary_columns(table: str, category: dict[str, Any], config: ReadConfig) -> dict[str, NDArray[Any]]:
    from biotite.structure.io.pdbx import BinaryCIFColumn

    n_rows = category["rowCount"]
    if not isinstance(n_rows, int) or not 0 <= n_rows <= config.max_atoms:
        raise ValueError(f"a table of {n_rows} rows; at most {config.max_atoms} are read")
    found: dict[str, NDArray[Any]] = {}
    for column in category["columns"]:
        name = str(column["name"]).lower()  # mmCIF names do not distinguish capitals
        if (name in _UNUSED) if table == "atom_site" else (name not in _REFERENCES.get(table, (name,))):
            continue
        for part in ("data", "mask"):
            if column.get(part) is not None:
                _check_sizes(column[part]["encoding"], n_rows, config)
        decoded = BinaryCIFColumn.deserialize({"data": column["data"], "mask": column.get("mask")})
        if decoded.data.array.dtype.kind == "f" and decoded.mask is None:
            found[name] = np.asarray(decoded.data.array)
        else:
            values = decoded.as_array(str, masked_value="")
            found[name] = np.where((values == "?") | (values == "."), "", values)
        if len(found[name]) != n_rows:
            raise ValueError(f"column {name} has {len(found[name])} values for {n_rows} rows")
    return found


def _encodings(encodings: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for encoding in encodings:
        yield encoding
        yield from _encodings(encoding.get("dataEncoding", []))
        yield from _encodings(encoding.get("offsetEncoding", []))


def _check_sizes(encodings: list[dict[str, Any]], n_rows: int, config: ReadConfig) -> None:
    """Raise ``ValueError`` for a column that would decode to more than it may."""
    from biotite.structure.io.pdbx.encoding import decode_stepwise, deserialize_encoding

    most = 2 * config.max_atoms + 2  # a run-length encoding holds two numbers a row where no value repeats
    for encoding in _encodings(encodings):
        size = encoding.get("srcSize")
        if encoding["kind"] == "RunLength" and size is None:
            raise ValueError("a run-length encoding without its size")
        if size is not None and not (isinstance(size, int) and 0 <= size <= most):
            raise ValueError(f"a column of {size} values; at most {config.max_atoms} rows are read")
    for encoding in _encodings(encodings):
        if encoding["kind"] == "StringArray":
            steps = [deserialize_encoding(step) for step in encoding["offsetEncoding"]]
            offsets = np.asarray(decode_stepwise(encoding["offsets"], steps)).astype(np.int64)
            longest = int(np.diff(offsets).max(initial=1))
            if 4 * longest * max(n_rows, len(offsets)) > config.max_bytes:  # NumPy keeps every string as long as the longest
                raise ValueError(f"a column with a string of {longest} characters in {n_rows} rows")
