"""Read the fields of PDB atom records at the columns where programs really put them.

A PDB record has no separators: its fields are columns. A program that has too little room in a field writes over its border, and
whatever follows is displaced. A record is therefore read only if every number lies whole in its own columns, its decimal point at
the place of the format. Other records are compared with the layouts that programs are known to write (:class:`_Layout`) and read
if one of them fits and no other, or by the blanks between fields if that leaves no doubt.

Arrays of bytes have a column of the file in each row, so that a rule about columns is one operation for all records.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.structure.files.names import AUTODOCK, ELEMENTS, is_residue_name

__all__ = ["Fields", "read_fields"]

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
WIDTH = 80
"""Columns of a record; displaced records are looked at in a few more."""
_BLANK, _MINUS, _POINT = b" -."
_WIDTHS = {"name": 5, "altloc": 1, "residue": 4, "chain": 4, "code": 4, "icode": 1, "segment": 4, "element": 3}
_BLANKS = re.compile(
    rb"(?:ATOM|HETATM)\s*[\w*]+\s+(?P<name>\S{1,4})\s+(?P<residue>\S{1,4})\s+"
    rb"(?:(?P<chain>[A-Z0-9]{1,2})\s+|(?P<glued>[A-Z]{1,2}))?(?P<number>-?(?:0|[1-9]\d{0,5}))(?P<icode>[A-Z]?)\s+"
    rb"(?P<x>X)\s+(?P<y>X)\s+(?P<z>X)(?:\s+(?P<rest>\S.*))?".replace(b"X", rb"-?\d*\.\d+"),
    re.IGNORECASE,
)
_WIDE = [re.compile(rb"( *-?\d+\.\d{%d})" % places * 3 + rb"(?=\s|$|[ \d]{2}\d\.\d\d)") for places in (3, 4)]
"""Coordinates of which some need more than their eight columns."""
_PAIR = re.compile(rb"\s*(-?\d*\.\d\d)\s*(-?\d*\.\d\d)(?![\d.])")
_CHARGE_RADIUS = re.compile(rb"\s*-?\d*\.\d{3,}\s+\d*\.\d{3,}\s*")


@dataclass
class Fields:
    """Fields of n records, filled in as soon as the layout of each is known."""

    n: int
    text: dict[str, Bytes] = field(init=False)
    """(width, n) characters, blanks where there are none. ``code`` is a residue number with letters or leading zeros."""
    aligned: bool = True
    """Whether names keep to the columns."""

    def __post_init__(self) -> None:
        self.text = {key: np.full((width, self.n), _BLANK, np.uint8) for key, width in _WIDTHS.items()}
        self.number = np.zeros(self.n, np.int32)
        self.coord = np.full((3, self.n), np.nan)
        """(3, n) Å, NaN where there is no number."""
        self.occupancy, self.b_factor = np.ones(self.n), np.zeros(self.n)
        self.read, self.displaced = np.zeros(self.n, bool), np.zeros(self.n, bool)
        """(n,) whether the record could be read, and whether its fields are in other columns than those of the format."""

    def put(self, row: int, number: int, coord: tuple[bytes, ...], **texts: bytes) -> None:
        """Set the fields of one record and mark it as read."""
        self.number[row], self.coord[:, row], self.read[row] = number, [float(text) for text in coord], True
        for key, text in texts.items():
            self.text[key][:, row] = np.frombuffer(text[: _WIDTHS[key]].ljust(_WIDTHS[key]), np.uint8)


@dataclass(frozen=True)
class _Layout:
    """Widths of the fields before the coordinates; a field over its width displaces what follows."""

    serial: int = 5
    name: int = 4
    residue: int = 3
    chain: int = 1
    number: int = 4
    places: int = 3
    """Decimals of a coordinate, whose field has eight columns."""

    @property
    def starts(self) -> tuple[int, int, int, int, int, int, int]:
        """First columns, counted from 0, of name, altloc, residue, chain, number, insertion code and x."""
        name = 7 + self.serial
        residue = name + self.name + 1
        chain = residue + self.residue + 1
        icode = chain + self.chain + self.number
        return name, residue - 1, residue, chain, chain + self.chain, icode, icode + 4

    def coordinates(self, columns: Bytes) -> tuple[NDArray[np.float64], Mask]:
        """(3, n) coordinates and whether each is a number."""
        x = self.starts[-1]
        return _decimals(columns[x : x + 24].reshape(3, 8, -1).swapaxes(0, 1), self.places)

    def identifies(self, columns: Bytes) -> Any:
        """(n,) whether all but residue number and coordinates can stand in these columns."""
        name, _, residue, chain, number, icode, x = self.starts
        blank = columns == _BLANK
        fits = blank[icode + 1 : x].all(axis=0) & (blank[icode] | _alphanumeric(columns[icode]))
        if self == _STANDARD:
            # A serial of six digits may use the blank before the name, a residue name of four letters that behind it.
            return fits & (blank[name - 1] | (columns[6:name] - 48 < 10).all(axis=0))
        fits &= blank[name - 1] & blank[chain - 1]
        for key, start in (("serial", 6), ("name", name), ("residue", residue), ("chain", chain), ("number", number)):
            if (width := getattr(self, key)) > getattr(_STANDARD, key):
                fits &= ~blank[start : start + width].any(axis=0)
        if self.chain > 1:
            digit = columns[number - 1 : icode] - 48 < 10
            digit[0] = False  # the chain id
            fits &= ~((columns[number : icode - 1] == 48) & ~digit[:-2] & digit[2:]).any(axis=0)  # no program writes 01
        return fits


_STANDARD = _Layout()
_LAYOUTS = [_Layout(*widths) for widths in product((5, 6, 7), (4, 5), (3, 4), (1, 2, 3, 4), (4, 5, 6), (3, 4))]
_LAYOUTS = [_Layout(chain=2, number=3)] + [x for x in _LAYOUTS if x != _STANDARD and x.starts[-1] <= 34]


def _alphanumeric(columns: Bytes) -> Any:
    return (columns - 48 < 10) | ((columns & 0xDF) - 65 < 26)


def _decimals(columns: Bytes, places: int) -> tuple[NDArray[np.float64], Mask]:
    """Right-justified numbers with ``places`` decimals, and whether they are such, of (width, ...) columns."""
    digit = columns - 48  # wraps around for what is no digit
    kind = 2 * (digit < 10) + (columns == _MINUS)  # blanks 0, sign 1, digits 2: they come in this order
    point = len(columns) - places - 1 if places else len(columns)
    head = kind[:point]
    valid = ((head > 0) | (columns[:point] == _BLANK)).all(axis=0) & (head[1:] >= head[:-1]).all(axis=0)
    negative = head == 1
    valid &= negative.sum(axis=0) < 2
    valid &= (columns[point] == _POINT) & (kind[point + 1 :] == 2).all(axis=0) if places else head[-1] == 2
    value = np.zeros(columns.shape[1:])
    for k in [*range(point), *range(point + 1, len(columns))]:
        value = value * 10 + digit[k] * (kind[k] == 2)
    return np.where(negative.any(axis=0), -value, value) / 10**places, valid


def gather(buffer: Bytes, starts: NDArray[np.int64], width: int) -> Bytes:
    """(width, n) bytes of the lines that begin at ``starts``, blanks behind their ends."""
    columns = np.empty((width, len(starts)), np.uint8)
    for k in range(width):
        columns[k] = buffer[starts + k]
    ended = columns == 10
    if ended.any():
        columns[np.logical_or.accumulate(ended, axis=0)] = _BLANK
    return columns


def read_fields(buffer: Bytes, starts: NDArray[np.int64], charges: bool) -> Fields:
    """Fields of the records that begin at ``starts``; those that could not be read are marked.

    Parameters
    ----------
    buffer
        The file, with 128 bytes after its last line.
    starts
        (n,) places of first characters.
    charges
        Charge and radius stand where other files have occupancy and B-factor (``.pqr``).
    """
    columns = gather(buffer, starts, WIDTH)
    fields = Fields(len(starts))
    _fill(fields, columns, _STANDARD, np.arange(len(starts)), charges)
    if len(rows := np.flatnonzero(~fields.read)):
        columns = gather(buffer, starts[rows], 128)
        fields.displaced[rows] = True
        _choose(fields, columns, rows, charges)
        unread = np.flatnonzero(~fields.read[rows])
        # A single record that fits no layout is damaged; a file of them has blanks between the fields.
        free = len(unread) * 2 > len(starts)
        tails = {}
        for k, row in zip(unread.tolist(), rows[unread].tolist(), strict=True):
            line = columns[:, k].tobytes().rstrip()
            tails[row] = _read_wide(fields, line, row) or (free and _read_words(fields, line, row)) or b""
        text = np.frombuffer(b"".join(tail[:30].ljust(30) for tail in tails.values()), np.uint8).reshape(-1, 30)
        _fill_tail(fields, np.ascontiguousarray(text.T), rows[unread], charges)
    return fields


def _fill(fields: Fields, columns: Bytes, layout: _Layout, rows: NDArray[np.int_], charges: bool) -> None:
    """Read those of the ``rows``, whose ``columns`` are given, that fit a layout."""
    name, altloc, residue, chain, number, icode, x = layout.starts
    coord, is_coord = layout.coordinates(columns)
    value, is_number = _decimals(columns[number:icode], 0)
    usable = is_coord.all(axis=0) & is_number
    fits, coded = usable, np.zeros(len(rows), bool)
    if layout == _STANDARD:
        value, coded, usable, fits = _unusual_numbers(columns, coord, is_coord, value, is_number)
    fits = fits & layout.identifies(columns)
    if not fits.all():
        columns, rows, coord = columns[:, fits], rows[fits], coord[:, fits]
        value, usable, coded = value[fits], usable[fits], coded[fits]
    fields.text["code"][:, rows[coded]] = columns[number : number + 4, coded]
    # A fourth letter of a residue name takes the blank before the chain.
    borders = {"name": (name, altloc), "altloc": (altloc, residue), "residue": (residue, min(residue + 4, chain))}
    for key, (start, end) in (borders | {"chain": (chain, number), "icode": (icode, icode + 1)}).items():
        fields.text[key][: end - start, rows] = columns[start:end]
    fields.coord[:, rows], fields.number[rows] = np.where(usable, coord, np.nan), np.where(usable, value, 0)
    fields.read[rows] = True
    _fill_tail(fields, columns[x + 24 :], rows, charges)


def _unusual_numbers(
    columns: Bytes, coord: NDArray[np.float64], is_coord: Mask, value: NDArray[np.float64], is_number: Mask
) -> tuple[NDArray[np.float64], Mask, Mask, Mask]:
    """Numbers in the columns of the format that are written in another way, or that are missing in single records.

    Returns the residue numbers, which of them are to be decoded, which records have all numbers, and which can be accepted. The
    coordinates are filled in.
    """
    xyz, text = columns[30:54].reshape(3, 8, -1), columns[22:26]
    # Numbers that end where their fields do, each with a blank before and behind, are not displaced.
    apart = (columns[[30, 38, 46, 54]] == _BLANK).all(axis=0) & (xyz[:, 7] != _BLANK).all(axis=0) & ~is_coord.all(axis=0)
    for k in np.flatnonzero(apart).tolist():
        texts = [xyz[axis, :, k].tobytes() for axis in range(3)]
        numbers = [_number(text, np.nan) for text in texts]
        # Four digits without a point may have lost it.
        if np.isfinite(numbers).all() and not any(re.search(rb"^ *[-+]?\d{4}", text) for text in texts):
            coord[:, k], is_coord[:, k] = numbers, True
    lone_chain = (_alphanumeric(columns[21]) & (columns[21] > 57)) | (columns[21] == _BLANK)
    for k in np.flatnonzero(~is_number & lone_chain & (text[0] != _BLANK) & (text[3] == _BLANK)).tolist():
        if text[:, k].tobytes().rstrip().isdigit():  # at the left
            value[k], is_number[k] = int(text[:, k].tobytes()), True
    complete = is_coord.all(axis=0)
    coded = complete & _alphanumeric(text).all(axis=0) & (~is_number | (text[0] == 48))
    # Digits at other places of a field would be those of a displaced number.
    no_digits = ~(xyz - 48 < 10).any(axis=1)
    damaged = ~np.isin(xyz, np.frombuffer(b"0123456789+-.eE ", np.uint8)).all(axis=1) & is_coord.any(axis=0)
    no_number = ~_alphanumeric(text).any(axis=0) & ~(columns[26] - 48 < 10)
    fits = coded | ((is_coord | no_digits | damaged).all(axis=0) & (is_number | no_number))
    return value, coded, complete & is_number | coded, fits


def _fill_tail(fields: Fields, tail: Bytes, rows: NDArray[np.int_], charges: bool) -> None:
    """Read the fields after the coordinates, which may be missing."""
    halves = tail[:12].reshape(2, 6, -1).swapaxes(0, 1)
    value, valid = _decimals(halves, 2)
    blank = (halves == _BLANK).all(axis=0)
    occupancy, b_factor = np.where(valid[0], value[0], 1), np.where(valid[1], value[1], 0)
    segment = np.where(tail[17] == _BLANK, tail[18:22], np.uint8(_BLANK))  # other text that runs on is no segment id
    element = np.full((3, len(rows)), _BLANK, np.uint8)
    element[:2] = tail[22:24]
    pqr = np.full(len(rows), charges)
    for k in np.flatnonzero(~(valid | blank).all(axis=0) & ~pqr).tolist():
        text = tail[:, k].tobytes()
        pqr[k] = _CHARGE_RADIUS.fullmatch(text) is not None
        pair = _PAIR.match(text)
        occupancy[k] = _number(pair[1] if pair else text[:6], 1)
        b_factor[k] = _number(pair[2] if pair else text[6:12], np.nan)
    docked = (tail[18] == _POINT) & (tail[[17, 19, 20, 21]] - 48 < 10).all(axis=0)
    for k in np.flatnonzero(docked & ~pqr).tolist():
        element[:, k] = _autodock(tail[23:26, k].tobytes())
    # Before 1996 the id of the entry and the number of the line stood behind column 72.
    entry = (tail[18] - 48 < 10) & (tail[19:22] != _BLANK).all(axis=0) & _decimals(tail[22:26], 0)[1]
    occupancy[pqr], b_factor[pqr], element[:, pqr | entry], segment[:, pqr | docked | entry] = 1, 0, _BLANK, _BLANK
    fields.occupancy[rows], fields.b_factor[rows] = occupancy, b_factor
    fields.text["segment"][:, rows], fields.text["element"][:, rows] = segment, element


def _number(text: bytes, default: float) -> float:
    """A number, or ``default`` where there is none."""
    try:
        value = float(text)
    except ValueError:
        return default
    return value if np.isfinite(value) else default


def _autodock(kind: bytes) -> NDArray[np.uint8]:
    """Element symbol of an AutoDock atom type."""
    text = kind.decode().strip().upper()
    return np.frombuffer(AUTODOCK.get(text, text)[:3].ljust(3).encode(), np.uint8)


def _choose(fields: Fields, columns: Bytes, rows: NDArray[np.int_], charges: bool) -> None:
    """Read records that fit exactly one layout, or exactly one of those that other records of the file fit unambiguously."""
    fitting = np.zeros((len(_LAYOUTS), len(rows)), bool)
    for layout, fits in zip(_LAYOUTS, fitting, strict=True):
        *_, number, icode, _x = layout.starts
        fits[:] = layout.coordinates(columns)[1].all(axis=0)
        if fits.any():
            fits &= _decimals(columns[number:icode], 0)[1] & layout.identifies(columns)
    only = fitting.sum(axis=0) == 1
    certain = fitting & only | fitting & ((fitting & only).any(axis=1)[:, None] & ~only)
    certain &= certain.sum(axis=0) == 1
    for layout, fits in zip(_LAYOUTS, certain, strict=True):
        if fits.any():
            _fill(fields, columns[:, fits], layout, rows[fits], charges)


def _read_wide(fields: Fields, line: bytes, row: int) -> bytes:
    """Read a record in which some coordinates need more than eight columns; returns the text after them."""
    wide = [found for pattern in _WIDE if (found := pattern.match(line, 30))]
    # A number fills its eight columns, or more without blanks.
    wide = [found for found in wide if all(len(x) == 8 or (len(x) > 8 and x[0] != _BLANK) for x in found.groups())]
    if len(wide) != 1:
        return b""
    columns = np.frombuffer(line.ljust(WIDTH), np.uint8)[:, None]
    number, is_number = _decimals(columns[22:26], 0)
    if not is_number[0] or not _STANDARD.identifies(columns)[0]:
        return b""
    code = line[22:26] if line[22:23] == b"0" else b""
    texts = {"name": line[12:16], "altloc": line[16:17], "residue": line[17:21], "chain": line[21:22], "icode": line[26:27]}
    fields.put(row, int(number[0]), wide[0].groups(), code=code, **texts)
    return line[wide[0].end() :] or b" "


def _read_words(fields: Fields, line: bytes, row: int) -> bytes:
    """Read a record whose fields are separated by blanks; returns the fields after the coordinates, in their columns."""
    found = _BLANKS.fullmatch(line)
    if found is None or not _is_certain(found):
        return b""
    fields.aligned = False
    altloc, residue, chain = b"", found["residue"], found["chain"] or found["glued"] or b""
    if len(residue) == 4 and is_residue_name(residue[1:].decode()) and not is_residue_name(residue.decode()):
        altloc, residue = residue[:1], residue[1:]
    texts = {"name": found["name"], "altloc": altloc, "residue": residue, "chain": chain, "icode": found["icode"]}
    fields.put(row, int(found["number"]), found.group("x", "y", "z"), **texts)
    return _tail_in_columns(found["rest"] or b" ")


def _is_certain(found: re.Match[bytes]) -> bool:
    """Whether three numbers between blanks are the coordinates, none missing and none cut off."""
    x, y, z = (len(found[key].partition(b".")[2]) for key in "xyz")
    rest = (found["rest"] or b"").split()
    # With two decimals they look like occupancy and B-factor, which then have to follow.
    return x == y == z and (x != 2 or (len(rest) > 1 and b"." in rest[0] and b"." in rest[1]))


def _tail_in_columns(rest: bytes) -> bytes:
    """Move occupancy, B-factor and element, which are separated by blanks, into their columns."""
    if _CHARGE_RADIUS.fullmatch(rest):
        return rest
    words = rest.split()
    numbers = [word for word in words[:2] if _PAIR.match(word + word)]
    last = words[-1].decode().upper() if words else ""
    docked = len(words) > 2 and re.fullmatch(rb"[-+]?\d*\.\d{3}", words[2])
    element = _autodock(last.encode()).tobytes() if docked else last.encode() if last in ELEMENTS else b""
    return b"".join(word.rjust(6) for word in numbers).ljust(22) + element[:2].rjust(2)
