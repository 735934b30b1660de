"""Solvent-accessible-surface (SAS) points by Shrake–Rupley, each with the atom that owns it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2p.io.runtime import numba
from s2p.surface.kernels import CellList, build_cells, cell_runs

__all__ = ["SurfacePoints", "accessible_area", "atom_radii", "soft_points", "sphere", "surface_points", "swept_volume"]

RADII = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8, "H": 1.2, "P": 1.8, "SE": 1.9, "F": 1.47, "CL": 1.75, "BR": 1.85, "I": 1.98}
"""Van der Waals radii, Å (Bondi; the elements the published code's table holds for proteins)."""
OTHER_RADIUS = 2.0
SOFTNESS = 0.3
"""Å inside and outside the other atoms' spheres over which the weight of a soft point increases from 0 to 1."""
HARD = 1e-7
"""Å, used instead if points are either exposed or not."""


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """SAS points in atom order, then sphere order."""

    coord: NDArray[np.float64]
    """(P, 3), Å."""
    atom: NDArray[np.int64]
    """(P,) index of the atom that owns the point, ascending."""


@dataclass(frozen=True, eq=False)
class SoftPoints(SurfacePoints):
    """SAS points with weights that increase gradually as they emerge from the other atoms."""

    share: NDArray[np.float64]
    """(P,) in (0, 1]: 1/2 for a point on the sphere of the atom that comes closest, 1 from :data:`SOFTNESS` outside."""

    def exposed(self) -> SurfacePoints:
        """The points that no other atom buries, as from :func:`surface_points`."""
        out = self.share > 0.5
        return SurfacePoints(self.coord[out], self.atom[out])


def sphere(n_points: int) -> NDArray[np.float32]:
    """(n, 3) unit vectors on a golden spiral (paper; Shrake–Rupley as in Biopython)."""
    k = np.arange(n_points)
    z = 1 - (2 * k + 1) / n_points
    r = np.sqrt(1 - z * z)
    longitude = k * (np.pi * (3 - 5**0.5))
    return np.stack([np.cos(longitude) * r, np.sin(longitude) * r, z], axis=1).astype(np.float32)


def atom_radii(element: NDArray[np.str_], probe_radius: float) -> NDArray[np.float64]:
    """(A,) van der Waals radius plus probe, Å."""
    names, inverse = np.unique(element, return_inverse=True)
    return np.array([RADII.get(name, OTHER_RADIUS) for name in names.tolist()])[inverse] + probe_radius


def surface_points(
    coord: NDArray[np.float32],
    element: NDArray[np.str_],
    wanted: NDArray[np.int64],
    *,
    n_points: int = 50,
    probe_radius: float = 1.6,
) -> SurfacePoints:
    """SAS points of some atoms, buried by all.

    Parameters
    ----------
    coord, element
        (A, 3) Å and (A,) of all heavy atoms that can bury a point.
    wanted
        (W,) ascending indices of the atoms whose points are computed.
    n_points, probe_radius
        Points on each atom's sphere; probe in Å.

    Notes
    -----
    Shrake & Rupley 1973 with the published sphere, radii and comparisons (paper, surface points).
    """
    if not len(wanted):
        return SurfacePoints(np.zeros((0, 3)), np.zeros(0, np.int64))
    return soft_points(coord, element, wanted, n_points=n_points, probe_radius=probe_radius, softness=HARD).exposed()


@numba.njit(cache=True)
def _exposed_shares(
    coord: NDArray[np.float64],
    radius: NDArray[np.float64],
    wanted: NDArray[np.int64],
    points: NDArray[np.float64],
    cells: CellList,
    softness: float,
) -> NDArray[np.float32]:  # pragma: no cover - compiled
    """(W, n) shares of sphere points: 0 at ``softness`` inside the atom that comes closest, 1 at as much outside."""
    n, order, sorted_coord, sorted_radius = len(points), cells.order, cells.coord, radius[cells.order]
    out = np.zeros((len(wanted), n), np.float32)
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)
    near = np.empty((len(coord), 6))  # position, radius, and squares of the radius less and plus the softness
    for w in range(len(wanted)):
        a = wanted[w]
        x, y, z, r = coord[a, 0], coord[a, 1], coord[a, 2], radius[a]
        count = 0
        for run in range(cell_runs(x, y, z, cells, starts, ends)):
            for s in range(starts[run], ends[run]):
                dx, dy, dz = sorted_coord[s, 0] - x, sorted_coord[s, 1] - y, sorted_coord[s, 2] - z
                reach = r + sorted_radius[s] + softness
                if dx * dx + dy * dy + dz * dz < reach * reach and order[s] != a:
                    near[count, 0], near[count, 1], near[count, 2] = sorted_coord[s, 0], sorted_coord[s, 1], sorted_coord[s, 2]
                    near[count, 3] = sorted_radius[s]
                    near[count, 4] = (sorted_radius[s] - softness) ** 2
                    near[count, 5] = (sorted_radius[s] + softness) ** 2
                    count += 1
        for k in range(n):
            px, py, pz = x + r * points[k, 0], y + r * points[k, 1], z + r * points[k, 2]
            gap = softness
            for place in range(count):
                dx, dy, dz = near[place, 0] - px, near[place, 1] - py, near[place, 2] - pz
                d2 = dx * dx + dy * dy + dz * dz
                if d2 <= near[place, 4]:
                    gap = -softness
                    # Few atoms bury most points: an atom that buries one moves halfway to the front and is tested earlier.
                    for c in range(6):
                        near[place // 2, c], near[place, c] = near[place, c], near[place // 2, c]
                    break
                if d2 < near[place, 5]:
                    gap = min(gap, np.sqrt(d2) - near[place, 3])
            out[w, k] = 0.5 + 0.5 * gap / softness
    return out


def soft_points(
    coord: NDArray[np.floating],
    element: NDArray[np.str_],
    wanted: NDArray[np.int64] | None = None,
    *,
    n_points: int = 24,
    probe_radius: float = 1.6,
    softness: float = SOFTNESS,
) -> SoftPoints:
    """SAS points of all atoms, with their degree of exposure; parameters are those of :func:`surface_points`.

    Notes
    -----
    Shrake & Rupley's test is yes or no, so a rounding error in a coordinate can bury a whole patch of a neighbouring atom. Here
    the weights of its points decrease gradually (ours), so that sums over points are continuous in the coordinates.
    """
    wanted = np.arange(len(coord)) if wanted is None else np.asarray(wanted, dtype=np.int64)
    radius, points = atom_radii(element, probe_radius), sphere(n_points).astype(np.float64)
    xyz = np.ascontiguousarray(coord, dtype=np.float64)
    shares = _exposed_shares(xyz, radius, wanted, points, build_cells(xyz, 2 * float(radius.max()) + softness), softness)
    row, k = np.nonzero(shares)
    atom = wanted[row]
    return SoftPoints(xyz[atom] + radius[atom, None] * points[k], atom, shares[row, k].astype(np.float64))


def accessible_area(
    coord: NDArray[np.float32], element: NDArray[np.str_], *, n_points: int = 960, probe_radius: float = 1.4
) -> NDArray[np.float64]:
    """(A,) solvent-accessible surface area of every atom, Å²."""
    exposed = np.zeros(len(coord))
    for part in np.array_split(np.arange(len(coord)), 1 + len(coord) // 4096):  # bounds memory
        cloud = surface_points(coord, element, part, n_points=n_points, probe_radius=probe_radius)
        exposed += np.bincount(cloud.atom, minlength=len(coord))
    return np.asarray(exposed / n_points * 4 * np.pi * atom_radii(element, probe_radius) ** 2)


def swept_volume(points: NDArray[np.floating], probe_radius: float = 1.6, spacing: float = 0.8) -> float:
    """Volume (Å³) of the union of probe spheres at the points, on a grid of ``spacing`` Å.

    Probes at SAS points touch no atom, so this is solvent volume along the pocket's wall.
    """
    reach = int(np.ceil(probe_radius / spacing)) + 1
    steps = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    filled = np.zeros(0, np.int64)
    for part in np.array_split(np.asarray(points, np.float64), 1 + len(points) // 1024):  # bounds memory
        cells = np.rint(part / spacing).astype(np.int64)[:, None] + steps
        inside = np.square(cells * spacing - part[:, None]).sum(axis=-1) <= probe_radius * probe_radius
        filled = np.union1d(filled, cells[inside] @ np.array([1 << 42, 1 << 21, 1]))  # one number for each cell
    return len(filled) * spacing**3
