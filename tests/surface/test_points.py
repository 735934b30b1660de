"""SAS points against independent libraries and by their own properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.structure.reading import read_structure
from s2p.surface.points import RADII, accessible_area, atom_radii, sphere, surface_points, swept_volume


@pytest.fixture(scope="module")
def atoms(examples: Path):
    return read_structure(examples / "4CUP.cif").atoms


def test_sphere_is_on_the_unit_sphere_and_even() -> None:
    points = sphere(960)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(points.mean(axis=0)) < 0.01


def test_one_atom_has_all_its_points() -> None:
    cloud = surface_points(np.zeros((1, 3), np.float32), np.array(["C"]), np.array([0]))
    assert len(cloud.coord) == 50
    np.testing.assert_allclose(np.linalg.norm(cloud.coord, axis=1), 1.7 + 1.6, atol=1e-6)


def test_two_atoms_lose_the_analytic_share() -> None:
    """Two equal spheres of radius r at distance d: each loses a cap of height r - d/2."""
    coord = np.array([[0, 0, 0], [3, 0, 0]], np.float32)
    area = accessible_area(coord, np.array(["C", "C"]), n_points=20000, probe_radius=1.4)
    r = 1.7 + 1.4
    expected = 4 * np.pi * r**2 - 2 * np.pi * r * (r - 1.5)
    np.testing.assert_allclose(area, expected, rtol=2e-3)


def test_area_agrees_with_biopython(atoms, examples: Path) -> None:
    from Bio.PDB import MMCIFParser
    from Bio.PDB.SASA import ShrakeRupley

    model = MMCIFParser(QUIET=True).get_structure("x", str(examples / "4CUP.cif"))[0]
    for chain in list(model):
        for residue in [r for r in chain if r.id[0] != " "]:
            chain.detach_child(residue.id)
    ShrakeRupley(probe_radius=1.4, n_points=960).compute(model, level="A")
    theirs = {tuple(np.round(a.coord, 2).tolist()): a.sasa for a in model.get_atoms()}
    ours = accessible_area(atoms.coord, atoms.element, n_points=960, probe_radius=1.4)
    pairs = [
        (area, theirs[key])
        for xyz, area in zip(atoms.coord, ours, strict=True)
        if (key := tuple(np.round(xyz, 2).tolist())) in theirs
    ]
    assert len(pairs) == len(atoms)
    a, b = np.array(pairs).T
    # The same sphere and comparisons: equal but for rounding.
    assert (np.abs(a - b) <= 0.01 * b + 1e-6).mean() > 0.98
    assert a.sum() == pytest.approx(b.sum(), rel=1e-4)


def test_area_agrees_with_biotite(atoms) -> None:
    import biotite.structure as struc

    array = struc.AtomArray(len(atoms))
    array.coord, array.element = atoms.coord, atoms.element
    radii = np.array([RADII[e] for e in atoms.element])
    theirs = struc.sasa(array, probe_radius=1.4, point_number=960, vdw_radii=radii, atom_filter=np.ones(len(atoms), bool))
    ours = accessible_area(atoms.coord, atoms.element, n_points=960, probe_radius=1.4)
    # Its sphere is the same spiral. Another would allow no more than one point in 960, which is over 1 % of a small area.
    assert (np.abs(ours - theirs) <= 0.01 * theirs + 1e-6).mean() > 0.98
    assert ours.sum() == pytest.approx(theirs.sum(), rel=1e-4)
    n = len(np.unique(atoms.residue_index))
    by_residue = [np.bincount(atoms.residue_index, area, minlength=n) for area in (ours, theirs)]
    assert (np.abs(by_residue[0] - by_residue[1]) <= 0.01 * by_residue[1] + 1e-6).mean() > 0.98


def brute_force(coord, element, wanted, n_points, probe):
    radius = atom_radii(element, probe)
    x = coord.astype(float)
    found = []
    for a in wanted:
        q = x[a] + radius[a] * sphere(n_points).astype(float)
        others = np.delete(np.arange(len(x)), a)
        buried = (np.linalg.norm(q[:, None] - x[None, others], axis=2) <= radius[others]).any(axis=1)
        found += [(a, *p) for p in q[~buried]]
    return np.array(found).reshape(-1, 4)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.sampled_from([3.0, 8.0, 1000.0]))
def test_equals_brute_force(n: int, seed: int, spread: float) -> None:
    draw = np.random.default_rng(seed)
    coord = draw.uniform(-spread, spread, (n, 3)).astype(np.float32)
    element = draw.choice(["C", "N", "O", "S", "SE", "FE"], n)
    wanted = np.sort(draw.choice(n, draw.integers(1, n + 1), replace=False))
    cloud = surface_points(coord, element, wanted, n_points=20, probe_radius=1.4)
    expected = brute_force(coord, element, wanted, 20, 1.4)
    assert cloud.atom.tolist() == expected[:, 0].astype(int).tolist()
    np.testing.assert_allclose(cloud.coord, expected[:, 1:], atol=1e-9)


def test_points_do_not_depend_on_the_order_of_atoms(atoms) -> None:
    order = np.random.default_rng(0).permutation(len(atoms))
    plain = surface_points(atoms.coord, atoms.element, np.arange(len(atoms)))
    mixed = surface_points(atoms.coord[order], atoms.element[order], np.arange(len(atoms)))
    key = np.lexsort(plain.coord.T), np.lexsort(mixed.coord.T)
    np.testing.assert_array_equal(plain.coord[key[0]], mixed.coord[key[1]])
    np.testing.assert_array_equal(plain.atom[key[0]], order[mixed.atom[key[1]]])


def test_nothing_wanted_gives_nothing(atoms) -> None:
    assert len(surface_points(atoms.coord, atoms.element, np.zeros(0, np.int64)).coord) == 0


def test_swept_volume_of_one_and_two_spheres() -> None:
    one = swept_volume(np.zeros((1, 3)), 1.6, spacing=0.1)
    assert one == pytest.approx(4 / 3 * np.pi * 1.6**3, rel=0.02)
    assert swept_volume(np.zeros((5, 3)), 1.6, spacing=0.1) == one
    assert swept_volume(np.array([[0.0, 0, 0], [50, 0, 0]]), 1.6, spacing=0.1) == pytest.approx(2 * one, rel=0.01)
    assert swept_volume(np.zeros((0, 3))) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 6.0, 1e5]))
def test_swept_volume_counts_every_position_once(n: int, seed: int, spread: float) -> None:
    points = np.random.default_rng(seed).normal(0, spread, (n, 3))
    found = set()
    for point in points:
        near = np.stack(np.meshgrid(*(np.arange(-4, 5) + round(v / 0.8) for v in point), indexing="ij"), -1).reshape(-1, 3)
        found |= set(map(tuple, near[((near * 0.8 - point) ** 2).sum(axis=1) <= 1.6**2].tolist()))
    assert swept_volume(points, 1.6, spacing=0.8) == pytest.approx(len(found) * 0.8**3)
