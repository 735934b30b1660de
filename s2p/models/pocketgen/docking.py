"""AutoDock Vina on designs: receptor and ligand as PDBQT, scored by the program or the Python package.

The pose of the given ligand is relaxed by Vina's local optimisation, both in designs and in the native pocket. Without
relaxation, an overlap of 0.2 Å would dominate the score; a search would score other poses.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.errors import DISTRIBUTION, S2PError
from s2p.models.pocketgen.atoms import LETTERS, RESIDUES, SLOTS
from s2p.models.pocketgen.data import LigandAtoms, Pocket
from s2p.models.pocketgen.design import Design
from s2p.models.pocketgen.ligand import rdkit_molecule, require
from s2p.structure.reading import Structure

__all__ = ["METALS", "ReceptorAtoms", "check_vina", "ligand_pdbqt", "receptor_atoms", "receptor_pdbqt", "vina_score"]

SECONDS = 600
"""Time limit in seconds; a local optimisation takes one or two."""
MARGIN = 8.0
"""Å around the ligand's atoms for the grid of the Python package; the program makes its own."""
METALS = ("MG", "MN", "ZN", "CA", "FE")
"""Ions that are kept with the protein: those for which Vina has parameters."""
KNOWN = ("C", "N", "O", "S", "P", "F", "CL", "BR", "I", "SI", *METALS)
"""Elements that Vina has parameters for."""
_GIVING = {"ASN": "ND2", "ARG": "NE NH1 NH2", "GLN": "NE2", "HIS": "NE2", "LYS": "NZ", "SER": "OG", "THR": "OG1"}
_GIVING |= {"TRP": "NE1", "TYR": "OH"}
"""Side-chain atoms with a polar hydrogen."""


@dataclass(frozen=True, eq=False)
class ReceptorAtoms:
    """Heavy atoms of a receptor with the properties that Vina reads."""

    coord: NDArray[np.float64]
    """(A, 3) Å."""
    element: NDArray[np.str_]
    """(A,) upper case."""
    donor: NDArray[np.bool_]
    """(A,) whether it is a nitrogen or oxygen with a hydrogen, or a metal."""
    acceptor: NDArray[np.bool_]
    """(A,)."""


def check_vina() -> Literal["program", "package"]:
    """Which of the two is installed, the program first.

    :class:`S2PError` if neither is, or a package that prepares the ligand (rdkit, meeko) is missing.
    """
    found: Literal["program", "package"] | None = (
        "program" if shutil.which("vina") else "package" if find_spec("vina") is not None else None
    )
    if found is None:
        raise S2PError(
            "AutoDock Vina is not installed; install the program (Debian: apt install autodock-vina) or the Python package "
            f"(pip install '{DISTRIBUTION}[design]'), or leave out --vina"
        )
    require("rdkit", "--vina")
    require("meeko", "--vina")
    return found


def ligand_pdbqt(ligand: LigandAtoms) -> str:
    """The ligand with hydrogens, types and rotatable bonds from Meeko; rings are rigid.

    :class:`S2PError` if its bonds are not a valid molecule, or Meeko has no types for it.
    """
    from meeko import MoleculePreparation, PDBQTWriterLegacy
    from rdkit.Chem import AddHs

    molecule = AddHs(rdkit_molecule(ligand, ionised=True), addCoords=True)
    try:
        (setup,) = MoleculePreparation(rigid_macrocycles=True).prepare(molecule)
        text, fine, message = PDBQTWriterLegacy.write_string(setup)
    except (RuntimeError, ValueError) as error:
        raise S2PError(f"the ligand cannot be prepared for AutoDock Vina ({error})") from None
    if not fine:
        raise S2PError(f"the ligand cannot be prepared for AutoDock Vina ({' '.join(message.split())})")
    return str(text)


def receptor_atoms(structure: Structure, pocket: Pocket, design: Design | None = None, reach: float = 16.0) -> ReceptorAtoms:
    """The protein around the ligand, with a design in place if given, and metal ions.

    Waters, cofactors and other ligands are left out, in native and designed pockets, because PocketGen does not read them either.
    Histidine has its hydrogen on NE2, the usual choice for structures without hydrogens. ``reach``: Å from the ligand's atoms
    within which atoms are kept.
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
    near = (distance <= reach) & np.isin(element, KNOWN)
    return ReceptorAtoms(x[near], element[near], donor[near], acceptor[near])


def receptor_pdbqt(receptor: ReceptorAtoms) -> str:
    """PDBQT of the rigid receptor, without charges, which Vina does not read.

    Vina uses a hydrogen only to mark its atom as a donor, so each donor gets one, pointing away from its other neighbours.
    """
    element, x = receptor.element, receptor.coord
    kinds = {"N": ("N", "NA"), "O": ("OA", "OA"), "S": ("SA", "SA"), "C": ("C", "C"), "P": ("P", "P")}
    tree = cKDTree(x)
    rows = []
    for k, (symbol, place) in enumerate(zip(element.tolist(), x, strict=True)):
        kind = kinds[symbol][int(receptor.acceptor[k])] if symbol in kinds else symbol.capitalize()
        rows.append((symbol, kind, place))
        if receptor.donor[k] and symbol not in METALS:
            others = [j for j in tree.query_ball_point(place, 1.9) if j != k]
            away = place - x[others].mean(axis=0) if others else np.array([1.0, 0.0, 0.0])
            rows.append(("H", "HD", place + away / max(float(np.linalg.norm(away)), 1e-6)))
    return "".join(
        f"ATOM  {k % 99999:5d}  {name:<3s} REC A   1    {place[0]:8.3f}{place[1]:8.3f}{place[2]:8.3f}  1.00  0.00"
        f"    +0.000 {kind:<2s}\n"
        for k, (name, kind, place) in enumerate(rows, start=1)
    )


def vina_score(
    receptor: ReceptorAtoms, ligand: str, *, relax: bool = True, engine: Literal["program", "package"] | None = None
) -> float:
    """kcal/mol: Vina's free energy of binding of a pose, after a local optimisation or, without ``relax``, as given.

    ``ligand``: PDBQT; ``engine``: by default that found by :func:`check_vina`. :class:`S2PError` if Vina is missing or fails.
    """
    engine = engine or check_vina()
    with tempfile.TemporaryDirectory(prefix="s2p-vina-") as folder:
        protein, molecule = Path(folder, "receptor.pdbqt"), Path(folder, "ligand.pdbqt")
        protein.write_text(receptor_pdbqt(receptor))
        molecule.write_text(ligand)
        return (_program if engine == "program" else _package)(protein, molecule, relax)


def _program(receptor: Path, ligand: Path, relax: bool) -> float:
    command = ["vina", "--receptor", str(receptor), "--ligand", str(ligand), "--autobox", "--cpu", "1", "--seed", "1"]
    command += ["--local_only", "--out", str(ligand.with_name("out.pdbqt"))] if relax else ["--score_only"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise S2PError(f"AutoDock Vina could not be run ({error})") from None
    found = re.search(r"^Estimated Free Energy of Binding\s*:\s*(-?[\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        said = " ".join((done.stderr or done.stdout).split())[-200:]
        raise S2PError(f"AutoDock Vina failed (exit status {done.returncode}): {said}")
    return float(found[1])


def _package(receptor: Path, ligand: Path, relax: bool) -> float:
    from vina import Vina

    rows = [line for line in ligand.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    x = np.array([[float(line[a : a + 8]) for a in (30, 38, 46)] for line in rows])
    try:
        vina = Vina(sf_name="vina", cpu=1, seed=1, verbosity=0)
        vina.set_receptor(str(receptor))
        vina.set_ligand_from_file(str(ligand))
        vina.compute_vina_maps(center=x.mean(axis=0).tolist(), box_size=(np.ptp(x, axis=0) + MARGIN).tolist())
        return float((vina.optimize() if relax else vina.score())[0])
    except (RuntimeError, TypeError, ValueError) as error:
        raise S2PError(f"AutoDock Vina failed: {error}") from None
