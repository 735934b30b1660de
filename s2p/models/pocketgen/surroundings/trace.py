"""Positions of the CA atoms of residues to be designed, predicted from the chain on both sides (ours).

On the straight line between the nearest known residues, as published, a CA is some 2.5 Å from its native position. The course of
the chain before and after shows whether it is helix or strand, and in which direction it bulges. A small network reads the
positions of the neighbours in the chain in a frame that they define, and predicts the displacement from the line. Surroundings
are counted from this position; the structure network itself starts on the line, as published.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.models.pocketgen.layers import zeroed
from s2p.models.pocketgen.surroundings.counts import beside
from s2p.structure.reading import Structure

__all__ = ["N_TRACE", "TraceNet", "place_trace", "trace_inputs"]

REACH = 6
"""Residues before and after that are read."""
OFFSETS = np.array([k for k in range(-REACH, REACH + 1) if k])
CROWD, CROWD_WIDTH = 10.0, 4.0
"""Å: CA atoms within about this distance show on which side the protein is."""
N_TRACE = 4 * len(OFFSETS) + 4
"""For each neighbour its position and whether it is known; the number of CA atoms nearby, and their centre."""


class TraceNet(nn.Module):
    """Predicts a CA position from neighbours in the chain; before it is fitted, the position on the line."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(N_TRACE, width),
            nn.GELU(),
            nn.Dropout(0.05),
            nn.Linear(width, width),
            nn.GELU(),
            zeroed(nn.Linear(width, 3)),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, N_TRACE) -> (P, 3) Å."""
        out: Tensor = self.net(inputs)
        return out


def trace_inputs(
    structure: Structure, pocket: NDArray[np.int64], unseen: NDArray[np.int64], start: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(P, N_TRACE) inputs of the network for each residue of a pocket, with scaled lengths, and their frame.

    The frame is (P, 3, 3), a row for each axis. An undefined axis is 0, and so is the displacement along it.

    ``pocket``, ``unseen``: (P,) residues to be designed and (k,) others to be ignored; ``start``: (P, 3) Å, on the line.
    """
    residues = structure.residues
    known = residues.has_ca.copy()
    known[np.concatenate([pocket, unseen])] = False
    ca, number = residues.ca_coord.astype(np.float64), residues.number.astype(np.int64)
    other = beside(known, residues.chain, pocket[:, None], OFFSETS)
    # After a gap in the numbers, the course of the chain is unknown.
    there = (other >= 0) & (number[other] - number[pocket, None] == OFFSETS)
    arm = np.where(there[..., None], ca[other] - start[:, None], 0.0)
    others = ca[known]
    away = others[None] - start[:, None]
    share = np.clip((CROWD - np.linalg.norm(away, axis=-1)) / CROWD_WIDTH, 0, 1)
    crowd = np.einsum("pr,prx->px", share, away) / (share.sum(axis=1, keepdims=True) + 1e-3)
    along = _unit(np.einsum("pkx,k->px", arm, 1.0 / OFFSETS))
    bulge = np.einsum("pkx,k->px", arm, 1.0 / np.abs(OFFSETS)) + 0.3 * crowd
    side = _unit(bulge - (bulge * along).sum(axis=1, keepdims=True) * along)
    frame = np.stack([along, side, np.cross(along, side)], axis=1)
    parts = (
        np.einsum("pkx,pax->pka", arm, frame).reshape(len(pocket), -1) / 5,
        there,
        share.sum(axis=1, keepdims=True) / 10,
        np.einsum("px,pax->pa", crowd, frame) / 3,
    )
    return np.concatenate(parts, axis=1).astype(np.float32), frame


def place_trace(
    net: TraceNet | None, structure: Structure, pocket: NDArray[np.int64], unseen: NDArray[np.int64], start: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(P, 3) Å: CA of each residue of a pocket as ``net`` places it; ``None``: on the line, ``start``.

    The other parameters are those of :func:`trace_inputs`.
    """
    line = start.astype(np.float64)
    if net is None:
        return line
    inputs, frame = trace_inputs(structure, pocket, unseen, start)
    weight = next(net.parameters())
    with torch.no_grad():
        step = net(torch.from_numpy(inputs).to(weight.dtype)).numpy().astype(np.float64)
    return np.asarray(line + np.einsum("pa,pax->px", step, frame))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / (np.linalg.norm(vector, axis=-1, keepdims=True) + 1e-6))
