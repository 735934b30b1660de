"""A toy for sliders: residues on a plane, two true sites, two patches of predicted residues, and the pockets that they become."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from course.charts import Picture
from course.fragmentation import merging_index
from s2p.evaluation.metrics import share_missed
from s2p.output.palette import CARTOON, LIGAND, OUTSIDE, ink, pocket_color
from s2p.pockets.clustering import mean_shift
from s2p.pockets.hits import pocket_fragmentation_index

__all__ = ["Toy", "pocket_toy"]

SITES = {"A": (0.0, 10.0), "B": (28.0, 7.5)}
"""Place along x and radius of the true sites, Å."""
PATCH = 7.0
"""Radius of a patch of predicted residues, Å."""
SPACING = 3.8
"""Between neighbouring residues of the hexagonal grid, Å: that of CA atoms along a chain."""


@dataclass(frozen=True, eq=False)
class Toy:
    """Sites, pockets and what they score."""

    coord: NDArray[np.float64]
    """(N, 2) residues, Å."""
    sites: tuple[NDArray[np.int64], ...]
    """Residues of the true sites A and B."""
    pockets: tuple[NDArray[np.int64], ...]
    """Residues of the predicted pockets, the largest first."""
    f1: tuple[float, ...]
    """Of the best pocket on each site: 1 if a pocket is exactly the site, 0 if none touches it."""
    words: str
    """What is seen, in a sentence."""

    @property
    def pfi(self) -> float:
        """NaN if no pocket touches a site."""
        return pocket_fragmentation_index(self.sites, self.pockets)

    @property
    def merging(self) -> float:
        """NaN if no pocket touches a site."""
        return merging_index(self.sites, self.pockets)

    @property
    def missed(self) -> float:
        """Share of the sites that no pocket touches."""
        return share_missed(self.sites, self.pockets)

    def picture(self) -> Picture:
        """Residues, sites and pockets on the plane, and the four metrics beside them."""
        from matplotlib.figure import Figure
        from matplotlib.patches import Circle

        figure = Figure(figsize=(8.6, 3.3), dpi=120, facecolor="white", layout="constrained")
        plane, bars = figure.subplots(1, 2, width_ratios=(2.7, 1))
        plane.scatter(*self.coord.T, s=46, color=CARTOON, linewidths=0, zorder=1)
        for rank, pocket in enumerate(self.pockets, 1):
            color = pocket_color(rank)
            plane.scatter(*self.coord[pocket].T, s=110, color=color, linewidths=0, zorder=2)
            for x, y in self.coord[pocket]:
                plane.text(x, y, str(rank), color=ink(color), size=7, ha="center", va="center", zorder=4)
        for name, (x, radius) in SITES.items():
            plane.add_patch(Circle((x, 0), radius, fill=False, color=LIGAND, linewidth=1.8, zorder=3))
            plane.text(x, radius + 0.8, f"site {name}", ha="center", color=LIGAND, size=9.5)
        plane.set(aspect="equal", xlabel="Å", ylim=(-15, 15), yticks=[])
        plane.set_xlim(self.coord[:, 0].min() - 2, self.coord[:, 0].max() + 2)
        plane.spines[["top", "right", "left"]].set_visible(False)
        rows = (("PFI", self.pfi), ("merging", self.merging), ("missed", self.missed), ("F1", float(np.mean(self.f1))))
        for k, (name, value) in enumerate(rows):
            bars.barh(k, np.nan_to_num(value), height=0.5, color=OUTSIDE, zorder=2)
            bars.text(0, k - 0.34, f"{name} {value:.2f}" if np.isfinite(value) else f"{name} –", size=10, va="bottom")
        bars.axvline(1, color="#888888", linewidth=0.8, linestyle=":")
        bars.set(xlim=(0, 3), ylim=(len(rows) - 0.5, -0.8), yticks=[], xticks=[0, 1, 2, 3])
        bars.spines[["top", "right"]].set_visible(False)
        return Picture(figure, self.words)


def pocket_toy(apart: float, shift: float = 0.0, bandwidth: float = 6.0) -> Toy:
    """Two patches of predicted residues at a distance, clustered into pockets by mean shift.

    Parameters
    ----------
    apart
        Å between the centres of the two patches.
    shift
        Å from the centre of site A to that of the first patch, to the right.
    bandwidth
        Of the mean shift, Å (:func:`s2p.pockets.clustering.mean_shift`).
    """
    columns, rows = np.meshgrid(np.arange(-6, 14), np.arange(-3, 4))
    coord = np.stack([columns + (rows % 2) / 2, rows * np.sqrt(0.75)], axis=-1).reshape(-1, 2) * SPACING

    def near(x: float, radius: float) -> NDArray[np.bool_]:
        return np.asarray(np.linalg.norm(coord - (x, 0.0), axis=1) <= radius)

    sites = tuple(np.flatnonzero(near(x, radius)) for x, radius in SITES.values())
    predicted = np.flatnonzero(near(shift, PATCH) | near(shift + apart, PATCH))
    labels = mean_shift(np.c_[coord[predicted], np.zeros(len(predicted))], bandwidth).labels
    pockets = sorted((predicted[labels == k] for k in np.unique(labels)), key=lambda p: (-len(p), p[0]))
    f1 = tuple(max(2 * len(np.intersect1d(p, s)) / (len(p) + len(s)) for p in pockets) for s in sites)
    toy = Toy(coord, sites, tuple(pockets), f1, "")
    on = [sum(bool(np.isin(p, s).any()) for p in pockets) for s in sites]
    words = f"{len(pockets)} pocket{'s' * (len(pockets) > 1)}; {on[0]} on site A, {on[1]} on site B. "
    indices = f"PFI {toy.pfi:.2f}, merging {toy.merging:.2f}" if any(on) else "No PFI, no merging"
    words += f"{indices}, missed {toy.missed:.2f}, F1 {np.mean(f1):.2f}."
    return Toy(coord, sites, tuple(pockets), f1, words)
