"""A ligand as RDKit's molecule, and the feature families that the published PocketGen reads of it."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.models.pocketgen.data import LigandAtoms
from s2p.models.pocketgen.ligand import AROMATIC, bond_table, charges

__all__ = ["FAMILIES", "rdkit_families", "rdkit_molecule", "require"]

FAMILIES = (
    "Acceptor",
    "Donor",
    "Aromatic",
    "Hydrophobe",
    "LumpedHydrophobe",
    "NegIonizable",
    "PosIonizable",
    "ZnBinder",
)
"""In the order of the columns."""


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
    for symbol, charge in zip(ligand.element.tolist(), charges(ligand, bonds, ionised=ionised).tolist(), strict=True):
        atom = Chem.Atom(symbol.capitalize())
        atom.SetFormalCharge(charge)
        molecule.AddAtom(atom)
    for i, j, order in bonds.tolist():
        molecule.AddBond(i, j, orders[order])
        if order == AROMATIC:
            molecule.GetAtomWithIdx(i).SetIsAromatic(True)
            molecule.GetAtomWithIdx(j).SetIsAromatic(True)
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

    return ChemicalFeatures.BuildFeatureFactory(f"{RDConfig.RDDataDir}/BaseFeatures.fdef")


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
