"""What the surface network is told to say, and that a training step makes it say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from course.surface_training import SHARES, UNKNOWN, Example, TorchOps, TrainConfig, initial, inputs_of, losses, targets_of
from s2p.surface.network import NetworkConfig, Outputs, forward

CONFIG = TrainConfig()
TINY = NetworkConfig(width=8, hidden=8, message=4, vectors=2, shells=4, layers=1, point_layers=1, language=6, structure=5)
LIGAND = np.array([[0.0, 0, 0], [2.0, 0, 0]], np.float32)


def example(distances: list[float], **changes: object) -> Example:
    """Points so far from the first atom of a ligand, each on an atom and a residue of its own behind it."""
    n, rng = len(distances), np.random.default_rng(0)
    points = np.stack([-np.array(distances), np.zeros(n), np.zeros(n)], axis=1).astype(np.float32)
    own = np.arange(n)
    values = {
        "key": "x",
        "cluster": "c",
        "coord": points - np.array([0, 3, 0], np.float32),
        "element": np.full(n, "C"),
        "kind": np.full(n, "A:CB"),
        "residue": own,
        "ca": points,
        "language": rng.normal(size=(n, 6)).astype(np.float16),
        "structure": rng.normal(size=(n, 5)).astype(np.float16),
        "label": (np.array(distances) < 4).astype(np.uint8),
        "ligand": LIGAND,
        "molecule": np.zeros(2, np.int64),
        "points": points,
        "owner": own,
        "share": np.ones(n, np.float32),
    }
    return Example(**{**values, **changes})  # type: ignore[arg-type]


def test_points_are_near_little_by_little_and_vote_for_the_centroid() -> None:
    targets = targets_of(example([2.0, 3.75, 6.0]), CONFIG)
    np.testing.assert_allclose(targets.ligand, [1, 0.5, 0])
    np.testing.assert_allclose(targets.vote[:, 0], [3.0, 4.75, 7.0])  # to (1, 0, 0)
    np.testing.assert_allclose(targets.vote_weight, [1, 0.5, 0])
    np.testing.assert_allclose(targets.extent, 0)  # both atoms are 1 Å from the centroid: log 1
    np.testing.assert_allclose(targets.residue, [1, 1, 0])


def test_what_nobody_knows_does_not_count() -> None:
    x = example([2.0, 6.0, 6.0])
    targets = targets_of(replace(x, label=np.array([1, UNKNOWN, 0], np.uint8)), CONFIG)
    np.testing.assert_allclose(targets.ligand_weight, [1, 0, 1])
    np.testing.assert_allclose(targets.residue_weight, [1, 0, 1])


def test_residue_labels_alone_are_weak() -> None:
    nothing = {"ligand": np.zeros((0, 3), np.float32), "molecule": np.zeros(0, np.int64)}
    targets = targets_of(example([2.0, 30.0], **nothing), CONFIG)
    assert targets.ligand[0] > 0 and targets.ligand[1] == 0
    np.testing.assert_allclose(targets.ligand_weight, CONFIG.weak)
    assert not targets.vote_weight.any()


def test_the_right_answer_costs_little() -> None:
    targets = targets_of(example([2.0, 2.4, 6.0]), CONFIG)
    sure = 20 * (2 * targets.ligand - 1)
    said = Outputs(sure, targets.vote, targets.extent, 20 * (2 * targets.residue - 1))
    found = losses(said, targets)
    assert set(found) == set(SHARES)
    assert found["point"] < 1e-6 and found["residue"] < 1e-6 and found["extent"] == 0
    assert found["vote"] <= 0.5  # smooth at 0
    wrong = losses(replace(said, ligand=-sure, vote=targets.vote + 3), targets)
    assert wrong["point"] > 10 and wrong["vote"] > 3


@pytest.mark.parametrize("seed", [0, 1])
def test_training_lowers_the_loss(seed: int) -> None:
    x = example([1.5, 2.0, 3.0, 5.5, 7.0, 9.0])
    inputs, targets = inputs_of(x, np.zeros(6, np.int64), TINY), targets_of(x, CONFIG)
    w = initial(TINY, 1, seed)
    optimiser = torch.optim.Adam(list(w.values()), lr=0.02)
    totals = []
    for _ in range(40):
        total = torch.stack(
            [SHARES[name] * value for name, value in losses(forward(w, inputs, TINY, TorchOps), targets).items()]
        ).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.5 * totals[0]
