"""PDB text of many programs: the same atoms, or a refusal, never other coordinates."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.arrays import AtomTable
from s2p.structure.files.pdb import read_pdb

EXAMPLES = Path(__file__).parents[3] / "data" / "examples"
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
    "five-digit numbers take the chain id": ((9999, ""), lambda a: left(a, chain="", number=f"{a.number:>5}") + right(a)),
    "numbers take the insertion code": ((28, "A"), lambda a: left(a, number=f"{a.number:>5}", icode="") + right(a)),
    "numbers at the left": ((98, "A"), lambda a: left(a, number=f"{a.number:<4}") + right(a)),
    "numbers at the left, no chain": ((98, ""), lambda a: left(a, number=f"{a.number:<4}") + right(a)),
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


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"hexadecimal numbers", "numbers take the insertion code"}))
def test_a_record_of_another_layout_is_never_read_wrongly(layout: str) -> None:
    """One displaced record among standard ones is read or refused."""
    (first, chain), line = LAYOUTS[layout]
    odd = atoms(first, chain)[9]
    records = [a for a in atoms() if a.serial != odd.serial]
    try:
        table = read(write(records, lambda a: left(a) + right(a), "") + line(odd) + "\n")
    except StructureError as error:
        assert f"line {len(records) + 1}: " in str(error)
    else:
        assert_same(table, [*records, odd])


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_before_the_coordinates_never_changes_them(data: st.DataObject) -> None:
    """Characters put in, left out or changed before the coordinates: all atoms as they were, or none, or a refusal."""
    records = atoms(data.draw(st.sampled_from([1, 98, 998, 9997])), data.draw(st.sampled_from(["A", "", "1"])))
    lines = [left(a) + right(a) for a in records]
    which = data.draw(st.sampled_from([[4], [4, 5, 6], list(range(len(lines)))]))
    start, text = data.draw(st.integers(6, 29)), data.draw(st.text("AZ019-* ", max_size=2))
    removed = data.draw(st.integers(0, 2))
    for k in which:
        lines[k] = lines[k][:start] + text + lines[k][start + removed :]
    try:
        table = read("\n".join(lines))
    except StructureError:
        return
    expected = np.array([(a.x, a.y, a.z) for a in records if a.serial in table.line])
    assert ((table.coord == expected) | np.isnan(table.coord)).all()


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(sorted(LAYOUTS)), st.sampled_from([1, 99, 999, 9999, 99999]), st.sampled_from([1, 7]), st.integers(0, 9999)
)
def test_any_numbers_in_any_layout(layout: str, size: int, step: int, seed: int) -> None:
    """Layouts that programs write, with coordinates of any size in all records or in some: as written, or a refusal."""
    (first, chain), line = LAYOUTS[layout]
    records, rng = atoms(first, chain), np.random.default_rng(seed)
    for a in records[::step]:
        a.x, a.y, a.z = rng.uniform(-size, size, 3).round(3).tolist()
        a.b = 1234.5 if size > 99 else 12.25
    try:
        table = read(write(records, line))
    except StructureError:
        assert size > 99
    else:
        assert_same(table, records)


@pytest.mark.parametrize(
    ("number", "icode", "reason"),
    [
        ("A100", " ", "residue number A100 can be read"),
        ("a100", " ", "residue number a100 can be read"),
        ("3a0f", " ", "residue number 3a0f can be read"),
        ("1000", "1", "may be of residue 10001 or of residue 1000 with insertion code 1"),
        ("1 00", " ", "not in their columns"),
        ("12.3", " ", "not in their columns"),
    ],
)
def test_numbers_in_doubt_are_refused(number: str, icode: str, reason: str) -> None:
    with pytest.raises(StructureError, match=f"line 1: .*{reason}.*; save the structure as mmCIF"):
        read(write(atoms(n=1), lambda a: left(a, number=number, icode=icode) + right(a)))


def test_five_digit_numbers_of_a_chain_with_a_residue_1000() -> None:
    records = [*atoms(1000), *atoms(9998)]
    assert_same(read(write(records, lambda a: left(a, icode=" " if a.number < 10000 else "") + right(a))), records)


def test_digits_as_insertion_codes() -> None:
    table = read(write(atoms(), lambda a: left(a, number="  52", icode=str(a.number - 1 or " ")) + right(a)))
    assert set(table.number.tolist()) == {52}
    assert set(table.insertion_code.tolist()) == {"", "1", "2"}


@pytest.mark.parametrize(
    "columns", [(30, 54, ""), (30, 38, ""), (38, 46, "********"), (46, 54, "     nan"), (22, 26, "****"), (22, 26, "")]
)
def test_single_records_without_numbers(columns: tuple[int, int, str]) -> None:
    start, end, text = columns
    lines = [left(a) + right(a) for a in atoms()]
    lines[3] = lines[3][:start] + text.ljust(end - start) + lines[3][end:]
    table = read("\n".join(lines))
    assert np.flatnonzero(np.isnan(table.coord).any(axis=1)).tolist() == [3]


def test_a_record_that_ends_within_its_coordinates_is_refused() -> None:
    text = write(atoms(), lambda a: left(a) + right(a), "")
    with pytest.raises(StructureError, match=f"line {len(atoms())}: "):
        read(text[:-30])


def test_coordinates_that_are_written_unusually() -> None:
    lines = [left(a) + right(a) for a in atoms()]
    lines[3] = lines[3][:30] + "   1.E+0      -0   -2.25" + lines[3][54:]
    assert read("\n".join(lines)).coord[3].tolist() == [1, 0, -2.25]
    lines[3] = lines[3][:30] + "   1.E+0      -0 -123.25" + lines[3][54:]
    assert read("\n".join(lines)).coord[3].tolist() == [1, 0, -123.25]
    lines[3] = lines[3][:30] + "   1.E+0      -0-12345.6" + lines[3][54:]
    with pytest.raises(StructureError, match="line 4"):
        read("\n".join(lines))


def test_four_letter_names_and_two_letter_chains() -> None:
    table = read(write(atoms(), lambda a: left(a, residue="LYSH").replace("LYSH ", "LYSH") + right(a)))
    assert (set(table.residue_name.tolist()), set(table.chain.tolist())) == ({"LYSH"}, {"A"})
    table = read(write(atoms(), lambda a: left(a, chain="").replace(f"{a.residue} ", f"{a.residue}HA") + right(a)))
    assert (set(table.residue_name.tolist()), set(table.chain.tolist())) == ({"PRO", "ILE", "HIS"}, {"HA"})
    table = read(write(atoms(), lambda a: left(a, residue="XSOL")[:16] + "TIP3 W" + left(a)[22:] + right(a)))
    assert (set(table.residue_name.tolist()), set(table.altloc.tolist()), set(table.chain.tolist())) == ({"TIP3"}, {""}, {"W"})


def test_borders() -> None:
    records = [atoms(n=1, serial=k) for k in range(5)]
    pieces = [write(a, lambda a: left(a) + right(a), "") for a in records]
    text = "MODEL        3\n{}TER\n{}ENDMDL\n{}END\n{}ENDMDL\nMODEL        9\n{}ENDMDL\nEND\n".format(*pieces)
    table = read(text)
    first = [7 * k for k in range(5)]
    assert table.model[first].tolist() == [3, 3, 4, 4, 9]
    assert table.part[first].tolist() == [0, 1, 2, 3, 4]
    assert table.block[first].tolist() == [0, 0, 0, 1, 1]


def test_models_without_numbers() -> None:
    piece = write(atoms(n=1), lambda a: left(a) + right(a), "ENDMDL\n")
    assert read(f"MODEL\n{piece}MODEL\n{piece}").model[[0, 7]].tolist() == [1, 2]
    assert read(f"MODEL         0\n{piece}").model[0] == 0


def test_segments() -> None:
    lines = [f"{left(a)}{right(a)[:36]}      {'PROA' if k % 3 else '    '} {a.element:>3}" for k, a in enumerate(atoms())]
    assert set(read("\n".join(lines)).segment.tolist()) == {"PROA", ""}
    lines = [f"{left(a)}{right(a)[:36]} remark 123" for a in atoms()]
    assert set(read("\n".join(lines)).segment.tolist()) == {""}


def test_elements_and_points_that_are_no_atoms() -> None:
    records = atoms()
    lines = [left(a, name=f"{a.name:<4}") + right(a)[:36] for a in records]
    lines += [left(records[-1], name="HG1 ") + right(records[-1])[:36], left(records[-1], name="LP1 ") + right(records[-1])[:36]]
    table = read("\n".join(lines))
    assert table.element.tolist() == [*(a.element for a in records), "H"]
    assert table.notes == ("1 lone pairs and other points that are not atoms were left out",)
    ion = "HETATM    1 CA    CA A 201      13.120  39.003   5.159  1.00 55.41"
    assert read(ion).element.tolist() == ["CA"]


def test_charges_and_radii() -> None:
    records = atoms()
    line = "{left}{xyz}  0.14  1.85".format
    text = write(records, lambda a: line(left=left(a), xyz=right(a)[:24]))
    table = read(text, "x.pqr")
    assert_same(table, records)
    assert (set(table.occupancy.tolist()), set(table.b_factor.tolist())) == ({1.0}, {0.0})
    assert set(read(text).b_factor.tolist()) == {np.float32(1.85)}


def test_unusual_occupancy_and_b_factor() -> None:
    a = atoms(n=1)[0]
    cases = {
        "  1.00155.41": (1, 155.41),
        "  1.001000.00": (1, 1000),
        " 0.500 12.34": (0.5, 12.34),
        "": (1, 0),
        "            ": (1, 0),
    }
    for text, expected in cases.items():
        table = read(left(a) + right(a)[:24] + text)
        assert (float(table.occupancy[0]), float(table.b_factor[0])) == pytest.approx(expected)
    table = read(left(a) + right(a)[:24] + "  1.00******")
    assert np.isnan(table.b_factor[0])


def test_refusals() -> None:
    text = write(atoms(), lambda a: left(a) + right(a))
    with pytest.raises(StructureError, match="no atoms found"):
        read("HEADER\nATOMS 12\nTER\nEND\n")
    with pytest.raises(StructureError, match="several atom records are in one line"):
        read(text.replace("\n", "") * 10)
    with pytest.raises(StructureError, match="line 2: a blank stands before"):
        read("REMARK\n " + text)
    with pytest.raises(StructureError, match="contains 25 atom records; at most 10 are read"):
        read(text, config=ReadConfig(max_atoms=10))


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


@pytest.mark.parametrize("code", ["A1ABC", "A1BCD"])
def test_a_ligand_code_of_five_letters_is_not_cut(code: str) -> None:
    line = f"HETATM    1  C1  {code} 200       1.000   2.000   3.000  1.00 10.00           C"
    with pytest.raises(StructureError, match="line 1: a ligand's code of five letters may run over the chain id"):
        read(line)
    assert read(line.replace(f" {code}", " A1A C")).residue_name.tolist() == ["A1A"]


def test_uniprot_accessions_stand_before_the_atoms() -> None:
    record = "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00 20.00           C\n"
    head = (
        "DBREF  1ABC A    1    50  UNP    P00001   X_HUMAN          1     50\n"
        "DBREF  1ABC A   51   100  UNP    Q00002   Y_HUMAN          1     50\n"
        "DBREF  1ABC B    1   100  PDB    1ABC     1ABC             1    100\n"
        "DBREF1 1ABC C    1   100  UNP                  A0A0A0MQA1_HUMAN\n"
        "DBREF2 1ABC C     A0A0A0MQA1                          1         100\n"
        "SEQADV 1ABC GLY A    1  UNP  P00001              EXPRESSION TAG\n"
    )
    assert read(head + record).accessions == (("A", "P00001"), ("A", "Q00002"), ("C", "A0A0A0MQA1"))
    assert read(record + head).accessions == read(record).accessions == ()
