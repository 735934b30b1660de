"""Atoms as input of PocketGen: fourteen slots per residue, and the features of a ligand's atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2p.structure.files.names import SIDE_CHAINS
from s2p.structure.reading import Structure

__all__ = [
    "ATOM_CODES",
    "ATOM_NAMES",
    "BACKBONE",
    "CHIRAL",
    "LETTERS",
    "N_LIGAND_FEATURES",
    "N_SLOTS",
    "N_TYPES",
    "RESIDUES",
    "SLOTS",
    "SLOT_ELEMENTS",
    "SLOT_MASK",
    "flat_ring",
    "ligand_bonds",
    "ligand_features",
    "slot_arrays",
]

RESIDUES = tuple(SIDE_CHAINS)
"""Types 1 to 20, in this order; 0 is a residue that is to be designed."""
LETTERS = "ARNDCQEGHILKMFPSTWYV"
BACKBONE = ("N", "CA", "C", "O")
SLOTS = {name: (*BACKBONE, *(x for x in rest if (name, x) != ("ILE", "CD"))) for name, rest in SIDE_CHAINS.items()}
"""Atom names of each residue in the order of their slots."""
N_SLOTS, N_TYPES = 14, 21
ATOM_NAMES = tuple(dict.fromkeys(name for names in SLOTS.values() for name in names))
"""Code 1 and up; 0 is an atom without a name yet."""
_SLOT_NAMES = np.array([(*names, *[""] * (N_SLOTS - len(names))) for names in (BACKBONE, *SLOTS.values())])
SLOT_ELEMENTS = _SLOT_NAMES.astype("<U1")
"""(21, 14) element in each slot, empty for none; for an undetermined type those of the backbone."""
SLOT_MASK = (_SLOT_NAMES != "") | (np.arange(N_TYPES) == 0)[:, None]
"""(21, 14) which slots a residue of each type has; all of them for an undetermined type."""
ATOM_CODES = np.array(
    [[0] * N_SLOTS, *[[ATOM_NAMES.index(x) + 1 if x else 0 for x in names] for names in _SLOT_NAMES[1:].tolist()]]
)
"""(21, 14) code of the atom name in each slot; 0 for an undetermined type."""
CHIRAL = (("CA", "N", "C", "CB"), ("CB", "CA", "OG1", "CG2"), ("CB", "CA", "CG1", "CG2"))
"""Centre and three neighbours of the chiral carbons: of all residues but glycine, of threonine, of isoleucine."""

_ELEMENTS = ("C", "N", "O", "F", "P", "S", "CL")
_RULES = 8
N_LIGAND_FEATURES = len(_ELEMENTS) + _RULES


def slot_arrays(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Atoms of a structure by residue and slot; atoms without a slot (terminal oxygen, atoms of modified residues) are left out.

    (N,) types, 1 to 20 by the parent of a modified residue, 0 without one; (N, 14, 3) Å; (N, 14) which atoms exist.
    """
    atoms, residues = structure.atoms, structure.residues
    letters = {letter: k for k, letter in enumerate(LETTERS, start=1)}
    types = np.array([letters.get(x, 0) for x in residues.one_letter.tolist()], np.int64)
    place = [{name: s for s, name in enumerate(BACKBONE)}, *({n: s for s, n in enumerate(names)} for names in SLOTS.values())]
    owner = atoms.residue_index
    slot = np.array([place[t].get(n, -1) for t, n in zip(types[owner].tolist(), atoms.name.tolist(), strict=True)], np.int64)
    coord = np.zeros((len(types), N_SLOTS, 3), np.float32)
    present = np.zeros((len(types), N_SLOTS), bool)
    known = slot >= 0
    coord[owner[known], slot[known]] = atoms.coord[known]
    present[owner[known], slot[known]] = True
    return types, coord, present


def ligand_bonds(coord: NDArray[np.floating], element: NDArray[np.str_]) -> NDArray[np.bool_]:
    """(M, M) pairs of a ligand's heavy atoms closer than the sum of their covalent radii and 0.4 Å."""
    import gemmi

    radius = np.array([gemmi.Element(x).covalent_r for x in element.tolist()])
    distance = np.linalg.norm(coord[:, None] - coord[None], axis=-1)
    return np.asarray((distance < radius[:, None] + radius + 0.4) & (distance > 0.4))


def ligand_features(coord: NDArray[np.floating], element: NDArray[np.str_]) -> NDArray[np.float32]:
    """(M, 15) features of a ligand's heavy atoms: element (C N O F P S Cl, else none), and eight roles.

    The published features are RDKit's families. Not all of them can be derived from coordinates without hydrogens and bond
    orders; ours are rules on element, number of bonds and flat rings of five or six: acceptor, donor, aromatic, hydrophobic,
    carbon with carbon only (lumped hydrophobe), acid oxygen, basic nitrogen, zinc binder.
    """
    bonds = ligand_bonds(coord, element)
    degree = bonds.sum(axis=1)
    flat = flat_ring(coord, bonds)
    carbon, nitrogen, oxygen, sulphur = (element == x for x in ("C", "N", "O", "S"))
    halogen = np.isin(element, ("F", "CL", "BR", "I"))
    hetero = ~carbon & ~halogen
    beside_hetero = (bonds & hetero[None]).any(axis=1)
    terminal_oxygens = (bonds & (oxygen & (degree == 1))[None]).sum(axis=1)
    centre = (carbon | (element == "P") | sulphur) & (terminal_oxygens >= 2)
    acid = oxygen & (degree == 1) & (bonds & centre[None]).any(axis=1)
    columns = (
        oxygen | (nitrogen & (degree <= 2)),
        (nitrogen & (degree <= 2)) | (oxygen & (degree == 1) & ~acid),
        flat,
        (carbon & ~beside_hetero) | halogen | (sulphur & (degree == 2)),
        carbon & ~(bonds & ~carbon[None]).any(axis=1),
        acid,
        nitrogen & ~flat & ~(bonds & flat[None]).any(axis=1),
        (sulphur & (degree == 1)) | acid | (nitrogen & flat & (degree == 2)),
    )
    one_hot = element[:, None] == np.array(_ELEMENTS)
    return np.concatenate([one_hot, np.stack(columns, axis=1)], axis=1).astype(np.float32)


def flat_ring(coord: NDArray[np.floating], bonds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(M,) atoms of a ring of five or six whose atoms lie within 0.15 Å of a plane."""
    import networkx

    found = np.zeros(len(coord), bool)
    for ring in networkx.simple_cycles(networkx.from_numpy_array(bonds), length_bound=6):
        x = coord[ring] - coord[ring].mean(axis=0)
        if len(ring) >= 5 and np.abs(x @ np.linalg.svd(x)[2][2]).max() < 0.15:
            found[ring] = True
    return found
