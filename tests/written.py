"""Atoms written as PDB and mmCIF text in the ways of many programs, for tests of the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Atom:
    """What one record says."""

    name: str
    element: str
    residue: str
    chain: str
    number: int
    xyz: tuple[float, float, float]
    het: bool = False
    segment: str = ""
    alt: str = ""
    code: str = ""
    ter: bool = False
    """A TER record follows."""


def change(atoms: Iterable[Atom], **fields: object) -> list[Atom]:
    """The atoms with other fields: values, or functions of the atom."""
    return [replace(a, **{key: value(a) if callable(value) else value for key, value in fields.items()}) for a in atoms]


def groups(atoms: Iterable[Atom]) -> list[list[Atom]]:
    """Residues: runs of atoms of one name, chain, segment and number, without a repeated atom name."""
    found: list[list[Atom]] = []
    for a in atoms:
        key = (a.residue, a.chain, a.number, a.code, a.segment)
        last = found[-1] if found else []
        if (
            not last
            or key != (last[0].residue, last[0].chain, last[0].number, last[0].code, last[0].segment)
            or a.name == last[0].name
        ):
            found.append([])
        found[-1].append(a)
    return found


def with_ter(atoms: list[Atom], where: Callable[[Atom, Atom | None], bool]) -> list[Atom]:
    """TER after every residue for which ``where(its last atom, the next atom)``."""
    ends = [group[-1] for group in groups(atoms)]
    starts = [group[0] for group in groups(atoms)][1:]
    after = [end for end, start in zip(ends, [*starts, None], strict=True) if where(end, start)]
    return [replace(a, ter=True) if any(a is b for b in after) else a for a in atoms]


def record(a: Atom, serial: int, *, elements: bool, left: bool, number: str = "{:4d}", text: str = "{:5d}") -> str:
    """``number`` and ``text`` are the formats of the residue number and of the serial number."""
    wide = left or len(a.name) > 3 or (len(a.element) > 1 and a.name.upper().startswith(a.element))
    name = f"{a.name:<4}" if wide else f" {a.name:<3}"
    residue = f"{a.residue:>3} " if len(a.residue) < 4 else a.residue
    head = f"{'HETATM' if a.het else 'ATOM  '}{text.format(serial)} {name}{a.alt or ' '}{residue}"
    head += f"{a.chain or ' '}{number.format(a.number)}"
    end = f"      {a.segment:<4}{a.element if elements else '':>2}"
    return (head + f"{a.code or ' '}   {a.xyz[0]:8.3f}{a.xyz[1]:8.3f}{a.xyz[2]:8.3f}{1:6.2f}{20:6.2f}{end}").rstrip()


def pdb(atoms: list[Atom], end: str = "END\n", *, elements: bool = True, left: bool = False, **columns: str) -> str:
    lines = []
    for serial, a in enumerate(atoms, 1):
        lines.append(record(a, serial, elements=elements, left=left, **columns))
        if a.ter:
            lines.append("TER")
    return "\n".join([*lines, end])


COLUMNS = (
    "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_seq_id Cartn_x Cartn_y Cartn_z"
    " auth_seq_id auth_asym_id pdbx_PDB_model_num"
).split()


def cif(atoms: list[Atom], name: str = "X", drop: tuple[str, ...] = (), **fields: Callable[[Atom], object]) -> str:
    """``label_asym_id`` is the chain; the inhibitor has one of its own and no ``label_seq_id``."""
    values: dict[str, Callable[[Atom], object]] = {
        "group_PDB": lambda a: "HETATM" if a.het else "ATOM",
        "type_symbol": lambda a: a.element,
        "label_atom_id": lambda a: a.name,
        "label_alt_id": lambda a: a.alt or ".",
        "label_comp_id": lambda a: a.residue,
        "label_asym_id": lambda a: "L" if a.het else a.chain,
        "label_seq_id": lambda a: "." if a.het else a.number,
        **{f"Cartn_{axis}": lambda a, k=k: f"{a.xyz[k]:.3f}" for k, axis in enumerate("xyz")},
        "auth_seq_id": lambda a: a.number,
        "auth_asym_id": lambda a: a.chain,
        "pdbx_PDB_model_num": lambda a: 1,
        **fields,
    }
    kept = [column for column in COLUMNS if column not in drop]
    rows = [" ".join(str(serial if c == "id" else values[c](a)) for c in kept) for serial, a in enumerate(atoms, 1)]
    return "\n".join([f"data_{name}", "loop_", *(f"_atom_site.{column}" for column in kept), *rows, "#", ""])
