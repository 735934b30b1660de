"""Chemistry of a ligand's heavy atoms: its bonds, and with RDKit its charges, its molecule and its feature families.

Bonds are those of an SDF or MOL file, or of the Chemical Component Dictionary for a residue of the structure; where there is
neither, lengths and planes tell them. RDKit's own perception (rdDetermineBonds) cannot: it wants hydrogens, which structures
lack, and of 211 ligands without them it gave the molecule of none, where these rules give the dictionary's for 169. Only what
needs RDKit, which is of the extra ``design``, asks for orders; a design by the shipped checkpoint does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.models.pocketgen.atoms import flat_ring, ligand_bonds
from s2p.models.pocketgen.data import LigandAtoms
from s2p.structure.files.formats import read_sdf_molecule

__all__ = [
    "AROMATIC",
    "FAMILIES",
    "bond_table",
    "dictionary_bonds",
    "perceived_bonds",
    "rdkit_families",
    "rdkit_molecule",
    "require",
    "sdf_ligand",
]

AROMATIC = 4
"""Order of a bond that a file calls aromatic, as MOL files number it."""
FAMILIES = tuple("Acceptor Donor Aromatic Hydrophobe LumpedHydrophobe NegIonizable PosIonizable ZnBinder".split())
"""In the order of the columns."""
_DOUBLE = {"CC": 1.34, "CN": 1.29, "CO": 1.22, "NN": 1.25, "NO": 1.21, "CS": 1.67}
"""Å: usual lengths of double bonds."""
_LONGEST = {"CC": 0.08, "CN": 0.06, "CO": 0.08, "NN": 0.07, "NO": 0.09, "CS": 0.05}
"""Å: how much longer a bond may be and still be drawn double; in a flat ring, where orders are shared, 0.06 more."""
_TRIPLE = {"CC": 1.25, "CN": 1.22}
_IMINE = 0.1
"""Å."""
_DRAWN = (("[#7v4,#8v3]", 1), ("[#5v4]", -1), ("[#8D1;$(*-[#7+]=[#8D1])]", -1))
"""Atoms whose bonds ask for a formal charge, as SMARTS, the charge being that of the first atom; the last: nitro groups."""
_IONISED = (("[#8D1;$(*-[#6,#15,#16]=[#8D1])]", -1), ("[#7;D1,D2,D3;!$(*=,#,:*);!$(*~[!#6]);!$(*~[#6]=,#,:*)]", 1))
"""Likewise near pH 7: acids without and aliphatic amines with a proton."""


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
    if len(set(atoms)) < len(atoms) or not set(atoms) <= set(names):
        return None
    return _orders(known[[names.index(atom) for atom in atoms]].bonds.as_array())


def _orders(bonds: NDArray[np.integer]) -> NDArray[np.int64]:
    """(B, 3) bonds in biotite's form, sorted, with orders in place of its types."""
    from biotite.structure import BondType

    order = {BondType.DOUBLE: 2, BondType.AROMATIC_DOUBLE: 2, BondType.TRIPLE: 3, BondType.AROMATIC_TRIPLE: 3}
    order |= {BondType.QUADRUPLE: 3, BondType.AROMATIC: AROMATIC}
    rows = sorted((min(i, j), max(i, j), order.get(BondType(kind), 1)) for i, j, kind in bonds.tolist())
    return np.array(rows, np.int64).reshape(-1, 3)


def sdf_ligand(path: str | Path) -> LigandAtoms:
    """Heavy atoms and bonds of the first molecule of an SDF or MOL file.

    Raises
    ------
    StructureError
        If the file is missing, no SDF, or has no heavy atom.
    """
    atoms = read_sdf_molecule(path)
    return LigandAtoms(np.asarray(atoms.coord, np.float32), np.asarray(atoms.element), _orders(atoms.bonds.as_array()))


def require(package: str, purpose: str) -> None:
    """Say what to install where a package of the extra ``design`` is missing.

    Raises
    ------
    S2PError
        If it is.
    """
    if find_spec(package) is None:
        raise S2PError(f"{purpose} needs the package {package}, which is not installed; pip install 's2p[design]'")


def rdkit_molecule(ligand: LigandAtoms, *, ionised: bool = False) -> Any:
    """The ligand's heavy atoms, bonds and charges as a sanitised ``rdkit.Chem.Mol`` with the pose as its conformer.

    Parameters
    ----------
    ionised
        Acids without and aliphatic amines with a proton; default: as the bonds are drawn.

    Raises
    ------
    S2PError
        If RDKit is missing, or finds no molecule in the bonds.
    """
    require("rdkit", "the ligand's chemistry")
    from rdkit import Chem
    from rdkit.Geometry import Point3D

    bonds = bond_table(ligand)
    orders = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE, AROMATIC: Chem.BondType.AROMATIC}
    molecule = Chem.RWMol()
    for symbol in ligand.element.tolist():
        molecule.AddAtom(Chem.Atom(symbol.capitalize()))
    for i, j, order in bonds.tolist():
        molecule.AddBond(i, j, orders[order])
        if order == AROMATIC:
            molecule.GetAtomWithIdx(i).SetIsAromatic(True)
            molecule.GetAtomWithIdx(j).SetIsAromatic(True)
    molecule.UpdatePropertyCache(strict=False)
    for pattern, charge in (*_DRAWN, *(_IONISED if ionised else ())):
        for match in molecule.GetSubstructMatches(Chem.MolFromSmarts(pattern)):
            molecule.GetAtomWithIdx(match[0]).SetFormalCharge(charge)
    conformer = Chem.Conformer(len(ligand.coord))
    for k, place in enumerate(ligand.coord.astype(float).tolist()):
        conformer.SetAtomPosition(k, Point3D(*place))
    molecule.AddConformer(conformer)
    try:
        Chem.SanitizeMol(molecule)
    except ValueError as error:
        raise S2PError(f"RDKit finds no molecule in the ligand's bonds ({' '.join(str(error).split())})") from None
    Chem.AssignStereochemistryFrom3D(molecule)
    return molecule.GetMol()


@lru_cache(maxsize=1)
def _factory() -> Any:
    from rdkit import RDConfig
    from rdkit.Chem import ChemicalFeatures

    features: Any = ChemicalFeatures  # a name that its type hints lack
    return features.BuildFeatureFactory(f"{RDConfig.RDDataDir}/BaseFeatures.fdef")


def rdkit_families(ligand: LigandAtoms) -> NDArray[np.bool_]:
    """(M, 8) which of RDKit's base features each heavy atom belongs to, in the order of :data:`FAMILIES`.

    Raises
    ------
    S2PError
        As :func:`rdkit_molecule`.
    """
    molecule = rdkit_molecule(ligand)
    out = np.zeros((len(ligand.coord), len(FAMILIES)), bool)
    for feature in _factory().GetFeaturesForMol(molecule):
        if feature.GetFamily() in FAMILIES:
            out[list(feature.GetAtomIds()), FAMILIES.index(feature.GetFamily())] = True
    return out


def perceived_bonds(coord: NDArray[np.floating], element: NDArray[np.str_]) -> NDArray[np.int64]:
    """(B, 3) bonds of heavy atoms from (M, 3) Å: neighbours by covalent radii, double bonds where atoms are flat and near.

    Every flat carbon that can gets one double bond, those that fit their lengths best; of rings that is a Kekulé structure.
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
    """Whether the three bonds of an atom lie in a plane; of an atom with fewer, lengths must tell."""
    if len(around) != 3:
        return len(around) < 3
    arms = x[around] - x[k]
    arms /= np.linalg.norm(arms, axis=1, keepdims=True)
    return abs(float(np.linalg.det(arms))) < 0.35  # 0.77 of a tetrahedron


def _matching(excess: Mapping[tuple[int, int], float], wanted: set[int]) -> list[tuple[int, int]]:
    """Bonds without a common atom, that leave as few of the ``wanted`` atoms as possible without one; least excess in all."""
    import networkx

    graph = networkx.Graph()
    for (i, j), value in excess.items():
        graph.add_edge(i, j, weight=100.0 * ((i in wanted) + (j in wanted)) + 1.0 - value)
    return sorted((min(pair), max(pair)) for pair in networkx.max_weight_matching(graph))
