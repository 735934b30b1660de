"""What surrounds a place: counts by hand, nothing of what is to be designed, and nothing that the pose changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from s2p.models.pocketgen.atoms import N_LIGAND_FEATURES, N_SLOTS, N_TYPES, slot_arrays
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import interpolate, pocket_residues
from s2p.models.pocketgen.surroundings.counts import FLOOR, LIGAND_SHELLS, N_COUNTS, N_ENVIRONMENT, SHELLS, environment
from s2p.models.pocketgen.surroundings.neighbours import ATOM_FEATURES, FEATURES, N_NEIGHBOURS
from s2p.structure.reading import read_structure
from s2p.structure.transforms import random_rotation

Arguments = dict[str, Any]


@pytest.fixture(scope="module")
def real(examples: Path) -> Arguments:
    """Progesterone's pocket in its receptor."""
    structure = read_structure(examples / "1a28.pdb.gz")
    ligand = next(x for x in structure.ligands if x.name == "STR")
    types, coord, present = slot_arrays(structure)
    pocket = pocket_residues(structure, ligand.coord, PocketConfig())
    features = np.random.default_rng(0).random((len(ligand.coord), N_LIGAND_FEATURES))
    return {
        "types": types,
        "coord": coord.astype(float),
        "present": present,
        "chain": np.unique(structure.residues.chain, return_inverse=True)[1],
        "pocket": pocket,
        "start": interpolate(structure, pocket).astype(float),
        "unseen": np.zeros(0, np.int64),
        "ligand": ligand.coord.astype(float),
        "features": features,
    }


def toy(place: tuple[float, float, float], kind: int = 5) -> Arguments:
    """One residue to design at the origin, and one other, in another chain, of a CA and a CB at ``place``."""
    coord = np.zeros((2, N_SLOTS, 3))
    coord[1, 1], coord[1, 4] = np.add(place, (0, 0, 30)), place
    present = np.zeros((2, N_SLOTS), bool)
    present[:, [1, 4]] = True
    features = np.zeros((1, N_LIGAND_FEATURES))
    return {
        "types": np.array([3, kind]),
        "coord": coord,
        "present": present,
        "chain": np.array([0, 1]),
        "pocket": np.array([0]),
        "start": np.zeros((1, 3)),
        "unseen": np.zeros(0, np.int64),
        "ligand": np.array([[0.0, 0.0, 7.0]]),
        "features": features,
    }


def shells(row: NDArray[np.float32], kind: int) -> NDArray[np.float64]:
    """Counts of one type by distance of its CB."""
    roots = row[: N_TYPES * len(SHELLS)].astype(float).reshape(len(SHELLS), N_TYPES)[:, kind]
    return np.asarray((roots + FLOOR**0.5) ** 2 - FLOOR)


def ordered(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts, then neighbours and atoms in the order of their distances: their order means nothing."""
    counts, near, bound = np.split(rows, [N_COUNTS, N_COUNTS + N_NEIGHBOURS], axis=1)
    parts = [counts]
    for table, width, column in ((near, FEATURES, 4), (bound, ATOM_FEATURES, 1)):
        each = table.reshape(len(rows), -1, width)
        order = np.argsort(np.where(each[..., 0] > 0, each[..., column].round(3), np.inf), axis=1, kind="stable")
        parts.append(np.take_along_axis(each, order[..., None], axis=1).reshape(len(rows), -1))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(
    ("x", "expected"),
    [(5.0, [0, 1, 0, 0, 0]), (6.0, [0, 0.5, 0.5, 0, 0]), (1.0, [1, 0, 0, 0, 0]), (11.5, [0, 0, 0, 0, 0.75]), (14.0, [0] * 5)],
)
def test_a_neighbour_counts_in_the_shells_it_is_near(x: float, expected: list[float]) -> None:
    (row,) = environment(**toy((x, 0, 0)))
    assert row.shape == (N_ENVIRONMENT,)
    np.testing.assert_allclose(shells(row, 5), expected, atol=1e-6)
    assert abs(shells(row, 3)).max() < 1e-6  # what is designed does not count itself


def test_ligand_atoms_count_by_distance() -> None:
    (row,) = environment(**toy((20, 0, 0)))
    begin = 2 * N_TYPES * len(SHELLS)
    table = row[begin : begin + len(LIGAND_SHELLS) * (N_LIGAND_FEATURES + 1)].reshape(len(LIGAND_SHELLS), -1)
    table = (table + FLOOR**0.5) ** 2 - FLOOR
    np.testing.assert_allclose(table[:, 0], [0, 0.5, 0.5, 0], atol=1e-6)
    assert row[N_COUNTS - 2] == pytest.approx(0.7)  # the nearest, in 10 Å


def test_nothing_is_told_of_what_is_to_be_designed(real: Arguments) -> None:
    before = environment(**real)
    other = {key: np.array(value) for key, value in real.items()}
    other["types"][real["pocket"]] = 7
    other["coord"][real["pocket"]] += 5
    other["present"][real["pocket"]] = False
    assert np.array_equal(environment(**other), before)
    assert before.shape == (len(real["pocket"]), N_ENVIRONMENT) and np.isfinite(before).all()


def test_what_must_not_be_seen_is_not(real: Arguments) -> None:
    distance = np.linalg.norm(real["coord"][:, 1] - real["start"][0], axis=1)
    distance[real["pocket"]] = np.inf
    near = np.argsort(distance)[:3]
    hidden = real | {"unseen": near}
    moved = hidden | {"coord": np.array(real["coord"]), "types": np.array(real["types"])}
    moved["coord"][near] += 3
    moved["types"][near] = 1
    assert np.array_equal(environment(**hidden), environment(**moved))
    assert not np.array_equal(environment(**hidden), environment(**real))


def test_the_pose_changes_nothing(real: Arguments) -> None:
    rng = np.random.default_rng(1)
    before = ordered(environment(**real))
    for _ in range(3):
        turn, shift = random_rotation(rng), rng.normal(0, 20, 3)
        moved = real | {key: real[key] @ turn.T + shift for key in ("coord", "start", "ligand")}
        after = ordered(environment(**moved))
        np.testing.assert_allclose(after[:, :N_COUNTS], before[:, :N_COUNTS], atol=1e-5)
        np.testing.assert_allclose(after, before, atol=1e-4)  # lengths of up to 60 Å


def test_rounding_changes_little(real: Arguments) -> None:
    rounded = real | {key: real[key].round(3) + 0.0004 for key in ("coord", "start", "ligand")}
    change = np.abs(ordered(environment(**rounded)) - ordered(environment(**real)))
    assert change[:, :N_COUNTS].max() < 0.01
    assert change.max() < 0.02
