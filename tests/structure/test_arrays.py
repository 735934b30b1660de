"""Residues near a ligand: against brute force, on a real complex and on any points."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s2p.config import LabelConfig
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import relevant_ligands
from s2p.structure.reading import Atoms, read_structure

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"


def atoms(coord: np.ndarray, residue_index: np.ndarray) -> Atoms:
    n = len(coord)
    return Atoms(
        np.asarray(coord, np.float32),
        np.full(n, "C"),
        np.full(n, "CA"),
        np.asarray(residue_index, np.int32),
        np.zeros(n, np.float32),
    )


def brute_force(coord: np.ndarray, residue_index: np.ndarray, ligand: np.ndarray, cutoff: float) -> np.ndarray:
    difference = coord[:, None].astype(np.float64) - ligand[None].astype(np.float64)
    near = (np.sqrt((difference**2).sum(axis=-1)) <= cutoff).any(axis=1)
    return np.unique(residue_index[near])


@pytest.mark.parametrize("cutoff", [3.0, 4.5, 8.0])
def test_equals_brute_force_on_a_real_complex(cutoff):
    structure = read_structure(EXAMPLES / "6WQA.cif")
    (ligand,) = relevant_ligands(structure)
    expected = brute_force(structure.atoms.coord, structure.atoms.residue_index, ligand.coord, cutoff)
    assert binding_residues(structure, ligand.coord, cutoff).tolist() == expected.tolist()
    assert binding_residues(structure.atoms, ligand.coord, cutoff).tolist() == expected.tolist()


# Quarters of an ångström are exact in binary, so equality at the cutoff itself is tested too.
grid = st.integers(-40, 40).map(lambda k: k / 4)
points = st.integers(0, 12).flatmap(lambda n: arrays(np.float32, (n, 3), elements=grid))


@settings(deadline=None, max_examples=150)
@given(points, points, st.integers(1, 40).map(lambda k: k / 4), st.integers(1, 4))
def test_property_equals_brute_force(coord, ligand, cutoff, size):
    residue_index = np.arange(len(coord)) // size
    found = binding_residues(atoms(coord, residue_index), ligand, cutoff)
    assert found.dtype == np.int32
    assert found.tolist() == brute_force(coord, residue_index, ligand, cutoff).tolist()


@settings(deadline=None, max_examples=50)
@given(points, points, st.integers(1, 20), st.integers(1, 20))
def test_property_grows_with_the_cutoff_and_the_ligand(coord, ligand, a, b):
    table = atoms(coord, np.arange(len(coord)))
    small, large = sorted((a / 2, b / 2))
    assert set(binding_residues(table, ligand, small)) <= set(binding_residues(table, ligand, large))
    assert set(binding_residues(table, ligand[:3], large)) <= set(binding_residues(table, ligand, large))


def test_the_cutoff_is_inclusive_and_4_5_by_default():
    table = atoms(np.array([[4.5, 0, 0], [4.51, 0, 0]]), np.array([0, 1]))
    assert LabelConfig().cutoff == 4.5
    assert binding_residues(table, [[0, 0, 0]]).tolist() == [0]


def test_no_ligand_or_no_atom_gives_no_residue():
    table = atoms(np.zeros((2, 3)), np.array([0, 1]))
    assert binding_residues(table, np.empty((0, 3))).tolist() == []
    assert binding_residues(atoms(np.empty((0, 3)), np.empty(0)), [[0, 0, 0]]).tolist() == []
