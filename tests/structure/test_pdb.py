"""PDB text of many programs: the same atoms, or a refusal, never other coordinates."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest

from s2p.config import ReadConfig
from s2p.structure.pdb import read_pdb
from s2p.structure.table import AtomTable

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"
RESIDUES = [("PRO", "N CA C O CB CG CD"), ("ILE", "N CA C O CB CG1 CG2 CD1"), ("HIS", "N CA C O CB CG ND1 CD2 CE1 NE2")]


def read(text: str, name: str = "x.pdb", config: ReadConfig | None = None) -> AtomTable:
    return read_pdb(text.encode(), Path(name), config or ReadConfig())


class Atom:
    """One record to write; ``number`` and the rest are what must be read."""

    def __init__(self, k: int, name: str, residue: str, chain: str, number: int) -> None:
        self.serial, self.name, self.residue, self.chain, self.number = k + 1, name, residue, chain, number
        self.x, self.y, self.z = (round(v, 3) for v in (13.12 + 1.3 * k, -39.003 + 0.7 * k, 5.159 - 1.1 * k))
        self.b = round(10 + k * 0.5, 2)

    @property
    def padded(self) -> str:
        return f" {self.name:<3}" if len(self.name) < 4 else self.name

    @property
    def element(self) -> str:
        return self.name.lstrip("0123456789")[0]


def atoms(first: int = 1, chain: str = "A", n: int = 3, serial: int = 0) -> list[Atom]:
    records = [(name, residue, first + r) for r, (residue, names) in enumerate((RESIDUES * n)[:n]) for name in names.split()]
    return [Atom(serial + k, name, residue, chain, number) for k, (name, residue, number) in enumerate(records)]


def write(records: list[Atom], line: Callable[[Atom], str], end: str = "TER\nEND\n") -> str:
    return "".join(line(a) + "\n" for a in records) + end


def left(a: Atom, **changes: str) -> str:
    """What stands before the coordinates."""
    fields = {
        "serial": f"{a.serial:>5}",
        "name": a.padded,
        "residue": f"{a.residue:>3}",
        "chain": f"{a.chain:1}",
        "number": f"{a.number:>4}",
        "icode": " ",
    } | changes
    return "ATOM  {serial} {name} {residue} {chain}{number}{icode}   ".format(**fields)


def right(a: Atom) -> str:
    return f"{a.x:8.3f}{a.y:8.3f}{a.z:8.3f}  1.00{a.b:6.2f}          {a.element:>2}"


def assert_same(table: AtomTable, records: list[Atom], residue: Callable[[Atom], str] = lambda a: a.residue) -> None:
    assert table.name.tolist() == [a.name for a in records]
    assert table.element.tolist() == [a.element for a in records]
    assert table.residue_name.tolist() == [residue(a) for a in records]
    assert table.chain.tolist() == [a.chain for a in records]
    assert table.number.tolist() == [a.number for a in records]
    assert table.coord.tolist() == [[a.x, a.y, a.z] for a in records]


def test_standard_records_have_no_note() -> None:
    records = atoms()
    table = read(write(records, lambda a: left(a) + right(a)))
    assert_same(table, records)
    assert table.notes == ()
    assert table.b_factor.tolist() == [np.float32(a.b) for a in records]
    assert set(table.altloc.tolist()) | set(table.insertion_code.tolist()) | set(table.segment.tolist()) == {""}
    assert table.line.tolist() == list(range(1, len(records) + 1))
    assert not table.het.any()


def words(a: Atom, *rest: str, sep: str = " ", place: str | None = None) -> str:
    """Fields between blanks."""
    place = f"{a.chain} {a.number}" if place is None else place
    return sep.join(("ATOM", str(a.serial), a.name, a.residue, *place.split(), f"{a.x:.3f}", f"{a.y:.3f}", f"{a.z:.3f}", *rest))


AUTODOCK = {"N": "NA", "O": "OA"}
LAYOUTS = {
    "chain of two letters pushes": ((1, "AA"), lambda a: left(a) + right(a)),
    "chain of four letters pushes": ((1, "ABCD"), lambda a: left(a) + right(a)),
    "chain of two letters before the column": ((1, "AA"), lambda a: left(a).replace(" AA", "AA", 1) + right(a)),
    "chain of two letters takes a digit": ((7, "AA"), lambda a: left(a, number=f"{a.number:>3}") + right(a)),
    "chain takes a digit of hundreds": ((98, "AA"), lambda a: left(a, number=f"{a.number:>3}") + right(a)),
    "five-digit numbers push": ((9998, "A"), lambda a: left(a) + right(a)),
    "only five-digit numbers": ((10001, "A"), lambda a: left(a) + right(a)),
    "five-digit numbers take the insertion code": (
        (9999, "A"),
        lambda a: left(a, icode=" " if a.number < 10000 else "") + right(a),
    ),
    "hybrid-36 numbers": ((9999, "A"), lambda a: left(a, number={9999: "9999"}.get(a.number, f"A00{a.number % 10}")) + right(a)),
    "hexadecimal numbers": ((9999, "A"), lambda a: left(a, number=f"{a.number:{'d' if a.number < 10000 else 'x'}}") + right(a)),
    "serials in hexadecimal": ((1, "A"), lambda a: left(a, serial=f"{a.serial + 1000000:5x}") + right(a)),
    "serials in hybrid-36": ((1, "A"), lambda a: left(a, serial=f"A00{a.serial:02}") + right(a)),
    "serials of stars": ((1, "A"), lambda a: left(a, serial="*****") + right(a)),
    "serials of six digits push": ((1, "A"), lambda a: left(a, serial=f"{a.serial + 99999}") + right(a)),
    "serials take the blank": ((1, "A"), lambda a: "ATOM  1" + left(a)[7:11].replace(" ", "0") + "0" + left(a)[12:] + right(a)),
    "both push": ((9999, "A"), lambda a: left(a, serial=f"{a.serial + 99999}") + right(a)),
    "coordinates with four decimals": ((1, "A"), lambda a: f"{left(a)}{a.x:8.4f}{a.y:8.4f}{a.z:8.4f}" + right(a)[24:]),
    "coordinates of nine columns": ((1, "A"), lambda a: f"{left(a)}{a.x:9.4f}{a.y:9.4f}{a.z:9.4f}" + right(a)[24:36]),
    "free format": ((1, "A"), lambda a: words(a, "1.00", f"{a.b:.2f}", a.element)),
    "free format, chain before number": ((1, "A"), lambda a: words(a, place=f"{a.chain}{a.number}")),
    "free format without chain": ((1, ""), lambda a: words(a, "1.00", f"{a.b:.2f}")),
    "tabs": ((1, "A"), lambda a: words(a, "1.00", f"{a.b:.2f}", a.element, sep="\t")),
    "nothing after the coordinates": ((1, "A"), lambda a: left(a) + right(a)[:24]),
    "names at the left": ((1, "A"), lambda a: left(a, name=f"{a.name:<4}") + right(a)[:36]),
    "entry id and line number": ((1, "A"), lambda a: f"{left(a)}{right(a)[:36]}      1ABC{a.serial:>4}"),
    "lower-case record": ((1, "A"), lambda a: "atom  " + left(a)[6:] + right(a)),
    "pdbqt": ((1, "A"), lambda a: f"{left(a)}{right(a)[:36]}    {-0.366:6.3f} {AUTODOCK.get(a.element, a.element)}"),
    "pqr in columns": ((1, "A"), lambda a: f"{left(a)}{right(a)[:24]} {-0.4157:8.4f} {1.8240:7.4f}"),
    "pqr between blanks": ((1, ""), lambda a: words(a, "-0.4157", "1.8240")),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(layout: str) -> None:
    (first, chain), line = LAYOUTS[layout]
    records = atoms(first, chain)
    assert_same(read(write(records, line)), records)


def test_examples_are_read_as_gemmi_reads_them() -> None:
    for path in sorted(EXAMPLES.glob("*.pdb.gz")):
        data = gzip.decompress(path.read_bytes())
        table = read_pdb(data, path, ReadConfig())
        try:
            parsed = gemmi.read_pdb_string(data)
        except (RuntimeError, ValueError):
            parsed = gemmi.read_pdb_string(data, max_line_length=72)
        rows = [
            (
                a.name,
                a.element.name.upper(),
                a.altloc.strip("\0"),
                r.name,
                c.name.strip(),
                r.seqid.num,
                r.seqid.icode.strip(),
                a.pos.tolist(),
            )
            for model in parsed
            for c in model
            for r in c
            for a in r
        ]
        columns = (table.name, table.element, table.altloc, table.residue_name, table.chain, table.number, table.insertion_code)
        for mine, theirs in zip((*columns, table.coord), zip(*rows, strict=True), strict=True):
            assert mine.tolist() == list(theirs), path
