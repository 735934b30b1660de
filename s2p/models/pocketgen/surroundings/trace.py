"""Where the CA atoms of residues to be designed lie, told from the chain on both sides (ours).

On the straight line between the nearest residues that are known, as published, a CA is some 2.5 Å from where it was. What turns
the chain takes before and after tells more: helix or strand, and which way it bulges. A small network reads the places of the
neighbours in the chain in a frame that they span, and gives the step from the line. What surrounds a place is counted from
there; the structure network itself starts on the line, as published.
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
"""Residues before and after that are looked at."""
OFFSETS = np.array([k for k in range(-REACH, REACH + 1) if k])
CROWD, CROWD_WIDTH = 10.0, 4.0
"""Å: CA atoms about this close tell on which side the protein lies."""
N_TRACE = 4 * len(OFFSETS) + 4
"""Of each neighbour its place and whether it is known; how many CA atoms are about, and their middle."""


class TraceNet(nn.Module):
    """From neighbours in the chain to a CA atom; before it is fitted it stays on the line."""

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
    """(P, N_TRACE), lengths in some Å, that the network reads of each residue of a pocket, and the frame it reads it in.

    The frame is (P, 3, 3), a row for each axis. Where nothing spans an axis it is 0, and so is the step.

    ``pocket``, ``unseen``: (P,) residues to be designed and (k,) others that are not read; ``start``: (P, 3) Å, on the line.
    """
    residues = structure.residues
    known = residues.has_ca.copy()
    known[np.concatenate([pocket, unseen])] = False
    ca, number = residues.ca_coord.astype(np.float64), residues.number.astype(np.int64)
    other = beside(known, residues.chain, pocket[:, None], OFFSETS)
    # A gap in the numbers: who knows how the chain goes on.
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
