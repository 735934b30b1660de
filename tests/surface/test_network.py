"""The network's arithmetic: equal in NumPy and PyTorch, in whatever parts it is worked out, and turned with the protein."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from course.surface_training import TorchOps
from s2p.surface import network
from s2p.surface.graph import neighbours
from s2p.surface.network import Inputs, NetworkConfig, Ops, forward, shapes

SMALL = NetworkConfig(width=12, hidden=16, message=6, vectors=3, shells=4, layers=2, point_layers=1, language=5, structure=7)


def weights(config: NetworkConfig = SMALL, types: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: (rng.normal(size=shape) * 0.3).astype(np.float32) for name, shape in shapes(config, types).items()}


def inputs(turn: Rotation | None = None, n: int = 60, config: NetworkConfig = SMALL) -> Inputs:
    rng = np.random.default_rng(1)
    coord, points = rng.normal(size=(n, 3)) * 5, rng.normal(size=(2 * n, 3)) * 6
    if turn is not None:
        coord, points = turn.apply(coord), turn.apply(points)
    residue = np.sort(rng.integers(0, n // 6, n))
    return Inputs(
        rng.integers(0, 4, n),
        residue,
        rng.normal(size=(n // 6, config.language)).astype(np.float32),
        rng.normal(size=(n // 6, config.structure)).astype(np.float32),
        np.sort(rng.integers(0, n, 2 * n)),
        rng.random(2 * n).astype(np.float32),
        neighbours(coord, None, config.atom_reach),
        neighbours(points, coord, config.reading_reach),
        neighbours(points, None, config.point_reach),
    )


def test_pytorch_gives_the_same() -> None:
    w, x = weights(), inputs()
    plain, tensors = forward(w, x, SMALL), forward({k: torch.from_numpy(v) for k, v in w.items()}, x, SMALL, TorchOps)
    for part in fields(plain):
        np.testing.assert_allclose(getattr(plain, part.name), getattr(tensors, part.name).numpy(), atol=1e-4)


def test_turning_turns_the_votes_and_nothing_else() -> None:
    turn = Rotation.from_rotvec([0.4, -1.1, 2.0])
    one, other = forward(weights(), inputs(), SMALL), forward(weights(), inputs(turn), SMALL)
    assert np.abs(one.vote).max() > 0.1
    np.testing.assert_allclose(turn.apply(one.vote), other.vote, atol=1e-4)
    for name in ("ligand", "extent", "residue"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-4)


def test_parts_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forward(weights(), inputs(), SMALL)
    monkeypatch.setattr(network, "ROWS", 7)
    np.testing.assert_allclose(forward(weights(), inputs(), SMALL).vote, whole.vote, atol=1e-5)


def test_what_lies_beyond_all_layers_is_not_seen() -> None:
    """Two clumps 100 Å apart are read as each would be alone."""
    x = inputs()
    far = np.random.default_rng(5).normal(size=(10, 3)) * 3 + 100
    rng = np.random.default_rng(1)
    coord, points = rng.normal(size=(60, 3)) * 5, rng.normal(size=(120, 3)) * 6
    both = np.concatenate([coord, far])
    more = replace(
        x,
        kind=np.concatenate([x.kind, np.zeros(10, np.int64)]),
        residue=np.concatenate([x.residue, np.full(10, len(x.language))]),
        language=np.concatenate([x.language, np.zeros((1, SMALL.language), np.float32)]),
        structure=np.concatenate([x.structure, np.zeros((1, SMALL.structure), np.float32)]),
        atoms=neighbours(both, None, SMALL.atom_reach),
        reading=neighbours(points, both, SMALL.reading_reach),
    )
    alone, together = forward(weights(), x, SMALL), forward(weights(), more, SMALL)
    np.testing.assert_allclose(alone.ligand, together.ligand, atol=1e-5)
    np.testing.assert_allclose(alone.residue, together.residue[:-1], atol=1e-5)


def test_without_points_residues_are_still_read() -> None:
    x = inputs()
    none = np.zeros((0, 3))
    bare = replace(
        x,
        owner=x.owner[:0],
        share=x.share[:0],
        reading=neighbours(none, none, SMALL.reading_reach),
        points=neighbours(none, None, SMALL.point_reach),
    )
    said = forward(weights(), bare, SMALL)
    assert said.vote.shape == (0, 3) and np.isfinite(said.residue).all() and len(said.residue) == len(x.language)


def test_sums_by_owner_leave_gaps_at_zero() -> None:
    found = Ops.pooled(np.ones((4, 2), np.float32), np.array([1, 1, 3, 3]), 5)
    assert found[:, 0].tolist() == [0, 2, 0, 2, 0]
