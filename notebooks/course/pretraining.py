"""Pre-training of a Vabs-Net: restore masked residues, torsions, moved atoms and areas.

The shipped Vabs-Net was trained without it; notebook 12, and the recipe and the study that compare, do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from course.span_masking import MaskedNodes, Torsions, mask_and_move, torsions
from course.vabsnet_training import VabsNetTrainConfig, crop, fit, rotate, spatial_window
from s2p.config import Checked, NonNegative, Positive, Share
from s2p.models.vabsnet.graph import N_RESIDUE_TYPES, BilevelGraph, Nodes, build_graph, nodes_of
from s2p.models.vabsnet.network import EdgeAttention, ResidualHead, Rows, VabsNet
from s2p.structure.reading import Structure
from s2p.structure.transforms import random_rotation
from s2p.surface.points import accessible_area
from s2p.training.loop import EpochLog
from s2p.training.state import fingerprint_of

__all__ = [
    "LOSSES",
    "PositionHead",
    "PretrainExample",
    "Pretraining",
    "VabsNetPretrainConfig",
    "pretrain_example",
    "pretrain_vabsnet",
    "pretraining_figures",
    "torsion_loss",
]

LOSSES = ("type", "torsion", "position", "distance", "area")
AREA_POINTS = 60
"""On each atom's sphere."""
AREA_SCALE = 50.0
"""Å²: areas are learned in units of this, or they would outweigh the other losses."""
MAX_PAIRED = 512
"""Moved atoms whose distances to each other are compared, at most."""


@dataclass(frozen=True)
class VabsNetPretrainConfig(Checked):
    """Span masking and the loop of Vabs-Net's pre-training."""

    share: Share = 0.3
    """Share of the residues that are masked, and, in other spans, moved (paper)."""
    span: Positive = 6.0
    """Mean length of a span, residues (paper)."""
    noise: NonNegative = 0.5
    """Å: standard deviation of the shift of moved atoms along each axis (paper)."""
    fit: VabsNetTrainConfig = field(default_factory=lambda: VabsNetTrainConfig(max_residues=192))

    @classmethod
    def fast(cls) -> VabsNetPretrainConfig:
        """Seconds: for tests and notebooks."""
        return cls(fit=VabsNetTrainConfig.fast())


@dataclass(frozen=True, eq=False)
class PretrainExample:
    """A protein and its targets."""

    name: str
    nodes: Nodes
    torsions: Torsions
    areas: NDArray[np.float32]
    """(N,) solvent-accessible area of each atom of the whole protein, Å²."""


def pretrain_example(name: str, structure: Structure) -> PretrainExample:
    """Nodes and targets of a structure."""
    nodes = nodes_of(structure, surface=False)
    areas = accessible_area(structure.atoms.coord, structure.atoms.element, n_points=AREA_POINTS).astype(np.float32)
    return PretrainExample(name, nodes, torsions(nodes), areas)


class PositionHead(EdgeAttention):
    """Displacements of atoms: attention over atom edges with values times (r_i - r_j).

    The paper multiplies a value map and a weight for each axis; their product is one linear map, here zero at the start. Shared
    by the three axes it turns with the protein, which the published form does not.
    """

    def __init__(self, model: VabsNet) -> None:
        super().__init__(model.config)
        self.axes = 1 if model.config.equivariant else 3
        self.virtual = model.config.virtual_node
        self.value = nn.Linear(model.config.width, self.heads * self.axes, bias=False)
        nn.init.zeros_(self.value.weight)

    def displacement(self, x: Tensor, rows: Sequence[Rows], coord: Tensor) -> Tensor:
        """(N, d) features of the atoms, their edges and (N, 3) Å -> (N, 3) Å."""
        query, key, value = self.query(x), self.key(x), self.value(x).view(len(x), self.heads, self.axes)
        parts = []
        for block in rows:
            if block.start >= len(x):
                continue  # the virtual node
            k = block.neighbours.shape[1] - int(self.virtual)
            near = block.neighbours[:, :k]
            a = self.weights(query[block.centres], F.embedding(near, key), block.edges[:, :k])
            arm = coord[block.centres][:, None] - coord[near]
            parts.append(((a[..., None] * value[near]).sum(dim=2) * arm).sum(dim=1))
        return torch.cat(parts)


def torsion_loss(predicted: Tensor, target: Torsions, rows: Tensor) -> Tensor:
    """Squared error of the unit vectors, of either direction where both are right, and how far the lengths are from 1.

    Parameters
    ----------
    predicted
        (n, 7, 2), not normalised.
    target, rows
        Torsions of L residues, and which (n,) of them were predicted.
    """
    index = rows.cpu().numpy()
    truth = torch.from_numpy(target.sin_cos[index]).to(predicted)
    defined = torch.from_numpy(target.defined[index]).to(predicted.device)
    flipped = torch.from_numpy(target.flipped[index]).to(predicted.device)
    length = predicted.norm(dim=-1)
    unit = predicted / length.clamp_min(1e-6)[..., None]
    error, other = ((unit - truth) ** 2).sum(dim=-1), ((unit + truth) ** 2).sum(dim=-1)
    error = torch.where(flipped, torch.minimum(error, other), error)
    loss: Tensor = (error * defined).sum() / defined.sum().clamp_min(1) + (length - 1).abs().mean()
    return loss


class Pretraining(nn.Module):
    """A Vabs-Net with the heads of pre-training."""

    def __init__(self, model: VabsNet) -> None:
        super().__init__()
        d, width = model.config.width, model.config.head_width
        self.model = model
        self.type_head = nn.Sequential(nn.Linear(d, d), nn.LayerNorm(d), nn.GELU(), nn.Linear(d, N_RESIDUE_TYPES))
        self.torsion_head = ResidualHead(d, 14, width)
        self.area_head = ResidualHead(d, 1, width)
        self.position_head = PositionHead(model)

    def losses(
        self, masked: MaskedNodes, graph: BilevelGraph, example: PretrainExample, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """The losses by :data:`LOSSES`, 0 where there is nothing to restore."""
        atoms, edges = self.model.encode(graph)
        device = atoms.device
        rows = torch.from_numpy(np.flatnonzero(masked.masked)).to(device)
        truth = torch.from_numpy(example.nodes.residue_type).to(device)
        hidden = atoms[torch.from_numpy(graph.nodes.ca).to(device)[rows]]
        out = {
            "type": F.cross_entropy(self.type_head(hidden), truth[rows]),
            "torsion": torsion_loss(self.torsion_head(hidden).view(-1, 7, 2), example.torsions, rows),
        }
        moved = torch.from_numpy(np.flatnonzero(masked.moved)).to(device)
        # The graph is centred on the moved atoms, the clean coordinates have to follow it.
        shift = graph.nodes.coord[0] - masked.nodes.coord[0]
        clean = torch.from_numpy(masked.clean + shift).to(atoms)[moved]
        coord = torch.from_numpy(graph.nodes.coord).to(atoms)
        restored = (coord + self.position_head.displacement(atoms, edges, coord))[moved]
        # The length of a zero vector has no gradient.
        out["position"] = ((restored - clean).square().sum(dim=-1) + 1e-8).sqrt().mean()
        some = torch.from_numpy(np.sort(rng.permutation(len(moved))[:MAX_PAIRED])).to(device)
        chain = torch.from_numpy(graph.nodes.chain[graph.nodes.residue]).to(device)[moved][some]
        pairs = torch.triu(chain[:, None] == chain[None], diagonal=1).nonzero(as_tuple=True)
        apart = [((x[some][pairs[0]] - x[some][pairs[1]]).square().sum(dim=-1) + 1e-8).sqrt() for x in (restored, clean)]
        out["distance"] = (apart[0] - apart[1]).abs().mean() if len(pairs[0]) else restored.sum() * 0
        area = torch.from_numpy(example.areas[masked.kept] / AREA_SCALE).to(atoms)
        out["area"] = (self.area_head(atoms).squeeze(-1) - area).abs().mean()
        return out

    def forward(self, example: PretrainExample, config: VabsNetPretrainConfig, rng: np.random.Generator) -> dict[str, Tensor]:
        """Mask, move and turn a window of a protein, and the losses of restoring it."""
        everything = np.ones(len(example.nodes.ca), bool)
        residues, _ = spatial_window(example.nodes, config.fit.max_residues, 1.0, everything, rng)
        if len(residues) < len(everything):
            nodes, atoms = crop(example.nodes, residues)
            t = example.torsions
            cut = Torsions(t.sin_cos[residues], t.defined[residues], t.flipped[residues])
            example = PretrainExample(example.name, nodes, cut, example.areas[atoms])
        if not self.model.config.equivariant:
            example = replace(example, nodes=rotate(example.nodes, random_rotation(rng, column=2)))
        masked = mask_and_move(example.nodes, config.share, config.span, config.noise, rng)
        return self.losses(masked, build_graph(masked.nodes, self.model.config), example, rng)


def pretrain_vabsnet(
    model: VabsNet,
    training: Sequence[PretrainExample],
    validation: Sequence[PretrainExample],
    config: VabsNetPretrainConfig,
    *,
    folder: Path | None = None,
    quiet: bool = False,
) -> tuple[Pretraining, list[EpochLog]]:
    """Pre-train the encoder of ``model`` in place; the log's figure is the share of masked types of ``validation`` it names.

    Raises
    ------
    S2PError
        Without structures, or if ``folder`` holds another run.
    """
    task = Pretraining(model)

    def loss(example: PretrainExample, rng: np.random.Generator) -> Tensor:
        return torch.stack(list(task(example, config, rng).values())).sum()

    def validate() -> float:
        return pretraining_figures(task, validation, config)["accuracy"]

    data = fingerprint_of(part for e in training for part in (e.nodes.coord, e.nodes.residue_type))
    check = validate if validation else None
    history = fit(task, training, loss, config.fit, data=data, folder=folder, validate=check, phase="pretrain", quiet=quiet)
    return task, history


def pretraining_figures(
    task: Pretraining, examples: Sequence[PretrainExample], config: VabsNetPretrainConfig
) -> dict[str, float]:
    """Mean losses over examples with fixed masks, the share of masked types that are named (``accuracy``), and the position loss
    of leaving all atoms where they are (``still``)."""
    task.eval()
    rows: list[dict[str, float]] = []
    hits: list[NDArray[np.bool_]] = []
    with torch.no_grad():
        for k, example in enumerate(examples):
            rng = np.random.default_rng((config.fit.seed, 1, k))
            masked = mask_and_move(example.nodes, config.share, config.span, config.noise, rng)
            graph = build_graph(masked.nodes, task.model.config)
            row = {key: float(value) for key, value in task.losses(masked, graph, example, rng).items()}
            residues = task.model.encode(graph)[0][torch.from_numpy(graph.nodes.ca)]
            named = task.type_head(residues).argmax(dim=-1).cpu().numpy()
            hits.append((named == example.nodes.residue_type)[masked.masked])
            still = np.linalg.norm(masked.nodes.coord - masked.clean, axis=1)[masked.moved]
            rows.append(row | {"still": float(still.mean())})
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} | {"accuracy": float(np.concatenate(hits).mean())}
