"""Kalasanty as a predictor: the density of a whole protein, its pockets, and the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.config import PredictConfig, WindowConfig
from s2p.errors import S2PError
from s2p.io.runtime import pick_device
from s2p.io.weights import fill, find_weights, read_weights
from s2p.models.kalasanty.config import KalasantyConfig, KalasantyPocketConfig
from s2p.models.kalasanty.grid import Box, atom_channels, central_box, covering_box, fill_box, rotations, turn_grid
from s2p.models.kalasanty.network import Kalasanty
from s2p.models.kalasanty.pockets import cavity_features, find_cavities, near_cavity, residue_probabilities
from s2p.pockets.ranking import PocketModel, ranked
from s2p.prediction import Density, Pocket, Prediction
from s2p.structure.reading import Structure

__all__ = ["KalasantyCheckpoint", "KalasantyPredictor", "cavity_density", "load_kalasanty"]

FORMAT = "s2p-kalasanty-1"
TILES_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class KalasantyCheckpoint:
    """A trained Kalasanty."""

    name: str
    model: Kalasanty
    pockets: KalasantyPocketConfig
    """With the threshold tuned on validation."""
    pocket_model: PocketModel | None = None
    """Calibrated probability that a ligand is there, fitted on validation."""
    card: dict[str, Any] = field(default_factory=dict)


def cavity_density(
    model: Kalasanty, structure: Structure, config: KalasantyPocketConfig | None = None
) -> tuple[NDArray[np.float32], Box]:
    """The density of binding cavities around a protein.

    Parameters
    ----------
    config
        Only ``tiles`` and ``turns`` are used.

    Returns
    -------
    (nx, ny, nz) density of 0 to 1, and its box: the network's own if the protein fits into it or ``tiles`` is off, else one
    around the whole protein. Densities of overlapping boxes are averaged, with weights that decrease to almost 0 at the border
    of a box, where the network sees only half of the surroundings. Cells that only empty boxes cover have density 0.

    Raises
    ------
    S2PError
        If the protein is too large for the grid.
    """
    config = config or KalasantyPocketConfig()
    n, step, coord = model.config.box, model.config.step, structure.atoms.coord.astype(np.float64)
    box, starts = central_box(coord.mean(axis=0), n, step), [(0, 0, 0)]
    if config.tiles:
        box, starts = covering_box(coord, n, step)
    if float(np.prod(np.array(box.shape, float))) > config.max_cells:
        size = " × ".join(map(str, box.shape))
        raise S2PError(f"{structure.name}: a grid of {size} cells is too large; choose chains that lie together")
    channels = atom_channels(structure)
    profile = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    weight = (profile[:, None, None] * profile[:, None] * profile).astype(np.float32)
    total, weights = np.zeros(box.shape, np.float32), np.zeros(box.shape, np.float32)
    cells = box.cells(coord)
    held = [start for start in starts if (((cells >= start) & (cells < np.array(start) + n)).all(axis=1)).any()]
    for k in range(0, len(held), TILES_AT_ONCE):
        part = held[k : k + TILES_AT_ONCE]
        tiles = [Box(tuple((np.array(box.origin) + np.array(start) * step).tolist()), (n, n, n), step) for start in part]
        densities = _run(model, [fill_box(channels, coord, tile) for tile in tiles], config.turns)
        for (a, b, c), p in zip(part, densities, strict=True):
            place = (slice(a, a + n), slice(b, b + n), slice(c, c + n))
            total[place] += weight * p
            weights[place] += weight
    return np.divide(total, weights, out=total, where=weights > 0), box


def _run(model: Kalasanty, grids: list[NDArray[np.float32]], turns: int) -> NDArray[np.float32]:
    """(T, n, n, n) densities of T boxes, the mean over the first ``turns`` rotations."""
    x = np.stack(grids)
    total = np.zeros((len(x), *x.shape[2:]), np.float32)
    device = next(model.parameters()).device
    model.eval()
    for rotation in rotations()[:turns]:
        turned = torch.from_numpy(np.ascontiguousarray(turn_grid(x, rotation)))
        with torch.inference_mode():
            p = torch.sigmoid(model(turned.to(device, memory_format=torch.channels_last_3d)))[:, 0].float().cpu().numpy()
        total += turn_grid(p, rotation.T) / turns
    return total


class KalasantyPredictor:
    """Kalasanty with loaded weights; see :meth:`load`."""

    def __init__(self, checkpoint: KalasantyCheckpoint) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name

    @classmethod
    def load(cls, model: str | Path = "kalasanty", *, backbone: str | None = None, device: str = "auto") -> KalasantyPredictor:
        """Load a Kalasanty by shipped name or path onto ``auto``, ``cpu`` or ``cuda``.

        :class:`S2PError` if a ``backbone`` is given, because Kalasanty has no language model.
        """
        if backbone is not None:
            raise S2PError(f"{model} has no language model; drop --backbone or choose another model")
        return cls(load_kalasanty(model, device=pick_device(device)))

    def density(self, structure: Structure) -> tuple[NDArray[np.float32], Box]:
        """The density of binding cavities; see :func:`cavity_density`."""
        return cavity_density(self.checkpoint.model, structure, self.checkpoint.pockets)

    def predict(self, structure: Structure, config: PredictConfig | None = None) -> Prediction:
        """Pockets of a structure, best first.

        ``config``: its ``threshold``, if given, is that of the density; the other settings are those of Seq2Pocket.
        :class:`S2PError` if the protein is too extended for the grid.
        """
        return self.pockets(structure, *self.density(structure), config)

    def pockets(
        self, structure: Structure, density: NDArray[np.float32], box: Box, config: PredictConfig | None = None
    ) -> Prediction:
        """The stages after the network; they are fast, so that the threshold can be changed interactively."""
        config = config or PredictConfig()
        own = self.checkpoint.pockets
        if config.threshold is not None:
            own = replace(own, threshold=config.threshold)
        cavities = find_cavities(density, box.step, own)
        model = self.checkpoint.pocket_model
        chance = np.full(len(cavities), np.nan) if model is None else model.probability(cavity_features(cavities))
        pockets = []
        for cavity, probability in zip(cavities, chance.tolist(), strict=True):
            points = box.coordinates(cavity.voxels)
            atoms = near_cavity(structure, points, own.residue_distance)
            residues = np.unique(structure.atoms.residue_index[atoms])
            volume = len(points) * box.step**3
            center = points.mean(axis=0).astype(np.float32)
            pockets.append(Pocket(0, cavity.score, probability, residues, atoms, points.astype(np.float32), center, volume))
        probabilities = residue_probabilities(structure, density, box, own.residue_distance)
        positive = np.zeros(len(probabilities), np.bool_)
        for pocket in pockets:
            positive[pocket.residues] = True
        settings = {"threshold": own.threshold, "box": self.checkpoint.model.config.box, "step": box.step}
        settings |= {"tiles": own.tiles, "turns": own.turns, "min_volume": own.min_volume}
        notes = _notes(structure, density, box, own, len(pockets), config)
        none, grid = np.zeros_like(positive), Density(density, box.origin, box.step)
        return Prediction(structure, probabilities, none, positive, ranked(structure, pockets), self.name, settings, notes, grid)


def _notes(
    structure: Structure, density: NDArray[np.float32], box: Box, own: KalasantyPocketConfig, n: int, config: PredictConfig
) -> tuple[str, ...]:
    notes = []
    outside = int((~box.inside(box.cells(structure.atoms.coord))).sum())
    if outside:
        notes.append(f"{outside} of {len(structure.atoms)} atoms lie outside of the box and were not seen")
    if not n:
        top = float(density.max())
        notes.append(f"no cavity of {own.min_volume:g} Å³ with a density above {own.threshold:.2f} (the highest is {top:.2f})")
    if replace(config, threshold=None, windows=WindowConfig()) != PredictConfig():
        notes.append("this model uses only the threshold of the prediction's settings")
    return tuple(notes)


def load_kalasanty(model: str | Path = "kalasanty", *, device: str | torch.device = "cpu") -> KalasantyCheckpoint:
    """Load a shipped Kalasanty by name or any by path; :class:`WeightsError` if there is none or it cannot be used."""
    path = find_weights(model, "give the path of a Kalasanty checkpoint (.safetensors)")
    header, arrays = read_weights(
        path, FORMAT, "not a Kalasanty checkpoint; `python -m benchmarks.recipes.kalasanty` writes them"
    )
    network = Kalasanty(KalasantyConfig(**header["config"] | {"pools": tuple(header["config"]["pools"])}))
    fill(network, arrays, path)
    network = network.to(device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    pocket_model = PocketModel.from_dict(header["pocket_model"]) if header["pocket_model"] else None
    return KalasantyCheckpoint(header["name"], network, KalasantyPocketConfig(**header["pockets"]), pocket_model, header["card"])
