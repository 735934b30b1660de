"""Read the text of a PDB file, or of a format derived from it (``.pdbqt``, ``.pqr``), into a table of atoms."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.arrays import AtomTable, changes, check_count, codes
from s2p.structure.files.columns import Bytes, Fields, gather, read_fields
from s2p.structure.files.names import AMINO_ATOMS, DUMMY, STANDARD, element_of, is_residue_name

__all__ = ["read_pdb"]

_PIECE = 1 << 22
_BLANK = 32
_INDENTED = re.compile(rb"\n +(?:ATOM  |HETATM)", re.IGNORECASE)
_KINDS = (b"ATOM", b"HETATM", b"TER", b"END", b"ENDMDL", b"MODEL")
_DBREF = re.compile(rb"^DBREF(?: .{5}(..).{13}UNP +|1.{20}UNP.*\nDBREF2.{5}(..).{5})(\w+)", re.MULTILINE)
"""Chain and UniProt accession, in one record or in two."""
_WAY_OUT = "save the structure as mmCIF, or write the PDB file again with another program"


class _Unclear(Exception):
    """A record that can be read in two ways, with its row and both readings."""


def read_pdb(data: bytes, path: Path, config: ReadConfig) -> AtomTable:
    """Read the atom records of a PDB, PDBQT or PQR file.

    Parameters
    ----------
    data
        Content of the file, lines ended by ``\\n``.
    path
        Its name, for messages; ``.pqr`` says that charges and radii stand behind the coordinates.
    config
        Limits.

    Raises
    ------
    StructureError
        If there are no atom records, more than ``config.max_atoms``, or one whose fields cannot be told from each other.
    """
    if not data.isascii():  # columns are characters to whoever wrote the file
        data = data.decode(errors="replace").encode("ascii", errors="replace")
    if 0 < 8 * data.count(b"\t") < config.max_bytes:
        data = data.expandtabs(8)
    if indented := _INDENTED.search(b"\n" + data):
        number = data.count(b"\n", 0, indented.start()) + 1
        raise StructureError(f"{path}, line {number}: a blank stands before the atom record; remove the blanks at line starts")
    buffer = np.frombuffer(b"".join((data, b"\n", b" " * 128)), np.uint8)
    starts, lines, kinds = _records(buffer, len(data), path, config)
    is_atom = kinds <= 1
    check_count(int(is_atom.sum()), config.max_atoms, "atom records", path)
    if not is_atom.any():
        raise StructureError(f"{path}: no atoms found; it is not a PDB, mmCIF or BinaryCIF structure file")
    line = lines[is_atom].astype(np.int32)
    name = path.name.lower().removesuffix(".gz")
    fields = read_fields(buffer, starts[is_atom], name.endswith(".pqr"))
    if data.count(b"ATOM  ") > 2 * len(line) + 100:
        raise StructureError(f"{path}: several atom records are in one line; write each on its own line")
    if not fields.read.all():
        first = int(line[~fields.read][0])
        raise StructureError(f"{path}, line {first}: the fields of this atom record are not in their columns; {_WAY_OUT}")
    try:
        _settle_names(fields)
        _settle_numbers(fields)
    except _Unclear as error:
        row, reason = error.args
        raise StructureError(f"{path}, line {line[row]}: {reason}; {_WAY_OUT}") from None
    header = data[: int(starts[is_atom][0])]
    told = _DBREF.findall(header) if b"DBREF" in header else []
    accessions = tuple(dict.fromkeys(((a + b).strip().decode(), accession.decode()) for a, b, accession in told))
    return replace(_table(fields, line, kinds[is_atom] == 1, _borders(buffer, starts, kinds)), accessions=accessions)


def _records(
    buffer: Bytes, length: int, path: Path, config: ReadConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """First byte, line number and kind of the records in use, from :data:`_KINDS`."""
    found, seen, count = [], 0, 0
    for piece in range(0, length, _PIECE):
        starts = np.flatnonzero(buffer[piece : min(piece + _PIECE, length)] == 10) + piece + 1
        if piece == 0:
            starts = np.concatenate(([0], starts))
        head = sum((buffer[starts + k] & 0xDF).astype(np.uint32) << 8 * k for k in range(3))
        lines = np.flatnonzero(np.isin(head, [int.from_bytes(text[:3], "little") for text in _KINDS]))
        word = gather(buffer, starts[lines], 7)
        coded = word[6] - 65 < 26
        word = np.where((word | 0x20) - 97 < 26, word & 0xDF, word)
        kinds = np.full(len(lines), -1, np.int8)
        for kind, text in enumerate(_KINDS):
            ends = (word[len(text)] - 65 >= 26) & (word[len(text)] != 95)  # not within a longer word
            if text == b"HETATM":
                ends |= coded  # a serial number in letters begins right behind the word
            kinds[(word[: len(text)] == np.frombuffer(text, np.uint8)[:, None]).all(axis=0) & ends] = kind
        used = kinds >= 0
        found.append((starts[lines[used]], lines[used] + seen + 1, kinds[used]))
        seen, count = seen + len(starts), count + int(used.sum())
        check_count(count, 4 * config.max_atoms, "records", path)
    starts, lines, kinds = (np.concatenate(column) for column in zip(*found, strict=True))
    return starts, lines, kinds


def _borders(buffer: Bytes, starts: NDArray[np.int64], kinds: NDArray[np.int8]) -> tuple[NDArray[np.int32], ...]:
    """Model, part and block of every atom."""
    model, closed, used = 1, False, set[int]()
    number = np.ones(len(kinds), np.int32)
    breaks = np.flatnonzero(kinds >= 3)
    for k, end in pairwise([*breaks.tolist(), len(kinds)]):
        if kinds[k] == 5:
            text = gather(buffer, starts[k : k + 1], 40)[5:, 0].tobytes().split()
            model, closed = int(text[0][:9]) if text and text[0].isdigit() else model + closed, False
            model = max(used) + 1 if model in used else model  # files put together
            used.add(model)
        closed |= bool(kinds[k] == 4)
        if closed and (kinds[k:end] <= 1).any():
            model, closed = model + 1, False  # models without a MODEL record
        number[k:end] = model
    is_atom = kinds <= 1
    part, block = np.cumsum((kinds >= 2) & (kinds <= 4)), np.cumsum(kinds == 3)
    return number[is_atom], part[is_atom].astype(np.int32), block[is_atom].astype(np.int32)


def _settle_names(fields: Fields) -> None:
    """Distinguish four-letter residue names from two-letter chain ids, which share a column, and from altlocs."""
    residue, chain, altloc = fields.text["residue"], fields.text["chain"], fields.text["altloc"]
    rows = np.flatnonzero(residue[3] != _BLANK)
    cut = rows[(residue[:2, rows] == np.array([[65], [49]])).all(axis=0) & (chain[0, rows] != _BLANK)]
    if len(cut):  # the codes of the PDB that have five letters begin so
        raise _Unclear(int(cut[0]), "a ligand's code of five letters may run over the chain id")
    if len(rows):
        # A letter behind ALA that makes no other residue of it is part of the chain id, everywhere in the file; not so behind
        # the first letters of a ligand, SERO, which has other atoms.
        odd = rows[_are_residues(residue[:3, rows]) & ~_are_residues(residue[:, rows])]
        words, atoms = _text(residue[:, odd]), _text(fields.text["name"][:, odd])
        foreign = ~np.isin(atoms, list(AMINO_ATOMS)) & ~np.char.startswith(np.char.lstrip(atoms, "0123456789"), "H")
        proof = residue[3, odd[~np.isin(words, words[foreign])]]
        rows = rows[np.isin(residue[3, rows], proof)]
        chain[1, rows], chain[0, rows], residue[3, rows] = chain[0, rows], residue[3, rows], _BLANK
    rows = np.flatnonzero((altloc[0] != _BLANK) & (residue[:3] != _BLANK).all(axis=0) & (residue[3] == _BLANK))
    if len(rows):
        whole = np.concatenate((altloc, residue[:3]))
        rows = rows[_are_residues(whole[:, rows]) & ~_are_residues(residue[:3, rows])]
        residue[:, rows], altloc[0, rows] = whole[:, rows], _BLANK


def _are_residues(columns: Bytes) -> NDArray[np.bool_]:
    """(n,) whether a force field has a residue of that name."""
    names, code = np.unique(_text(columns), return_inverse=True)
    return np.array([is_residue_name(name) for name in names.tolist()])[code]


def _settle_numbers(fields: Fields) -> None:
    """Residue numbers over 9999 that keep to four columns: hybrid-36, hexadecimal, or with a digit in a column beside."""
    number, chain, icode = fields.number, fields.text["chain"], fields.text["icode"][0]
    same_chain = ~changes(*chain)
    after_9999 = same_chain & np.concatenate(([False], number[:-1] == 9999))
    code = fields.text["code"]
    texts = {row: code[:, row].tobytes().decode() for row in np.flatnonzero(code[0] != _BLANK).tolist()}
    padded = [row for row in texts if texts[row].isdigit()]
    for row in padded:
        del texts[row]
    _settle_coded(fields, texts, after_9999, same_chain)
    lone_digit = (chain[0] - 48 < 10) & (chain[1] == _BLANK)
    if padded and lone_digit[padded].all():  # no program writes 0001, but the first digit stands where the chain id would
        rows = lone_digit & (number >= 1000)
        rows[padded] = True
        number[rows], chain[0, rows] = number[rows] + 10000 * (chain[0, rows] - 48).astype(np.int32), _BLANK
    digit = np.flatnonzero(icode - 48 < 10)
    if not len(digit):
        return
    first = digit[0]
    if same_chain[first] and number[first] == number[first - 1]:
        return  # insertion codes, in the residue that they are inserted behind
    value = number[digit] * 10 + icode[digit] - 48
    steps = np.diff(value)[same_chain[digit][1:]]
    counts = len(np.unique(number[digit])) > 1 and bool(np.isin(steps, (0, 1)).all())
    if not (after_9999[first] or counts):
        k, letter = int(number[first]), chr(icode[first])
        raise _Unclear(int(first), f"it may be of residue {k}{letter} or of residue {k} with insertion code {letter}")
    number[digit], icode[digit] = value, _BLANK


def _settle_coded(fields: Fields, texts: dict[int, str], after_9999: NDArray[np.bool_], same_chain: NDArray[np.bool_]) -> None:
    """Residue numbers with letters, hybrid-36 or hexadecimal, and hexadecimal ones without letters."""
    chain, number = fields.text["chain"], fields.number
    ids = {(a, b) for a, b in chain[:2, fields.displaced & (chain[1] != _BLANK)].T.tolist()}
    for row, text in list(texts.items()):
        if (chain[0, row], ord(text[0])) in ids and text[1:].isdigit():  # the second letter of a chain id
            number[row], chain[1, row] = int(texts.pop(row)[1:]), ord(text[0])
    begins = np.flatnonzero(after_9999 & (number == 2710)).tolist()  # 10000
    for begin in begins:
        _count_in_hexadecimal(number, texts, begin, same_chain)
    hexadecimal = bool(begins) or any(text[0].isdigit() for text in texts.values())
    last_decimal = next(iter(np.flatnonzero((number >= 9990) & (number < 10000)).tolist()), len(number))
    for row, text in texts.items():
        told = not text[1:].isdigit() or row > last_decimal
        if hexadecimal or not told or text not in (text.upper(), text.lower()):
            raise _Unclear(row, f"the residue number {text} can be read in more than one way")
        number[row] = int(text, 36) + 10000 + (-10 if text[0].isupper() else 16) * 36**3


def _count_in_hexadecimal(number: NDArray[np.int32], texts: dict[int, str], begin: int, same_chain: NDArray[np.bool_]) -> None:
    """Read the numbers from row ``begin`` on as hexadecimal until they restart, and clear the texts of those with letters."""
    last = 0
    for row in range(begin, len(number)):
        text = texts.get(row, str(number[row]))
        value = int(text, 16) if re.fullmatch("[0-9A-Fa-f]{4}", text) else 0
        if value < max(last, 10000) or not same_chain[row]:
            break
        number[row] = last = value
        texts.pop(row, None)


def _text(columns: Bytes) -> NDArray[np.str_]:
    """(n,) strings, without blanks around them, of (width, n) characters."""
    joined = np.ascontiguousarray(columns.T).view(f"S{len(columns)}").ravel()
    return np.char.strip(joined, b" ").astype(f"U{len(columns)}")


def _table(fields: Fields, line: NDArray[np.int32], het: NDArray[np.bool_], borders: tuple[NDArray[np.int32], ...]) -> AtomTable:
    """The table of all atoms; points that are no atoms are left out."""
    element = _elements(fields)
    text = {key: _text(columns) for key, columns in fields.text.items()}
    model, part, block = borders
    notes = []
    if displaced := int(fields.displaced.sum()):
        notes.append(f"{displaced} atom records have displaced or unusual fields; they were read where that is certain")
    if dummies := int((element == DUMMY).sum()):
        notes.append(f"{dummies} lone pairs and other points that are not atoms were left out")
    table = AtomTable(
        coord=fields.coord.T,
        name=text["name"],
        element=element,
        altloc=text["altloc"],
        residue_name=text["residue"],
        chain=text["chain"],
        number=fields.number,
        insertion_code=text["icode"],
        segment=text["segment"],
        occupancy=fields.occupancy.astype(np.float32),
        b_factor=fields.b_factor.astype(np.float32),
        het=het,
        model=model,
        part=part,
        block=block,
        label_chain=np.zeros(len(line), "<U1"),
        label_number=np.zeros(len(line), np.int32),
        line=line,
        notes=tuple(notes),
    )
    return table.take(element != DUMMY) if dummies else table


def _elements(fields: Fields) -> NDArray[np.str_]:
    """(n,) symbols, looked up once for every kind of atom."""
    name, residue = fields.text["name"], fields.text["residue"]
    halves = (np.concatenate((name[:4], residue)), np.concatenate((name[4:], fields.text["element"], residue)))
    code = codes(*(np.ascontiguousarray(half.T).view(np.uint64).ravel() for half in halves))
    first = np.unique(code, return_index=True)[1]
    kinds = [tuple(fields.text[key][:, k].tobytes().decode() for key in ("name", "residue", "element")) for k in first.tolist()]
    # In standard residues all heavy atoms have symbols of one letter: where do their names start?
    starts = [atom[0] for atom, res, _ in kinds if res.strip() in STANDARD and atom.strip() in ("N", "CA", "C", "O", "CB")]
    starts = starts or [atom[0] for atom, *_ in kinds if len(atom.strip()) < 4]
    aligned = fields.aligned and starts.count(" ") * 2 > len(starts)
    return np.array(
        [element_of(atom[:4] if aligned else atom.strip(), res.strip(), column, aligned) for atom, res, column in kinds]
    )[code]
