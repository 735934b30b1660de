"""Clusters of a structure: what must not matter does not, large structures fit, and the frame."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from builders import make_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from course.structures import moved
from s2p.config import ClusterConfig, PredictConfig, SurfaceConfig
from s2p.pockets.published import find_clusters, positive_points, rank_clusters
from s2p.prediction import Pocket
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    """A benchmark as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stages = script("stages")


@pytest.fixture(scope="module")
def dimer(examples: Path) -> tuple[Structure, np.ndarray, np.ndarray]:
    """HIV protease, two chains, with predicted residues and probabilities."""
    structure = read_structure(examples / "1hpv.pdb.gz")
    assert len(structure.chains) == 2
    return (structure, *stages.stand_in(structure, seed=2))


def summary(clusters: Sequence[Pocket]) -> list[tuple[list[int], float]]:
    return [(c.residues.tolist(), round(c.score, 6)) for c in clusters]


# ---------------------------------------------------------------------------------------------- what must not matter


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_atoms_in_a_residue(dimer, seed: int) -> None:
    structure, positive, probabilities = dimer
    atoms = structure.atoms
    order = np.lexsort((np.random.default_rng(seed).random(len(atoms)), atoms.residue_index))
    mixed = replace(structure, atoms=type(atoms)(**{key: value[order] for key, value in vars(atoms).items()}))
    plain, other = (find_clusters(s, positive, probabilities) for s in (structure, mixed))
    assert summary(plain) == summary(other)
    for a, b in zip(plain, other, strict=True):
        assert a.atoms.tolist() == sorted(order[b.atoms].tolist())
        np.testing.assert_allclose(a.center, b.center, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=2, unique=True))
def test_names_of_chains(dimer, names: list[str]) -> None:
    structure, positive, probabilities = dimer
    chain = np.where(structure.residues.chain == structure.chains[0], *names)
    renamed = replace(structure, residues=replace(structure.residues, chain=chain))
    for context in ("chain", "complex"):
        surface = SurfaceConfig(context=context)
        plain, other = (find_clusters(s, positive, probabilities, surface) for s in (structure, renamed))
        assert summary(plain) == summary(other)


def test_atoms_given_twice(dimer) -> None:
    """A second atom in the same place buries itself and the first (distance 0 is less than the sum of radii): CA stands in."""
    structure, positive, probabilities = dimer
    atoms = structure.atoms
    twice = np.repeat(np.arange(len(atoms)), 2)
    doubled = replace(structure, atoms=type(atoms)(**{key: value[twice] for key, value in vars(atoms).items()}))
    clusters = find_clusters(doubled, positive, probabilities)
    assert sorted(np.concatenate([c.residues for c in clusters]).tolist()) == np.flatnonzero(positive).tolist()


def test_nothing_predicted(dimer) -> None:
    structure, positive, probabilities = dimer
    for frame in ("raw", "principal"):
        assert find_clusters(structure, np.zeros_like(positive), probabilities, cluster=ClusterConfig(frame=frame)) == []


@pytest.mark.parametrize("frame", ["raw", "principal"])
def test_one_residue_of_one_atom(frame: str) -> None:
    whole = make_structure()
    one = Structure(
        "one",
        type(whole.atoms)(**{key: value[1:2] for key, value in vars(whole.atoms).items()}),
        type(whole.residues)(**{key: value[:1] for key, value in vars(whole.residues).items()}),
    )
    (cluster,) = find_clusters(one, np.array([True]), np.array([0.9], np.float32), cluster=ClusterConfig(frame=frame))
    assert cluster.residues.tolist() == [0]
    assert cluster.score == pytest.approx(0.9)
    assert len(cluster.points) == 50
    np.testing.assert_allclose(cluster.center, one.atoms.coord[0], atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_point_is_outside_every_atom(dimer, seed: int) -> None:
    structure, _, _ = dimer
    positive = np.random.default_rng(seed).random(len(structure.residues)) < 0.05
    cloud = positive_points(structure, positive, SurfaceConfig(context="complex"))
    assert positive[structure.atoms.residue_index[cloud.atom]].all()
    assert set(structure.atoms.residue_index[cloud.atom].tolist()) == set(np.flatnonzero(positive).tolist())


# ---------------------------------------------------------------------------------------------- frame


def test_pockets_in_the_principal_frame_move_with_the_structure(dimer) -> None:
    structure, positive, probabilities = dimer
    config = ClusterConfig(frame="principal")
    plain = find_clusters(structure, positive, probabilities, cluster=config)
    draw = np.random.default_rng(0)
    for _ in range(5):
        rotation, shift = random_rotation(draw), draw.normal(0, 30, 3)
        other = find_clusters(moved(structure, rotation, shift, None), positive, probabilities, cluster=config)
        assert [c.residues.tolist() for c in plain] == [c.residues.tolist() for c in other]
        for a, b in zip(plain, other, strict=True):
            np.testing.assert_allclose(a.center @ rotation.T + shift, b.center, atol=0.05)
            assert len(a.points) == pytest.approx(len(b.points), abs=2)


def test_points_in_the_principal_frame_come_back_to_the_structure(dimer) -> None:
    """Every point lies one atom radius and one probe from its atom, in the coordinates of the file."""
    structure, positive, probabilities = dimer
    for cluster in find_clusters(structure, positive, probabilities, cluster=ClusterConfig(frame="principal")):
        gap = np.linalg.norm(cluster.points[:, None] - structure.atoms.coord[cluster.atoms], axis=2).min(axis=1)
        assert (gap < 1.8 + 1.6 + 0.01).mean() > 0.9  # points of outvoted atoms are further
    assert PredictConfig.published().cluster == ClusterConfig(frame="raw", seeding="bins")


# ---------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("n_atoms", [25_000, 100_000])
def test_large_structures_take_little_memory(n_atoms: int) -> None:
    """Every residue predicted, the worst case; a matrix of all pairs of 25,000 atoms would take 2,500 MB as bytes."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is measured with Linux's /proc")
    assert stages.peak_memory(n_atoms, everything=True) < (150 if n_atoms < 50_000 else 300)


def test_many_chains(examples: Path) -> None:
    base = read_structure(examples / "4CUP.cif")
    structure = stages.tile(base, 60 * len(base.residues), chains=True)
    assert len(structure.chains) == 60
    positive, probabilities = stages.stand_in(structure)
    clusters = find_clusters(structure, positive, probabilities)
    found = np.concatenate([c.residues for c in clusters])
    assert sorted(found.tolist()) == np.flatnonzero(positive).tolist()


def test_tile_keeps_the_structure_whole(examples: Path, tmp_path: Path) -> None:
    structure = stages.tile(read_structure(examples / "4CUP.cif"), 300)
    stages.write_cif(structure, tmp_path / "x.cif")
    again = read_structure(tmp_path / "x.cif")
    np.testing.assert_allclose(again.atoms.coord, structure.atoms.coord, atol=1e-3)
    assert again.residues.ids() == structure.residues.ids()
    assert again.sequence() == structure.sequence()
    sampled = structure.atoms.coord[::7].astype(float)
    assert (np.linalg.norm(sampled[:, None] - sampled, axis=2) + 9 * np.eye(len(sampled))).min() > 1.0


def test_benchmark_of_stages_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages.main(["--sizes", "115", "--repeats", "1", "--no-memory", "-o", str(tmp_path)])
    results = json.loads((tmp_path / "stages.json").read_text())
    assert set(results["rows"][0]["libraries_ms"]) < set(results["rows"][0]["one_thread_ms"])
    assert (tmp_path / "stages.png").stat().st_size < 150_000
    assert "| residues |" in capsys.readouterr().out


def test_rank_clusters_by_hand() -> None:
    """Residue 0 owns atoms 0-2, residue 1 atom 3, residue 2 atom 4; two clusters, the second scores higher."""
    coord = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [10, 0, 0], [12, 0, 0]], np.float32)
    residue = np.array([0, 0, 0, 1, 2], np.int32)
    probabilities = np.array([0.5, 0.9, 0.6], np.float32)
    labels = np.array([0, 0, 0, 1, 1])
    found = rank_clusters(coord.astype(float), labels, np.arange(5), labels, coord, residue, probabilities)
    assert [c.residues.tolist() for c in found] == [[1, 2], [0]]
    assert [c.score for c in found] == pytest.approx([0.75, 0.5])
    np.testing.assert_allclose(found[0].center, [11, 0, 0])
    assert found[1].atoms.tolist() == [0, 1, 2]


def test_equal_scores_are_ranked_by_atoms_then_label() -> None:
    coord = np.zeros((4, 3), np.float32)
    residue = np.array([0, 1, 1, 2], np.int32)
    labels = np.array([0, 1, 1, 2])
    found = rank_clusters(coord.astype(float), labels, np.arange(4), labels, coord, residue, np.full(3, 0.8, np.float32))
    assert [c.residues.tolist() for c in found] == [[1], [0], [2]]


def test_a_cluster_whose_atoms_are_outvoted_is_dropped() -> None:
    """The residue goes to label 0 with two atoms of three; label 1 keeps an atom but no residue (quirk 8)."""
    labels = np.array([0, 0, 1])
    found = rank_clusters(
        np.zeros((3, 3)),
        labels,
        np.arange(3),
        labels,
        np.zeros((3, 3), np.float32),
        np.zeros(3, np.int32),
        np.ones(1, np.float32),
    )
    assert [c.residues.tolist() for c in found] == [[0]]
    assert found[0].atoms.tolist() == [0, 1]
