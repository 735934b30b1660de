"""The nearest residues and ligand atoms one by one: by hand on toys, and that nothing jumps at the edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from s2p.models.pocketgen.atoms import N_LIGAND_FEATURES
from s2p.models.pocketgen.surroundings.counts import N_COUNTS, N_ENVIRONMENT
from s2p.models.pocketgen.surroundings.heads import SurroundingsHead
from s2p.models.pocketgen.surroundings.neighbours import (
    ATOM_FEATURES,
    ATOMS,
    FEATURES,
    N_ATOMS,
    N_NEIGHBOURS,
    NEIGHBOURS,
    nearest_atoms,
    nearest_residues,
)


def shell(n: int, seed: int = 0, furthest: float = 20.0) -> dict[str, Any]:
    """A residue to design at the origin, of another chain than ``n`` others about it."""
    rng = np.random.default_rng(seed)
    place = rng.normal(size=(n, 3))
    place *= (rng.uniform(3, furthest, n) / np.linalg.norm(place, axis=1))[:, None]
    return {
        "kind": np.append(rng.integers(1, 21, n), 0),
        "ca": np.vstack([place * 1.1, np.zeros(3)]),
        "beta": np.vstack([place * 1.05, np.zeros(3)]),
        "centre": np.vstack([place, np.zeros(3)]),
        "chain": np.append(np.zeros(n, np.int64), 1),
        "index": np.arange(n + 1),
        "pocket": np.array([n]),
        "start": np.zeros((1, 3)),
        "out": np.array([[0.0, 0.0, 1.0]]),
        "along": np.array([[1.0, 0.0, 0.0]]),
    }


def test_a_neighbour_by_hand() -> None:
    given = shell(2)
    given["ca"][0], given["beta"][0], given["centre"][0] = (0, 0, 8), (0, 0, 7), (0, 0, 5)
    given["ca"][1] = given["beta"][1] = given["centre"][1] = (30, 0, 0)
    given["kind"][:2] = 7, 3
    given["chain"] = np.array([1, 0, 1])
    (row,) = nearest_residues(**given).reshape(1, NEIGHBOURS, FEATURES)
    assert (row[:, 0] > 0).sum() == 2  # not itself
    near = row[row[:, 4] == 5.0][0]
    # Weight, type, three distances, outwards and along, pointing here (1 Å of 2) and outwards, two before in the chain, and
    # in its own crowd the residue to design.
    np.testing.assert_allclose(near, [1, 7, 8, 7, 5, 1, 0, 0.5, -0.5, -0.5, 1, 0.05], atol=1e-3)
    far = row[row[:, 4] == 30.0][0]
    np.testing.assert_allclose(far, [1, 3, 30, 30, 30, 0, 1, 0, 0, 0, 0, 0], atol=1e-3)


def test_the_crowd_of_a_neighbour_is_counted() -> None:
    given = shell(3)
    for key in ("ca", "beta", "centre"):
        given[key][:3] = (40, 0, 0), (40, 5, 0), (40, 0, 10)
    (row,) = nearest_residues(**given).reshape(1, NEIGHBOURS, FEATURES)
    # 5 Å apart counts whole, 10 Å half; the third is 11.2 Å from the second.
    assert sorted((row[row[:, 0] > 0, -1] * 20).round(3).tolist()) == [0.5, 1.0, 1.5]


def test_the_nearest_are_kept_and_the_last_fade() -> None:
    given = shell(100)
    (row,) = nearest_residues(**given).reshape(1, NEIGHBOURS, FEATURES)
    distance = np.sort(np.linalg.norm(given["centre"][:-1], axis=1))
    kept = row[row[:, 0] > 0]
    np.testing.assert_allclose(np.sort(kept[:, 4]), distance[: len(kept)])
    expected = np.clip(distance[NEIGHBOURS] - distance[: len(kept)], 0, 1)
    np.testing.assert_allclose(np.sort(kept[:, 0]), np.sort(expected))


def test_nothing_jumps_where_one_gives_way_to_another() -> None:
    torch.manual_seed(0)
    head = SurroundingsHead(0, 32).eval().double()
    torch.nn.init.normal_(head.out[-1].weight)  # type: ignore[arg-type]
    given = shell(100)
    order = np.argsort(np.linalg.norm(given["centre"][:-1], axis=1))
    last, first_out = order[NEIGHBOURS - 1], order[NEIGHBOURS]
    gap = np.linalg.norm(given["centre"][first_out]) / np.linalg.norm(given["centre"][last])
    found, seen = [], []
    for factor in (gap - 1e-7, gap + 1e-7):
        centre = given["centre"].copy()
        centre[last] *= factor
        near = nearest_residues(**(given | {"centre": centre}))
        seen.append(set(near.reshape(NEIGHBOURS, FEATURES)[:, 4].round(4).tolist()))
        around = np.concatenate([np.zeros((1, N_COUNTS)), near, np.zeros((1, N_ATOMS))], axis=1)
        with torch.no_grad():
            found.append(head(torch.zeros(1, 0, dtype=torch.float64), torch.from_numpy(around)).numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(found[0]).max() > 0.01


def test_the_order_of_neighbours_means_nothing() -> None:
    torch.manual_seed(0)
    head = SurroundingsHead(0, 32).eval()
    torch.nn.init.normal_(head.out[-1].weight)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    near = nearest_residues(**shell(50))
    bound = nearest_atoms(rng.normal(0, 4, (20, 3)), rng.random((20, N_LIGAND_FEATURES)), np.zeros((1, 3)), *np.eye(3)[:2, None])

    def said(residues: np.ndarray, atoms: np.ndarray) -> np.ndarray:
        around = np.concatenate([np.zeros((1, N_COUNTS)), residues, atoms], axis=1).astype(np.float32)
        assert around.shape == (1, N_ENVIRONMENT)
        with torch.no_grad():
            return np.asarray(head(torch.zeros(1, 0), torch.from_numpy(around)).numpy())

    shuffled = near.reshape(NEIGHBOURS, FEATURES)[rng.permutation(NEIGHBOURS)].reshape(1, N_NEIGHBOURS)
    mixed = bound.reshape(ATOMS, ATOM_FEATURES)[rng.permutation(ATOMS)].reshape(1, N_ATOMS)
    np.testing.assert_allclose(said(shuffled, mixed), said(near, bound), atol=1e-5)
    assert np.abs(said(near, bound) - said(near, np.zeros_like(bound))).max() > 1e-3
    assert np.abs(said(near, bound) - said(np.zeros_like(near), bound)).max() > 1e-3


def test_atoms_by_hand_and_none_at_all() -> None:
    features = np.eye(2, N_LIGAND_FEATURES)
    out, along = np.array([[0.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 0.0]])
    table = nearest_atoms(np.array([[0.0, 0.0, 4.0], [3.0, 0.0, 0.0]]), features, np.zeros((1, 3)), out, along)
    rows = table.reshape(ATOMS, ATOM_FEATURES)
    assert (rows[:, 0] > 0).sum() == 2
    near = rows[rows[:, 1] == 3.0][0]
    np.testing.assert_allclose(near, [1, 3, 0, 1, 0, 1, *np.zeros(N_LIGAND_FEATURES - 2)], atol=1e-3)
    nothing = nearest_atoms(np.zeros((0, 3)), np.zeros((0, N_LIGAND_FEATURES)), np.zeros((1, 3)), out, along)
    assert nothing.shape == (1, N_ATOMS) and not nothing.any()
