"""Kalasanty's densities and pockets for other programs: Gaussian cube, Chimera's HDF5 map, and Tripos mol2."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.io.files import write_bytes, write_text
from s2p.models.kalasanty.grid import Box, atom_table
from s2p.prediction import Pocket
from s2p.structure.reading import Structure

__all__ = ["BOHR", "cube_text", "pocket_mol2", "read_cmap", "read_cube", "write_cmap", "write_cube"]

BOHR = 1.889725989
"""Bohr radii in one Å."""
PEPTIDE_BOND = 2.0
"""Å: C and N of neighbouring residues of a chain that are closer than this are bonded; in a gap they are farther apart."""


def write_cube(path: str | Path, density: NDArray[np.floating], box: Box, title: str = "density of binding cavities") -> Path:
    """Write a Gaussian cube file, which PyMOL, VMD and ChimeraX read; see :func:`cube_text`."""
    return write_text(Path(path), cube_text(density, box, title))


def cube_text(density: NDArray[np.floating], box: Box, title: str = "density of binding cavities") -> str:
    """The text of a Gaussian cube file: lengths in Bohr, z running fastest.

    The format wants an atom: a hydrogen at the origin of the grid stands for the protein, as in the public code.
    """
    if density.shape != box.shape:
        raise ValueError(f"a density of {density.shape} cells for a box of {box.shape}")
    x, y, z = (value * BOHR for value in box.origin)
    step = box.step * BOHR
    head = [" ".join(title.split()), "written by s2p; Bohr; loops: x, y, z", f"{1:5d}{x:14.8f}{y:14.8f}{z:14.8f}"]
    for axis, size in enumerate(box.shape):
        vector = [step if k == axis else 0.0 for k in range(3)]
        head.append(f"{size:5d}" + "".join(f"{value:14.8f}" for value in vector))
    head.append(f"{1:5d}{0.0:14.8f}{x:14.8f}{y:14.8f}{z:14.8f}")
    lines = []
    for row in np.asarray(density, np.float64).reshape(-1, box.shape[2]).tolist():
        lines += ["".join(f"{value:16.8E}" for value in row[k : k + 6]) for k in range(0, len(row), 6)]
    return "\n".join([*head, *lines]) + "\n"


def read_cube(path: str | Path) -> tuple[NDArray[np.float32], Box]:
    """The density of a cube file on a cubic grid, and its box.

    Raises
    ------
    S2PError
        If the file is no such cube file.
    """
    try:
        words = Path(path).read_text(encoding="utf-8").split("\n", 2)[2].split()
        n_atoms, origin = int(words[0]), [float(word) / BOHR for word in words[1:4]]
        sizes = [int(words[k]) for k in (4, 8, 12)]
        vectors = np.array([[float(word) for word in words[k : k + 3]] for k in (5, 9, 13)]) / BOHR
        values = np.array(words[16 + 5 * abs(n_atoms) :], np.float32)
        density = values.reshape(sizes)
    except (OSError, IndexError, ValueError) as error:
        raise S2PError(f"{path}: cannot be read as a cube file ({error})") from None
    step = float(vectors[0, 0])
    if not np.allclose(vectors, step * np.eye(3), atol=1e-6):
        raise S2PError(f"{path}: its cells are no cubes along the axes; only such grids are read")
    return density, Box((origin[0], origin[1], origin[2]), (sizes[0], sizes[1], sizes[2]), step)


def write_cmap(path: str | Path, density: NDArray[np.floating], box: Box, name: str = "binding cavities") -> Path:
    """Write an HDF5 map of Chimera (``.cmap``), which ChimeraX and Chimera read; lengths in Å, axes z, y, x.

    Raises
    ------
    S2PError
        If h5py is not installed.
    """
    if density.shape != box.shape:
        raise ValueError(f"a density of {density.shape} cells for a box of {box.shape}")
    content = io.BytesIO()
    with _h5py().File(content, "w") as handle:
        image = handle.create_group("Chimera/image1")
        image.attrs["chimera_map_version"] = np.int64(1)
        image.attrs["name"] = np.bytes_(name.encode("ascii", "replace"))
        image.attrs["origin"] = np.array(box.origin, np.float64)
        image.attrs["step"] = np.full(3, box.step)
        image.create_dataset("data_zyx", data=np.ascontiguousarray(np.asarray(density, np.float32).transpose(2, 1, 0)))
    return write_bytes(Path(path), content.getvalue())


def read_cmap(path: str | Path) -> tuple[NDArray[np.float32], Box]:
    """The first image of a Chimera map with cubic cells, and its box.

    Raises
    ------
    S2PError
        If the file is no such map, or h5py is not installed.
    """
    try:
        with _h5py().File(path, "r") as handle:
            image = handle["Chimera/image1"]
            density = np.asarray(image["data_zyx"], np.float32).transpose(2, 1, 0)
            origin, steps = np.asarray(image.attrs["origin"]).tolist(), np.asarray(image.attrs["step"])
    except (OSError, KeyError) as error:
        raise S2PError(f"{path}: cannot be read as a map of Chimera ({error})") from None
    if not np.allclose(steps, steps[0]):
        raise S2PError(f"{path}: its cells are no cubes; only such grids are read")
    a, b, c = density.shape
    return density, Box((origin[0], origin[1], origin[2]), (a, b, c), float(steps[0]))


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise S2PError("maps of Chimera (.cmap) need h5py: pip install 's2p[maps]', or write a .cube file instead") from None
    return h5py


@cache
def _template(residue: str) -> dict[tuple[str, str], str]:
    """Bonds within a residue, from the chemical component dictionary that biotite brings: atom names -> mol2 bond type."""
    from biotite.structure.info import bonds_in_residue

    found = bonds_in_residue(residue)
    return {pair: "ar" if kind.name.startswith("AROMATIC") else str(_order(kind.name)) for pair, kind in found.items()}


def _order(name: str) -> int:
    return next((k for k, word in enumerate(("SINGLE", "DOUBLE", "TRIPLE"), start=1) if word in name), 1)


def _sybyl(structure: Structure, atom: int) -> str:
    """Element and hybridisation, e.g. ``C.2``, ``N.am`` and ``C.ar``; of an unknown atom the element alone."""
    name = str(structure.atoms.name[atom])
    residue = str(structure.residues.name[structure.atoms.residue_index[atom]])
    element = str(structure.atoms.element[atom]).capitalize()
    row = atom_table().get((residue, name))
    if row is None:
        return element
    if row[14]:
        return f"{element}.ar"
    return "N.am" if name == "N" else f"{element}.{int(row[9])}"


def pocket_mol2(structure: Structure, pocket: Pocket, *, voxels: bool = False) -> str:
    """A pocket as the text of a Tripos mol2 file: its whole residues, with bonds.

    Parameters
    ----------
    voxels
        Also the pocket's points, as unbonded dummy atoms (``Du``) of a residue POC.

    Notes
    -----
    Hydrogens are not added and there are no charges.
    """
    atoms = np.flatnonzero(np.isin(structure.atoms.residue_index, pocket.residues))
    serial = {int(atom): k for k, atom in enumerate(atoms, start=1)}
    residues = structure.residues
    names = [f"{residues.name[r]}{residues.number[r]}{residues.insertion_code[r]}" for r in pocket.residues.tolist()]
    place = {int(r): k for k, r in enumerate(pocket.residues.tolist(), start=1)}
    rows = []
    for atom in atoms.tolist():
        x, y, z = structure.atoms.coord[atom].tolist()
        substructure = place[int(structure.atoms.residue_index[atom])]
        rows.append(
            _atom_row(
                serial[atom],
                str(structure.atoms.name[atom]),
                (x, y, z),
                _sybyl(structure, atom),
                substructure,
                names[substructure - 1],
            )
        )
    points = pocket.points.tolist() if voxels else []
    for k, (x, y, z) in enumerate(points, start=1):
        rows.append(_atom_row(len(atoms) + k, f"D{k}", (x, y, z), "Du", len(names) + 1, "POC"))
    bonds = _bonds(structure, atoms)
    first = [serial[int(atoms[structure.atoms.residue_index[atoms] == r][0])] for r in pocket.residues.tolist()]
    chains = residues.chain[pocket.residues].tolist()
    substructures = [
        f"{k:6d} {name:<9s}{root:6d} RESIDUE           4 {chain or '****'}  {name[:3]}"
        for k, (name, root, chain) in enumerate(zip(names, first, chains, strict=True), start=1)
    ]
    if points:
        substructures.append(f"{len(names) + 1:6d} {'POC':<9s}{len(atoms) + 1:6d} GROUP             0 ****  POC")
    lines = ["@<TRIPOS>MOLECULE", f"{structure.name} pocket {pocket.rank}"]
    lines += [f"{len(rows):6d}{len(bonds):6d}{len(substructures):6d}     0     0", "PROTEIN", "NO_CHARGES", ""]
    lines += ["@<TRIPOS>ATOM", *rows, "@<TRIPOS>BOND"]
    lines += [f"{k:6d}{serial[a]:6d}{serial[b]:6d} {kind}" for k, (a, b, kind) in enumerate(bonds, start=1)]
    return "\n".join([*lines, "@<TRIPOS>SUBSTRUCTURE", *substructures]) + "\n"


def _atom_row(serial: int, name: str, xyz: tuple[float, float, float], kind: str, substructure: int, residue: str) -> str:
    x, y, z = xyz
    return f"{serial:6d} {name:<5s}{x:10.4f}{y:10.4f}{z:10.4f} {kind:<5s}{substructure:6d} {residue:<9s} {0.0:8.4f}"


def _bonds(structure: Structure, atoms: NDArray[np.int64]) -> list[tuple[int, int, str]]:
    """Pairs of atoms, the smaller index first, within residues by their names and between neighbours by distance."""
    by_residue: dict[int, dict[str, int]] = {}
    for atom in atoms.tolist():
        by_residue.setdefault(int(structure.atoms.residue_index[atom]), {})[str(structure.atoms.name[atom])] = atom
    bonds = []
    for residue, own in by_residue.items():
        for (a, b), kind in _template(str(structure.residues.name[residue])).items():
            if a in own and b in own:
                bonds.append((min(own[a], own[b]), max(own[a], own[b]), kind))
        following = by_residue.get(residue + 1)
        if following is None or structure.residues.chain[residue] != structure.residues.chain[residue + 1]:
            continue
        if "C" in own and "N" in following:
            gap = structure.atoms.coord[own["C"]] - structure.atoms.coord[following["N"]]
            if float(np.linalg.norm(gap)) < PEPTIDE_BOND:
                bonds.append((own["C"], following["N"], "am"))
    return sorted(bonds)
