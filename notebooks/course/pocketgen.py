"""Pictures of designs: superposed native and designed atoms, type probabilities, and a page for a notebook's cell."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from course.charts import small_png
from s2p.models.pocketgen.atoms import LETTERS, SLOT_MASK
from s2p.models.pocketgen.data import LigandAtoms, Pocket
from s2p.models.pocketgen.design import Design, Measures
from s2p.models.pocketgen.geometry import BONDED, Geometry
from s2p.models.pocketgen.report import design_page
from s2p.models.pocketgen.scores import score_designs
from s2p.output.palette import LIGAND, OUTSIDE, POCKETS
from s2p.output.pictures import draw_bonds
from s2p.structure.reading import Structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DesignView", "pocket_overlay", "type_probabilities"]


def pocket_overlay(
    pocket: Pocket, geometry: Geometry, drawn: Sequence[tuple[str, NDArray[np.int64], NDArray[np.floating]]], title: str = ""
) -> Figure:
    """Bonds of the native pocket (grey) and of others over it, with the ligand's atoms, seen along the flattest direction.

    Parameters
    ----------
    drawn
        Label, (P,) types and (P, 14, 3) Å of each.
    """
    from matplotlib.figure import Figure

    native = pocket.types[pocket.pocket]
    coord, present = pocket.coord[pocket.pocket].astype(float), pocket.present[pocket.pocket]
    middle = pocket.ligand.mean(axis=0)
    axes = np.linalg.svd(coord[present] - middle)[2][:2]
    figure = Figure(figsize=(3.9 * len(drawn), 4.1), dpi=120, facecolor="white", layout="constrained")
    for k, (ax, (label, types, x)) in enumerate(zip(np.atleast_1d(figure.subplots(1, len(drawn))), drawn, strict=True)):
        _sticks(ax, geometry, native, (coord - middle) @ axes.T, present, OUTSIDE, "native")
        _sticks(ax, geometry, types, (np.asarray(x) - middle) @ axes.T, SLOT_MASK[types], POCKETS[k], label)
        ligand = (pocket.ligand - middle) @ axes.T
        ax.plot(ligand[:, 0], ligand[:, 1], ".", color=LIGAND, markersize=5, label="ligand")
        draw_bonds(ax, pocket.ligand, ligand, LIGAND, 1.2)
        ax.set_aspect("equal")
        ax.set_title(label, size=9.5)
        ax.set_xlabel("Å")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    shared = [k for k, label in enumerate(labels) if label in ("native", "ligand")]  # each panel's title names its own
    figure.legend(
        [handles[k] for k in shared], ["native", "ligand"], fontsize=8, frameon=False, loc="outside lower right", ncols=2
    )
    figure.suptitle(title or f"{pocket.name}: the pocket, seen from one side", size=10.5, x=0.01, ha="left")
    return figure


def _sticks(
    ax: Axes,
    geometry: Geometry,
    types: NDArray[np.int64],
    flat: NDArray[np.floating],
    there: NDArray[np.bool_],
    color: str,
    label: str,
) -> None:
    """Bonds within residues, (P,) types and (P, 14, 2) places."""
    for row, kind in enumerate(types.tolist()):
        for a, b in np.argwhere(np.triu(geometry.distance[kind - 1] < BONDED, 1)).tolist():
            if there[row, a] and there[row, b]:
                ax.plot(*flat[row, [a, b]].T, color=color, linewidth=1.6, label=label)
                label = "_"  # one entry of the legend


def type_probabilities(labels: Sequence[str], native: str, probabilities: NDArray[np.floating], title: str = "") -> Figure:
    """(P, 20) probabilities as a grid; the native type of each residue is outlined."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(7.6, 0.9 + 0.3 * len(labels)), dpi=120, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    image = ax.imshow(probabilities, cmap="YlGnBu", vmin=0, vmax=max(0.2, float(probabilities.max())), aspect="auto")
    for row, letter in enumerate(native):
        ax.add_patch(Rectangle((LETTERS.index(letter) - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=POCKETS[1], linewidth=1.8))
    ax.set_xticks(range(20), list(LETTERS))
    ax.set_yticks(range(len(labels)), labels)
    ax.set_xlabel("amino acid (outlined: native)")
    figure.colorbar(image, ax=ax, label="probability")
    ax.set_title(title or "Predicted types of the pocket's residues", size=10.5, loc="left")
    return figure


VIEW, AROUND, ROW = 400, 450, 70
"""Heights in pixels: of the 3D view, of what stands above and below it, and of a design's rows in both tables."""


class DesignView:
    """The page of :func:`s2p.models.pocketgen.report.design_page` in a frame, and a still picture where no script runs."""

    def __init__(
        self,
        structure: Structure,
        pocket: Pocket,
        ligand: LigandAtoms,
        designs: Sequence[Design],
        measures: Sequence[Measures],
        geometry: Geometry,
    ) -> None:
        scores = score_designs(structure, pocket, ligand, designs)
        page = design_page(structure, pocket, ligand, designs, measures, scores)
        self.page = page.replace("height: 60vh", f"height: {VIEW}px")  # a share of a frame that fits its page is no height
        self.height = VIEW + AROUND + ROW * len(designs)
        self.figure = pocket_overlay(pocket, geometry, [(f"design {k}", d.types, d.coord) for k, d in enumerate(designs[:2], 1)])

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.page)}" width="840" height="{self.height}" style="border:0;max-width:100%" '
            'title="Native and designed pockets in 3D"></iframe>'
        )

    def _repr_png_(self) -> bytes:
        return small_png(self.figure)

    def __repr__(self) -> str:
        return "Native and designed pockets, superposed; still picture: sticks of both, seen from one side."
