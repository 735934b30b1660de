"""Awkward inputs made from a good one: named cases for the tests, random damage for the fuzzer."""

from __future__ import annotations

import gzip
import io
import random
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import msgpack
import numpy as np
from biotite.structure.io.pdbx import BinaryCIFFile, CIFFile

__all__ = ["Case", "cases", "large_case", "mutate", "seeds"]

EXAMPLES = Path(__file__).resolve().parents[1] / "data" / "examples"

TOKENS = (
    "NaN", "-nan", "inf", "-inf", "1e308", "-1e39", "1e999", "99999999", "-99999999", "2147483648", "-2147483649",
    "9223372036854775808", "0", "-0", "1e-45", "?", ".", "''", '""', "'a b'", ";", "*****", "A" * 60, "Z" * 5000, "é", "日本",
    "\x00", "\x1b[2J", "<script>alert(1)</script>", "../../etc/passwd", "%s%n", "$PATH", "`id`", "data_", "loop_", "save_",
    "stop_", "#", "_atom_site.id", "_atom_site.Cartn_x", "H", "D", "X", "HOH", "DA", "DALA", "UNK", "ALA", "CA", "HETATM",
    "A\tB", "0x1F", "1_000",
)  # fmt: skip
LINES = (
    "MODEL        1", "MODEL       -1", "MODEL", "ENDMDL", "TER", "END", "", " " * 200, "data_two", "loop_", "_atom_site.id", ";",
    "#", "HETATM 9999  C1  LIG A 501      10.000  10.000  10.000  1.00 20.00           C  ", "ATOM", "ANISOU", "SIGATM", "HETATM",
    "ATOM      1  CA  ALA A   1         nan     nan     nan  1.00 20.00           C  ",
    "ATOM      1  CA  ALA A   1    99999.99999999.99999999.999  1.00 20.00           C  ",
    "SEQRES   1 A    1  ALA", "MTRIX1   1  1.000000  0.000000  0.000000        0.00000",
    "CRYST1    0.000    0.000    0.000  0.00", "CRYST1      nan      inf    1e999  90.00  90.00  90.00 P 1           1",
    "SSBOND   1 CYS A    1    CYS A    2",
    "LINK         C   ALA A   1                 N   GLY A   2     1555   1555  1.33", "REMARK 350   BIOMT1   1  1.0 0.0 0.0 0.0",
    "HELIX    1  1 ALA A    1  ALA A   10  1", "DBREF  1ABC A    1   100  UNP    P00000   X", "CONECT    1    2    3",
    "_entity_poly.entity_id 1", "_cell.length_a nan", "_struct_conn.id 1", "ORIGX1      1.000000  0.000000",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- good inputs


def _text(name: str) -> str:
    path = EXAMPLES / name
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()


def _binary(cif: str) -> bytes:
    """BinaryCIF with the categories that the reader looks at."""
    source = CIFFile.deserialize(cif)
    result = BinaryCIFFile()
    for name, block in source.items():
        for category in list(block):
            if category not in ("atom_site", "entity", "entity_poly", "struct_asym"):
                del block[category]
        result[name] = _binary_block(block)
    out = io.BytesIO()
    result.write(out)
    return out.getvalue()


def _binary_block(block: Any) -> Any:
    from biotite.structure.io.pdbx import BinaryCIFBlock, BinaryCIFCategory, BinaryCIFColumn, BinaryCIFData

    return BinaryCIFBlock(
        {
            name: BinaryCIFCategory(
                {key: BinaryCIFColumn(BinaryCIFData(column.as_array(str))) for key, column in category.items()}
            )
            for name, category in block.items()
        }
    )


def _part(n_residues: int) -> gemmi.Structure:
    """The start of a serine protease's chain with its small-molecule ligand, ions and waters."""
    whole = gemmi.make_structure_from_block(gemmi.cif.read_string(_text("1GBT.cif.gz")).sole_block())
    for chain in whole[0]:
        polymer = [r for r in chain if r.entity_type == gemmi.EntityType.Polymer]
        extra = {(str(r.seqid), r.name) for r in [r for r in chain if r.entity_type != gemmi.EntityType.Polymer][6:]}
        gone = {(str(r.seqid), r.name) for r in polymer[n_residues:]} | extra
        for k in reversed(range(len(chain))):
            if (str(chain[k].seqid), chain[k].name) in gone:
                del chain[k]
    return whole


def seeds(n_residues: int = 12) -> dict[str, bytes]:
    """Small good files of every format, by file name."""
    part = _part(n_residues)
    cif = part.make_mmcif_document().as_string()
    keep = gemmi.cif.read_string(cif)
    small = gemmi.cif.Document()
    block = small.add_new_block("small")
    for category in ("_entity.", "_entity_poly.", "_struct_asym.", "_atom_site."):
        if table := keep.sole_block().get_mmcif_category(category, raw=True):
            block.set_mmcif_category(category, table, raw=True)
    pdb = part.make_pdb_string().encode()
    bare = "\n".join(line for line in pdb.decode().splitlines() if line[:6] in ("ATOM  ", "HETATM", "TER   ")).encode()
    small_cif = small.as_string()
    return {
        "full.pdb": pdb,
        "bare.pdb": bare,
        "full.cif": cif.encode(),
        "bare.cif": small_cif.encode(),
        "bare.bcif": _binary(small_cif),
        "bare.pdb.gz": gzip.compress(bare, mtime=0),
        "bare.cif.gz": gzip.compress(small_cif.encode(), mtime=0),
        "bare.bcif.gz": gzip.compress(_binary(small_cif), mtime=0),
    }


# ---------------------------------------------------------------------------------------------- named cases


@dataclass(frozen=True)
class Case:
    """An awkward file."""

    name: str
    file: str
    data: bytes
    result: bool | None
    """Whether it must give a result or be refused in one sentence; ``None``: either will do."""


def _ubiquitin() -> list[str]:
    return [line for line in _text("1ubi.pdb.gz").splitlines() if line.startswith("ATOM")]


def _with(lines: list[str], start: int, text: str, which: Callable[[int, str], bool] = lambda k, line: True) -> list[str]:
    """``text`` put at column ``start`` (0-based) of some lines."""
    return [line[:start] + text + line[start + len(text) :] if which(k, line) else line for k, line in enumerate(lines)]


def _cif(lines: list[str], **changes: str) -> str:
    """The mmCIF file of PDB lines, with columns of ``_atom_site`` set to one value."""
    document = gemmi.read_pdb_string("\n".join(lines)).make_mmcif_document()
    for tag, value in changes.items():
        column = document.sole_block().find_values(f"_atom_site.{tag}")
        for k in range(len(column)):
            column[k] = gemmi.cif.quote(value)
    return str(document.as_string())


def _without_author_numbers(lines: list[str]) -> str:
    document = gemmi.read_pdb_string("\n".join(lines)).make_mmcif_document()
    numbers, places = (document.sole_block().find_values(f"_atom_site.{tag}_seq_id") for tag in ("auth", "label"))
    for k, number in enumerate(list(numbers)):
        numbers[k], places[k] = "?", number
    return str(document.as_string())


def _grid(lines: list[str], copies: int) -> list[str]:
    """Copies of a protein on a grid, in as many chains as PDB can name, their numbers going on in the next round."""
    letters = string.ascii_letters + string.digits
    rows = []
    for copy in range(copies):
        shift = 60 * np.array([copy % 6, copy // 6 % 6, copy // 36])
        for line in lines:
            xyz = "".join(f"{float(line[k : k + 8]) + d:8.3f}" for k, d in zip((30, 38, 46), shift.tolist(), strict=True))
            number = int(line[22:26]) + 100 * (copy // len(letters))
            rows.append(f"{line[:6]}{'*****'}{line[11:21]}{letters[copy % len(letters)]}{number:>4}{line[26:30]}{xyz}{line[54:]}")
    return rows


def cases() -> list[Case]:
    """The awkward inputs that everybody meets sooner or later, each small (see :func:`large_case` for the other kind)."""
    good = _ubiquitin()
    n = len(good)
    rng = random.Random(1)
    shuffled = rng.sample(good, n)
    header = [line for line in _text("1ubi.pdb.gz").splitlines() if not line.startswith(("ATOM", "HETATM"))]
    ligand = [f"HETATM{k:>5}  C{k}  LIG A 501    {1.4 * k:8.3f}   0.000   0.000  1.00 20.00           C" for k in range(1, 7)]
    dna = [f"ATOM  {k:>5}  C1'  DA A{k:>4}    {5.0 * k:8.3f}   0.000   0.000  1.00 20.00           C" for k in range(1, 9)]
    water = [f"HETATM{k:>5}  O   HOH A{k:>4}    {5.0 * k:8.3f}   0.000   0.000  1.00 20.00           O" for k in range(1, 9)]
    hydrogens = [_with([line], 12, " H  ")[0][:76] + " H" for line in good[:8]]
    ca = [line for line in good if line[12:16] == " CA "]
    mixed = "".join(line + rng.choice(("\n", "\r\n", "\r")) for line in good)
    two = [line for line in good if line[22:26].strip() == "10"]
    hetero = [x for a, b in (("A", "GLY"), ("B", "SER")) for x in _with(_with(two, 16, a), 17, b)]
    text = {
        "truncated in the middle of a record": ([*good[: n // 2], good[n // 2][:40]], None),
        "truncated to a header": (header, False),
        "atoms in random order": (shuffled, True),
        "atoms from last to first": (good[::-1], True),
        "serial numbers all alike": (_with(good, 6, "    1"), True),
        "serial numbers overflown": (_with(good, 6, "*****"), True),
        "serial numbers not numbers": (_with(good, 6, " what"), True),
        "residue numbers all alike": (_with(good, 22, "   1"), True),
        "residue numbers overflown": (_with(good, 22, "****"), None),
        "some coordinates no numbers": (_with(good, 30, "     nan", lambda k, _: k % 7 == 0), True),
        "all coordinates no numbers": (_with(good, 30, "     nan     nan     nan"), False),
        "coordinates overflown": (_with(good, 30, "********", lambda k, _: k > 50), None),
        "coordinates far apart": (_with(good, 30, "99999999", lambda k, _: k % 2 == 0), None),
        "all atoms in one place": (_with(good, 30, "   1.000   1.000   1.000"), False),
        "all atoms on a line": (_with(good, 38, "   1.000   1.000"), True),
        "B-factors no numbers": (_with(good, 60, "   nan"), True),
        "B-factors infinite": (_with(good, 60, "   inf"), True),
        "occupancies zero": (_with(good, 54, "  0.00"), True),
        "occupancies no numbers": (_with(_with(good, 54, "   nan"), 16, "A", lambda k, _: k % 2 == 0), True),
        "no elements": ([line[:66] for line in good], True),
        "elements unknown": (_with(good, 76, "Zz"), True),
        "elements all deuterium": (_with(good, 76, " D"), True),
        "no chain id": (_with(good, 21, " "), True),
        "a chain id that is no ASCII": (_with(good, 21, "é"), True),
        "a chain for every atom": ([_with([x], 21, string.ascii_letters[k % 52])[0] for k, x in enumerate(good)], True),
        "records in small letters": ([line.lower() for line in good], None),
        "one atom": (ca[:1], True),
        "one residue": (two, True),
        "CA atoms only": (ca, True),
        "hydrogens only": (hydrogens, False),
        "a ligand only": (ligand, False),
        "water only": (water, False),
        "nucleic acid only": (dna, False),
        "D-amino acids": (["HETATM" + x[6:17] + "DAL" + x[20:] for x in good], True),
        "unknown residues only": (_with(good, 17, "UNK"), True),
        "residue names that do not exist": (_with(good, 17, "QZ9"), True),
        "two residues in one place": ([x for x in good if x not in two] + hetero, True),
        "twice the same": (good + good, True),
        "two models, the second empty": (["MODEL        1", *good, "ENDMDL", "MODEL        2", "ENDMDL"], True),
        "a model that does not end": (["MODEL        1", *good], None),
        "models of one number": (["MODEL        1", *good, "ENDMDL", "MODEL        1", *good, "ENDMDL"], None),
        "ANISOU out of place": (
            ["ANISOU" + good[0][6:], *good[:9], "ANISOU" + good[8][6:], "ANISOU" + good[8][6:], *good[9:]],
            True,
        ),
        "a TER after every record": ([x for line in good for x in (line, "TER")], True),
        "markup in names": (_with(_with(good, 17, "<b>"), 12, "<i> ", lambda k, _: k % 5 == 4), True),
    }
    found = [Case(name, "x.pdb", "\n".join([*lines, "END", ""]).encode(), result) for name, (lines, result) in text.items()]
    plain = "\n".join([*good, "END", ""])
    script = "<script>alert(1)</script>"
    cif = _cif(good)
    raw = {
        "empty": ("x.pdb", b"", False),
        "blank": ("x.pdb", b" \n" * 1000, False),
        "zeros": ("x.pdb", bytes(100_000), False),
        "noise": ("x.bcif", b"\x83" + rng.randbytes(10_000), False),
        "mixed line ends": ("x.pdb", mixed.encode(), True),
        "old Macintosh line ends": ("x.pdb", plain.replace("\n", "\r").encode(), True),
        "old Macintosh line ends in mmCIF": ("x.cif", cif.replace("\n", "\r").encode(), True),
        "no line ends": ("x.pdb", plain.replace("\n", "").encode(), None),
        "UTF-8 with a mark": ("x.cif", b"\xef\xbb\xbf" + cif.encode(), True),
        "UTF-16": ("x.pdb", plain.encode("utf-16"), True),
        "UTF-16 in mmCIF": ("x.cif", cif.encode("utf-16"), True),
        "UTF-16 without a mark": ("x.pdb", plain.encode("utf-16-le"), False),
        "UTF-32": ("x.pdb", plain.encode("utf-32"), False),
        "Latin-2 in a remark": ("x.pdb", "REMARK   1 Škrhák\n".encode("iso8859-2") + plain.encode(), True),
        "tabs for blanks in mmCIF": ("x.cif", cif.replace(" ", "\t").encode(), None),
        "a long chain id": ("x.cif", _cif(good, auth_asym_id="Q" * 60).encode(), True),
        "a chain id of a megabyte": ("x.cif", _cif(good[:9], auth_asym_id="Q" * 1_000_000).encode(), False),
        "a chain id that is no ASCII in mmCIF": ("x.cif", _cif(good, auth_asym_id="日本").encode(), None),
        "a path as chain id": ("x.cif", _cif(good, auth_asym_id="../../../tmp/evil").encode(), True),
        "a script as chain id": ("x.cif", _cif(good, auth_asym_id=script).encode(), True),
        "no residue numbers in mmCIF": ("x.cif", _cif(good, auth_seq_id="?").replace("'?'", "?").encode(), False),
        "no author's residue numbers in mmCIF": ("x.cif", _without_author_numbers(good).encode(), True),
        "coordinates beyond single precision": ("x.cif", _cif(good, Cartn_x="1e300").encode(), False),
        "a truncated loop in mmCIF": ("x.cif", cif.encode()[: 3 * len(cif) // 4], None),
        "two blocks in mmCIF": ("x.cif", b"data_first\n_entry.id X\n" + cif.encode(), True),
        "a truncated BinaryCIF": ("x.bcif", _binary(cif)[:-5000], False),
        "gzip of gzip": ("x.pdb.gz", gzip.compress(gzip.compress(plain.encode())), False),
        "truncated gzip": ("x.pdb.gz", gzip.compress(plain.encode())[:-2000], False),
        "gzip with rubbish behind it": ("x.pdb.gz", gzip.compress(plain.encode()) + b"rubbish", None),
        "a page that asks for a password": ("x.cif", b"<!DOCTYPE html><html><body>Please log in</body></html>", False),
        "a picture": ("x.pdb", b"\x89PNG\r\n\x1a\n" + rng.randbytes(1000), False),
    }  # fmt: skip
    return found + [Case(name, *rest) for name, rest in raw.items()]


def large_case() -> Case:
    """More atoms than a PDB file can number."""
    good = _ubiquitin()
    lines = _grid(good, 100_000 // len(good) + 1)
    return Case("more than 99,999 atoms", "x.pdb", "\n".join(lines).encode(), True)


# ---------------------------------------------------------------------------------------------- random damage


def mutate(data: bytes, rng: random.Random, *, max_size: int = 1 << 20) -> bytes:
    """One to a few random changes of a file; gzip and BinaryCIF are changed inside as well as outside."""
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        data = _once(data, rng)[:max_size]
    return data


def _once(data: bytes, rng: random.Random) -> bytes:
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.8:
        try:
            return gzip.compress(_once(gzip.decompress(data), rng), 1, mtime=0)
        except (OSError, EOFError, zlib.error):
            return _bytes(data, rng)
    if data[:1] >= b"\x80" and rng.random() < 0.8:
        return _packed(data, rng)
    if rng.random() < 0.1:
        return rng.choice((_bytes, _encoding))(data, rng)
    return rng.choice((_lines, _token, _token, _columns, _chunk))(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return rng.randbytes(rng.randrange(64))
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 30))):
        at = rng.randrange(len(changed))
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
        else:
            del changed[at : at + rng.choice((1, 2, 8, 80))]
        if not changed:
            break
    return bytes(changed)


def _encoding(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", errors="replace")
    kind = rng.randrange(8)
    if kind == 0:
        return text.encode("utf-16")
    if kind == 1:
        return b"\xef\xbb\xbf" + data
    if kind == 2:
        return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\x0b")))
    if kind == 3:
        return b"".join(line + rng.choice((b"\n", b"\r\n", b"\r")) for line in data.splitlines())
    if kind == 4:
        return rng.choice((data.lower(), data.upper()))
    if kind == 5:
        return data.replace(b" ", b"\t")
    if kind == 6:
        return text.encode(rng.choice(("utf-16-be", "utf-32", "cp500")), errors="replace")
    return gzip.compress(data, 1, mtime=0)


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    at, size = rng.randrange(len(lines)), rng.choice((1, 1, 2, 10, 100))
    kind = rng.randrange(8)
    if kind == 0:
        del lines[at : at + size]
    elif kind == 1:
        lines[at:at] = lines[at : at + size] * rng.choice((1, 1, 3))
    elif kind == 2:
        block = lines[at : at + size]
        rng.shuffle(block)
        lines[at : at + size] = block
    elif kind == 3:
        lines.insert(at, rng.choice(LINES).encode() + b"\n")
    elif kind == 4:
        del lines[at:]
    elif kind == 5:
        block = lines[at : at + size]
        del lines[at : at + size]
        place = rng.randrange(len(lines) + 1)
        lines[place:place] = block
    elif kind == 6:
        rng.shuffle(lines)
    else:
        lines[at] = rng.choice(LINES).encode() + b"\n"
    return b"".join(lines)


def _token(data: bytes, rng: random.Random) -> bytes:
    """Put something else where a blank-separated value is."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    parts = lines[at].split(b" ")
    for _ in range(rng.choice((1, 1, 2))):
        parts[rng.randrange(len(parts))] = rng.choice(TOKENS).encode()
    lines[at] = b" ".join(parts)
    return b"\n".join(lines)


def _columns(data: bytes, rng: random.Random) -> bytes:
    """Overwrite, insert or cut columns, in one line or in a run of lines."""
    lines = data.split(b"\n")
    first = rng.randrange(len(lines))
    start, width = rng.randrange(82), rng.choice((1, 1, 2, 4, 8, 20))
    kind, fill = rng.randrange(3), rng.choice(TOKENS).encode().ljust(width)
    for k in range(first, min(len(lines), first + rng.choice((1, 1, 5, 1000)))):
        line = lines[k]
        head, tail = line[:start], line[start + width :] if kind != 1 else line[start:]
        lines[k] = head + tail if kind == 2 else head + fill[:width] + tail
    return b"\n".join(lines)


def _chunk(data: bytes, rng: random.Random) -> bytes:
    if len(data) < 2:
        return data
    start = rng.randrange(len(data))
    piece = data[start : start + rng.choice((1, 8, 80, 800, 8000))]
    if rng.random() < 0.2:
        return data[:start]
    if rng.random() < 0.4:
        return data[:start] + data[start + len(piece) :]
    at = rng.randrange(len(data))
    return data[:at] + piece + data[at:]


NUMBERS = (0, 1, -1, 2, 3, 7, 255, 65536, 2**31 - 1, -(2**31), 2**31, 2**40, 2**63 - 1, -(2**63), 0.5, float("nan"), float("inf"))


def _packed(data: bytes, rng: random.Random) -> bytes:
    """Change one value, key or encoding in a MessagePack tree."""
    try:
        tree = msgpack.unpackb(data, strict_map_key=False)
    except Exception:  # damaged already
        return _bytes(data, rng)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in list(node.items()) if isinstance(node, dict) else list(enumerate(node)):
            places.append((node, key))
            if isinstance(value, (dict, list)):
                walk(value)

    if not isinstance(tree, (dict, list)):
        return _bytes(data, rng)
    walk(tree)
    if not places:
        return _bytes(data, rng)
    node, key = rng.choice(places)
    value = node[key]
    kind = rng.randrange(5)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, list):
        node.insert(key, value)
    elif kind == 2:
        other, place = rng.choice(places)
        node[key] = other[place] if not isinstance(other[place], (dict, list)) else None
    elif isinstance(value, bytes):
        node[key] = _bytes(value, rng) if rng.random() < 0.7 else value * rng.choice((0, 2, 5))
    elif isinstance(value, str):
        names = ("ByteArray", "FixedPoint", "IntervalQuantization", "RunLength", "Delta", "IntegerPacking", "StringArray")
        node[key] = rng.choice((*TOKENS, *names))
    else:
        node[key] = rng.choice((*NUMBERS, None, "x", b"", [], {}, True))
    return bytes(msgpack.packb(tree))
