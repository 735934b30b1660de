"""Point features against brute force and by their own properties."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from s2p.structure.reading import Structure, read_structure
from s2p.surface.features import (
    CHEMISTRY,
    PointConfig,
    PointEncoder,
    atom_chemistry,
    feature_names,
    point_features,
    protein_points,
)
from s2p.surface.points import SurfacePoints

ENCODER = PointEncoder(
    ("A:CB", "L:CB"), np.array([0.5, -1.0], np.float32), np.ones(4, np.float32), np.eye(2, 4, dtype=np.float32)
)


def scores(structure: Structure, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = len(structure.residues)
    return rng.uniform(0.01, 0.99, n).astype(np.float32), rng.normal(size=(n, 4)).astype(np.float32)


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, feature_names(2).index(name)]


@pytest.fixture(scope="module")
def protein(examples: Path) -> Structure:
    return read_structure(examples / "4CUP.cif")


@pytest.fixture(scope="module")
def seen(protein: Structure) -> tuple[SurfacePoints, np.ndarray]:
    cloud = protein_points(protein)
    return cloud, point_features(protein, cloud, ENCODER, *scores(protein))


def test_one_name_a_column(seen) -> None:
    names = feature_names(2)
    assert seen[1].shape == (len(seen[0].coord), len(names)) and seen[1].dtype == np.float32
    assert len(set(names)) == len(names)
    assert np.isfinite(seen[1]).all()


def test_counts_and_averages_are_those_of_brute_force(protein: Structure, seen) -> None:
    cloud, features = seen
    p, e = scores(protein)
    owner = protein.atoms.residue_index
    values = {
        "hydrophobicity": atom_chemistry(protein, ENCODER)[:, 0],
        "propensity": atom_chemistry(protein, ENCODER)[:, 9],
        "probability": p[owner],
        "embedding_1": (e[:, 1] - 1)[owner],
    }
    for k in range(0, len(cloud.coord), 97):
        d = np.linalg.norm(protein.atoms.coord - cloud.coord[k], axis=1)
        for r in (4, 8, 12):
            assert column(features, f"atoms_{r}")[k] == (d <= r).sum()
        for size, radius in (("near", 6.0), ("far", 10.0)):
            w = np.clip(1 - d / radius, 0, None)
            for name, value in values.items():
                assert column(features, f"{name}_{size}")[k] == pytest.approx(w @ value / w.sum(), abs=2e-4)
            assert column(features, f"probability_max_{size}")[k] == pytest.approx(p[owner][d < radius].max())
        vector = (protein.atoms.coord - cloud.coord[k])[d <= 12].mean(axis=0)
        assert column(features, "asymmetry_12")[k] == pytest.approx(np.linalg.norm(vector), abs=1e-3)


def test_points_among_points_are_those_of_brute_force(protein: Structure, seen) -> None:
    cloud, features = seen
    normal = cloud.coord - protein.atoms.coord[cloud.atom]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for k in range(0, len(cloud.coord), 97):
        near = cKDTree(cloud.coord).query_ball_point(cloud.coord[k], 9.0)
        assert column(features, "points_9")[k] == pytest.approx(len(near) / 100)
        assert column(features, "agreement_9")[k] == pytest.approx(np.linalg.norm(normal[near].mean(axis=0)), abs=1e-4)
        assert column(features, "enclosure_9")[k] == pytest.approx(column(features, "enclosure")[near].mean(), abs=1e-4)
        step = cloud.coord[near] - cloud.coord[k]
        lift = (step @ normal[k]) / (np.linalg.norm(step, axis=1) + 1e-6)
        assert column(features, "concavity_9")[k] == pytest.approx(lift.mean(), abs=1e-4)


def test_a_closed_shell_encloses_its_middle_and_one_atom_hardly_anything() -> None:
    base = make_structure()

    def around(coord: np.ndarray) -> dict[str, float]:
        n = len(coord)
        atoms = replace(
            base.atoms,
            coord=coord.astype(np.float32),
            element=np.array(["C"] * n),
            name=np.array(["CB"] * n),
            residue_index=np.sort(np.arange(n) % len(base.residues)).astype(np.int32),
            b_factor=np.zeros(n, np.float32),
        )
        structure = replace(base, atoms=atoms)
        cloud = SurfacePoints(np.zeros((1, 3)), np.zeros(1, np.int64))
        row = point_features(structure, cloud, ENCODER, *scores(structure))[0]
        return dict(zip(feature_names(2), row.tolist(), strict=True))

    golden = np.random.default_rng(0).normal(size=(600, 3))
    shell = around(5 * golden / np.linalg.norm(golden, axis=1, keepdims=True))
    assert shell["enclosure"] == 1 and shell["opposite"] == 1
    assert shell["wall_distance"] == pytest.approx((5**2 - (1.7 + 0.7) ** 2) ** 0.5, abs=0.1)  # the widest rays touch first
    assert shell["atoms_4"] == 0 and shell["atoms_5"] + shell["atoms_6"] >= 600
    assert 4 < shell["depth"] < 5
    assert shell["asymmetry_6"] < 0.5
    alone = around(np.array([[5.0, 0, 0]]))
    assert alone["enclosure"] < 0.15 and alone["opposite"] == 0
    assert alone["asymmetry_6"] == pytest.approx(5)
    assert alone["depth"] == 0  # no hull


def test_atoms_have_their_chemistry() -> None:
    base = make_structure()
    names = np.array(["NZ", "OD1", "CZ", "SD", "N", "N", "CB"])
    letters = "KDFMPGX"
    atoms = replace(
        base.atoms,
        coord=np.zeros((7, 3), np.float32),
        element=np.array([n[0] for n in names]),
        name=names,
        residue_index=np.arange(7, dtype=np.int32),
        b_factor=np.zeros(7, np.float32),
    )
    residues = replace(base.residues, one_letter=np.array([*letters, *base.residues.one_letter[7:]]))
    table = atom_chemistry(replace(base, atoms=atoms, residues=residues), ENCODER)
    said = [{name for name, v in zip(CHEMISTRY[1:9], row[1:9].tolist(), strict=True) if v} for row in table]
    assert said == [
        {"donor", "positive"},
        {"acceptor", "negative"},
        {"aromatic"},
        {"sulphur"},
        {"backbone"},  # proline's nitrogen has no hydrogen
        {"donor", "backbone"},
        {"aliphatic"},
    ]
    np.testing.assert_allclose(table[[0, 1, 2, 6], 0], np.array([-3.9, -3.5, 2.8, 0]) / 4.5, rtol=1e-6)


def test_turning_the_protein_turns_the_points_and_keeps_what_they_see(protein: Structure, seen) -> None:
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    shift = np.array([11.0, -5.0, 3.0])
    moved = replace(
        protein,
        atoms=replace(protein.atoms, coord=(protein.atoms.coord @ turn.T + shift).astype(np.float32)),
        residues=replace(protein.residues, ca_coord=(protein.residues.ca_coord @ turn.T + shift).astype(np.float32)),
    )
    cloud = protein_points(moved)
    distance, match = cKDTree(cloud.coord).query(seen[0].coord @ turn.T + shift)
    assert (distance < 1e-2).mean() > 0.99  # float32 coordinates now and then bury a point
    same = distance < 1e-2
    features = point_features(moved, cloud, ENCODER, *scores(protein))[match]
    assert np.corrcoef(column(features, "enclosure")[same], column(seen[1], "enclosure")[same])[0, 1] > 0.99
    np.testing.assert_allclose(column(features, "depth")[same], column(seen[1], "depth")[same], atol=0.02)


def test_all_chains_bury_points(protein: Structure) -> None:
    twice = make_structure()
    cloud = protein_points(twice, PointConfig(n_points=40))
    nearest, _ = cKDTree(twice.atoms.coord).query(cloud.coord)
    assert nearest.min() > 1.52 + 1.6 - 1e-3
    assert set(twice.residues.chain[twice.atoms.residue_index[cloud.atom]]) == {"A", "B"}


def test_no_points_no_rows(protein: Structure) -> None:
    empty = SurfacePoints(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert point_features(protein, empty, ENCODER, *scores(protein)).shape == (0, len(feature_names(2)))
