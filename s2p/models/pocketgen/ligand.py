"""Chemistry of a ligand's heavy atoms: its bonds, and with RDKit its charges, its molecule and its feature families.

Bonds are read from an SDF or MOL file, or from the Chemical Component Dictionary for a residue of the structure. They are not
guessed from coordinates without hydrogens: rules on lengths and planes gave correct bonds for 169 of 211 known ligands, RDKit's
rdDetermineBonds for none. Bonds are needed only by functions that use RDKit, in the extra ``design``, and not for a design with
the shipped checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.errors import DISTRIBUTION, S2PError
from s2p.models.pocketgen.data import LigandAtoms
from s2p.structure.files.formats import read_sdf_molecule

__all__ = ["AROMATIC", "FAMILIES", "dictionary_bonds", "rdkit_families", "rdkit_molecule", "require", "sdf_ligand"]

AROMATIC = 4
"""Order of an aromatic bond, as in MOL files."""
FAMILIES = tuple("Acceptor Donor Aromatic Hydrophobe LumpedHydrophobe NegIonizable PosIonizable ZnBinder".split())
"""In the order of the columns."""
_DRAWN = (("[#7v4,#8v3]", 1), ("[#5v4]", -1), ("[#8D1;$(*-[#7+]=[#8D1])]", -1))
"""SMARTS of atoms whose bonds require a formal charge, that of the first atom; the last: nitro groups."""
_IONISED = (("[#8D1;$(*-[#6,#15,#16]=[#8D1])]", -1), ("[#7;D1,D2,D3;!$(*=,#,:*);!$(*~[!#6]);!$(*~[#6]=,#,:*)]", 1))
"""Likewise near pH 7: deprotonated acids and protonated aliphatic amines."""


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
    """(B, 3) sorted bonds from biotite's, with orders in place of its types."""
    from biotite.structure import BondType

    order = {BondType.DOUBLE: 2, BondType.AROMATIC_DOUBLE: 2, BondType.TRIPLE: 3, BondType.AROMATIC_TRIPLE: 3}
    order |= {BondType.QUADRUPLE: 3, BondType.AROMATIC: AROMATIC}
    rows = sorted((min(i, j), max(i, j), order.get(BondType(kind), 1)) for i, j, kind in bonds.tolist())
    return np.array(rows, np.int64).reshape(-1, 3)


def sdf_ligand(path: str | Path) -> LigandAtoms:
    """Heavy atoms and bonds of the first molecule of an SDF or MOL file.

    :class:`StructureError` if the file is missing, no SDF, or has no heavy atom.
    """
    atoms = read_sdf_molecule(path)
    return LigandAtoms(np.asarray(atoms.coord, np.float32), np.asarray(atoms.element), _orders(atoms.bonds.as_array()))


def require(package: str, purpose: str) -> None:
    """Context for imports of the extra ``design``: :class:`S2PError` with advice if a package is missing."""
    if find_spec(package) is None:
        raise S2PError(f"{purpose} needs the package {package}, which is not installed; pip install '{DISTRIBUTION}[design]'")


def rdkit_molecule(ligand: LigandAtoms, *, ionised: bool = False) -> Any:
    """The ligand's heavy atoms, bonds and charges as a sanitised ``rdkit.Chem.Mol`` with the pose as its conformer.

    ``ionised``: deprotonated acids and protonated aliphatic amines; default: as drawn. :class:`S2PError` if RDKit is missing or
    does not accept the bonds, or they are unknown.
    """
    require("rdkit", "the ligand's chemistry")
    from rdkit import Chem
    from rdkit.Geometry import Point3D

    if ligand.bonds is None:
        raise S2PError(
            "the bonds of the ligand are not known, as the Chemical Component Dictionary has no residue of its name and atoms; "
            "give the ligand as an SDF or MOL file"
        )
    orders = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE, AROMATIC: Chem.BondType.AROMATIC}
    molecule = Chem.RWMol()
    for symbol in ligand.element.tolist():
        molecule.AddAtom(Chem.Atom(symbol.capitalize()))
    for i, j, order in ligand.bonds.tolist():
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

    features: Any = ChemicalFeatures  # missing in its type hints
    return features.BuildFeatureFactory(f"{RDConfig.RDDataDir}/BaseFeatures.fdef")


def rdkit_families(ligand: LigandAtoms) -> NDArray[np.bool_]:
    """(M, 8) whether each heavy atom belongs to each of RDKit's base features, in the order of :data:`FAMILIES`.

    :class:`S2PError` as :func:`rdkit_molecule`.
    """
    molecule = rdkit_molecule(ligand)
    out = np.zeros((len(ligand.coord), len(FAMILIES)), bool)
    for feature in _factory().GetFeaturesForMol(molecule):
        if feature.GetFamily() in FAMILIES:
            out[list(feature.GetAtomIds()), FAMILIES.index(feature.GetFamily())] = True
    return out
