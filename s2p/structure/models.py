"""Models of a file, which of them form one system, and biological assemblies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.config import ReadConfig
from s2p.errors import StructureError
from s2p.structure.arrays import AtomTable, check_count, joined
from s2p.structure.transforms import superposition

__all__ = ["build_assembly", "choose_models"]

RIGID = 0.05
"""Å, RMSD below which a model is a copy of another: coordinates are written with three decimals, and no two conformers are so
alike."""
MOVED = 2.0
"""Å by which such a copy must be somewhere else, on average, and closer than any contact of two molecules."""
CLASH = 0.05
"""Share of a copy's atoms from which it stands where another molecule is."""


def choose_models(table: AtomTable, wanted: int | str | None, path: Path, notes: list[str]) -> AtomTable:
    """The models that are asked for; else the first, and those with other chains or with copies of its chains elsewhere.

    :class:`StructureError` if there is no model of that number.
    """
    order = np.argsort(table.model, kind="stable")
    numbers, first = np.unique(table.model[order], return_index=True)
    rows = dict(zip(numbers.tolist(), np.split(order, first[1:]), strict=True))
    names = sorted(rows, key=lambda k: int(rows[k][0]))
    if wanted == "all-chains":
        if len(names) > 1:
            notes.append(f"{len(names)} models were read as one structure, as asked for")
        return table
    if wanted is not None:
        if wanted not in rows:
            shown = ", ".join(map(str, names[:20])) + (", …" if len(names) > 20 else "")
            raise StructureError(f"{path}: there is no model {wanted}; it has {shown}")
        return table.take(np.sort(rows[wanted]))
    used = [rows[names[0]]]
    for name in names[1:]:
        if not _completes(table, used[0], np.concatenate(used), rows[name]):
            break
        used.append(rows[name])
    if len(used) > 1:
        notes.append(f"{len(used)} models were read as one structure, because they contain different chains or copies")
    if len(used) < len(names):
        notes.append(
            f"{len(used)} of {len(names)} models {'was' if len(used) == 1 else 'were'} read; --model-number N "
            "(in Python: model=N) reads another, all-chains all of them as one structure"
        )
    return table.take(np.sort(np.concatenate(used)))


def _completes(table: AtomTable, first: NDArray[Any], used: NDArray[Any], more: NDArray[Any]) -> bool:
    """Whether a model has other chains than those before, or a rigid copy of the first one's at another, free place."""
    chain = table.chain
    if not np.isin(chain[more], chain[used]).any():
        return True
    a, b = first[np.isin(chain[first], chain[more])], more[np.isin(chain[more], chain[first])]
    same = ("chain", "number", "name")
    if len(a) != len(b) or any((getattr(table, key)[a] != getattr(table, key)[b]).any() for key in same):
        return False
    some = np.linspace(0, len(a) - 1, min(len(a), 500)).astype(int)
    x, y = table.coord[a[some]], table.coord[b[some]]
    good = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    if good.sum() < 3:
        return False
    moved = float(np.linalg.norm(x - y, axis=1)[good].mean())
    if moved <= MOVED or not superposition(x[good], y[good])[2] < RIGID:  # not a number where all lie on a line
        return False
    there = table.coord[used][np.isfinite(table.coord[used]).all(axis=1)]
    near, _ = cKDTree(there).query(y[good], distance_upper_bound=MOVED)
    return float(np.isfinite(near).mean()) < CLASH  # frames of a trajectory of a rigid body lie on top of each other


def build_assembly(table: AtomTable, number: int, annotations: Any, config: ReadConfig, path: Path) -> AtomTable:
    """The chains of a biological assembly, moved copies included, each copy as a block of its own.

    ``annotations``: ``gemmi.Structure`` with the assemblies of the file. :class:`StructureError` if the file describes no
    assembly of that number.
    """
    found = {assembly.name: assembly for assembly in annotations.assemblies}
    if str(number) not in found:
        shown = ", ".join(list(found)[:20])
        raise StructureError(
            f"{path}: there is no assembly {number}; " + (f"it has {shown}" if shown else "the file describes none")
        )
    pieces: list[tuple[NDArray[Any], Any]] = []
    for generator in found[str(number)].generators:
        names, column = (generator.subchains, table.label_chain) if generator.subchains else (generator.chains, table.chain)
        rows = np.flatnonzero(np.isin(column, list(names)))
        pieces += [(rows, operator.transform) for operator in generator.operators]
    check_count(sum(len(rows) for rows, _ in pieces), config.max_atoms, "atom records", path)
    if not sum(len(rows) for rows, _ in pieces):
        raise StructureError(f"{path}: none of the chains of assembly {number} is in the file")
    copies = []
    for rows, transform in pieces:
        own = table.take(rows)
        rotation, shift = np.array(transform.mat.tolist()), np.array(transform.vec.tolist())
        copies.append(replace(own, coord=own.coord @ rotation.T + shift, notes=()))
    return replace(joined([copy for copy in copies if len(copy)]), notes=table.notes)
