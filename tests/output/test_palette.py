"""Pockets can be told apart by their colours, with any colour vision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2p.output.palette import CARTOON, LIGAND, OUTSIDE, POCKETS, pocket_color, rgb

VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear RGB as it is seen (Machado, Oliveira and Fernandes 2009, severity 1)."""


def oklab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) coordinates in which distances are differences as seen (Ottosson 2020)."""
    cones = [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.6806995, 0.1073970], [0.08830246, 0.2817188, 0.6299787]]
    axes = [[0.2104543, 0.7936178, -0.0040720], [1.9779985, -2.4285922, 0.4505937], [0.0259040, 0.7827718, -0.8086758]]
    return np.cbrt(linear @ np.transpose(cones)) @ np.transpose(axes)


def nearest(colors: tuple[str, ...], others: tuple[str, ...]) -> float:
    """The smallest difference between one of ``colors`` and another colour, over all visions."""
    linear = [[c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(x)] for x in colors + others]
    smallest = np.inf
    for seen in VISIONS.values():
        places = oklab(np.clip(np.array(linear) @ np.transpose(seen), 0, 1))
        gaps = np.linalg.norm(places[: len(colors), None] - places[None], axis=2)
        gaps[range(len(colors)), range(len(colors))] = np.inf
        smallest = min(smallest, float(gaps.min()))
    return smallest


def test_fourteen_pockets_differ() -> None:
    assert len(set(POCKETS)) == 14 and [pocket_color(r) for r in (1, 14, 15)] == [POCKETS[0], POCKETS[13], POCKETS[0]]


def test_later_colours_are_no_harder_to_tell_apart_than_okabe_and_itos() -> None:
    first, later = POCKETS[:7], POCKETS[7:]
    published = nearest(first, ())
    assert 0.07 < published < 0.08
    assert nearest(later, (*first, CARTOON, OUTSIDE, LIGAND, "#FFFFFF")) > 1.2 * published
