"""From densities to cavities: blobs, borders, holes, ranks; atoms and residues around them."""

import numpy as np
import pytest
from builders import make_structure
from scipy.spatial.distance import cdist

from s2p.models.kalasanty.config import KalasantyPocketConfig
from s2p.models.kalasanty.grid import Box, central_box
from s2p.models.kalasanty.pockets import cavity_features, close_gaps, find_cavities, near_cavity, residue_probabilities

STEP = 2.0
RAW = KalasantyPocketConfig(closing=False)


def density(*blobs: list[tuple[int, int, int]], n: int = 14, value: float = 0.9) -> np.ndarray:
    grid = np.zeros((n, n, n), np.float32)
    for blob in blobs:
        grid[tuple(np.array(blob).T)] = value
    return grid


def rod(length: int, at: tuple[int, int, int] = (3, 5, 5)) -> list[tuple[int, int, int]]:
    x, y, z = at
    return [(x + k, y, z) for k in range(length)]


def test_six_voxels_are_too_few_and_seven_are_not():
    assert find_cavities(density(rod(6)), STEP) == []
    (found,) = find_cavities(density(rod(7)), STEP)
    assert len(found.voxels) == 7
    assert len(find_cavities(density(rod(6)), 2.5)) == 1  # 6 · 15.6 Å³


@pytest.mark.parametrize("end", [0, 13])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cavity_at_the_border_is_left_out(axis, end):
    blob = [tuple(np.roll((5, 5, k), axis + 1)) for k in range(3, 10)]
    assert len(find_cavities(density(blob), STEP)) == 1
    out = [tuple(np.roll((5, 5, abs(end - k)), axis + 1)) for k in range(8)]
    assert find_cavities(density(out), STEP) == []
    assert len(find_cavities(density(out), STEP, KalasantyPocketConfig(drop_border=False))) == 1


def test_voxels_that_share_a_corner_are_one_cavity():
    diagonal = [(k, k, k) for k in range(3, 10)]
    (found,) = find_cavities(density(diagonal), STEP, RAW)
    assert sorted(map(tuple, found.voxels.tolist())) == diagonal


def test_closing_fills_a_hole_but_joins_nothing_one_cell_apart():
    solid = np.zeros((9, 9, 9), bool)
    solid[2:7, 2:7, 2:7] = True
    holed = solid.copy()
    holed[4, 4, 4] = False
    assert (close_gaps(holed) == solid).all()
    apart = np.zeros((9, 9, 9), bool)
    apart[3, 4, 4] = apart[5, 4, 4] = True
    # The cell between them is reached from both sides, but its other neighbours are not.
    assert (close_gaps(apart) == apart).all()


def test_closing_keeps_what_lies_on_the_border():
    mask = np.zeros((6, 6, 6), bool)
    mask[0, :3, :3] = mask[5, 5, 5] = True
    assert (close_gaps(mask) >= mask).all()


def test_cavities_are_ranked_by_the_sum_of_their_density():
    grid = density(rod(12, (1, 4, 4)), value=0.6) + density(rod(8, (3, 9, 9)), value=0.95)
    first, second = find_cavities(grid, STEP, RAW)
    assert (len(first.voxels), len(second.voxels)) == (8, 12)
    assert first.score == pytest.approx(8 * 0.95, rel=1e-5) and second.score == pytest.approx(12 * 0.6, rel=1e-5)
    assert first.mean == pytest.approx(0.95) and second.maximum == pytest.approx(0.6)
    features = cavity_features([first, second])
    assert features[0].tolist() == pytest.approx([np.log(first.score), 0.95, 0.95])
    assert cavity_features([]).shape == (0, 3)


def test_only_voxels_above_the_threshold_count():
    grid = density(rod(9), value=0.5)
    assert find_cavities(grid, STEP) == []
    assert len(find_cavities(grid, STEP, KalasantyPocketConfig(threshold=0.49))) == 1


def test_an_empty_density_has_no_cavity():
    assert find_cavities(np.zeros((5, 6, 7)), STEP) == []


def test_atoms_near_a_cavity_equal_brute_force():
    structure = make_structure()
    points = structure.atoms.coord[[3, 40]].astype(float) + 4.0
    wanted = (cdist(structure.atoms.coord, points) <= 4.5).any(axis=1)
    assert (near_cavity(structure, points, 4.5) == np.flatnonzero(wanted)).all()
    at = structure.atoms.coord[:1].astype(float) + np.array([4.5, 0, 0])
    assert 0 in near_cavity(structure, at, float(np.linalg.norm(at - structure.atoms.coord[0])))


def test_residue_probabilities_equal_brute_force():
    structure, rng = make_structure(), np.random.default_rng(0)
    box = Box((-6.3, -8.1, -3.2), (9, 8, 12), STEP)
    grid = rng.random(box.shape).astype(np.float32)
    cells = np.argwhere(np.ones(box.shape))
    away = cdist(structure.atoms.coord, box.coordinates(cells))
    values = np.where(away <= 4.5, grid.ravel(), 0).max(axis=1)
    wanted = np.zeros(len(structure.residues))
    np.maximum.at(wanted, structure.atoms.residue_index, values)
    found = residue_probabilities(structure, grid, box, 4.5)
    assert np.allclose(found, wanted)
    assert found.max() > 0 and (found == 0).any()


def test_residues_outside_of_the_box_have_probability_0():
    structure = make_structure()
    box = central_box((500.0, 0, 0), 6)
    assert not residue_probabilities(structure, np.ones((6, 6, 6)), box, 4.5).any()
