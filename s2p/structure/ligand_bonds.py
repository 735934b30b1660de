"""Covalent bonds of ligands: with each other, and with the protein.

Bonds are what the file says (LINK records, ``struct_conn`` of type covale) and what distances say: two non-metal atoms closer
than the sum of their covalent radii and a tolerance. Coordination of metals is not covalent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.config import LabelConfig, ReadConfig
from s2p.structure.formats import parse_file
from s2p.structure.reading import Ligand, Structure

__all__ = ["Bond", "attachments", "connected", "file_bonds", "is_sugar"]

Address = tuple[str, int, str]
"""Chain, number, insertion code."""
Bond = tuple[Address, Address]

_SHORTEST = 0.8
"""Å: atoms closer than this are alternatives of each other, not bonded."""


def file_bonds(path: str | Path, config: ReadConfig | None = None) -> frozenset[Bond]:
    """Pairs of residues that the file itself says are bonded covalently (both orders)."""
    import gemmi

    bonds: set[Bond] = set()
    for connection in parse_file(Path(path), config or ReadConfig()).connections:
        if connection.type != gemmi.ConnectionType.Covale or connection.asu == gemmi.Asu.Different:
            continue
        a, b = (
            (p.chain_name, p.res_id.seqid.num, p.res_id.seqid.icode.strip()) for p in (connection.partner1, connection.partner2)
        )
        bonds |= {(a, b), (b, a)}
    return frozenset(bonds)


def attachments(structure: Structure, ligand: Ligand, config: LabelConfig | None = None, bonds: Iterable[Bond] = ()) -> list[int]:
    """Residues of the protein that a ligand is bonded to, 0-based and ascending."""
    config = config or LabelConfig()
    found = set()
    own = (ligand.chain, ligand.number, ligand.insertion_code)
    partners = {b for a, b in bonds if a == own}
    if partners:
        r = structure.residues
        addresses = zip(r.chain.tolist(), r.number.tolist(), r.insertion_code.tolist(), strict=True)
        found |= {k for k, address in enumerate(addresses) if address in partners}
    _, other = _bonded(ligand.coord, ligand.element, structure.atoms.coord, structure.atoms.element, config.bond_tolerance)
    return sorted(found | set(structure.atoms.residue_index[other].tolist()))


def connected(ligands: Sequence[Ligand], config: LabelConfig | None = None, bonds: Iterable[Bond] = ()) -> list[list[Ligand]]:
    """Ligands in groups that hang together by bonds, in file order."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    config = config or LabelConfig()
    if not ligands:
        return []
    owner = np.repeat(np.arange(len(ligands)), [len(x.coord) for x in ligands])
    coord = np.concatenate([x.coord for x in ligands])
    element = np.concatenate([x.element for x in ligands])
    first, second = _bonded(coord, element, coord, element, config.bond_tolerance)
    place = {(x.chain, x.number, x.insertion_code): k for k, x in enumerate(ligands)}
    told = [(place[a], place[b]) for a, b in bonds if a in place and b in place]
    rows = np.r_[owner[first], np.array([a for a, _ in told], dtype=int)]
    columns = np.r_[owner[second], np.array([b for _, b in told], dtype=int)]
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(ligands), len(ligands)))
    _, label = connected_components(graph, directed=False)
    groups: dict[int, list[Ligand]] = {}
    for ligand, k in zip(ligands, label.tolist(), strict=True):
        groups.setdefault(k, []).append(ligand)
    return list(groups.values())


@lru_cache(maxsize=1024)
def is_sugar(name: str) -> bool:
    """Whether gemmi's table of residues knows ``name`` as a saccharide."""
    import gemmi

    info = gemmi.find_tabulated_residue(name)
    return bool(info.found()) and info.kind in (gemmi.ResidueKind.PYR, gemmi.ResidueKind.KET)


@lru_cache(maxsize=256)
def _radius(symbol: str) -> float:
    """Covalent radius, Å; negative infinity for metals, whose bonds are not counted."""
    import gemmi

    element = gemmi.Element(symbol)
    return -np.inf if element.is_metal else float(element.covalent_r)


def _bonded(
    a: NDArray[np.float32], a_element: NDArray[np.str_], b: NDArray[np.float32], b_element: NDArray[np.str_], tolerance: float
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Indices of the atoms of ``a`` and of ``b`` that are bonded."""
    # Longer than any bond between non-metals: I–I, 2.8 Å, and the tolerance.
    pairs = cKDTree(a).sparse_distance_matrix(cKDTree(b), 3.2, output_type="ndarray")
    i, j, distance = pairs["i"], pairs["j"], pairs["v"]
    limit = (
        np.array([_radius(x) for x in a_element.tolist()])[i] + np.array([_radius(x) for x in b_element.tolist()])[j] + tolerance
    )
    keep = (distance >= _SHORTEST) & (distance <= limit)
    return i[keep], j[keep]
