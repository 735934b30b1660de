"""Kalasanty's density as a file of its own, and pictures of its grids, densities and agreement with others (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from course.consensus import Agreement
from s2p.errors import S2PError
from s2p.io.files import write_text
from s2p.models.kalasanty.grid import CHANNELS, Box
from s2p.output.maps import BOHR, cube_text
from s2p.output.palette import LIGAND, OUTSIDE, POCKETS
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["agreement_bars", "density_projections", "density_view", "grid_slices", "read_cube", "write_cube"]

SURFACE = "#5B2A86"
"""Violet of the isosurface: no colour of a pocket."""
SHOWN = ("C", "O", "hydrophobic", "partialcharge")


def write_cube(path: str | Path, density: NDArray[np.floating], box: Box) -> Path:
    """Write a Gaussian cube file, which PyMOL, VMD and ChimeraX read; see :func:`s2p.output.maps.cube_text`."""
    if density.shape != box.shape:
        raise ValueError(f"a density of {density.shape} cells for a box of {box.shape}")
    return write_text(Path(path), cube_text(density, box.origin, box.step))


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


def grid_slices(
    grid: NDArray[np.floating], mask: NDArray[np.bool_], box: Box, channels: Sequence[str] = SHOWN, title: str = ""
) -> Figure:
    """One layer of cells, the one with most of the true site, in several channels; the site is outlined.

    Parameters
    ----------
    grid, mask
        (18, n, n, n) and (n, n, n).
    channels
        Of :data:`~s2p.models.kalasanty.grid.CHANNELS`.
    """
    from matplotlib.figure import Figure

    layer = int(mask.sum(axis=(0, 1)).argmax())
    extent = _extent(box, 0, 1)
    figure = Figure(figsize=(2.5 * len(channels), 2.9), dpi=120, facecolor="white", layout="constrained")
    for ax, name in zip(np.atleast_1d(figure.subplots(1, len(channels), sharey=True)), channels, strict=True):
        values = grid[CHANNELS.index(name), :, :, layer].T
        top = float(np.abs(values).max()) or 1.0
        signed = bool((values < 0).any())
        colors = "PuOr" if signed else "Greys"
        image = ax.imshow(values, origin="lower", extent=extent, cmap=colors, vmin=-top if signed else 0, vmax=top)
        _outline(ax, mask[:, :, layer].T, extent)
        figure.colorbar(image, ax=ax, shrink=0.75)
        ax.set_title(name, size=9.5)
        ax.set_xlabel("x (Å)")
    figure.axes[0].set_ylabel("y (Å)")
    figure.suptitle(title or "a layer of the grid; outlined: the true site", size=10.5, x=0.01, ha="left")
    return figure


def density_projections(
    structure: Structure,
    density: NDArray[np.floating],
    box: Box,
    ligands: Sequence[NDArray[np.floating]] = (),
    *,
    threshold: float | None = None,
    title: str = "",
) -> Figure:
    """The highest density along each axis, with the CA atoms (grey) and the ligands' atoms (black).

    Parameters
    ----------
    ligands
        (L, 3) Å of each.
    threshold
        Outlined, if given.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.5), dpi=120, facecolor="white", layout="constrained")
    image: Any = None
    for ax, (a, b) in zip(figure.subplots(1, 3), ((0, 1), (0, 2), (1, 2)), strict=True):
        flat = density.max(axis=3 - a - b).T
        extent = _extent(box, a, b)
        image = ax.imshow(flat, origin="lower", extent=extent, cmap="YlOrRd", vmin=0, vmax=1)
        ca = structure.residues.ca_coord
        ax.plot(ca[:, a], ca[:, b], ".", color=OUTSIDE, markersize=2.5)
        for ligand in ligands:
            ax.plot(ligand[:, a], ligand[:, b], ".", color=LIGAND, markersize=4)
        if threshold is not None and (flat > threshold).any():
            _outline(ax, flat > threshold, extent)
        ax.set_xlabel(f"{'xyz'[a]} (Å)")
        ax.set_ylabel(f"{'xyz'[b]} (Å)")
    figure.colorbar(image, ax=figure.axes, shrink=0.8, label="density")
    figure.suptitle(title or f"{structure.name}: the highest density along each axis", size=10.5, x=0.01, ha="left")
    return figure


def agreement_bars(found: Agreement, first: str, second: str, title: str = "") -> Figure:
    """How many true sites both predictors find, each alone, and neither, as one bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 1.7), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    parts = (
        (f"only {first}", len(found.only_first), POCKETS[0], "white"),
        ("both", found.both, POCKETS[2], "white"),
        (f"only {second}", len(found.only_second), POCKETS[4], "black"),
        ("neither", found.neither, "#E6E8EA", "black"),
    )
    left = 0
    for label, n, color, ink in parts:
        ax.barh(0, n, left=left, color=color, label=label, edgecolor="white")
        if n:
            ax.text(left + n / 2, 0, str(n), ha="center", va="center", color=ink, fontsize=10)
        left += n
    ax.set_yticks([])
    ax.set_xlabel("true sites")
    ax.legend(ncols=4, fontsize=8.5, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ax.set_title(title, size=10.5, loc="left", pad=24)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return figure


def density_view(prediction: Prediction, density: NDArray[np.floating], box: Box, level: float, **options: Any) -> Any:
    """The interactive view of a prediction (:func:`s2p.output.view.view`) with an isosurface of the density at ``level``."""
    from s2p.output.view import view

    scene = view(prediction, show="sticks", **options)
    scene.addVolumetricData(
        cube_text(density, box.origin, box.step), "cube", {"isoval": level, "color": SURFACE, "opacity": 0.85}
    )
    return scene


def _extent(box: Box, a: int, b: int) -> tuple[float, float, float, float]:
    """Å from the outer edge of the first cell to that of the last along two axes."""
    low = np.array(box.origin) - box.step / 2
    high = low + np.array(box.shape) * box.step
    return float(low[a]), float(high[a]), float(low[b]), float(high[b])


def _outline(ax: Axes, mask: NDArray[np.bool_], extent: tuple[float, float, float, float]) -> None:
    """The border of a mask's cells."""
    fine = np.kron(mask, np.ones((8, 8)))
    if mask.any():
        ax.contour(fine, levels=[0.5], colors=[POCKETS[0]], linewidths=1.4, extent=extent, origin="lower")
