"""What is made once of a structure: the frame, and points that come out little by little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from hypothesis import given, settings
from hypothesis import strategies as st

import s2p.surface.surroundings as module
from course.structures import moved
from s2p.predictor import load
from s2p.structure.reading import Atoms, Residues, Structure, read_structure
from s2p.structure.transforms import random_rotation
from s2p.surface.points import SOFTNESS, atom_radii, soft_points, sphere, surface_points
from s2p.surface.surroundings import CONTACT, Surroundings, assemblies, principal_frame


@pytest.fixture(scope="module")
def protein(examples: Path) -> Structure:
    return read_structure(examples / "4CUP.cif")


def test_into_the_frame_and_back(protein: Structure) -> None:
    around = Surroundings(protein)
    np.testing.assert_allclose(around.outside(around.coord), protein.atoms.coord, atol=1e-4)
    np.testing.assert_allclose(around.inside(protein.residues.ca_coord), around.ca_coord)
    assert np.abs(around.ca_coord.mean(axis=0)).max() < 1e-6
    spread = around.ca_coord.std(axis=0)
    assert (np.diff(spread) < 0).all()


def test_shares_by_brute_force(protein: Structure) -> None:
    atoms = protein.atoms
    coord, radius = atoms.coord[:400].astype(float), atom_radii(atoms.element[:400], 1.6)
    cloud = soft_points(coord, atoms.element[:400], n_points=20)
    share = np.zeros((400, 20))
    for a in range(400):
        points = coord[a] + radius[a] * sphere(20)
        gap = np.linalg.norm(points[:, None] - coord, axis=2) - radius
        gap[:, a] = SOFTNESS
        share[a] = np.interp(gap.min(axis=1), [-SOFTNESS, SOFTNESS], [0, 1])
    atom, k = np.nonzero(share > 1e-6)
    kept = cloud.share > 1e-6
    np.testing.assert_array_equal(cloud.atom[kept], atom)
    np.testing.assert_allclose(cloud.share[kept], share[atom, k], atol=1e-6)
    np.testing.assert_allclose(cloud.coord[kept], coord[atom] + radius[atom, None] * sphere(20)[k], atol=1e-6)


def test_exposed_points_are_those_of_shrake_and_rupley(protein: Structure) -> None:
    atoms = protein.atoms
    hard = surface_points(atoms.coord, atoms.element, np.arange(len(atoms)), n_points=24, probe_radius=1.6)
    soft = soft_points(atoms.coord, atoms.element, n_points=24, probe_radius=1.6)
    np.testing.assert_array_equal(soft.exposed().atom, hard.atom)
    np.testing.assert_allclose(soft.exposed().coord, hard.coord, atol=1e-5)
    assert len(soft.coord) > len(hard.coord)


def test_a_patch_that_goes_under_shrinks_and_does_not_vanish() -> None:
    """Of two atoms that come closer, the first loses its points in steps smaller than a tenth of one."""
    element = np.array(["C", "C"])
    totals = [
        float(cloud.share[cloud.atom == 0].sum())
        for d in np.arange(3.0, 2.0, -0.01)
        for cloud in [soft_points(np.array([[0.0, 0, 0], [d, 0.1, 0.2]]), element)]
    ]
    assert totals[0] - totals[-1] > 1 and np.abs(np.diff(totals)).max() < 0.1


def test_turned_files_have_the_same_points(protein: Structure) -> None:
    draw = np.random.default_rng(0)
    cloud = Surroundings(protein).points()
    for _ in range(5):
        turn, shift = random_rotation(draw), draw.normal(0, 30, 3)
        around = Surroundings(moved(protein, turn, shift, None))
        other = around.points()
        assert abs(other.share.sum() - cloud.share.sum()) < 1e-2
        expected = Surroundings(protein).outside(cloud.coord[:20]) @ turn.T + shift
        np.testing.assert_allclose(around.outside(other.coord[:20]), expected, atol=1e-3)


def test_a_prediction_makes_frame_and_points_once(protein: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame and one surface for the residues and for the pockets."""
    made: list[str] = []

    def count(name: str) -> None:
        real = getattr(module, name)

        def counted(*arguments, **options):
            made.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    for name in ("principal_frame", "soft_points"):
        count(name)
    predictor = load("s2p-esm2-8m", device="cpu")
    scores = predictor.score(protein)
    predictor.pockets(protein, scores)
    predictor.pockets(protein, scores)  # a threshold was changed
    assert sorted(made) == ["principal_frame", "soft_points"]


# ---------------------------------------------------------------------------------------------- a frame of the molecule's own


def chain(draw: np.random.Generator, n: int) -> np.ndarray:
    """A compact random walk with steps of 3.8 Å."""
    steps = draw.normal(size=(n, 3))
    x = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    return x - x.mean(axis=0)


def copies(x: np.ndarray, order: int) -> np.ndarray:
    """Exact copies around the z axis, 25 Å from it."""
    angles = 2 * np.pi * np.arange(order) / order
    turns = [np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in angles]
    return np.concatenate([(x + np.array([25.0, 0, 0])) @ turn.T for turn in turns])


def same_place(x: np.ndarray, seed: int, decimals: int, atol: float) -> None:
    """In its own frame a molecule looks the same before and after motions and rounding."""
    draw = np.random.default_rng(seed)
    origin, axes = principal_frame(x)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    inside = (x - origin) @ axes
    for _ in range(4):
        y = np.round(x @ random_rotation(draw).T + draw.normal(0, 50, 3), decimals)
        other_origin, other_axes = principal_frame(y)
        np.testing.assert_allclose(inside, (y - other_origin) @ other_axes, atol=atol)


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 300), st.integers(0, 2**32 - 1))
def test_the_principal_frame_moves_with_a_chain(n: int, seed: int) -> None:
    same_place(chain(np.random.default_rng(seed), n), seed, 8, 1e-3)


@pytest.mark.parametrize("order", [2, 3, 4, 6])
def test_the_frame_of_exact_oligomers_does_not_turn_by_rounding(order: int) -> None:
    """Equal spreads and no tails: the order of the residues decides."""
    for seed in range(10):
        same_place(copies(chain(np.random.default_rng(seed), 80), order), seed, 3, 0.05)


def test_the_frame_of_a_round_molecule() -> None:
    """Three equal spreads: the corners of an octahedron, and of a cube."""
    octahedron = 20 * np.concatenate([np.eye(3), -np.eye(3)])
    cube = 20 * np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], float)
    for x in (octahedron, cube):
        same_place(x, 0, 3, 0.05)


def test_the_frame_of_few_points_is_still_a_frame() -> None:
    for n in (1, 2, 3):
        _, axes = principal_frame(np.arange(3.0 * n).reshape(n, 3) ** 2)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)


def test_chains_in_contact_are_one_assembly(examples: Path) -> None:
    dimer = read_structure(examples / "1ake.cif.gz")
    (whole,) = assemblies(dimer)
    assert whole.structure is dimer and len(whole.atoms) == len(dimer.atoms)
    assert assemblies(dimer, [whole])[0] is whole
    assert assemblies(dimer.select_chains(["A"]), [whole])[0] is not whole


def test_assemblies_keep_the_order_of_the_file_and_join_chains_that_stand_apart_in_it() -> None:
    first = make_structure(chains=("D", "B"), n=5)
    second = make_structure(chains=("C", "A"), n=5)
    tables = [
        {k: np.concatenate([v, vars(y)[k]]) for k, v in vars(x).items()}
        for x, y in zip(*((s.atoms, s.residues) for s in (first, second)), strict=True)
    ]
    tables[0]["residue_index"][len(first.atoms) :] += 10
    shift = np.repeat([[0, 0, 0], [0, 300, 0], [0, 0, 0], [0, 300, 0]], 25, axis=0)
    tables[0]["coord"] = (tables[0]["coord"] + shift).astype(np.float32)
    mixed = replace(first, atoms=Atoms(**tables[0]), residues=Residues(**tables[1]))
    parts = assemblies(mixed)
    assert [part.structure.chains for part in parts] == [["D", "C"], ["B", "A"]]
    for part in parts:
        np.testing.assert_array_equal(mixed.atoms.coord[part.atoms], part.structure.atoms.coord)
        np.testing.assert_array_equal(mixed.atoms.residue_index[part.atoms], part.residues[part.structure.atoms.residue_index])


def test_chains_apart_are_assemblies_of_their_own(examples: Path) -> None:
    dimer = read_structure(examples / "1ake.cif.gz")
    atoms, of_b = dimer.atoms, dimer.residues.chain[dimer.atoms.residue_index] == "B"
    first, second = atoms.coord[~of_b].astype(float), atoms.coord[of_b].astype(float)
    along = np.array([1.0, 0.0, 0.0])
    for gap, n in ((CONTACT - 0.01, 1), (CONTACT + 0.01, 2)):
        # The two atoms that face each other come to lie on one line.
        touch = first[first[:, 0].argmax()] - second[second[:, 0].argmin()]
        shifted = np.where(of_b[:, None], atoms.coord + touch + gap * along, atoms.coord).astype(np.float32)
        parts = assemblies(replace(dimer, atoms=replace(atoms, coord=shifted)))
        assert len(parts) == n
    assert [part.structure.chains for part in parts] == [["A"], ["B"]]
    for part in parts:
        np.testing.assert_array_equal(part.whole.atoms.coord[part.atoms], part.structure.atoms.coord)
        np.testing.assert_array_equal(part.whole.residues.number[part.residues], part.structure.residues.number)
