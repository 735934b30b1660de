"""Bonds of training ligands that come without bonds, inferred from bond lengths and planarity.

Of 211 ligands without hydrogens these rules give the molecule that the Chemical Component Dictionary has for 169. That is enough
for statistics over many complexes (``--ligand-features rdkit`` of the recipe of PocketGen), but not for a single one, so
``s2p design`` infers no bonds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from s2p.models.pocketgen.atoms import flat_ring, ligand_bonds
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms

__all__ = ["perceived_bonds", "with_bonds"]

_DOUBLE = {"CC": 1.34, "CN": 1.29, "CO": 1.22, "NN": 1.25, "NO": 1.21, "CS": 1.67}
"""Å: usual lengths of double bonds."""
_LONGEST = {"CC": 0.08, "CN": 0.06, "CO": 0.08, "NN": 0.07, "NO": 0.09, "CS": 0.05}
"""Å: how much longer a bond may be and still be drawn double; in a flat ring, where orders are shared, 0.06 more."""
_TRIPLE = {"CC": 1.25, "CN": 1.22}
_IMINE = 0.1
"""Å."""


def with_bonds(ligand: LigandAtoms, config: PocketConfig) -> LigandAtoms:
    """The ligand with perceived bonds, where its features are RDKit's and it has none."""
    if config.ligand_features == "rules" or ligand.bonds is not None or not len(ligand.coord):
        return ligand
    return replace(ligand, bonds=perceived_bonds(ligand.coord, ligand.element))


def perceived_bonds(coord: NDArray[np.floating], element: NDArray[np.str_]) -> NDArray[np.int64]:
    """(B, 3) bonds of heavy atoms from (M, 3) Å: neighbours by covalent radii, double bonds where atoms are flat and near.

    Each planar carbon gets one double bond if possible, chosen to fit the lengths best; in a ring this is a Kekulé structure.
    """
    near = ligand_bonds(coord, element)
    x, kind = np.asarray(coord, float), element.tolist()
    around = [np.flatnonzero(row).tolist() for row in near]
    ring = flat_ring(x, near)
    flat = [_flat(x, k, n) for k, n in enumerate(around)]
    order = {(i, j): 1 for i, n in enumerate(around) for j in n if i < j}
    length = {(i, j): float(np.linalg.norm(x[i] - x[j])) for i, j in order}
    excess: dict[tuple[int, int], float] = {}

    def amino(i: int, j: int) -> bool:
        """Whether a bond leads from a flat ring to a lone nitrogen: rather an amine, however short the bond."""
        return any(ring[a] and kind[b] == "N" and len(around[b]) == 1 for a, b in ((i, j), (j, i)))

    for (i, j), r in length.items():
        pair = "".join(sorted(kind[i] + kind[j])) if len(kind[i] + kind[j]) == 2 else ""
        if r < _TRIPLE.get(pair, 0) and len(around[i]) < 3 and len(around[j]) < 3:
            order[i, j] = 3
        elif pair in _DOUBLE and all(flat[k] and _unsaturated(k, kind, around) for k in (i, j)):
            slack = _LONGEST[pair] + (0.06 if ring[i] and ring[j] else 0)
            if r < _DOUBLE[pair] + slack:
                excess[i, j] = r - _DOUBLE[pair] + _IMINE * amino(i, j)
    busy = {k for pair_, o in order.items() if o == 3 for k in pair_}
    excess = {pair_: value for pair_, value in excess.items() if not busy & set(pair_)}
    wanted = {k for k, n in enumerate(around) if kind[k] == "C" and flat[k] and (ring[k] or len(n) == 3)}
    for pair_ in _matching(excess, wanted):
        order[pair_] = 2
    for k, n in enumerate(around):
        if kind[k] in ("P", "S"):
            ends = sorted((length[min(k, j), max(k, j)], j) for j in n if kind[j] == "O" and len(around[j]) == 1)
            for _, j in ends[: 1 if kind[k] == "P" else 2]:
                order[min(k, j), max(k, j)] = 2
    return np.array([(i, j, o) for (i, j), o in sorted(order.items())], np.int64).reshape(-1, 3)


def _unsaturated(k: int, kind: list[str], around: list[list[int]]) -> bool:
    """Whether an atom has room for a double bond: two bonds of a nitrogen, three of a nitro group's, one of an oxygen."""
    most = {"C": 3, "N": 2, "O": 1, "S": 1}.get(kind[k], 0)
    nitro = kind[k] == "N" and sum(kind[j] == "O" and len(around[j]) == 1 for j in around[k]) == 2
    return len(around[k]) <= most or nitro


def _flat(x: NDArray[np.float64], k: int, around: list[int]) -> bool:
    """Whether the three bonds of an atom lie in a plane; True for an atom with fewer, whose lengths decide."""
    if len(around) != 3:
        return len(around) < 3
    arms = x[around] - x[k]
    arms /= np.linalg.norm(arms, axis=1, keepdims=True)
    return abs(float(np.linalg.det(arms))) < 0.35  # 0.77 of a tetrahedron


def _matching(excess: Mapping[tuple[int, int], float], wanted: set[int]) -> list[tuple[int, int]]:
    """Bonds without a common atom that cover as many ``wanted`` atoms as possible, with the least total excess length."""
    import networkx

    graph = networkx.Graph()
    for (i, j), value in excess.items():
        graph.add_edge(i, j, weight=100.0 * ((i in wanted) + (j in wanted)) + 1.0 - value)
    return sorted((min(pair), max(pair)) for pair in networkx.max_weight_matching(graph))
