"""What the head reads of the structure beside the atoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s2p.checkpoint import load_mpnn
from s2p.models.crossbind.features import CHARGES, N_FEATURES, RADII, structure_features
from s2p.models.crossbind.filter import exposure
from s2p.structure.reading import Structure
from s2p.surface.mpnn import WIDTH, encode


def test_neighbourhoods_are_those_of_all_distances(ubiquitin: Structure) -> None:
    encoder = load_mpnn()
    found = structure_features(ubiquitin, encoder)
    assert found.shape == (76, N_FEATURES) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :WIDTH], encode(encoder, ubiquitin))
    bare = exposure(ubiquitin)
    np.testing.assert_allclose(found[:, WIDTH], bare, atol=1e-6)
    ca = ubiquitin.residues.ca_coord.astype(float)
    charge = np.array([CHARGES.get(x, 0.0) for x in ubiquitin.sequence()])
    distance = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    for k, radius in enumerate(RADII):
        part = found[:, WIDTH + 1 + 4 * k : WIDTH + 5 + 4 * k]
        for row in (0, 40, 75):
            near = distance[row] < radius
            expected = [charge[near].mean(), (charge * bare)[near].mean(), bare[near].mean(), np.log(near.sum())]
            np.testing.assert_allclose(part[row], expected, atol=1e-5)


def test_one_residue_is_its_own_neighbourhood(ubiquitin: Structure) -> None:
    atoms = np.flatnonzero(ubiquitin.atoms.residue_index == 5)  # a lysine
    found = structure_features(ubiquitin.part(np.array([5]), atoms), load_mpnn())
    assert found.shape == (1, N_FEATURES) and np.isfinite(found).all()
    np.testing.assert_allclose(found[0, WIDTH + 1 :: 4], 1.0)
    np.testing.assert_allclose(found[0, WIDTH + 4 :: 4], 0.0)


def test_motions_change_nothing(ubiquitin: Structure) -> None:
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    moved = replace(
        ubiquitin,
        atoms=replace(ubiquitin.atoms, coord=ubiquitin.atoms.coord @ turn.T),
        residues=replace(ubiquitin.residues, ca_coord=ubiquitin.residues.ca_coord @ turn.T),
    )
    encoder = load_mpnn()
    one, other = structure_features(ubiquitin, encoder), structure_features(moved, encoder)
    exact = [k for k in range(WIDTH + 1, N_FEATURES) if (k - WIDTH) % 4 in (1, 0)]  # charges and counts, no areas
    np.testing.assert_allclose(one[:, exact], other[:, exact], atol=1e-5)
    np.testing.assert_allclose(one, other, atol=0.02)  # the points of the area's spheres do not turn with the molecule
