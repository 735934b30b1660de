"""The files outside tools read and write: a PDB file they all understand, and the output of fpocket and P2Rank."""

from __future__ import annotations

import csv
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.structure.reading import Structure

__all__ = ["Found", "Key", "pdb_text", "read_fpocket", "read_p2rank", "read_p2rank_residues"]

CHAIN_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
Key = tuple[str, int]
"""Chain letter and residue number in the file that a tool read."""


@dataclass(frozen=True, eq=False)
class Found:
    """A pocket as a tool gives it."""

    score: float
    center: NDArray[np.float64]
    """(3,) Å."""
    points: NDArray[np.float64]
    """(P, 3) Å: surface points, centres of alpha spheres or grid points; none from P2Rank."""
    residues: tuple[Key, ...] = ()
    atoms: tuple[int, ...] = ()
    """Indices, where the tool names atoms."""
    probability: float = float("nan")
    volume: float = float("nan")
    """Å³."""


def pdb_text(structure: Structure) -> tuple[str, dict[Key, int]]:
    """The protein as a PDB file, and the index of each of its residues there.

    Chains are lettered, and residues numbered from 1 throughout all chains: no tool then meets insertion codes, negative numbers
    or long chain ids, and none can take two residues for one (fpocket-rs 0.1 does so with equal numbers in two chains). Beyond
    9,999 residues numbers start again. Serial numbers are atom indices plus 1. Modified residues are ATOM records like all
    others, names cut to three letters.

    Raises
    ------
    S2PError
        If the fixed columns of the format cannot hold the structure.
    """
    atoms, residues = structure.atoms, structure.residues
    chains = structure.chains
    longest = int(np.unique(residues.chain, return_counts=True)[1].max(initial=0))
    if len(chains) > len(CHAIN_LETTERS) or len(atoms) > 99_999 or longest > 9_999:
        raise S2PError(
            f"{structure.name}: {len(atoms)} atoms in {len(chains)} chains are more than a PDB file, which other tools read, "
            "can hold; choose some chains"
        )
    if not ((atoms.coord > -999).all() and (atoms.coord < 9999).all()):
        raise S2PError(f"{structure.name}: its coordinates do not fit a PDB file, which other tools read; move it to the origin")
    rank = {chain: k for k, chain in enumerate(chains)}
    # Chains may come in pieces; in the file each stands in one.
    placed = np.argsort([rank[chain] for chain in residues.chain.tolist()], kind="stable")
    place = np.empty(len(placed), dtype=np.int64)
    place[placed] = np.arange(len(placed))
    letters = [CHAIN_LETTERS[rank[chain]] for chain in residues.chain.tolist()]
    keys: list[Key] = [(letter, k % 9_999 + 1) for letter, k in zip(letters, place.tolist(), strict=True)]
    order = np.argsort(place[atoms.residue_index], kind="stable").tolist()
    lines, last = [], ""
    names, elements, xyz, owner = (x.tolist() for x in (atoms.name, atoms.element, atoms.coord, atoms.residue_index))
    for a in order:
        chain, number = keys[owner[a]]
        if last and chain != last:
            lines.append("TER")
        last = chain
        # A one-letter element stands in the second column of the name unless the name needs all four.
        name = f" {names[a]:<3}" if len(elements[a]) == 1 and len(names[a]) < 4 else f"{names[a][:4]:<4}"
        x, y, z = xyz[a]
        lines.append(
            f"ATOM  {a + 1:>5} {name} {str(residues.name[owner[a]])[:3]:>3} {chain}{number:>4}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00{min(max(float(atoms.b_factor[a]), 0.0), 999.99):6.2f}          {elements[a][:2]:>2}"
        )
    return "\n".join([*lines, "TER", "END", ""]), {key: index for index, key in enumerate(keys)}


def read_fpocket(folder: Path, stem: str) -> list[Found]:
    """Pockets of the C program's ``<stem>_out`` folder in its order; the centre is the mean of the alpha spheres' centres.

    Raises
    ------
    ValueError, OSError
        If a file is missing or not as documented.
    """
    out = folder / f"{stem}_out"
    info = (out / f"{stem}_info.txt").read_text()
    found = []
    # One block a pocket: "Pocket 1 :" and lines "Name : value", padded with spaces and tabs.
    for number, block in re.findall(r"^Pocket\s+(\d+)\s*:\s*$(.*?)(?=^Pocket|\Z)", info, flags=re.MULTILINE | re.DOTALL):
        values = {k.strip(): v for k, v in re.findall(r"^\s*(.+?)\s*:\s*(\S+)\s*$", block, flags=re.MULTILINE)}
        pockets = out / "pockets"
        points = [_position(line) for line in _records(pockets / f"pocket{number}_vert.pqr")]
        lining = _records(pockets / f"pocket{number}_atm.pdb")
        residues = dict.fromkeys((line[21], int(line[22:26])) for line in lining)
        if not points or "Score" not in values:
            raise ValueError(f"pocket {number} has no alpha spheres or no score")
        coord = np.array(points)
        volume = float(values.get("Volume", "nan"))
        found.append(Found(float(values["Score"]), coord.mean(axis=0), coord, tuple(residues), volume=volume))
    return found


def read_p2rank(path: Path) -> list[Found]:
    """Pockets of a ``…_predictions.csv`` in its order; the centre is P2Rank's own.

    Raises
    ------
    ValueError, OSError
        If the file is missing or lacks a documented column.
    """
    return [
        Found(
            float(row["score"]),
            np.array([float(row[f"center_{axis}"]) for axis in "xyz"]),
            np.zeros((0, 3)),
            tuple(_p2rank_key(*text.rsplit("_", 1)) for text in row["residue_ids"].split()),
            tuple(int(serial) - 1 for serial in row["surf_atom_ids"].split()),
            float(row["probability"]),
        )
        for row in _rows(path, "score", "center_x", "center_y", "center_z", "residue_ids", "surf_atom_ids", "probability")
    ]


def read_p2rank_residues(path: Path) -> dict[Key, float]:
    """Probability of each residue of a ``…_residues.csv``; errors as :func:`read_p2rank`."""
    rows = _rows(path, "chain", "residue_label", "probability")
    return {_p2rank_key(row["chain"], row["residue_label"]): float(row["probability"]) for row in rows}


def _p2rank_key(chain: str, label: str) -> Key:
    return chain, int(label)


def _rows(path: Path, *columns: str) -> Iterable[dict[str, str]]:
    """Rows of a CSV file whose fields, the header's too, are padded with blanks."""
    with open(path, newline="", encoding="utf-8") as handle:
        table = [[field.strip() for field in row] for row in csv.reader(handle) if row]
    if not table or any(column not in table[0] for column in columns):
        raise ValueError(f"{path.name} lacks one of the columns {', '.join(columns)}")
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def _records(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]


def _position(line: str) -> tuple[float, float, float]:
    return float(line[30:38]), float(line[38:46]), float(line[46:54])
