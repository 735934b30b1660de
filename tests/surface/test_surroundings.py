"""What is made once of a structure: the frame, cell lists, and points that come out little by little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import s2p.residues.context as context
import s2p.surface.surroundings as module
from s2p.predictor import load
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import moved, random_rotation
from s2p.surface.points import SOFTNESS, atom_radii, soft_points, sphere, surface_points
from s2p.surface.surroundings import Surroundings


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


def test_a_prediction_makes_frame_points_and_cells_once(protein: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame, one surface and one list of atoms for the residues and for the pockets."""
    made: list[str] = []

    def count(name: str) -> None:
        real = getattr(module, name)

        def counted(*arguments, **options):
            made.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    for name in ("principal_frame", "soft_points", "build_cells"):
        count(name)
    predictor = load("s2p-esm2-8m", device="cpu")
    scores = predictor.score(protein)
    predictor.pockets(protein, scores)
    predictor.pockets(protein, scores)  # a threshold was changed
    assert sorted(made) == ["build_cells", "principal_frame", "soft_points"]
    assert predictor.checkpoint.points.points.n_points == context.POINTS_PER_ATOM
