"""BinaryCIF to mmCIF tables, in memory that a small file cannot blow up.

Columns are decoded by biotite. A few bytes of run-length encoding, or one long string in a table of many rows, can stand for
terabytes, so what a column says of its size is checked before it is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from s2p.config import ReadConfig

__all__ = ["read_categories"]

COLUMNS = {
    "atom_site": (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id label_seq_id "
        "pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id auth_comp_id auth_asym_id auth_atom_id "
        "pdbx_PDB_model_num"
    ).split(),
    "entity": ["id", "type"],
    "entity_poly": ["entity_id", "type"],
    "struct_asym": ["id", "entity_id"],
}
"""Categories and columns that the reader needs."""


def read_categories(data: bytes, config: ReadConfig) -> dict[str, dict[str, list[str | None]]]:
    """Columns of the first block that holds atoms, as text; ``None`` where a value is missing. Empty if no block holds any.

    Raises
    ------
    ValueError, KeyError, TypeError ...
        By the kind of damage; ``ValueError`` for tables larger than ``config`` allows.
    """
    import msgpack

    tree = msgpack.unpackb(data, use_list=True, raw=False, max_array_len=1 << 16, max_map_len=1 << 16)
    for block in tree["dataBlocks"]:
        categories = {str(category["name"]).lstrip("_").lower(): category for category in block["categories"]}
        if "atom_site" in categories:
            return {name: _columns(categories[name], wanted, config) for name, wanted in COLUMNS.items() if name in categories}
    return {}


def _columns(category: dict[str, Any], wanted: list[str], config: ReadConfig) -> dict[str, list[str | None]]:
    n_rows = category["rowCount"]
    if not isinstance(n_rows, int) or not 0 <= n_rows <= config.max_atoms:
        raise ValueError(f"a table of {n_rows} rows; at most {config.max_atoms} are read")
    # mmCIF names do not distinguish capitals.
    columns = {str(column["name"]).lower(): column for column in category["columns"]}
    found = {name: _decode(columns[name.lower()], n_rows, config) for name in wanted if name.lower() in columns}
    for name, values in found.items():
        if len(values) != n_rows:
            raise ValueError(f"column {name} has {len(values)} values for {n_rows} rows")
    return found


def _decode(column: dict[str, Any], n_rows: int, config: ReadConfig) -> list[str | None]:
    from biotite.structure.io.pdbx import BinaryCIFColumn

    for part in ("data", "mask"):
        if column.get(part) is not None:
            _check_sizes(column[part]["encoding"], n_rows, config)
    decoded = BinaryCIFColumn.deserialize({"data": column["data"], "mask": column.get("mask")})
    values = decoded.as_array(str, masked_value="?").astype(object)
    values[(values == "?") | (values == ".")] = None  # as text they would be quoted, that is, literal
    result: list[str | None] = values.tolist()
    return result


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
