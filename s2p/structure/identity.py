"""Unique residue ids: separate molecules with the same chain id in a file get different ids.

Programs write several chains under one letter or none, restart the numbering, or distinguish chains only by TER, segment, model,
data block or ``label_asym_id``. Residues are written as ``chain:number`` in every output, so these chains are renamed: the first
keeps its letter, the others get the next free ones, and a note lists them. In a chain with an id, a TER alone does not split it,
because programs write it at gaps, too. Without an id it ends a molecule unless the next residue is bonded to the last.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain as following
from itertools import pairwise, product
from string import ascii_letters, ascii_uppercase, digits

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.structure.arrays import Columns, changes, codes
from s2p.structure.grouping import ALTERNATIVE, Grouped
from s2p.structure.polymer import Kinds

__all__ = ["Identities", "identify"]

CLASH = 0.3
"""Molecules of which this share of atoms lies on top of others' cannot be there at the same time."""


@dataclass(frozen=True, eq=False)
class Identities(Columns):
    """What each of R residues is called."""

    chain: NDArray[np.str_]
    number: NDArray[np.int32]
    insertion_code: NDArray[np.str_]
    keep: NDArray[np.bool_]  # Not for residues of molecules that lie on top of others of their name.

    def keys(self) -> NDArray[np.int64]:
        """(R,) the same number for the same id."""
        return codes(self.chain, self.number, self.insertion_code)


def identify(groups: Grouped, kinds: Kinds, taken: set[str], notes: list[str]) -> Identities:
    """Unique ids.

    ``taken``: chain ids of the file, of waters too.
    """
    chain = groups.column("chain")
    insertion = groups.column("insertion_code").astype("U4")
    found = Identities(chain, groups.column("number").copy(), insertion, np.ones(len(chain), dtype=bool))
    _number_by_sequence(groups, kinds.protein, found, notes)
    molecule = _molecules(groups, kinds, found, notes)
    model, block = groups.column("model"), groups.column("block")
    other = (model != model[0]) | (block != block[0])
    if not (other | (molecule > 0)).any():
        return found
    # Copies are told by ids that repeat: molecules under numbers of their own were meant to be there.
    key = codes(found.keys(), np.where(kinds.protein, "", groups.column("residue_name")))
    later = other | ((molecule > 0) & (np.bincount(key)[key] > 1))
    keep = ~_on_top(groups, kinds, molecule, later)
    if n_lost := int((~keep & ~kinds.part).sum()):
        notes.append(f"{n_lost} residues or ligands that overlap others (other conformations or poses, or copies) were left out")
    return replace(found, keep=keep, chain=_chain_ids(chain, molecule, keep, taken, notes))


def _number_by_sequence(groups: Grouped, protein: NDArray[np.bool_], found: Identities, notes: list[str]) -> None:
    """Number mmCIF chains by ``label_seq_id`` in which the author's numbers repeat."""
    label, label_chain = groups.column("label_number"), groups.column("label_chain")
    rows = np.flatnonzero(protein & (label > 0))
    if not len(rows):
        return
    place = codes(*(groups.column(key)[rows] for key in ("model", "block", "label_chain")))
    key = codes(place, found.take(rows).keys())
    by_label = codes(place, label[rows])
    repeated = (np.bincount(key)[key] > 1) & (np.bincount(by_label)[by_label] == 1)
    if repeated.any():
        wrong = rows[np.isin(place, place[repeated])]
        found.number[wrong], found.insertion_code[wrong] = label[wrong], ""
        names = ", ".join(dict.fromkeys(label_chain[wrong].tolist()))
        notes.append(f"author residue numbers repeat in {names}: residues are numbered by their place in the sequence")


def _molecules(groups: Grouped, kinds: Kinds, found: Identities, notes: list[str]) -> NDArray[np.int64]:
    """(R,) which molecule of its chain id each residue belongs to, from 0; the residues of a molecule have unique numbers."""
    molecule = np.zeros(len(found), np.int64)
    letter, rows = codes(found.chain), np.flatnonzero(kinds.protein)
    rows = rows[np.argsort(letter[rows], kind="stable")]
    letter = letter[rows]
    firm, soft = _borders(groups, kinds, rows)
    key = found.take(rows).keys()
    busy = np.isin(letter, letter[(np.bincount(key)[key] > 1) | (firm & ~changes(letter))])
    rows, letter, firm, soft = rows[busy], letter[busy], firm[busy], soft[busy]
    numbers = list(zip(found.number[rows].tolist(), found.insertion_code[rows].tolist(), strict=True))
    current, held, counted, last = 0, set[tuple[int, str]](), 0, -1
    for a, b in pairwise([*np.flatnonzero(firm | soft).tolist(), len(rows)]):  # pieces that may be molecules
        own = set(numbers[a:b])
        if letter[a] != last:
            current, held, last = 0, set(), int(letter[a])
        elif firm[a] or not own.isdisjoint(held):
            current, held = current + 1, set()
        if len(own) < b - a:
            counted += b - a - len(own)
            new = _distinct(numbers[a:b])
            own = set(new)
            if not own.isdisjoint(held):
                current, held = current + 1, set()
            found.number[rows[a:b]], found.insertion_code[rows[a:b]] = zip(*new, strict=True)
        held |= own
        molecule[rows[a:b]] = current
    if counted:
        notes.append(
            f"{counted} residues had the same number as another of their chain; they were given insertion codes, or the chain "
            "was numbered from 1"
        )
    _place_ligands(groups, kinds, found, molecule)
    return molecule


def _borders(groups: Grouped, kinds: Kinds, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where, before which of some residues, another molecule begins for sure, and where it may."""

    def differs(key: str) -> NDArray[np.bool_]:
        return changes(groups.column(key)[rows])

    def other(values: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Changes from one name to another, not to none."""
        return changes(values) & np.concatenate(([False], (values[1:] != "") & (values[:-1] != "")))

    number = groups.column("number")[rows]
    fall = np.r_[False, number[1:] < number[:-1]]
    ended = np.r_[False, kinds.ends[rows][:-1]]
    blank = groups.column("chain")[rows] == ""
    segment, ter = other(groups.column("segment")[rows]), differs("part")
    apart = differs("model") | differs("block") | other(groups.column("label_chain")[rows])
    open_end = ~kinds.bonded[rows]
    firm = open_end & (apart | (ter & (ended | blank | fall)) | (blank & (segment | fall | ended)))
    soft = open_end & (apart | ter | segment | fall | ended | groups.again[rows])
    return firm | differs("chain"), soft | differs("chain")


def _distinct(numbers: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Insertion codes for residue numbers that repeat; from 1 where they do so too often."""
    seen, new = set(numbers), dict[tuple[int, str], None]()
    for at in numbers:
        free = (x for letter in ascii_uppercase if (x := (at[0], letter)) not in seen and x not in new)
        new[next(free, at) if at in new else at] = None
    return list(new) if len(new) == len(numbers) else [(k, "") for k in range(1, len(numbers) + 1)]


def _place_ligands(groups: Grouped, kinds: Kinds, found: Identities, molecule: NDArray[np.int64]) -> None:
    """Put what is not protein with the first chain of its letter in its model and block, and apart what has the same id."""
    region = codes(found.chain, groups.column("model"), groups.column("block"))
    rows = np.flatnonzero(kinds.protein)
    first = np.full(int(region.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, region[rows], molecule[rows])
    others = np.flatnonzero(~kinds.protein & ~kinds.part)
    home = first[region[others]]
    molecule[others] = np.where(home == np.iinfo(np.int64).max, 0, home)
    place = found.keys()
    key = codes(place, groups.column("residue_name"))
    taken: dict[int, set[int]] = {}  # by residues of the protein, whatever their name, and by ligands of the same name
    for k in rows[np.isin(place[rows], place[others])].tolist():
        taken.setdefault(-1 - int(place[k]), set()).add(int(molecule[k]))
    twice = np.bincount(key[others])[key[others]] > 1
    for k in others[twice | np.isin(place[others], place[rows])].tolist():
        used = taken.setdefault(int(key[k]), set())
        full = used | taken.get(-1 - int(place[k]), set())
        if int(molecule[k]) in full:
            molecule[k] = max(full) + 1
        used.add(int(molecule[k]))


def _on_top(groups: Grouped, kinds: Kinds, molecule: NDArray[np.int64], second: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(R,) whether a residue's molecule lies on top of an earlier one; only those marked in ``second`` are tested.

    A ligand is a molecule of its own; protein is tested as a whole chain.
    """
    whole = codes(groups.column("chain"), molecule, groups.column("model"), groups.column("block"))
    unit = codes(np.where(kinds.protein, whole, -1), np.where(kinds.protein, 0, np.arange(len(molecule)) + 1))
    of_atom, xyz = unit[groups.row], groups.atoms.coord
    later = np.isin(of_atom, unit[second])
    lost = np.zeros(int(unit.max()) + 1, dtype=bool)
    size = np.bincount(of_atom, minlength=len(lost))
    order = np.unique(unit, return_index=True)[1]
    for base, tested, k in ((~later, later, 1), (later, later, 8)):
        base, tested = base & ~lost[of_atom], tested & ~lost[of_atom]
        if not base.any() or not tested.any():
            continue
        own, earlier = np.flatnonzero(tested), np.flatnonzero(base)
        _, near = cKDTree(xyz[earlier]).query(xyz[own], k=k, distance_upper_bound=ALTERNATIVE)
        near = near.reshape(len(own), -1)
        partner = of_atom[earlier[np.minimum(near, len(earlier) - 1)]]
        clash = ((near < len(earlier)) & ((k == 1) | (order[partner] < order[of_atom[own]][:, None]))).any(axis=1)
        lost |= np.bincount(of_atom[own[clash]], minlength=len(lost)) > CLASH * size
    return lost[unit]


def _chain_ids(
    chain: NDArray[np.str_], molecule: NDArray[np.int64], keep: NDArray[np.bool_], taken: set[str], notes: list[str]
) -> NDArray[np.str_]:
    """Names of the molecules: the first of a chain id has that id, the others the next that are free."""
    letters = following(ascii_uppercase, ascii_letters[:26], digits)
    longer = ("".join(x) for n in range(2, 6) for x in product(ascii_uppercase + digits, repeat=n))
    free = (name for name in following(letters, longer) if name not in taken)
    number = codes(chain, molecule)
    names: dict[int, str] = {}
    given: dict[str, list[str]] = {}
    firsts = np.flatnonzero(keep)[np.sort(np.unique(number[keep], return_index=True)[1])]
    count = Counter(chain[firsts].tolist())
    for k in firsts.tolist():
        letter = str(chain[k])
        kept = letter not in given and (letter != "" or count[letter] == 1)
        names[int(number[k])] = letter if kept else next(free)
        given.setdefault(letter, []).append(names[int(number[k])])
    shared = [
        f"{len(ids)} molecules share the chain id {letter!r} and are called {', '.join(ids[:6])}{', …' if len(ids) > 6 else ''}"
        for letter, ids in given.items()
        if len(ids) > 1
    ]
    if shared:
        notes.append("; ".join(shared[:4]) + (f"; and so on for {len(shared) - 4} more ids" if len(shared) > 4 else ""))
    return np.array([names.get(k, "") for k in number.tolist()])
