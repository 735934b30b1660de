"""True sites in pictures and figures: distances to a ligand, contacts, labels joined over structures, composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from course.charts import Chart, Layer, Picture
from s2p.config import LabelConfig
from s2p.datasets.enhancement import EnhancedChain
from s2p.errors import S2PError
from s2p.output.palette import LIGAND, OUTSIDE, POCKETS
from s2p.output.pictures import draw_bonds
from s2p.prediction import Pocket, Prediction
from s2p.structure.arrays import binding_residues
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.ligands import LigandSite, file_bonds, label_row, ligand_sites
from s2p.structure.reading import Structure, read_structure

__all__ = [
    "Enrichment",
    "contact_picture",
    "cutoff_chart",
    "enrichment",
    "enrichment_chart",
    "label_rows",
    "residue_distances",
    "share_chart",
    "sites_as_prediction",
    "union_chart",
]

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@dataclass(frozen=True, eq=False)
class Enrichment:
    """How much more often an amino acid is found in sites than outside, 20 of them in the order of their letters."""

    letters: str
    log2: NDArray[np.float64]
    """(20,) log2 of the ratio of frequencies; 1 is twice as often."""
    low: NDArray[np.float64]
    """(20,) lower end of the 95 % interval; residues of a chain are not independent, so it is too narrow."""
    high: NDArray[np.float64]


def residue_distances(structure: Structure, ligand_coord: ArrayLike) -> NDArray[np.float64]:
    """(N,) distance (Å) from the nearest heavy atom of each residue to the nearest of the (L, 3) ligand atoms."""
    distance, _ = cKDTree(np.asarray(ligand_coord, float)).query(structure.atoms.coord.astype(float))
    nearest = np.full(len(structure.residues), np.inf)
    np.minimum.at(nearest, structure.atoms.residue_index, distance)
    return nearest


def label_rows(path: str | Path, sdf: str | Path | None = None, config: LabelConfig | None = None) -> list[tuple[str, ...]]:
    """Rows of a label table for one structure file, one per ligand, with the columns of ``s2p.structure.ligands.LABEL_COLUMNS``.

    ``sdf`` is a ligand that was taken out of the file; its row comes first and its ``ligand_id`` is the file's name.
    """
    config = config or LabelConfig()
    structure = read_structure(path)
    found = [(x.ligand.name, x.ligand.id, x.residues) for x in ligand_sites(structure, config, bonds=file_bonds(path)).sites]
    if sdf is not None:
        coord, _ = read_sdf_ligand(sdf)
        with open(sdf, encoding="utf-8", errors="replace") as handle:
            title = handle.readline().strip()
        found.insert(0, (title or Path(sdf).stem, Path(sdf).name, binding_residues(structure, coord, config.cutoff)))
    return [label_row(structure, Path(path).name, *ligand) for ligand in found]


def sites_as_prediction(structure: Structure, sites: Sequence[LigandSite]) -> Prediction:
    """The true sites as a prediction, to show them like predicted pockets: probabilities are 0 and 1.

    Pockets are in the order of ``sites``; their points are the ligand's atoms and their volume is not defined (NaN).
    """
    positive = np.zeros(len(structure.residues), dtype=np.bool_)
    pockets = []
    for rank, site in enumerate(sites, 1):
        positive[site.residues] = True
        atoms = np.flatnonzero(np.isin(structure.atoms.residue_index, site.residues)).astype(np.int32)
        points = np.empty((0, 3), np.float32)
        pockets.append(Pocket(rank, 1.0, 1.0, site.residues, atoms, points, site.ligand.coord.mean(axis=0), float("nan")))
    return Prediction(structure, positive.astype(np.float32), np.zeros_like(positive), positive, tuple(pockets), "true sites")


def contact_picture(structure: Structure, site: LigandSite, *, labelled: int = 12) -> Picture:
    """Close-up of a site: the ligand, its binding residues, and a dashed line for the closest pair of atoms of each.

    Seen so that the ligand lies in the plane of the paper. The ``labelled`` closest residues carry their name and distance (Å).
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    ligand = site.ligand.coord.astype(float)
    middle = ligand.mean(axis=0)
    plane = np.linalg.svd(ligand - middle, full_matrices=True)[2][:2]
    tree = cKDTree(ligand)
    figure = Figure(figsize=(7.2, 5.4), facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    flat = (ligand - middle) @ plane.T
    closest: list[tuple[float, int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    for r in site.residues.tolist():
        own = structure.atoms.residue_index == r
        coord, name = structure.atoms.coord[own].astype(float), structure.atoms.name[own]
        distance, partner = tree.query(coord)
        k = int(distance.argmin())
        shown = ~np.isin(name, ("N", "C", "O")) | (np.arange(len(name)) == k) | (np.isin(name, ("C",)) & (name[k] == "O"))
        atoms = (coord - middle) @ plane.T
        draw_bonds(ax, coord[shown], atoms[shown], POCKETS[0], 1.8)
        closest.append((float(distance[k]), r, atoms[k], flat[partner[k]], atoms[shown].mean(axis=0)))
    draw_bonds(ax, ligand, flat, LIGAND, 3.0)
    ax.scatter(flat[:, 0], flat[:, 1], s=26, color=LIGAND, zorder=4)
    closest.sort(key=lambda pair: pair[0])
    dashes = [[end, start] for _, _, end, start, _ in closest]
    ax.add_collection(LineCollection(dashes, colors=POCKETS[1], linewidths=1.1, linestyles="--", zorder=5))
    names = structure.residues.ids()
    for away, r, _, _, place in closest[:labelled]:
        text = f"{structure.residues.name[r]} {names[r].split(':')[1]}\n{away:.1f} Å"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
        ax.text(float(place[0]), float(place[1]), text, size=7.5, ha="center", va="center", zorder=6, bbox=box)
    ax.set_aspect("equal")
    ax.margins(0.08)
    ax.set_axis_off()
    ax.set_title(f"{structure.name}: {site.ligand.id} and the {len(site.residues)} residues that touch it", loc="left", size=11)
    first = closest[0]
    alt = (
        f"{site.ligand.id} in the middle, {len(site.residues)} residues around it; the closest, "
        f"{structure.residues.name[first[1]]} {names[first[1]]}, is {first[0]:.1f} Å away."
    )
    return Picture(figure, alt)


def cutoff_chart(distances: Mapping[str, ArrayLike], cutoff: float, grid: ArrayLike) -> Chart:
    """How many residues bind each ligand, by the cutoff; ``distances`` (N,) Å as :func:`residue_distances` gives them."""
    at = np.asarray(grid, float)
    layers, parts = [], []
    for k, (name, values) in enumerate(distances.items()):
        d = np.sort(np.asarray(values, float))
        count = np.searchsorted(d, at, side="right").astype(float)
        layers.append(Layer("line", at, count, name, POCKETS[k % len(POCKETS)], size=7))
        parts.append(f"{name}: {int(np.searchsorted(d, cutoff, side='right'))}")
    top = max(float(layer.y.max()) for layer in layers)
    line = Layer("line", np.full(2, cutoff), np.array([0.0, top]), f"cutoff {cutoff:g} Å", "#000000", dash="dash", size=3.6)
    return Chart(
        "Number of binding residues by cutoff",
        "cutoff: distance between heavy atoms (Å)",
        "binding residues",
        (*layers, line),
        "Residues with a heavy atom within the cutoff of a heavy atom of the ligand; each line is a ligand.",
        f"Binding residues at {cutoff:g} Å: {', '.join(parts)}.",
        x_range=(float(at.min()), float(at.max())),
        y_range=(0.0, 1.02 * top),
    )


def union_chart(enhanced: EnhancedChain) -> Chart:
    """Binding residues in each structure: a row for each chain and ligand, and the union below.

    Raises
    ------
    S2PError
        If no chain of the protein binds anything.
    """
    rows: dict[str, list[int]] = {}
    for e in enhanced.evidence:
        rows.setdefault(f"{e.source}, {e.ligand or 'unknown'}", []).append(e.index)
    if not rows:
        raise S2PError(f"{enhanced.chain.id}: no chain of this protein binds a ligand, so that there is nothing to join")
    rows = dict(sorted(rows.items()))
    names = [*rows, "union"]
    layers = []
    for k, (name, where) in enumerate([*rows.items(), ("union", np.flatnonzero(enhanced.chain.labels).tolist())]):
        at = np.array(sorted(where), float)
        y = float(len(names) - 1 - k)
        edges, heights = np.stack([at - 0.5, at + 0.5], axis=1), np.tile([y - 0.38, y + 0.38], (len(at), 1))
        label = "any of them" if name == "union" else "binds in this chain"
        layers.append(Layer("boxes", edges, heights, label, POCKETS[1] if name == "union" else POCKETS[0]))
    union = int(enhanced.chain.labels.sum())
    fewest, most = (f([len(w) for w in rows.values()]) for f in (min, max))
    return Chart(
        f"{enhanced.chain.id}: labels of {len(enhanced.members)} chains of one protein",
        "index of the residue in the representative chain",
        "",
        tuple(layers),
        "Each box is a binding residue. Rows: chain and ligand; last row: the union, the enhanced label.",
        f"One ligand of one chain gives {fewest} to {most} binding residues, the union {union}.",
        x_range=(-1.0, float(len(enhanced.chain.labels))),
        y_range=(-0.7, len(names) - 0.3),
        y_ticks=([float(len(names) - 1 - k) for k in range(len(names))], names),
        size=(9.0, 1.4 + 0.3 * len(names)),
    )


def share_chart(shares: Mapping[str, float]) -> Chart:
    """Share of binding residues of each chain, highest first, as bars; the dashed line is their mean."""
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    x, y = np.arange(len(ordered), dtype=float), np.array([value for _, value in ordered])
    ends, mean = np.array([-0.6, len(ordered) - 0.4]), float(y.mean())
    layers = (
        Layer("bars", x, y, "binding residues", POCKETS[0], [f"{name}: {value:.1%}" for name, value in ordered], size=0.8),
        Layer("line", ends, np.full(2, mean), f"mean of the chains {mean:.1%}", "#000000", dash="dash", size=3.6),
    )
    return Chart(
        "Few residues of a chain bind",
        "chain",
        "share of binding residues",
        layers,
        "Each bar is a chain with a ligand.",
        f"From {y.min():.1%} ({ordered[-1][0]}) to {y.max():.1%} ({ordered[0][0]}), {mean:.1%} on average.",
        x_range=(-0.6, len(ordered) - 0.4),
        y_range=(0.0, 1.1 * float(y.max())),
        x_ticks=(x.tolist(), [name.replace("_", "\n") for name, _ in ordered]),
        size=(8.6, 3.2),
    )


def enrichment(sequence: str, binding: ArrayLike) -> Enrichment:
    """Ratio of the frequencies of each amino acid among binding and other residues, with 95 % intervals.

    Parameters
    ----------
    sequence, binding
        N letters and (N,) bool. One half is added to every count, so that an amino acid that never binds has a finite ratio;
        intervals are those of a relative risk (Katz et al. 1978).
    """
    letters, y = np.array(list(sequence)), np.asarray(binding, bool)
    inside = np.array([(letters[y] == a).sum() for a in LETTERS]) + 0.5
    outside = np.array([(letters[~y] == a).sum() for a in LETTERS]) + 0.5
    n_in, n_out = inside.sum(), outside.sum()
    log = np.log2((inside / n_in) / (outside / n_out))
    half = 1.96 * np.sqrt(1 / inside - 1 / n_in + 1 / outside - 1 / n_out) / np.log(2)
    return Enrichment(LETTERS, log, log - half, log + half)


def enrichment_chart(found: Enrichment) -> Chart:
    """Amino acids from the most enriched in sites to the most depleted."""
    order = np.argsort(-found.log2)
    x, y = np.arange(len(order), dtype=float), found.log2[order]
    clear = (found.low[order] > 0) | (found.high[order] < 0)
    layers = [Layer("line", np.array([-0.7, len(order) - 0.3]), np.zeros(2), "", "#000000", size=2.4)]
    for mask, label, color in ((clear, "interval without 0", POCKETS[1]), (~clear, "interval with 0", OUTSIDE)):
        if mask.any():
            error = (found.low[order][mask], found.high[order][mask])
            layers.append(Layer("points", x[mask], y[mask], label, color, size=6, error=error))
    names = [found.letters[k] for k in order]
    return Chart(
        "Amino acids in binding sites",
        "amino acid",
        "log2 (share in sites / share outside)",
        tuple(layers),
        "1 means twice as often in sites as outside, -1 half as often. Bars: 95 % intervals.",
        f"Most enriched: {', '.join(names[:3])}; most depleted: {', '.join(names[-3:])}.",
        x_range=(-0.7, len(order) - 0.3),
        x_ticks=(x.tolist(), names),
        size=(7.6, 3.4),
    )
