"""The rigid geometry that is measured, and the clean-up that restores it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from course.geometry import measure_geometry
from s2p.models.pocketgen.atoms import RESIDUES, SLOTS, slot_arrays
from s2p.models.pocketgen.cleanup import idealise
from s2p.models.pocketgen.geometry import BONDED, Geometry, between, ideal_of, torsion
from s2p.structure.reading import Structure, read_structure

NOTHING = np.zeros((0, 3)), np.zeros(0, bool)


@pytest.fixture(scope="module")
def structures(examples: Path) -> list[Structure]:
    return [read_structure(examples / name) for name in ("6WQA.cif", "1a28.pdb.gz", "7CFN.cif.gz", "1uou.pdb.gz")]


@pytest.fixture(scope="module")
def geometry(structures: list[Structure]) -> Geometry:
    return measure_geometry(structures)


def length(geometry: Geometry, residue: str, a: str, b: str) -> float:
    kind, names = RESIDUES.index(residue), SLOTS[residue]
    return float(geometry.distance[kind, names.index(a), names.index(b)])


def test_bonds_have_the_lengths_of_the_text_book(geometry: Geometry) -> None:
    """Engh and Huber's."""
    for residue, a, b, expected in (
        ("ALA", "N", "CA", 1.459),
        ("ALA", "CA", "C", 1.525),
        ("ALA", "C", "O", 1.231),
        ("LEU", "CB", "CG", 1.53),
        ("SER", "CB", "OG", 1.418),
        ("PHE", "CG", "CD1", 1.383),
        ("LYS", "CE", "NZ", 1.486),
    ):
        assert length(geometry, residue, a, b) == pytest.approx(expected, abs=0.03)
    assert geometry.peptide[2, 0] == pytest.approx(1.336, abs=0.02)
    assert geometry.peptide[1, 1] == pytest.approx(3.8, abs=0.05)


def test_bonds_are_those_of_the_molecules(geometry: Geometry) -> None:
    atoms = {name: len(names) for name, names in SLOTS.items()}
    rings = {"HIS": 1, "PHE": 1, "PRO": 1, "TRP": 2, "TYR": 1}
    for kind, name in enumerate(RESIDUES, start=1):
        if np.isfinite(geometry.distance[kind - 1]).any():
            assert np.triu(geometry.distance[kind - 1] < BONDED, 1).sum() == atoms[name] - 1 + rings.get(name, 0), name


def test_what_turns_is_not_rigid(geometry: Geometry) -> None:
    assert np.isnan(length(geometry, "LEU", "N", "CG"))
    assert np.isfinite(length(geometry, "PHE", "CG", "CZ"))
    # Volumes tell the hand: positive for natural amino acids, none for glycine.
    assert (geometry.volume[:, 0][np.isfinite(geometry.volume[:, 0])] > 2).all()
    assert np.isnan(geometry.volume[RESIDUES.index("GLY"), 0])


def test_native_residues_are_ideal_and_stretched_ones_are_put_right(structures: list[Structure], geometry: Geometry) -> None:
    types, coord, present = slot_arrays(structures[1])
    whole = present.sum(axis=1) == [len(SLOTS[RESIDUES[k - 1]]) for k in types.tolist()]
    first = next(k for k in range(10, 200) if whole[k - 1 : k + 4].all() and "G" not in structures[1].sequence()[k : k + 3])
    rows = np.arange(first, first + 3)
    links = np.array([(k - 1, k) for k in range(first, first + 4)])
    ideal = ideal_of(geometry, types, rows, links)

    def error(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(-1, 3)
        found = np.linalg.norm(flat[ideal.pairs[:, 0]] - flat[ideal.pairs[:, 1]], axis=1)
        return np.abs(found - ideal.length)[ideal.bonded]

    native = coord.astype(float)
    assert (error(native) < 0.1).mean() >= 0.95
    rng = np.random.default_rng(0)
    noisy = native.copy()
    noisy[rows] += rng.normal(0, 0.4, noisy[rows].shape)
    assert (error(noisy) > 0.1).mean() > 0.5
    out = idealise(noisy, present, np.zeros_like(present), rows, ideal, NOTHING)
    assert (error(out) < 0.1).mean() >= 0.95
    fixed = ~present | ~np.isin(np.arange(len(types)), rows)[:, None]
    assert np.array_equal(out[fixed], noisy[fixed])
    a, b, c, d = (out.reshape(-1, 3)[ideal.centres[:, k]] for k in range(4))
    volume = np.einsum("ni,ni->n", np.cross(b - a, c - a), d - a)
    assert np.allclose(volume, ideal.volume, atol=0.5)


def test_clashes_are_pushed_apart_but_not_bonds(structures: list[Structure], geometry: Geometry) -> None:
    types, coord, present = slot_arrays(structures[1])
    rows = np.array([30])
    ideal = ideal_of(geometry, types, rows, np.array([[29, 30], [30, 31]]))
    there = np.zeros_like(present)
    there[rows] = present[rows]
    last = int(present[30].sum()) - 1
    wall = coord[30, last][None].astype(float) + np.array([0.5, 0.5, 0.0])
    before = np.linalg.norm(coord[30, : last + 1] - wall, axis=1).min()
    out = idealise(coord, there, np.zeros_like(present), rows, ideal, (wall, np.zeros(1, bool)))
    after = np.linalg.norm(out[30, : last + 1] - wall, axis=1).min()
    assert before < 1
    assert after > 2
    there[29, 2] = True  # the carbon that the residue is bonded to
    kept = idealise(coord, there, np.zeros_like(present), rows, ideal, NOTHING)
    assert np.linalg.norm(kept[30, 0] - coord[29, 2]) == pytest.approx(1.33, abs=0.05)


def test_torsions_have_the_sign_of_iupac() -> None:
    x = torch.tensor([(1.0, 0, 0), (0, 0, 0), (0, 0, 1.0), (0, 1.0, 1.0), (1.0, 0, 1.0), (-1.0, 0, 1.0)], dtype=torch.float64)
    index = torch.tensor([(0, 1, 2, 3), (0, 1, 2, 4), (0, 1, 2, 5)])
    assert np.degrees(torsion(x, index).numpy()) == pytest.approx([90, 0, 180], abs=1e-6)
    assert np.degrees(torsion(x * torch.tensor([1.0, -1, 1]), index[:1]).numpy()) == pytest.approx([-90], abs=1e-6)


def test_helix_and_strand_are_likely_and_the_corner_is_not(geometry: Geometry) -> None:
    phi, psi = (torch.deg2rad(torch.tensor([x])) for x in ([-63.0, -120.0, 60.0], [-43.0, 130.0, -120.0]))
    helix, strand, corner = between(torch.from_numpy(geometry.turns), torch.tensor([2, 2, 2]), phi, psi)[0].tolist()
    assert helix < 1 and strand < 4 < corner
    middle = torch.deg2rad(torch.tensor([[-175.0, 175.0]]))  # the middles of the first and the last cell
    table = geometry.turns[2]
    assert np.allclose(
        between(torch.from_numpy(geometry.turns), torch.tensor([2, 2]), middle, middle)[0], table[[0, -1], [0, -1]]
    )


def test_a_backbone_with_random_frames_gets_flat_peptides(structures: list[Structure], geometry: Geometry) -> None:
    """CA atoms near their places, all else off by an Ångström: peptides come out trans, and the ends meet the fixed residues."""
    types, coord, present = slot_arrays(structures[1])
    rows = np.arange(60, 64)
    links = np.array([(k, k + 1) for k in range(57, 66)])
    ideal = ideal_of(geometry, types, rows, links)
    rng = np.random.default_rng(1)
    noisy = coord.astype(float)
    noisy[rows] += rng.normal(0, 1.0, noisy[rows].shape) * present[rows][..., None]
    noisy[rows, 1] = coord[rows, 1] + rng.normal(0, 0.3, (4, 3))
    out = idealise(noisy, present, np.zeros_like(present), rows, ideal, NOTHING)
    fixed = np.setdiff1d(np.arange(len(types)), rows)
    assert np.array_equal(out[fixed], noisy[fixed])
    omega = [
        np.degrees(torsion(torch.from_numpy(x.reshape(-1, 3)), torch.from_numpy(ideal.planes)).numpy()) for x in (noisy, out)
    ]
    assert (np.abs(omega[0]) < 150).any()
    assert (np.abs(omega[1]) > 150).all()
    assert np.linalg.norm(out[rows, :4] - coord[rows, :4], axis=-1).mean() < 0.8
