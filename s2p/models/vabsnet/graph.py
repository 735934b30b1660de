"""Input of Vabs-Net: a graph of all heavy atoms and a graph of residues, which share the CA atoms.

Source: Vabs-Net (ICML 2024), sections on the bilevel graph; vocabularies as in its public code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from s2p.models.vabsnet.config import VabsNetConfig
from s2p.structure.reading import Structure
from s2p.surface.kernels import build_cells, count_neighbours
from s2p.surface.points import atom_radii, surface_points

__all__ = ["BilevelGraph", "Nodes", "build_graph", "local_frames", "nodes_of", "sequence_offsets", "surface_features"]

LETTERS = "ARNDCQEGHILKMFPSTWYV"
UNKNOWN_RESIDUE, MASKED_RESIDUE, VIRTUAL_RESIDUE, N_RESIDUE_TYPES = 20, 22, 23, 25
ATOM_NAMES = (
    "N CA C CB O CG CG1 CG2 OG OG1 SG CD CD1 CD2 ND1 ND2 OD1 OD2 SD CE CE1 CE2 CE3 NE NE1 NE2 OE1 OE2 CH2 NH1 NH2 OH CZ CZ2 "
    "CZ3 NZ OXT"
).split()
VIRTUAL_ATOM, OTHER_ATOM, N_ATOM_TYPES = 38, 39, 40
MAX_OFFSET = 256
OTHER_CHAIN, VIRTUAL_OFFSET, N_OFFSETS = 2 * MAX_OFFSET + 1, 2 * MAX_OFFSET + 2, 2 * MAX_OFFSET + 3
"""Embeddings of the sequence offset: -256..256, then one for pairs in different chains and one for the virtual node."""
BOND = 4.5
"""Å: if CA atoms of neighbours in sequence are farther apart than this, residues are missing between them."""
COUNTS = ((6.0, 25.0), (10.0, 100.0))
"""Å, and their scale: atoms are counted within these distances of every atom and of its surface points."""
N_ATOM_FEATURES = 1 + 2 * len(COUNTS)
POINTS_PER_ATOM, PROBE = 20, 1.6


@dataclass(frozen=True, eq=False)
class Nodes:
    """Atoms and residues without edges, before or after masking, noise, crops and rotations."""

    coord: NDArray[np.floating]
    """(N, 3), Å."""
    atom_type: NDArray[np.int64]
    """(N,)."""
    residue: NDArray[np.int64]
    """(N,) residue of each atom, ascending."""
    ca: NDArray[np.int64]
    """(L,) atom that represents each residue: its CA, or its first heavy atom without one."""
    residue_type: NDArray[np.int64]
    """(L,)."""
    chain: NDArray[np.int64]
    """(L,)."""
    position: NDArray[np.int64]
    """(L,) index of each residue among the observed residues."""
    atom_features: NDArray[np.float32]
    """(N, Fa), see :func:`surface_features`; no columns if unused."""
    residue_features: NDArray[np.float32]
    """(L, Fr) features of a language model; no columns if unused."""


@dataclass(frozen=True, eq=False)
class BilevelGraph:
    """Nodes and their neighbours. All rows have the same number, so that attention over them is dense."""

    nodes: Nodes
    """With the mean of the residues' atoms at the origin."""
    atom_neighbours: NDArray[np.int64]
    """(N, min(k, N)) nearest atoms, the atom itself among them."""
    residue_neighbours: NDArray[np.int64]
    """(L, min(k, L)) likewise, of residues."""
    frames: NDArray[np.floating]
    """(L, 3, 3) axes of each residue as columns; zero if undefined."""


def nodes_of(structure: Structure, residue_features: NDArray[np.float32] | None = None, *, surface: bool = True) -> Nodes:
    """The nodes of a structure, all residues kept.

    Parameters
    ----------
    residue_features
        (L, Fr) of a language model, if it is used.
    surface
        Compute :func:`surface_features`.
    """
    atoms, residues = structure.atoms, structure.residues
    n = len(residues)
    codes = {name: k for k, name in enumerate(ATOM_NAMES)}
    letters = {letter: k for k, letter in enumerate(LETTERS)}
    residue = atoms.residue_index.astype(np.int64)
    ca = np.searchsorted(residue, np.arange(n))
    is_ca = np.flatnonzero((atoms.name == "CA") & (atoms.element == "C"))
    ca[residue[is_ca]] = is_ca
    return Nodes(
        atoms.coord,
        np.array([codes.get(name, OTHER_ATOM) for name in atoms.name.tolist()], np.int64),
        residue,
        ca,
        np.array([letters.get(x, UNKNOWN_RESIDUE) for x in residues.one_letter.tolist()], np.int64),
        np.unique(residues.chain, return_inverse=True)[1].astype(np.int64),
        np.arange(n),
        surface_features(structure) if surface else np.zeros((len(atoms), 0), np.float32),
        np.zeros((n, 0), np.float32) if residue_features is None else residue_features,
    )


def surface_features(structure: Structure) -> NDArray[np.float32]:
    """(N, 5) exposure of each atom: area (10 Å²); atoms around it, and around its surface points, within 6 and 10 Å. Ours."""
    atoms = structure.atoms
    cloud = surface_points(atoms.coord, atoms.element, np.arange(len(atoms)), n_points=POINTS_PER_ATOM, probe_radius=PROBE)
    points = np.bincount(cloud.atom, minlength=len(atoms))
    columns = [points * 4 * np.pi * atom_radii(atoms.element, PROBE) ** 2 / POINTS_PER_ATOM / 10]
    for radius, scale in COUNTS:
        cells = build_cells(atoms.coord, radius)
        columns.append(count_neighbours(atoms.coord.astype(np.float64), cells) / scale)
        around = count_neighbours(cloud.coord, cells)
        columns.append(np.bincount(cloud.atom, around, len(atoms)) / np.maximum(points, 1) / scale)
    return np.stack(columns, axis=1).astype(np.float32)


def _axes(back: NDArray[np.floating], ahead: NDArray[np.floating]) -> NDArray[np.floating]:
    """(L, 3, 3) columns u, v, w of two vectors: u along their difference, v along their product, w = u x v; zero if parallel."""
    u = back - ahead
    v = np.cross(back, ahead)
    lengths = [np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v)]
    good = (lengths[0] > 1e-6) & (lengths[1] > 1e-6)
    u, v = u / np.maximum(lengths[0], 1e-6) * good, v / np.maximum(lengths[1], 1e-6) * good
    return np.stack([u, v, np.cross(u, v)], axis=2)


def local_frames(nodes: Nodes) -> NDArray[np.floating]:
    """(L, 3, 3) frame of each residue from its N, CA and C; if N or C is missing, e.g. masked, from the CA trace.

    The published code computes frames of masked residues from their removed atoms, which is a leak about the masked side chain.
    """
    n = len(nodes.ca)
    origin = nodes.coord[nodes.ca]
    rows = []
    for name in ("N", "C"):
        row = np.full(n, -1)
        atoms = np.flatnonzero(nodes.atom_type == ATOM_NAMES.index(name))
        row[nodes.residue[atoms]] = atoms
        rows.append(row)
    back, ahead = (nodes.coord[row] - origin for row in rows)
    linked = (
        (np.diff(nodes.chain) == 0) & (np.diff(nodes.position) == 1) & (np.linalg.norm(np.diff(origin, axis=0), axis=1) < BOND)
    )
    inner = np.r_[False, linked[1:] & linked[:-1], False][:n] if n > 2 else np.zeros(n, bool)
    trace = _axes(np.roll(origin, 1, axis=0) - origin, np.roll(origin, -1, axis=0) - origin) * inner[:, None, None]
    whole = (rows[0] >= 0) & (rows[1] >= 0)
    return np.where(whole[:, None, None], _axes(back, ahead), trace).astype(nodes.coord.dtype)


def _nearest(coord: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """(n, min(k, n)) nearest points of each point, always including itself, even if many coincide."""
    n = len(coord)
    found: NDArray[np.int64] = cKDTree(coord).query(coord, k=np.arange(1, min(k, n) + 1))[1].astype(np.int64)
    own = np.arange(n)
    missing = ~(found == own[:, None]).any(axis=1)
    found[missing, -1] = own[missing]
    return found


def build_graph(nodes: Nodes, config: VabsNetConfig) -> BilevelGraph:
    """Centre the nodes on their residues and find neighbours; masked atoms must have been removed before."""
    centred = replace(nodes, coord=nodes.coord - nodes.coord[nodes.ca].mean(axis=0))
    return BilevelGraph(
        centred,
        _nearest(centred.coord, config.atom_neighbours),
        _nearest(centred.coord[centred.ca], config.residue_neighbours),
        local_frames(centred),
    )


def sequence_offsets(
    residue: NDArray[np.int64], neighbours: NDArray[np.int64], chain: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(n, k) codes of the sequence offset of the neighbours' residues: 0..512 for -256..256, or :data:`OTHER_CHAIN`.

    Parameters
    ----------
    residue
        (n,) residue of each node.
    neighbours
        (n, k) nodes.
    chain, position
        (L,) of residues.
    """
    there = residue[neighbours]
    offset = np.clip(position[there] - position[residue][:, None], -MAX_OFFSET, MAX_OFFSET) + MAX_OFFSET
    return np.where(chain[there] == chain[residue][:, None], offset, OTHER_CHAIN)
