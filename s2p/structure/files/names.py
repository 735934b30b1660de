"""Names of residues and atoms as force fields and old programs write them, and the elements that names stand for.

A force field has its own names for protonation states (``HIE``), ends of chains (``NALA``), waters (``TIP3``), ions (``SOD``) and
a few atoms (``CD`` of isoleucine). Some of these names are also ids of other molecules in the Chemical Component Dictionary
(``HSE`` is homoserine, ``CLA`` chlorophyll), therefore the atoms of a residue decide whether a name is translated. The names are
in the table ``names.tsv`` beside this module.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AMINO_ATOMS",
    "AUTODOCK",
    "CAPS",
    "DUMMY",
    "ELEMENTS",
    "SIDE_CHAINS",
    "STANDARD",
    "element_of",
    "is_residue_name",
    "known_names",
    "standard_names",
]

DUMMY = "EP"
"""What :func:`element_of` gives for lone pairs, virtual sites and other points that are no atoms."""
_TABLE = [line.split("\t") for line in Path(__file__).with_suffix(".tsv").read_text().splitlines()]
SIDE_CHAINS = {name: tuple(atoms.split()) for kind, name, _, atoms in _TABLE if kind == "amino"}
"""Atoms beyond the backbone of the twenty standard amino acids, from CB outwards; isoleucine's CD is the CD1 of force fields."""


def known_names(wanted: str) -> dict[str, str]:
    """Standard names (or families) of one kind of thing, by the names that programs write."""
    return {other: name for kind, name, others, _ in _TABLE if kind == wanted for other in others.split()}


STANDARD = frozenset(SIDE_CHAINS)
"""The twenty standard amino acids."""
_AMINO = {name: name for name in STANDARD} | known_names("amino")
_AMINO |= {end + name: parent for name, parent in _AMINO.items() if len(name) == 3 for end in "NC"}
_TERMINI, _CAP_NAMES, _WATERS, _IONS, _BASES = map(known_names, ("end atom", "cap", "water", "ion", "base"))
_NUCLEOTIDES = _BASES | {s + b + e: b for s in ("", "D", "R") for b in "ACGTU" for e in ("", "3", "5", "N") if s + e}
CAPS = frozenset(_CAP_NAMES.values())
"""Caps of chain ends, by the names that :func:`standard_names` gives them."""
AUTODOCK = known_names("AutoDock type")
"""Elements of AutoDock's atom types that are not symbols themselves, or those of another element."""
_NO_ATOMS = frozenset(known_names("no atom"))
_CAP_ATOMS = frozenset("N C O CA CH3 CT CAT CAY CY OY NT".split())
AMINO_ATOMS = frozenset("N CA C O OXT BB SC1 SC2 SC3 SC4 SC5".split()).union(_TERMINI, _CAP_ATOMS, *SIDE_CHAINS.values())
"""Atoms of any standard amino acid, as side chains may be edited. Homoserine (HSE) and phosphohistidine (HIP) have others."""
ELEMENTS = frozenset(
    "H D HE LI BE B C N O F NE NA MG AL SI P S CL AR K CA SC TI V CR MN FE CO NI CU ZN GA GE AS SE BR KR RB SR Y ZR NB MO TC RU"
    " RH PD AG CD IN SN SB TE I XE CS BA LA CE PR ND PM SM EU GD TB DY HO ER TM YB LU HF TA W RE OS IR PT AU HG TL PB BI PO AT RN"
    " FR RA AC TH PA U NP PU AM CM BK CF".split()
)
_TWO_LETTERS = frozenset({"CL", "BR", "FE", "ZN", "MG", "MN", "SE", "SI"})
"""Symbols taken from a name whose place in the columns does not tell where the symbol ends."""


def is_residue_name(name: str) -> bool:
    """Whether a name is that of an amino acid, a cap, water, an ion or a nucleotide in some force field."""
    name = name.upper()
    return name in _AMINO or name in _WATERS or name in _CAP_NAMES or name in _NUCLEOTIDES or _ion(name) != ""


@lru_cache(maxsize=4096)
def _ion(name: str) -> str:
    """Element of a single-atom ion, from the name of its residue: ``SOD``, ``Cl-``, ``ZN``, ``FE2``, ``CU1``."""
    bare = name.upper().strip("0123456789+-")
    symbol = _IONS.get(name.upper()) or _IONS.get(bare) or (bare if bare in ELEMENTS else "")
    return "" if symbol in ("H", "D", "C", "N", "O", "P", "S", "B") else symbol


def standard_names(
    residue_name: NDArray[np.str_], atom_name: NDArray[np.str_], element: NDArray[np.str_]
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Names of residues and atoms with those of force fields translated to those of the PDB.

    Amino acids get one of the twenty standard names, waters ``HOH``, caps a name of :data:`CAPS`, single-atom ions their symbol,
    nucleotides ``DA`` or ``A``; end atoms of amino acids become ``O`` and ``OXT``. A name stays where a residue of that name has
    heavy atoms that the translation lacks; modified residues such as ``MSE`` stay. Arrays are (n,) of all atoms, neighbours in a
    residue next to each other.
    """
    if not len(residue_name):
        return residue_name, atom_name
    first = np.flatnonzero(np.r_[True, residue_name[1:] != residue_name[:-1]])
    names, code = np.unique(residue_name[first], return_inverse=True)
    if any(name not in STANDARD and name.upper() in STANDARD for name in names.tolist()):  # a program that writes small letters
        return standard_names(np.char.upper(residue_name), np.char.upper(atom_name), element)
    code = np.repeat(code, np.diff(np.r_[first, len(residue_name)]))
    heavy = ~np.isin(element, ("H", "D", DUMMY))
    new = names.astype(object)
    for k, name in enumerate(names.tolist()):
        if is_residue_name(name):
            own = (code == k) & heavy
            new[k] = _translated(name, frozenset(np.unique(atom_name[own]).tolist()))
    renamed = atom_name.astype(f"<U{max(3, atom_name.dtype.itemsize // 4)}")
    amino = np.isin(new.astype(str), list(STANDARD))[code]
    for old, standard in _TERMINI.items():
        renamed[amino & (renamed == old)] = standard
    renamed[(new == "ILE")[code] & (renamed == "CD")] = "CD1"
    return new.astype(str)[code], renamed


def _translated(name: str, atoms: frozenset[str]) -> str:
    """The standard name of residues of one name; ``atoms`` are the heavy atoms that occur in any of them."""
    upper = name.upper()
    amino = _AMINO.get(upper, "")
    if amino and (upper == amino or atoms <= AMINO_ATOMS):
        return amino
    if upper in _WATERS and all(x.startswith("O") for x in atoms):
        return "HOH"
    if upper in _CAP_NAMES and atoms <= _CAP_ATOMS:
        return _CAP_NAMES[upper]
    if upper in _NUCLEOTIDES and atoms & {"C1'", "C1*"}:
        base = _NUCLEOTIDES[upper]
        deoxy = upper[0] == "D" or (upper in _BASES and not atoms & {"O2'", "O2*"})
        return f"D{base}" if deoxy else base
    if (symbol := _ion(name)) and len(atoms) == 1 and upper not in ELEMENTS and (upper in _IONS or upper[-1] in "+-"):
        return "IOD" if symbol == "I" else symbol
    return name


@lru_cache(maxsize=65536)
def element_of(name: str, residue: str, column: str = "", aligned: bool = False) -> str:
    """Upper-case symbol of an atom; ``X`` if it cannot be determined, :data:`DUMMY` for points that are not atoms.

    Within amino acids, nucleotides, waters and ions the name decides; elsewhere the element column if it holds a symbol; then the
    name, by the rule that a symbol of one letter starts in the second of the four columns.

    Parameters
    ----------
    name
        Atom name; with its blanks if ``aligned``.
    residue
        Residue name.
    column
        What the element column holds.
    aligned
        Whether the file obeys the rule about columns.
    """
    bare, column, residue = name.strip().upper(), column.strip().upper(), residue.upper()
    letters = bare.lstrip("0123456789'\"*")
    first = letters[:1]
    if residue == "DUM" or column == DUMMY:
        return DUMMY
    if residue in _WATERS and first in ("H", "D", "O"):
        return "O" if first == "O" and bare != "OM" else first if first != "O" else DUMMY
    if bare in _NO_ATOMS and (residue in _WATERS or residue in _AMINO or column not in ELEMENTS):
        return DUMMY
    if residue in _AMINO and first in ("H", "D", "C", "N", "O", "S") and not letters == column == "SE":
        return first
    if residue in _AMINO and first in ("Q", "E", "L", "M"):  # pseudo-atoms of NMR, lone pairs, masses of GROMACS
        return DUMMY
    symbol = _ion(residue)
    if (
        symbol
        and letters.strip("0123456789+-") in (residue.strip("0123456789+-"), symbol)
        and column in ("", "X", symbol, symbol[:1])
    ):
        return symbol
    if residue in _NUCLEOTIDES and first in ("H", "D", "C", "N", "O", "P", "S"):
        return first
    if column in ELEMENTS:
        return column
    return _from_name(name.upper(), letters, aligned)


def _from_name(name: str, letters: str, aligned: bool) -> str:
    """Symbol that the name of an atom of an unknown residue starts with."""
    first, two = letters[:1], letters[:2]
    if aligned and len(name) == 4 and name[0] == " ":
        return first if first in ELEMENTS else "X"
    if aligned and len(name.strip()) < 4 and name[0] not in "0123456789H" and two in ELEMENTS:
        return two
    return two if two in _TWO_LETTERS else first if first in ELEMENTS else "X"
