"""Two predictors that know nothing of ligands: what a number in the benchmark is worth is its distance from theirs."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from benchmarks.peers.config import CavityConfig, PatchConfig
from s2p import __version__
from s2p.errors import S2PError
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure
from s2p.surface.points import atom_radii, surface_points, swept_volume

__all__ = ["LargestCavity", "RandomPatch", "scan"]

DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1))
"""Edges and space diagonals of a cube."""


class RandomPatch:
    """Round patches of the protein's surface, drawn at random.

    A pocket is all solvent-accessible-surface points within ``config.radius`` of a point drawn evenly from the surface; the
    next is drawn outside of the ones before. Its centre is the mean of its points, its residues own them, its score is
    1 / rank. The draw depends on the coordinates and residue names alone: the same structure gives the same patches.
    """

    name = "random-patch"
    version = __version__

    def __init__(self, config: PatchConfig | None = None) -> None:
        self.config = config or PatchConfig()

    def predict(self, structure: Structure) -> Prediction:
        """Patches in the order in which they were drawn.

        Raises
        ------
        S2PError
            If the structure has no surface.
        """
        config, atoms = self.config, structure.atoms
        cloud = surface_points(
            atoms.coord, atoms.element, np.arange(len(atoms)), n_points=config.n_points, probe_radius=config.probe_radius
        )
        if not len(cloud.coord):
            raise S2PError(f"{structure.name}: no atom of it is exposed, so there is no surface to draw patches from")
        content = atoms.coord.tobytes() + "".join(structure.residues.name.tolist()).encode()
        draw = np.random.default_rng(list(hashlib.sha256(content).digest()))
        tree, free = cKDTree(cloud.coord), np.ones(len(cloud.coord), bool)
        pockets: list[Pocket] = []
        while free.any() and len(pockets) < config.n_patches:
            seed = draw.choice(np.flatnonzero(free))
            members = np.array(tree.query_ball_point(cloud.coord[seed], config.radius))
            free[members] = False
            points, own = cloud.coord[members], np.unique(cloud.atom[members]).astype(np.int32)
            pockets.append(
                Pocket(
                    len(pockets) + 1,
                    1 / (len(pockets) + 1),
                    float("nan"),
                    np.unique(atoms.residue_index[own]),
                    own,
                    points.astype(np.float32),
                    points.mean(axis=0).astype(np.float32),
                    swept_volume(points, config.probe_radius),
                )
            )
        return _prediction(structure, pockets, self.name, {"version": self.version, "radius": config.radius})


class LargestCavity:
    """Cavities and clefts of a grid, the largest first.

    A grid point where a probe touches no atom is enclosed when the protein lies on both sides of it along at least
    ``config.min_enclosed`` of seven lines: the three axes and the four diagonals (LIGSITE, Hendlich, Rippmann & Barnickel
    1997). Enclosed points that touch, corners included, are a cavity. Its centre is the mean of its points, its score the
    share of its volume in that of all cavities, its residues those within ``config.residue_distance`` of a point.
    """

    name = "largest-cavity"
    version = __version__

    def __init__(self, config: CavityConfig | None = None) -> None:
        self.config = config or CavityConfig()

    def predict(self, structure: Structure) -> Prediction:
        """Cavities of at least ``config.min_volume``; there may be none.

        Raises
        ------
        S2PError
            If the structure is too extended for the grid.
        """
        config, coord = self.config, structure.atoms.coord.astype(np.float64)
        radius = atom_radii(structure.atoms.element, config.probe_radius)
        occupied, origin = _occupied(coord, radius, config, structure.name)
        enclosed = ~occupied & (scan(occupied) >= config.min_enclosed)
        labels, n = ndimage.label(enclosed, structure=np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=n + 1)
        sizes[0] = 0
        tree = cKDTree(coord)
        pockets: list[Pocket] = []
        for label in np.argsort(-sizes, kind="stable").tolist():
            volume = float(sizes[label] * config.spacing**3)
            if volume < config.min_volume or len(pockets) == config.max_cavities:
                break
            points = origin + np.argwhere(labels == label) * config.spacing
            near = tree.query_ball_point(points, config.residue_distance)
            own = np.unique(np.concatenate([np.array(x, dtype=np.int32) for x in near]))
            pockets.append(
                Pocket(
                    len(pockets) + 1,
                    float(sizes[label] / sizes.sum()),
                    float("nan"),
                    np.unique(structure.atoms.residue_index[own]),
                    own,
                    points.astype(np.float32),
                    points.mean(axis=0).astype(np.float32),
                    volume,
                )
            )
        settings = {"version": self.version, "spacing": config.spacing, "min_enclosed": config.min_enclosed}
        return _prediction(structure, pockets, self.name, settings)


def scan(occupied: NDArray[np.bool_]) -> NDArray[np.int8]:
    """(nx, ny, nz) number of the :data:`DIRECTIONS` along which a grid point has an occupied one before and behind it."""
    count = np.zeros(occupied.shape, np.int8)
    for direction in DIRECTIONS:
        back = tuple(-step for step in direction)
        count += _seen(occupied, direction) & _seen(occupied, back)
    return count


def _seen(occupied: NDArray[np.bool_], direction: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether an occupied point lies on the line that leads to a point in ``direction``, the point included."""
    axis = next(k for k in range(3) if direction[k])
    # The first axis of the direction is walked slice by slice; within a slice the others shift by one at each step.
    seen = np.moveaxis(occupied.copy(), axis, 0)
    shifts = [direction[k] for k in range(3) if k != axis]
    to, source = zip(*(_shifted(step) for step in shifts), strict=True)
    order = range(1, len(seen)) if direction[axis] > 0 else range(len(seen) - 2, -1, -1)
    for i in order:
        seen[i][to] |= seen[i - direction[axis]][source]
    return np.moveaxis(seen, 0, axis)


def _shifted(step: int) -> tuple[slice, slice]:
    """Slices of one axis: where a value arrives, and where it comes from."""
    if step == 0:
        return slice(None), slice(None)
    return (slice(1, None), slice(None, -1)) if step > 0 else (slice(None, -1), slice(1, None))


def _occupied(
    coord: NDArray[np.float64], radius: NDArray[np.float64], config: CavityConfig, name: str
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Grid points within ``radius`` of an atom, and the position of the first grid point."""
    origin = coord.min(axis=0) - radius.max() - config.spacing
    shape = np.ceil((coord.max(axis=0) + radius.max() + config.spacing - origin) / config.spacing).astype(int) + 1
    if float(np.prod(shape.astype(float))) > config.max_cells:
        raise S2PError(f"{name}: a grid of {' × '.join(map(str, shape))} points is too large; choose chains that lie together")
    occupied = np.zeros(tuple(shape), bool)
    reach = int(np.ceil(radius.max() / config.spacing))
    steps = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    for start in range(0, len(coord), 1000):  # bounds memory
        part = slice(start, start + 1000)
        nearest = np.round((coord[part] - origin) / config.spacing).astype(int)
        cells = nearest[:, None] + offsets
        inside = ((origin + cells * config.spacing - coord[part, None]) ** 2).sum(axis=-1) <= radius[part, None] ** 2
        occupied[tuple(cells[inside].T)] = True
    return occupied, origin


def _prediction(structure: Structure, pockets: list[Pocket], name: str, settings: dict[str, Any]) -> Prediction:
    """A residue scores what the best of its pockets does, relative to the best pocket."""
    probabilities = np.zeros(len(structure.residues), np.float32)
    for pocket in reversed(pockets):
        probabilities[pocket.residues] = pocket.score / pockets[0].score
    none = np.zeros(len(probabilities), bool)
    return Prediction(structure, probabilities, none, probabilities > 0, tuple(pockets), name, settings)
