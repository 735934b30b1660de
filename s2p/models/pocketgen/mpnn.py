"""LigandMPNN: residue types for a given backbone and ligand, drawn one residue after another.

Dauparas et al., Nature Methods 22, 717 (2025); weights ``ligandmpnn_v_32_010_25`` (MIT). The encoder of the backbone is that of
:mod:`s2p.surface.mpnn`; the ligand's atoms and the decoder follow here. ProteinMPNN, which knows no ligand, has the same decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import gemmi
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from s2p.io.weights import SHIPPED, read_arrays
from s2p.models.pocketgen.atoms import LETTERS
from s2p.models.pocketgen.config import DesignConfig
from s2p.models.pocketgen.data import LigandAtoms
from s2p.models.pocketgen.design import draw
from s2p.structure.arrays import Structure
from s2p.surface.mpnn import CENTRES, SCALE, SPREAD, WIDTH, Encoder, backbone, encode_graph

__all__ = ["LigandMPNN", "design_types", "load_ligandmpnn"]

ALPHABET = "ACDEFGHIKLMNPQRSTVWYX"
_ORDER = [ALPHABET.index(letter) for letter in LETTERS]
ATOMS, NEIGHBOURS = 25, 32  # that a residue reads: ligand atoms, those nearest to its virtual CB, and residues


@dataclass(frozen=True, eq=False)
class LigandMPNN:
    """The weights, by their published names."""

    encoder: Encoder
    weights: dict[str, Tensor]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From the arrays of the published LigandMPNN or ProteinMPNN, in any precision."""
        encoder = Encoder.from_arrays(arrays, NEIGHBOURS) if "V_C.weight" in arrays else Encoder.from_arrays(arrays)
        kept = {k: torch.from_numpy(np.asarray(x, np.float32)) for k, x in arrays.items() if not k.startswith("encoder_layers")}
        return cls(encoder, kept)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def layer(self, name: str, own: Tensor, seen: Tensor) -> Tensor:
        """(..., 128) new features of nodes (..., 128) from what they see, (..., k, d)."""
        first = self.weights[f"{name}.W1.weight"]
        hidden = F.linear(own, first[:, :WIDTH], self.weights[f"{name}.W1.bias"])[..., None, :] + F.linear(seen, first[:, WIDTH:])
        hidden = F.gelu(self._linear(f"{name}.W2", F.gelu(hidden)))
        x = self._norm(f"{name}.norm1", own + self._linear(f"{name}.W3", hidden).sum(dim=-2) / SCALE)
        wide = F.gelu(self._linear(f"{name}.dense.W_in", x))
        return self._norm(f"{name}.norm2", x + self._linear(f"{name}.dense.W_out", wide))


def load_ligandmpnn() -> LigandMPNN:
    """The shipped LigandMPNN."""
    return LigandMPNN.from_arrays(read_arrays(SHIPPED / "ligandmpnn.safetensors", "ligandmpnn", "not LigandMPNN as shipped")[1])


def design_types(
    model: LigandMPNN, structure: Structure, ligand: LigandAtoms, residues: NDArray[np.int64], config: DesignConfig
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Types of ``residues`` for each design: (P,) 1 to 20, and (P, 20) probabilities from which they were drawn.

    Of other residues the backbone and the type are read, and of the ligand all heavy atoms. The order is random, as in training.
    """
    with torch.no_grad():
        start, edges, near = map(torch.from_numpy, encode_graph(model.encoder, structure))
        if "V_C.weight" in model.weights:
            start = start + _ligand_features(model, structure, ligand, start)
        n, kinds = len(near), model.weights["W_s.weight"]
        letters = [ALPHABET.find(x) for x in structure.residues.one_letter.tolist()]  # -1: X, the last
        fixed = np.setdiff1d(np.random.default_rng((config.seed, 2)).permutation(n), residues, assume_unique=True)
        rank = torch.full((n,), n)
        rank[fixed] = torch.arange(len(fixed))
        types = torch.zeros(n, WIDTH)
        types[fixed] = kinds[torch.tensor(letters)[fixed]]
        state = [start, *(torch.zeros_like(start) for _ in range(3))]
        _decode(model, torch.from_numpy(fixed), near, edges, rank, types, state)
        designs = []
        for k in range(config.n):
            rng = np.random.default_rng((config.seed, k, 1))
            own_rank, own_types, own_state = rank.clone(), types.clone(), [start, *(x.clone() for x in state[1:])]
            found, odds = np.zeros(len(residues), np.int64), np.zeros((len(residues), 20))
            for turn, place in enumerate(rng.permutation(len(residues)).tolist()):
                row = torch.tensor([residues[place]])
                own_rank[row] = len(fixed) + turn
                _decode(model, row, near, edges, own_rank, own_types, own_state)
                logits = model._linear("W_out", own_state[3][row]).double().numpy()[:, _ORDER]
                (found[place],), (odds[place],) = draw(logits, config, rng)
                own_types[row] = kinds[_ORDER[found[place] - 1]]
            designs.append((found, odds))
    return designs


def _decode(net: LigandMPNN, rows: Tensor, near: Tensor, edges: Tensor, rank: Tensor, types: Tensor, state: list[Tensor]) -> None:
    """Fill ``rows`` of the decoder's layers, (N, 128) each, in ``state``, from the neighbours that come before in ``rank``."""
    seen, edge = near[rows], edges[rows]
    before = (rank[seen] < rank[rows, None])[..., None]
    for k in range(3):
        other = torch.where(before, state[k][seen], state[0][seen])
        state[k + 1][rows] = net.layer(f"decoder_layers.{k}", state[k][rows], torch.cat([edge, before * types[seen], other], -1))


def _ligand_features(model: LigandMPNN, structure: Structure, ligand: LigandAtoms, nodes: Tensor) -> Tensor:
    """(N, 128) to be added to the features of the residues."""
    number = np.array([gemmi.Element(x).atomic_number for x in ligand.element.tolist()], np.int64)
    atoms, number = torch.from_numpy(ligand.coord[number > 1].astype(np.float64)), number[number > 1]
    kinds = torch.from_numpy(_kind_of(number))
    place = torch.from_numpy(backbone(structure))
    nearest = torch.cdist(place[:, 4], atoms).topk(min(ATOMS, len(atoms)), largest=False).indices.sort(dim=1).values
    groups, group = torch.unique(nearest, dim=0, return_inverse=True)  # residues that read the same atoms
    edge = model._linear(
        "W_edges_y", model._norm("features.norm_y_edges", model._linear("features.y_edges", _bases(atoms, atoms)))
    )
    molecule = model._linear("W_nodes_y", model._norm("features.norm_y_nodes", model._linear("features.y_nodes", kinds)))[groups]
    distance = torch.cat([_bases(place[:, k], atoms) for k in range(5)], dim=-1)
    told = torch.cat(
        [distance, model._linear("features.type_linear", kinds).expand(len(place), -1, -1), _angles(place, atoms)], -1
    )
    told = told.gather(1, nearest[..., None].expand(-1, -1, told.shape[-1]))
    told = model._linear("W_v", model._norm("features.norm_nodes", model._linear("features.node_project_down", told)))
    x = model._linear("W_c", nodes)
    for k in range(2):
        parts, name = zip(molecule.split(64), groups.split(64), strict=True), f"y_context_encoder_layers.{k}"
        molecule = torch.cat([model.layer(name, y, edge[g[:, :, None], g[:, None]]) for y, g in parts])
        x = model.layer(f"context_encoder_layers.{k}", x, torch.cat([told, molecule[group]], dim=-1))
    return model._norm("V_C_norm", model._linear("V_C", x))


def _bases(one: Tensor, other: Tensor) -> Tensor:
    """(n, m, 16) distances in radial basis functions."""
    distance = ((one[:, None] - other).square().sum(dim=-1) + 1e-6).sqrt()[..., None]
    return (-((distance - torch.from_numpy(CENTRES)) / SPREAD).square()).exp().float()


def _angles(place: Tensor, atoms: Tensor) -> Tensor:
    """(N, M, 4) directions of atoms in each residue's frame."""
    first = F.normalize(place[:, 0] - place[:, 1], dim=-1)
    second = place[:, 2] - place[:, 1]
    second = F.normalize(second - first * (first * second).sum(dim=-1, keepdim=True), dim=-1)
    frame = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
    x, y, z = ((atoms - place[:, 1:2]) @ frame).unbind(dim=-1)
    flat = (x.square() + y.square() + 1e-8).sqrt()
    length = (x.square() + y.square() + z.square()).sqrt() + 1e-8
    return torch.stack([x / flat, y / flat, flat / length, z / length], dim=-1).float()


def _kind_of(number: NDArray[np.int64]) -> NDArray[np.float32]:
    """(M, 147) element, group and period of atomic numbers, one-hot."""
    noble = np.array([0, 2, 10, 18, 36, 54, 86, 118])
    period = np.searchsorted(noble, number)
    column, long = number - noble[period - 1], np.diff(noble)[period - 1]
    group = np.where((column > 2) | (number == 2), np.maximum(18 - long + column, 3), column)
    return np.concatenate([np.eye(120)[number], np.eye(19)[group], np.eye(8)[period]], axis=1, dtype=np.float32)
