"""One structure as other programs would write it: read as the original, refused with a sentence, or with a note of what was left.

Every input is made from 1hpv (two chains with the same residue numbers, one inhibitor); what it was made from is what is right.
"""

from __future__ import annotations

import gzip
import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written import Atom, change, cif, groups, pdb, with_ter

from s2p.errors import S2PError
from s2p.structure.reading import Structure, read_structure

LETTER = dict(
    zip(
        "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(),
        "ARNDCQEGHILKMFPSTWYV",
        strict=True,
    )
)
ALIASES = {
    "HIS": "HSD HSE HSP HID HIE HIP HISB".split(),
    "CYS": "CYX CYM CYSH".split(),
    "ASP": "ASH ASPP".split(),
    "GLU": "GLH GLUP".split(),
    "LYS": "LYN LYSH".split(),
    "ARG": "ARN ARGN".split(),
    "TYR": ["TYM"],
}
NAMES = LETTER | {alias: LETTER[name] for name, aliases in ALIASES.items() for alias in aliases} | {"MSE": "M", "UNK": "X"}


def original(last: int = 40) -> list[Atom]:
    """The first residues of both chains and the inhibitor."""
    atoms = []
    path = Path(__file__).resolve().parents[2] / "data" / "examples" / "1hpv.pdb.gz"
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        residue, number = line[17:20], line[22:26]
        if line.startswith(("ATOM", "HETATM")) and residue != "HOH" and (residue == "478" or int(number) <= last):
            name = line[12:16].strip()
            xyz = (float(line[30:38]), float(line[38:46]), float(line[46:54]))
            atoms.append(Atom(name, name[0], residue, line[21].strip() or "L", int(number), xyz, residue == "478"))
    return atoms


WHOLE = original()
PROTEIN = [a for a in WHOLE if a.residue in LETTER]
FIRST, SECOND = ([a for a in PROTEIN if a.chain == chain] for chain in "AB")
LIGAND = [a for a in WHOLE if a.residue == "478"]


def moved(atoms: Iterable[Atom], by: float, **fields: object) -> list[Atom]:
    return change(atoms, xyz=lambda a: (round(a.xyz[0] + by, 3), a.xyz[1], a.xyz[2]), **fields)


def at_chain_ends(a: Atom, following: Atom | None) -> bool:
    return not a.het and (following is None or following.het or following.chain != a.chain or following.number < a.number)


def problems(structure: Structure, atoms: list[Atom]) -> list[str]:
    """In what the structure differs from the atoms it was made from."""
    chains: dict[tuple[str, str], str] = {}
    protein = [group for group in groups(atoms) if group[0].residue in NAMES and not group[0].het]
    for group in protein:
        key = (group[0].chain, group[0].segment)
        chains[key] = chains.get(key, "") + NAMES[group[0].residue]
    ligands = Counter(group[0].residue for group in groups(atoms) if group[0].het)
    found = [structure.sequence(chain) for chain in structure.chains]
    coord = np.array([a.xyz for group in protein for a in group])
    ids, ligand_ids = structure.residues.ids(), [ligand.id for ligand in structure.ligands]
    checks = {
        f"chains {found}, not {list(chains.values())}": sorted(found) == sorted(chains.values()),
        f"ligands {ligand_ids}, not {dict(ligands)}": Counter(ligand.name for ligand in structure.ligands) == ligands,
        "ids come twice": len(set(ids)) == len(ids) and len(set(ligand_ids)) == len(ligand_ids),
        f"elements {set(structure.atoms.element.tolist())}": set(structure.atoms.element.tolist()) <= {"C", "N", "O", "S"},
        "residues without CA": bool(structure.residues.has_ca.all()),
        f"{len(structure.atoms)} atoms, not {len(coord)}, or elsewhere": len(coord) == len(structure.atoms)
        and np.allclose(np.sort(structure.atoms.coord.sum(1)), np.sort(coord.sum(1)), atol=0.02),
    }
    return [text for text, right in checks.items() if not right]


def named(atoms: list[Atom], seed: int = 0) -> list[Atom]:
    """Residues of seven kinds called as force fields do."""
    chosen, draw = {}, random.Random(seed)
    for group in groups(atoms):
        a = group[0]
        chosen[a.chain, a.number] = draw.choice(ALIASES[a.residue]) if a.residue in ALIASES else a.residue
    return change(atoms, residue=lambda a: chosen[a.chain, a.number])


def hydrogens(atoms: list[Atom]) -> list[Atom]:
    """Names that are also metals': HG is mercury, HE helium, HO holmium."""
    extra = {"THR": ["HG1"], "GLN": ["HE21"], "LYS": ["HE2"], "ASP": ["HA"], "LEU": ["HG"]}
    made = []
    for group in groups(atoms):
        made += group
        made += [replace(group[-1], name=name, element="H") for name in extra.get(group[0].residue, [])]
    return made


def water(name: str, oxygen: str) -> list[Atom]:
    spot = [(oxygen, "O", 0.0), ("HW1", "H", 0.8), ("HW2", "H", -0.8)]
    return [Atom(n, e, name, "", k, (60.0 + 3 * k, 60 + d, 60.0)) for k in (1, 2) for n, e, d in spot]


def cap(name: str, atoms: str, number: int) -> list[Atom]:
    end = next(a for a in FIRST if a.number == 40 and a.name == "C").xyz
    return [Atom(n, n[0], name, "A", number, (end[0] + 0.8 + k, end[1] + 0.9, end[2] + 0.5)) for k, n in enumerate(atoms.split())]


def at_the_end(a: Atom, following: Atom | None) -> bool:
    return following is None


def at_both(a: Atom, following: Atom | None) -> bool:
    return following is None or at_chain_ends(a, following)


ENDED = with_ter(WHOLE, at_chain_ends)
JOINED = FIRST + SECOND + LIGAND
AMBER = change(FIRST, chain="") + change(SECOND, chain="", number=lambda a: a.number + 40)
UNKNOWN = change(ENDED, residue=lambda a: "UNK" if a.residue == "ALA" else a.residue)
WITH_CA = change(LIGAND, het=False, name=lambda a: "CA" if a.name == "C5" else a.name)
SCORES = "# All scores below are weighted\nmodel 1\natom_pair_constraint 0\npose -1.0\n"

SAME: dict[str, tuple[str, list[Atom]]] = {
    # what is written, and the atoms that are right
    "names of force fields": (pdb(named(ENDED)), WHOLE),
    "names of force fields in mmCIF": (cif(named(WHOLE)), WHOLE),
    "names to the left, no elements": (pdb(hydrogens(ENDED), elements=False, left=True), WHOLE),
    "elements are the names": (pdb(change(hydrogens(ENDED), element=lambda a: a.element if a.het else a.name[:2])), WHOLE),
    "elements are numbers": (pdb(change(ENDED, element=lambda a: a.element if a.het else "17")), WHOLE),
    "no elements in mmCIF": (cif(hydrogens(WHOLE), drop=("type_symbol",)), WHOLE),
    "serials are stars": (pdb(ENDED, text="*****"), WHOLE),
    "serials begin with a letter": (pdb(ENDED, text="A{:04d}"), WHOLE),
    "serials of six digits": (pdb(ENDED, text="1{:05d}").replace("ATOM  1", "ATOM 1"), WHOLE),
    "short lines": ("\n".join(line[:54] for line in pdb(ENDED).splitlines()), WHOLE),
    "no TER": (pdb(WHOLE), WHOLE),
    "TER after all": (pdb(with_ter(WHOLE, at_the_end)), WHOLE),
    "TER within a chain": (pdb(with_ter(WHOLE, lambda a, following: a.number % 13 == 0 or at_chain_ends(a, following))), WHOLE),
    "ligand first": (pdb(LIGAND + with_ter(PROTEIN, at_chain_ends)), LIGAND + PROTEIN),
    "segments within residues": (pdb(change(WHOLE, segment=lambda a: "P1" if a.name in ("N", "O") else "")), WHOLE),
    "segments beside chains": (pdb(change(WHOLE, segment=lambda a: "PRO" + a.chain)), WHOLE),
    "residue numbers fall below zero": (pdb(change(ENDED, number=lambda a: a.number - 20)), WHOLE),
    "score lines after the atoms": (pdb(ENDED) + SCORES, WHOLE),
    **{
        f"chains {c!r} and {d!r}": (pdb(change(PROTEIN, chain=lambda a, c=c, d=d: c if a.chain == "A" else d)), PROTEIN)
        for c, d in ("aA", "%-", "'\"", "12")
    },
    "mmCIF without author's columns": (cif(WHOLE, drop=("auth_seq_id", "auth_asym_id")), WHOLE),
    "mmCIF without author's numbers": (cif(WHOLE, auth_seq_id=lambda a: "?"), WHOLE),
    "mmCIF without labels": (cif(WHOLE, drop=("label_seq_id",), label_asym_id=lambda a: a.chain), WHOLE),
    "mmCIF with ATOM only": (cif(WHOLE, group_PDB=lambda a: "ATOM"), WHOLE),
    **{
        f"ligand {name} as {'HETATM' if het else 'ATOM'}, {how}": (
            pdb(with_ter(PROTEIN + change(LIGAND, residue=name, het=het, chain=chain, number=number), where)),
            PROTEIN + change(LIGAND, residue=name),
        )
        for name in ("UNK", "UNL", "LIG", "SERO")
        for het in (True, False)
        for how, chain, number, where in (
            ("with a TER", "L", 1, at_both),
            ("in a chain", "B", 900, at_chain_ends),
            ("with the number of a residue", "A", 5, at_chain_ends),
        )
    },
    "ligand with an atom CA": (pdb(with_ter(PROTEIN + WITH_CA, at_the_end)), WHOLE),
    **{
        f"water {name}": (pdb(with_ter(PROTEIN + LIGAND + water(name, oxygen), at_the_end), elements=False), WHOLE)
        for name, oxygen in (("TIP3", "OH2"), ("SOL", "OW"), ("WAT", "O"), ("SPC", "OW"), ("OPC", "O"))
    },
    **{
        f"ion {name}": (
            pdb([*ENDED, Atom(name, "", name, "A", 901, (70.0, 70.0, 70.0))], elements=False),
            [*WHOLE, Atom(name, "", ion, "A", 901, (0.0, 0.0, 0.0), True)],
        )
        for name, ion in (("CA", "CA"), ("HG", "HG"), ("CLA", "CL"), ("NA+", "NA"), ("ZN", "ZN"))
    },
    **{
        f"cap {name} numbered {number}": (pdb(FIRST + cap(name, atoms, number) + SECOND), PROTEIN)
        for name, atoms in (("NME", "N C"), ("NMA", "N CA"), ("NH2", "N"))
        for number in (40, 41)
    },
    "selenomethionine in ATOM records": (pdb(change(ENDED, residue=lambda a: "MSE" if a.residue == "MET" else a.residue)), WHOLE),
    "unknown residues of the chain": (pdb(UNKNOWN), UNKNOWN),
    "Amber: no chains, one TER": (pdb(with_ter(AMBER, lambda a, following: a.number in (40, 80))), PROTEIN),
}

FOUR_DECIMALS = "\n".join(x[:30] + re.sub(r"(\.\d{3})", r"\g<1>0", x[30:54]) + x[54:] for x in pdb(PROTEIN).splitlines())

RIGHT_OR_REFUSED: dict[str, tuple[str, list[Atom]]] = {
    "chains of two letters": (pdb(change(PROTEIN, chain=lambda a: a.chain * 2)), PROTEIN),
    "numbers of five digits": (pdb(PROTEIN, number="1{:04d}"), PROTEIN),
    "serials wider than their column": (pdb(PROTEIN, text="1{:05d}"), PROTEIN),
    "fields between blanks": ("\n".join(" ".join(line.split()) for line in pdb(PROTEIN).splitlines()), PROTEIN),
    "fields between tabs": ("\n".join("\t".join(line.split()) for line in pdb(PROTEIN).splitlines()), PROTEIN),
    "four decimals": (FOUR_DECIMALS, PROTEIN),
    "coordinates too wide": (pdb(moved(PROTEIN, -20000)), moved(PROTEIN, -20000)),
    "two ligands of one id": (pdb(ENDED + moved(LIGAND, 30)), WHOLE + moved(LIGAND, 30)),
    "mmCIF, one author's chain": (cif(JOINED, auth_asym_id=lambda a: "A"), WHOLE),
    "mmCIF, one author's number": (cif(JOINED, auth_seq_id=lambda a: 1), WHOLE),
}

RIGHT_OR_NOTED: dict[str, tuple[str, list[Atom], str]] = {
    "END between molecules": (pdb(FIRST) + pdb(SECOND) + pdb(LIGAND), WHOLE, "END"),
    "chains in models": (
        "MODEL        1\n" + pdb(FIRST, "ENDMDL\n") + "MODEL        2\n" + pdb(SECOND, "ENDMDL\nEND\n"),
        PROTEIN,
        "model",
    ),
    "chains in models of mmCIF": (cif(PROTEIN, pdbx_PDB_model_num=lambda a: "AB".index(a.chain) + 1), PROTEIN, "model"),
    "objects in data blocks": (cif(FIRST, "a") + cif(SECOND, "b") + cif(LIGAND, "c"), WHOLE, "block"),
    "ligand in the first block": (cif(LIGAND, "c") + cif(FIRST, "a") + cif(SECOND, "b"), WHOLE, "block"),
}


def reading(tmp_path: Path, text: str) -> Structure:
    path = tmp_path / ("x.cif" if text.startswith("data_") else "x.pdb")
    path.write_text(text)
    return read_structure(path)


@pytest.mark.parametrize("kind", SAME)
def test_read_as_the_original(tmp_path: Path, kind: str) -> None:
    text, right = SAME[kind]
    assert not problems(reading(tmp_path, text), right)


@pytest.mark.parametrize("kind", RIGHT_OR_REFUSED)
def test_right_or_refused(tmp_path: Path, kind: str) -> None:
    text, right = RIGHT_OR_REFUSED[kind]
    try:
        structure = reading(tmp_path, text)
    except S2PError as error:
        assert len(str(error)) > 40
    else:
        assert not problems(structure, right)


@pytest.mark.parametrize("kind", RIGHT_OR_NOTED)
def test_right_or_noted(tmp_path: Path, kind: str) -> None:
    text, right, word = RIGHT_OR_NOTED[kind]
    structure = reading(tmp_path, text)
    assert not problems(structure, right) or word.lower() in " ".join(structure.notes).lower()


def test_an_ensemble_is_its_first_model_and_a_note(tmp_path: Path) -> None:
    text = "".join(f"MODEL     {k:4d}\n{pdb(moved(FIRST, 0.2 * k), 'ENDMDL')}\n" for k in range(3))
    structure = reading(tmp_path, text)
    assert not problems(structure, FIRST)
    assert "model" in " ".join(structure.notes)


@settings(max_examples=60, deadline=None)
@given(
    letter=st.sampled_from(["", "A", "X", None]),
    segment=st.sampled_from(["", "SYST", None]),
    ter=st.sampled_from(["none", "molecules", "all", "often"]),
    order=st.permutations(["first", "second", "ligand"]),
    seed=st.integers(0, 99),
    elements=st.booleans(),
    left=st.booleans(),
    het=st.booleans(),
    shift=st.sampled_from([0, -30, 60, 9985]),
)
def test_molecules_are_told_apart_however_written(
    tmp_path_factory, letter, segment, ter, order, seed, elements, left, het, shift
):
    parts = {"first": FIRST, "second": SECOND, "ligand": change(LIGAND, het=het, number=500 - shift)}
    right = [a for key in order for a in parts[key]]
    written = change(
        hydrogens(named(right, seed)),
        segment=lambda a: "PR" + a.chain if segment is None else segment,
        chain=lambda a: a.chain if letter is None else letter,
        number=lambda a: (a.number + shift) % 10000 if shift > 0 else a.number + shift,
    )
    where = {
        "none": lambda a, following: False,
        "molecules": lambda a, following: (
            following is None or "478" in (a.residue, following.residue) or following.number < a.number
        ),
        "all": at_the_end,
        "often": lambda a, following: a.number % 7 == 0,
    }[ter]
    path = tmp_path_factory.mktemp("kinds") / "x.pdb"
    path.write_text(pdb(with_ter(written, where), elements=elements, left=left))
    assert not problems(read_structure(path), change(right, het=lambda a: a.residue == "478"))
