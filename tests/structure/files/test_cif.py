"""BinaryCIF: what biotite and gemmi read is what comes out, and a few bytes never become gigabytes."""

from __future__ import annotations

import copy
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from biotite.structure.io.pdbx import BinaryCIFFile, CIFFile
from mutations import _binary_block, seeds

from s2p.config import ReadConfig
from s2p.structure.files.cif import read_categories
from s2p.structure.reading import read_structure

GOOD = seeds()["bare.bcif"]
TREE: dict[str, Any] = msgpack.unpackb(GOOD)
CONFIG = ReadConfig(max_atoms=1000, max_bytes=1 << 20)


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    """The good file after a change of its atom table."""
    tree = copy.deepcopy(TREE)
    (site,) = (c for c in tree["dataBlocks"][0]["categories"] if c["name"].lstrip("_") == "atom_site")
    change(site)
    return bytes(msgpack.packb(tree))


def column(site: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (c for c in site["columns"] if c["name"] == name)
    return found


def integers(*values: int) -> bytes:
    return np.array(values, "<i4").tobytes()


BYTES = {"kind": "ByteArray", "type": 3}


def runs(*pairs: int, size: int | None) -> dict[str, Any]:
    return {"data": integers(*pairs), "encoding": [{"kind": "RunLength", "srcType": 3, "srcSize": size}, BYTES]}


def strings(text: str, offsets: bytes, indices: bytes, *data_encoding: dict[str, Any]) -> dict[str, Any]:
    encoding = {"kind": "StringArray", "stringData": text, "offsets": offsets, "offsetEncoding": [BYTES]}
    return {"data": indices, "encoding": [{**encoding, "dataEncoding": [*data_encoding, BYTES]}]}


def test_values_are_those_of_biotite() -> None:
    (ours,) = read_categories(GOOD, CONFIG, ("atom_site", "entity", "struct_conn"))
    theirs = next(iter(BinaryCIFFile.read(io.BytesIO(GOOD)).values()))
    assert {"atom_site", "entity"} == set(ours)
    for name, columns in ours.items():
        for key, values in columns.items():
            (tag,) = (tag for tag in theirs[name] if tag.lower() == key)
            expected = theirs[name][tag].as_array(str).tolist()
            assert values.tolist() == ["" if value in "?." else value for value in expected], (name, key)


def test_run_lengths_and_masks() -> None:
    def change(site: dict[str, Any]) -> None:
        n = site["rowCount"]
        column(site, "auth_seq_id").update(data=runs(7, n - 2, 9, 2, size=n), mask=runs(0, n - 1, 2, 1, size=n))

    (found,) = read_categories(changed(change), CONFIG, ("atom_site",))
    numbers = found["atom_site"]["auth_seq_id"].tolist()
    assert numbers == ["7"] * (len(numbers) - 2) + ["9", ""]


def test_assemblies_and_bonds_come_from_binary_cif_too(tmp_path: Path) -> None:
    examples = Path(__file__).parents[3] / "data" / "examples"
    block = CIFFile.read(examples / "4CUP.cif").block
    for name in list(block):
        if name not in ("atom_site", "pdbx_struct_assembly", "pdbx_struct_assembly_gen", "pdbx_struct_oper_list"):
            del block[name]
    file = BinaryCIFFile()
    file["x"] = _binary_block(block)
    file.write(tmp_path / "x.bcif")
    found, expected = (read_structure(path, assembly=1) for path in (tmp_path / "x.bcif", examples / "4CUP.cif"))
    assert found.residues.ids() == expected.residues.ids() and len(found.residues) == 230
    np.testing.assert_allclose(found.atoms.coord, expected.atoms.coord, atol=1e-4)


def test_no_atoms() -> None:
    empty = bytes(msgpack.packb({"dataBlocks": [{"header": "x", "categories": []}]}))
    assert list(read_categories(empty, CONFIG, ("atom_site",))) == []


def rows(site: dict[str, Any]) -> None:
    site["rowCount"] = 2**31 - 1


def negative(site: dict[str, Any]) -> None:
    site["rowCount"] = -1


def long_run(site: dict[str, Any]) -> None:
    column(site, "auth_seq_id")["data"] = runs(1, 2**31 - 1, size=2**31 - 1)


def unsized_run(site: dict[str, Any]) -> None:
    column(site, "auth_seq_id")["data"] = runs(1, 2**31 - 1, size=None)


def nested_run(site: dict[str, Any]) -> None:
    run = {"kind": "RunLength", "srcType": 3, "srcSize": 10**9}
    column(site, "label_atom_id")["data"] = strings("CA", integers(0, 2), integers(0, 10**9), run)


def long_string(site: dict[str, Any]) -> None:
    n = site["rowCount"]
    column(site, "label_atom_id")["data"] = strings("A" * 100_000, integers(0, 100_000), integers(*[0] * n))


def long_mask(site: dict[str, Any]) -> None:
    column(site, "auth_seq_id")["mask"] = runs(0, 2**31 - 1, size=2**31 - 1)


@pytest.mark.parametrize("change", [rows, negative, long_run, unsized_run, nested_run, long_string, long_mask])
def test_bombs_are_refused_before_they_go_off(change: Callable[[dict[str, Any]], None]) -> None:
    data = changed(change)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"at most 1000|without its size|a string of 100000 characters"):
        list(read_categories(data, CONFIG, ("atom_site",)))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="column auth_seq_id has 3 values"):
        data = changed(lambda site: column(site, "auth_seq_id").update(data=runs(1, 3, size=3), mask=None))
        list(read_categories(data, CONFIG, ("atom_site",)))


def test_uniprot_accessions_of_the_author_chains(tmp_path: Path) -> None:
    examples = Path(__file__).parents[3] / "data" / "examples"
    text = (examples / "4CUP.cif").read_text().replace("Q9UIF8", "P99999-2")
    for changed, expected in ((text, {"A": ("P99999",)}), (text.replace("_struct_ref.", "_no_ref."), {})):
        (tmp_path / "x.cif").write_text(changed)
        file = BinaryCIFFile()
        file["x"] = _binary_block(CIFFile.read(tmp_path / "x.cif").block)
        file.write(tmp_path / "x.bcif")
        assert read_structure(tmp_path / "x.cif").uniprot == read_structure(tmp_path / "x.bcif").uniprot == expected
