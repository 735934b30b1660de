"""What a point on the solvent-accessible surface sees: shape, chemistry and the language model's opinion around it.

The families of features are those of published point and voxel methods (P2Rank, Krivák & Hoksza 2018: neighbourhood projection of
atomic and residue properties with linear weights, protrusion; DeepSite, Jiménez et al. 2017: pharmacophoric channels), with the
scores and embeddings of a protein language model beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2p.config import Checked, Count, Positive
from s2p.structure.reading import Structure
from s2p.surface.kernels import among_points, around_points, build_cells
from s2p.surface.points import SurfacePoints, atom_radii, sphere
from s2p.surface.surroundings import Surroundings

__all__ = ["BACKBONE", "PointConfig", "PointEncoder", "atom_types", "feature_names", "point_features", "protein_points"]


@dataclass(frozen=True)
class PointConfig(Checked):
    """Surface points of the whole protein and what they see; ours."""

    n_points: Count = 24
    """Points on the sphere around each atom."""
    probe_radius: Positive = 1.6
    """Å."""
    near: Positive = 6.0
    """Å: atoms this close, weighted by 1 - d/near, make the near averages (P2Rank's neighbourhood)."""
    far: Positive = 10.0
    """Å: likewise the far averages."""
    n_rays: Count = 40
    """Directions, in opposite pairs, in which walls are looked for."""


CHEMISTRY = (
    "hydrophobicity",  # of the residue, Kyte & Doolittle 1982, divided by 4.5
    "donor",  # 1 for atoms that carry a hydrogen to give in a hydrogen bond
    "acceptor",
    "positive",  # N of the charged groups of Lys and Arg
    "negative",  # O of the carboxylates of Asp and Glu
    "aromatic",  # ring atoms of Phe, Tyr, Trp, His
    "aliphatic",  # other side-chain carbons
    "sulphur",
    "backbone",
    "propensity",  # learned: log-odds of the atom type in ligand contacts (see PointEncoder)
)
"""Properties of atoms, averaged around a point."""

LANGUAGE = ("probability", "contrast")
"""Of the atom's residue, by the language model: binding probability; logit less the mean logit of the protein."""

GEOMETRY = (
    *(f"atoms_{r}" for r in (4, 5, 6, 7, 8, 10, 12)),  # protein heavy atoms within r Å (protrusion)
    "asymmetry_6",  # |mean vector to the atoms within 6 Å| / Å: small where atoms lie all around
    "asymmetry_12",
    "enclosure",  # share of directions in which an atom stands within 10 Å
    "wall_distance",  # Å to those atoms, mean
    "opposite",  # share of axes blocked on both sides
    "depth",  # Å below the convex hull of the atoms
    "points_5",  # surface points within 5 Å per 100
    "points_9",
    "concavity_5",  # mean of normal · direction to the surface points within 5 Å: positive in a hollow
    "concavity_9",
    "agreement_5",  # length of the mean normal of the surface points within 5 Å: 1 where flat
    "agreement_9",
    "enclosure_5",  # mean enclosure of the surface points within 5 Å
    "enclosure_9",
    "atoms_8_9",  # mean of atoms_8 over the surface points within 9 Å
    "log_atoms",  # of the protein: log10 of the number of its heavy atoms
)
"""Shape around a point."""

SHELLS = np.array([4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0])
RAY_LENGTH = 10.0
RAY_WIDTH = 0.7
"""Å added to an atom's radius where rays are cast: a probe, not a line, has to pass."""
POINT_SHELLS = (5.0, 9.0)

_SCALE = (1.8, -4.5, -3.5, -3.5, 2.5, -3.5, -3.5, -0.4, -3.2, 4.5, 3.8, -3.9, 1.9, 2.8, -1.6, -0.8, -0.7, -0.9, -1.3, 4.2)
_HYDROPATHY = dict(zip("ARNDCQEGHILKMFPSTWYV", _SCALE, strict=True))
BACKBONE = ("N", "CA", "C", "O", "OXT")
_DONORS = frozenset("R:NE R:NH1 R:NH2 N:ND2 Q:NE2 H:ND1 H:NE2 K:NZ S:OG T:OG1 W:NE1 Y:OH C:SG".split())
_ACCEPTORS = frozenset("N:OD1 D:OD1 D:OD2 Q:OE1 E:OE1 E:OE2 H:ND1 H:NE2 S:OG T:OG1 Y:OH".split())
_POSITIVE = frozenset("K:NZ R:NE R:NH1 R:NH2".split())
_NEGATIVE = frozenset("D:OD1 D:OD2 E:OE1 E:OE2".split())
_RINGS = {
    "F": "CG CD1 CD2 CE1 CE2 CZ",
    "Y": "CG CD1 CD2 CE1 CE2 CZ",
    "W": "CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "H": "CG ND1 CD2 CE1 NE2",
}
_AROMATIC = frozenset(f"{letter}:{name}" for letter, names in _RINGS.items() for name in names.split())


def atom_types(structure: Structure) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct types of atoms, ``K:NZ`` for parent residue and atom name, and the (A,) index of each atom's type."""
    letters = structure.residues.one_letter[structure.atoms.residue_index]
    types, inverse = np.unique(np.char.add(np.char.add(letters, ":"), structure.atoms.name), return_inverse=True)
    return types.tolist(), inverse.astype(np.int64)


def _type_row(kind: str) -> list[float]:
    letter, name = kind.split(":", 1)
    backbone = name in BACKBONE
    aromatic = kind in _AROMATIC
    return [
        _HYDROPATHY.get(letter, 0.0) / 4.5,
        float(kind in _DONORS or (name == "N" and letter != "P")),
        float(kind in _ACCEPTORS or name in ("O", "OXT")),
        float(kind in _POSITIVE),
        float(kind in _NEGATIVE),
        float(aromatic),
        float(name.startswith("C") and not backbone and not aromatic),
        float(name.startswith("S")),
        float(backbone),
    ]


@dataclass(frozen=True, eq=False)
class PointEncoder:
    """The learned parts of the features: propensities of atom types, and the main directions of the embeddings."""

    types: tuple[str, ...]
    """Atom types (see :func:`atom_types`), ascending."""
    propensity: NDArray[np.float32]
    """(T,) log-odds that an exposed atom of the type touches a ligand, less that of all atoms; others have 0."""
    mean: NDArray[np.float32]
    """(d,) of the embeddings."""
    components: NDArray[np.float32]
    """(k, d) principal components, each divided by the standard deviation along it."""


def atom_chemistry(structure: Structure, encoder: PointEncoder) -> NDArray[np.float32]:
    """(A, C) properties of the atoms in the order of :data:`CHEMISTRY`."""
    types, inverse = atom_types(structure)
    learned = dict(zip(encoder.types, encoder.propensity.tolist(), strict=True))
    rows = [[*_type_row(kind), learned.get(kind, 0.0)] for kind in types]
    return np.array(rows, np.float32)[inverse]


def protein_points(structure: Structure | Surroundings, config: PointConfig | None = None) -> SurfacePoints:
    """SAS points of the whole protein, all chains burying each other's, in the coordinates of the file.

    They are made in the protein's own frame (:class:`~s2p.surface.surroundings.Surroundings`), so that they turn with it.
    """
    config, around = config or PointConfig(), Surroundings.of(structure)
    cloud = around.points(config.n_points, config.probe_radius).exposed()
    return SurfacePoints(around.outside(cloud.coord), cloud.atom)


def feature_names(n_components: int) -> tuple[str, ...]:
    """Names of the columns of :func:`point_features`, families in the order geometry, chemistry, language, embedding."""
    averaged = (*CHEMISTRY, *LANGUAGE, "probability_max", *(f"embedding_{k}" for k in range(n_components)))
    return (*GEOMETRY, *(f"{name}_{size}" for name in averaged for size in ("near", "far")))


def _depth(points: NDArray[np.float64], coord: NDArray[np.float64]) -> NDArray[np.float32]:
    """(P,) Å from each point to the convex hull of the atoms, positive inside; 0 for atoms in a plane."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        planes = ConvexHull(coord).equations
    except (QhullError, ValueError):
        return np.zeros(len(points), np.float32)
    chunks = [-(part @ planes[:, :3].T + planes[:, 3]).max(axis=1) for part in np.array_split(points, 1 + len(points) // 1024)]
    return np.concatenate(chunks).astype(np.float32)


def _channels(
    structure: Structure, encoder: PointEncoder, probabilities: NDArray[np.float32], embeddings: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(A, C) what is averaged around a point: the chemistry of each atom, and language and embedding of its residue."""
    p = np.clip(probabilities.astype(np.float64), 1e-4, 1 - 1e-4)
    logit = np.log(p / (1 - p))
    language = np.stack([probabilities, logit - logit.mean()], axis=1)
    projected = (embeddings - encoder.mean) @ encoder.components.T
    owner = structure.atoms.residue_index
    return np.concatenate([atom_chemistry(structure, encoder), language[owner], projected[owner]], axis=1, dtype=np.float32)


def point_features(
    structure: Structure | Surroundings,
    cloud: SurfacePoints,
    encoder: PointEncoder,
    probabilities: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    config: PointConfig | None = None,
) -> NDArray[np.float32]:
    """Features of surface points, columns as in :func:`feature_names`.

    Parameters
    ----------
    structure
        All its atoms count; or its surroundings, where they have been made.
    cloud
        P points, those of :func:`protein_points`.
    probabilities, embeddings
        (N,) and (N, d) of the residues, from the language model.

    Returns
    -------
    (P, F) float32

    Notes
    -----
    Properties are averaged with weights 1 - d/R over the atoms within R = ``config.near`` and ``config.far`` Å (P2Rank). Time
    and memory are linear in the number of points.
    """
    config, around = config or PointConfig(), Surroundings.of(structure)
    atoms = around.structure.atoms
    if not len(cloud.coord):
        return np.zeros((0, len(feature_names(len(encoder.components)))), np.float32)
    points = around.inside(cloud.coord)
    half = sphere(config.n_rays)[: config.n_rays // 2].astype(np.float64)
    rays = np.concatenate([half, -half])
    cells = around.cells
    block = atom_radii(atoms.element, RAY_WIDTH)[cells.order] ** 2
    channels = _channels(around.structure, encoder, probabilities, embeddings)[cells.order]
    top = probabilities[atoms.residue_index[cells.order]].astype(np.float32)
    form, mean, highest = around_points(points, cells, block, channels, top, config.near, config.far, SHELLS, rays, RAY_LENGTH)
    normals = points - around.coord[cloud.atom]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    n = len(SHELLS)
    values = np.stack([form[:, n + 2], form[:, 4]], axis=1)
    grid = build_cells(points, POINT_SHELLS[1])
    context = among_points(grid, normals[grid.order], values[grid.order], POINT_SHELLS[0])[:, [0, 5, 1, 6, 2, 7, 3, 8, 9]]
    size = np.full(len(points), np.log10(len(atoms)), np.float32)
    shape = np.column_stack([form, _depth(points, around.coord), context, size])
    c = 2 * (len(CHEMISTRY) + len(LANGUAGE))
    return np.concatenate([shape, mean[:, :c], highest, mean[:, c:]], axis=1, dtype=np.float32)
