"""A stand-in for the score of AutoDock Vina: its published terms on heavy atoms, in NumPy, of the pose as it is.

Source: Trott & Olson, J. Comput. Chem. 31 (2010) 455, table 1 and the text on interaction types; radii and the rule on rotors are
those of the program. It is no docking program: the pose is scored as it stands, and who gives and takes hydrogen bonds is told
from names and valences. :mod:`s2p.models.pocketgen.docking` asks Vina itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.models.pocketgen.atoms import LETTERS, RESIDUES, SLOTS
from s2p.models.pocketgen.data import LigandAtoms, Pocket
from s2p.models.pocketgen.design import Design
from s2p.models.pocketgen.ligand import bond_table, charges, hydrogens, rotors
from s2p.structure.reading import Structure

__all__ = ["METALS", "VinaAtoms", "ligand_atoms", "receptor_atoms", "standin_score"]

GAUSS1, GAUSS2, REPULSION, HYDROPHOBIC, H_BOND = -0.0356, -0.00516, 0.840, -0.0351, -0.587
"""kcal/mol."""
ROTOR = 0.0585
REACH = 8.0
"""Å, between centres: pairs farther apart do not count."""
METALS = ("MG", "MN", "ZN", "CA", "FE")
"""Ions that stay with the protein: those Vina has parameters for."""
_RADIUS = {"C": 1.9, "N": 1.8, "O": 1.7, "S": 2.0, "P": 2.1, "F": 1.5, "CL": 1.8, "BR": 2.0, "I": 2.2, "SI": 2.2}
_RADIUS |= dict.fromkeys(METALS, 1.2)
_BOND = {"C": 0.77, "N": 0.75, "O": 0.73, "S": 1.02, "P": 1.06, "F": 0.71, "CL": 0.99, "BR": 1.14, "I": 1.33, "SI": 1.11}
"""Å: covalent radii that Vina tells bonds with."""
_ALLOWANCE = 1.1
_GIVING = {"ASN": "ND2", "ARG": "NE NH1 NH2", "GLN": "NE2", "HIS": "NE2", "LYS": "NZ", "SER": "OG", "THR": "OG1"}
_GIVING |= {"TRP": "NE1", "TYR": "OH"}
"""Side-chain atoms with a polar hydrogen; histidine has it on NE2, as most structures without hydrogens are taken."""


@dataclass(frozen=True, eq=False)
class VinaAtoms:
    """Heavy atoms with what Vina's terms ask for."""

    coord: NDArray[np.float64]
    """(A, 3) Å."""
    element: NDArray[np.str_]
    """(A,) upper case."""
    donor: NDArray[np.bool_]
    """(A,) nitrogen or oxygen with a hydrogen, or a metal."""
    acceptor: NDArray[np.bool_]
    """(A,)."""

    @property
    def radius(self) -> NDArray[np.float64]:
        """(A,) Å; elements unknown to Vina as carbon."""
        return np.array([_RADIUS.get(x, 1.9) for x in self.element.tolist()])

    @property
    def hydrophobic(self) -> NDArray[np.bool_]:
        """(A,) halogens, and carbons that are bonded to carbon only."""
        bond = np.array([_BOND.get(x, 0.0) for x in self.element.tolist()])
        pairs = cKDTree(self.coord).query_pairs(2 * _ALLOWANCE * max(_BOND.values()), output_type="ndarray").reshape(-1, 2)
        length = np.linalg.norm(self.coord[pairs[:, 0]] - self.coord[pairs[:, 1]], axis=1)
        i, j = pairs[length < _ALLOWANCE * bond[pairs].sum(axis=1)].T
        carbon = self.element == "C"
        beside = np.zeros(len(carbon), bool)
        beside[i[~carbon[j]]] = True
        beside[j[~carbon[i]]] = True
        return np.asarray((carbon & ~beside) | np.isin(self.element, ("F", "CL", "BR", "I")))


def receptor_atoms(structure: Structure, pocket: Pocket, design: Design | None = None, reach: float = 16.0) -> VinaAtoms:
    """The protein around the ligand with a design in place, or, without one, as it is; and ions of metals.

    Waters, cofactors and other ligands are left out, in native and designs alike: PocketGen does not see them either.

    Parameters
    ----------
    reach
        Å from the ligand's atoms within which atoms are kept.
    """
    atoms, residues = structure.atoms, structure.residues
    index = pocket.residues[pocket.pocket]
    stays = np.ones(len(residues), bool) if design is None else ~np.isin(np.arange(len(residues)), index)
    kept = stays[atoms.residue_index]
    parent = dict(zip(LETTERS, RESIDUES, strict=True))
    names = np.array([parent.get(x, "") for x in residues.one_letter.tolist()])[atoms.residue_index[kept]].tolist()
    rows = list(zip(names, atoms.name[kept].tolist(), atoms.element[kept].tolist(), strict=True))
    coord = [atoms.coord[kept].astype(np.float64)]
    if design is not None:
        for place, kind in enumerate(design.types.tolist()):
            slots = SLOTS[RESIDUES[kind - 1]]
            rows += [(RESIDUES[kind - 1], name, name[0]) for name in slots]
            coord.append(design.coord[place, : len(slots)])
    for ion in structure.ligands:
        if len(ion.coord) == 1 and ion.element[0] in METALS and np.linalg.norm(pocket.ligand - ion.coord, axis=1).min() > 0.1:
            rows.append(("", "", str(ion.element[0])))
            coord.append(ion.coord.astype(np.float64))
    x = np.concatenate(coord)
    element = np.array(["S" if row[2] == "SE" else row[2] for row in rows])
    giving = {(name, atom) for name, text in _GIVING.items() for atom in text.split()}
    giving |= {(name, "N") for name in (*RESIDUES, "") if name != "PRO"}
    donor = np.array([row[:2] in giving or row[2] in METALS for row in rows])
    acceptor = (element == "O") | np.array([row[:2] == ("HIS", "ND1") for row in rows])
    distance, _ = cKDTree(pocket.ligand).query(x)
    near = (distance <= reach) & np.isin(element, list(_RADIUS))
    return VinaAtoms(x[near], element[near], donor[near], acceptor[near])


def ligand_atoms(ligand: LigandAtoms) -> tuple[VinaAtoms, float]:
    """The ligand, and how many of its bonds rotate; acids without and aliphatic amines with a proton."""
    bonds = bond_table(ligand)
    charge = charges(ligand, bonds)
    h = hydrogens(ligand, bonds, charge)
    element = ligand.element
    polar = np.isin(element, ("N", "O"))
    unsaturated = np.zeros(len(element), bool)
    unsaturated[bonds[bonds[:, 2] != 1, :2]] = True
    unsaturated &= np.isin(element, ("C", "N"))
    beside = np.zeros(len(element), bool)
    for i, j in bonds[:, :2].tolist():
        beside[i] |= unsaturated[j]
        beside[j] |= unsaturated[i]
    three = h + np.bincount(bonds[:, :2].ravel(), minlength=len(element)) == 3
    # The lone pair of an amide's, aniline's or pyrrole's nitrogen is taken.
    acceptor = (element == "O") | ((element == "N") & (charge == 0) & ~(three & beside))
    return VinaAtoms(ligand.coord.astype(np.float64), element, polar & (h > 0), acceptor), rotors(ligand, bonds, h)


def standin_score(receptor: VinaAtoms, ligand: VinaAtoms, n_rotors: float) -> float:
    """kcal/mol: sum over pairs of a receptor's and a ligand's atom, divided by 1 + 0.0585 rotors; lower is better."""
    pairs = cKDTree(receptor.coord).sparse_distance_matrix(cKDTree(ligand.coord), REACH, output_type="ndarray")
    i, j = pairs["i"], pairs["j"]
    gap = pairs["v"] - receptor.radius[i] - ligand.radius[j]
    oily = receptor.hydrophobic[i] & ligand.hydrophobic[j]
    bonding = (receptor.donor[i] & ligand.acceptor[j]) | (receptor.acceptor[i] & ligand.donor[j])
    energy = (
        GAUSS1 * np.exp(-np.square(gap / 0.5))
        + GAUSS2 * np.exp(-np.square((gap - 3.0) / 2.0))
        + REPULSION * np.square(np.minimum(gap, 0))
        + HYDROPHOBIC * oily * np.clip(1.5 - gap, 0, 1)
        + H_BOND * bonding * np.clip(-gap / 0.7, 0, 1)
    )
    return float(energy.sum() / (1 + ROTOR * n_rotors))
