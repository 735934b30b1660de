"""Chemistry of a ligand's heavy atoms: orders of its bonds, charges near pH 7, hydrogens, rotatable bonds.

Bonds are those of an SDF or MOL file, or of the Chemical Component Dictionary for a residue of the structure; where there is
neither, lengths and planes tell them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.models.pocketgen.atoms import flat_ring
from s2p.models.pocketgen.bonds import perceived_bonds
from s2p.models.pocketgen.data import LigandAtoms
from s2p.structure.ligands import read_sdf_molecule

__all__ = [
    "AROMATIC",
    "biotite_bonds",
    "bond_table",
    "charges",
    "dictionary_bonds",
    "hydrogens",
    "rotors",
    "sdf_ligand",
    "valences",
]

AROMATIC = 4
"""Order of a bond that a file calls aromatic, as MOL files number it."""
_VALENCE = {"B": 3, "C": 4, "N": 3, "O": 2, "S": 2, "P": 3}


def bond_table(ligand: LigandAtoms) -> NDArray[np.int64]:
    """(B, 3) two atoms and the order, 1 to 3 or :data:`AROMATIC`, of each bond: those given, or else perceived."""
    return ligand.bonds if ligand.bonds is not None else perceived_bonds(ligand.coord, ligand.element)


def dictionary_bonds(name: str, atoms: Sequence[str]) -> NDArray[np.int64] | None:
    """(B, 3) bonds among the named atoms of a residue; ``None`` if the dictionary lacks it, or one of the atoms."""
    from biotite.structure.info import residue

    try:
        known = residue(name)
    except KeyError:
        return None
    names = known.atom_name.tolist()
    place = {atom: k for k, atom in enumerate(atoms)}
    if len(place) < len(atoms) or not set(atoms) <= set(names):
        return None
    return biotite_bonds(known.bonds.as_array(), [place.get(atom, -1) for atom in names])


def biotite_bonds(bonds: NDArray[np.integer], place: Sequence[int]) -> NDArray[np.int64]:
    """(B, 3) bonds with biotite's types as orders; ``place`` (n,) says which atom each is, -1 for one to leave out."""
    from biotite.structure import BondType

    order = {BondType.DOUBLE: 2, BondType.AROMATIC_DOUBLE: 2, BondType.TRIPLE: 3, BondType.AROMATIC_TRIPLE: 3}
    order |= {BondType.QUADRUPLE: 3, BondType.AROMATIC: AROMATIC}
    rows = [(place[i], place[j], order.get(BondType(kind), 1)) for i, j, kind in bonds.tolist()]
    return np.array(sorted((min(a, b), max(a, b), o) for a, b, o in rows if min(a, b) >= 0), np.int64).reshape(-1, 3)


def sdf_ligand(path: str | Path) -> LigandAtoms:
    """Heavy atoms and bonds of the first molecule of an SDF or MOL file.

    Raises
    ------
    StructureError
        If the file is missing, no SDF, or has no heavy atom.
    """
    atoms = read_sdf_molecule(path)
    element = np.char.upper(np.asarray(atoms.element).astype(str))
    heavy = ~np.isin(element, ("H", "D"))
    place = np.where(heavy, np.cumsum(heavy) - 1, -1).tolist()
    bonds = biotite_bonds(atoms.bonds.as_array(), place)
    return LigandAtoms(np.asarray(atoms.coord, np.float32)[heavy], element[heavy], bonds)


def valences(ligand: LigandAtoms, bonds: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M,) sum of the orders of an atom's bonds; an aromatic one counts 1.5."""
    order = np.where(bonds[:, 2] == AROMATIC, 1.5, bonds[:, 2])
    return np.bincount(bonds[:, :2].T.ravel(), np.tile(order, 2), minlength=len(ligand.coord)).astype(np.float64)


def charges(ligand: LigandAtoms, bonds: NDArray[np.int64], *, ionised: bool = True) -> NDArray[np.int64]:
    """(M,) formal charges: those that the bonds ask for and, if ``ionised``, of acids without and of amines with a proton."""
    element, n = ligand.element, len(ligand.coord)
    total = valences(ligand, bonds)
    out = np.zeros(n, np.int64)
    out[((element == "N") & (total == 4)) | ((element == "O") & (total == 3))] = 1
    out[(element == "B") & (total == 4)] = -1
    double = np.zeros(n, bool)
    double[bonds[bonds[:, 2] != 1, :2]] = True
    degree = np.bincount(bonds[:, :2].ravel(), minlength=n)
    carbonyl = np.zeros(n, bool)  # atoms doubly bonded to a terminal oxygen
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for i, j, order in bonds.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
        for a, b in ((i, j), (j, i)):
            carbonyl[a] |= order == 2 and element[b] == "O" and degree[b] == 1
    for k in np.flatnonzero((element == "O") & (total == 1)).tolist():
        (centre,) = neighbours[k]
        acid = carbonyl[centre] and (
            out[centre] == 1 if element[centre] == "N" else ionised and element[centre] in ("C", "P", "S")
        )
        out[k] = -1 if acid else out[k]
    if ionised:
        for k in np.flatnonzero((element == "N") & (total == degree) & (degree > 0) & (degree < 4)).tolist():
            if all(element[j] == "C" and not double[j] for j in neighbours[k]):
                out[k] = 1
    return out


def hydrogens(ligand: LigandAtoms, bonds: NDArray[np.int64], charge: NDArray[np.int64]) -> NDArray[np.int64]:
    """(M,) hydrogens that fill the valences."""
    room = np.array([_VALENCE.get(x, 0) for x in ligand.element.tolist()])
    # A charge is a bond more for nitrogen and oxygen, and one fewer when negative.
    return np.maximum(0, np.floor(room + np.where(room > 0, charge, 0) - valences(ligand, bonds))).astype(np.int64)


def _ring_bonds(around: list[list[int]]) -> set[tuple[int, int]]:
    """Bonds whose ends stay connected without them."""
    found = set()
    for i, n in enumerate(around):
        for j in n:
            if i < j:
                seen, todo = {i}, [k for k in n if k != j]
                while todo:
                    k = todo.pop()
                    if k not in seen:
                        seen.add(k)
                        todo += around[k]
                if j in seen:
                    found.add((i, j))
    return found


def rotors(ligand: LigandAtoms, bonds: NDArray[np.int64], h: NDArray[np.int64]) -> float:
    """Rotatable bonds as Vina counts them: half for each end with another heavy neighbour.

    A bond rotates if it is single, in no ring and turns more than hydrogens of a carbon; amides and amidines stay flat, but for
    tertiary ones with two unlike ends, and of the bonds along a triple bond one counts.
    """
    element, n = ligand.element, len(ligand.coord)
    around: list[dict[int, int]] = [{} for _ in range(n)]
    for i, j, order in bonds.tolist():
        around[i][j] = around[j][i] = order
    near = np.zeros((n, n), bool)
    near[bonds[:, 0], bonds[:, 1]] = near[bonds[:, 1], bonds[:, 0]] = True
    aromatic = flat_ring(ligand.coord, near)  # no amidines, however their double bonds are drawn

    def turns(i: int, j: int) -> bool:
        if 3 in (*around[i].values(), *around[j].values()):
            return around[i][j] == 3 and len(around[i]) == len(around[j]) == 2
        for c, m in ((i, j), (j, i)):
            others = {(str(element[k]), len(around[k])) for k in around[m] if k != c}
            stiff = element[c] == "C" and not aromatic[c] and element[m] == "N" and (len(around[m]) < 3 or len(others) < 2)
            if stiff and any(order == 2 and element[k] in ("O", "N", "S") for k, order in around[c].items()):
                return False
        return around[i][j] == 1 and all(len(around[k]) > 1 or (element[k] in ("N", "O", "S") and h[k] > 0) for k in (i, j))

    ring = _ring_bonds([list(x) for x in around])
    turning = [(i, j) for i, j in bonds[:, :2].tolist() if (min(i, j), max(i, j)) not in ring and turns(i, j)]
    return 0.5 * sum(len(around[k]) > 1 for pair in turning for k in pair)
