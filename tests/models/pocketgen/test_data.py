"""Which residues are designed, and where their CA atoms start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2p.errors import S2PError
from s2p.models.pocketgen.atoms import SLOTS, slot_arrays
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, interpolate, make_pocket, pocket_residues, start_pocket
from s2p.models.pocketgen.geometry import peptide_bonds
from s2p.structure.reading import Structure, read_structure
from tests.builders import make_structure


def straight(numbers: list[int], chains: str) -> Structure:
    """Residues of one CA each, 3.8 Å along x by their numbers, each chain on a line of its own."""
    from s2p.structure.arrays import Atoms, Residues

    n = len(numbers)
    shift = [10.0 * "ABC".index(c) for c in chains]
    coord = np.array([(3.8 * k, y, 0.0) for k, y in zip(numbers, shift, strict=True)], np.float32)
    ones = np.ones(n, bool)
    residues = Residues(
        np.array(list(chains)),
        np.array(numbers, np.int32),
        np.full(n, ""),
        np.zeros(n, np.int32),
        np.full(n, "ALA"),
        np.full(n, "A"),
        coord,
        ones,
        ones,
    )
    atoms = Atoms(coord, np.full(n, "C"), np.full(n, "CA"), np.arange(n, dtype=np.int32), np.zeros(n, np.float32))
    return Structure("straight", atoms, residues)


def test_cutoff_is_inclusive_and_the_nearest_are_kept() -> None:
    structure = straight([0, 1, 2, 3], "AAAA")
    ligand = np.array([[3.5, 0, 0]], np.float32)  # 3.5, 0.3, 4.1 and 7.9 Å away
    assert pocket_residues(structure, ligand, PocketConfig()).tolist() == [0, 1]
    assert pocket_residues(structure, ligand, PocketConfig(cutoff=3.49)).tolist() == [1]
    assert pocket_residues(structure, ligand, PocketConfig(cutoff=10, max_residues=2)).tolist() == [0, 1]


def test_interpolation_is_exact_on_a_line() -> None:
    structure = straight([1, 2, 3, 4, 5, 6], "AAAAAA")
    for pocket in ([2], [2, 3], [0], [0, 1], [5], [4, 5], [0, 3, 5]):
        assert np.allclose(interpolate(structure, np.array(pocket)), structure.residues.ca_coord[pocket], atol=1e-5)


def test_interpolation_goes_by_number_and_never_from_chain_to_chain() -> None:
    gap = straight([1, 2, 5, 9], "AAAA")
    assert np.allclose(interpolate(gap, np.array([2])), gap.residues.ca_coord[[2]], atol=1e-5)
    two = straight([1, 2, 3, 1, 2, 3], "AAABBB")
    ends = interpolate(two, np.array([2, 3]))
    assert np.allclose(ends, two.residues.ca_coord[[2, 3]], atol=1e-5)
    # A chain with one other residue, and one without any.
    lone = straight([1, 2, 1], "AAB")
    assert np.allclose(interpolate(lone, np.array([1])), lone.residues.ca_coord[[0]])
    assert np.allclose(interpolate(lone, np.array([2])), lone.residues.ca_coord[:2].mean(axis=0))


def test_insertion_codes_repeat_numbers() -> None:
    structure = straight([1, 2, 3], "AAA")
    structure = replace(
        structure,
        residues=replace(structure.residues, number=np.array([1, 1, 1], np.int32), insertion_code=np.array(["", "A", "B"])),
    )
    assert np.allclose(interpolate(structure, np.array([1])), structure.residues.ca_coord[[1]], atol=1e-5)


def test_atoms_in_slots(examples: Path) -> None:
    structure = read_structure(examples / "1a28.pdb.gz")
    types, coord, present = slot_arrays(structure)
    names = list(SLOTS)
    for k in (0, 10, 100):
        own = structure.atoms.residue_index == k
        table = dict(zip(structure.atoms.name[own].tolist(), structure.atoms.coord[own].tolist(), strict=True))
        slots = SLOTS[names[types[k] - 1]]
        assert names[types[k] - 1] == structure.residues.name[k]
        for s, name in enumerate(slots):
            assert present[k, s] == (name in table)
            if name in table:
                assert coord[k, s].tolist() == table[name]
        assert not present[k, len(slots) :].any()


def test_peptide_bonds_stop_at_breaks_and_chains() -> None:
    structure = make_structure()
    _, coord, _ = slot_arrays(structure)
    bonded = peptide_bonds(structure, coord, longest=4.0)
    n = len(structure.residues) // 2
    assert n - 1 not in bonded  # the last of a chain
    assert len(bonded) == 2 * (n - 1)
    torn = coord.copy()
    torn[8:n] += 5
    assert 7 not in peptide_bonds(structure, torn, longest=4.0)
    # As in a file: the next number, yet no bond.
    assert structure.residues.number[8] - structure.residues.number[7] == 1


def test_chain_breaks_are_not_bridged(examples: Path) -> None:
    structure = read_structure(examples / "1a28.pdb.gz")
    ligand = structure.ligands[0]
    atoms = LigandAtoms(ligand.coord, ligand.element)
    k = int(pocket_residues(structure, atoms.coord, PocketConfig())[0])
    pocket = make_pocket(structure, atoms, np.array([k]))
    row = int(pocket.pocket[0])
    assert pocket.linked[row] == row + 1
    assert pocket.linked[row - 1] == row
    far = structure.atoms.coord.copy()
    far[structure.atoms.residue_index > k] += 4
    torn = replace(structure, atoms=replace(structure.atoms, coord=far))
    assert make_pocket(torn, atoms, np.array([k])).linked[int(make_pocket(torn, atoms, np.array([k])).pocket[0])] == -1


def test_nothing_to_design_is_said() -> None:
    structure = make_structure()
    ring = structure.ligands[0]
    atoms = LigandAtoms(ring.coord, ring.element)
    with pytest.raises(S2PError, match="no residue to design"):
        make_pocket(structure, atoms, np.zeros(0, np.int64))
    with pytest.raises(S2PError, match="no heavy atom"):
        make_pocket(structure, LigandAtoms(ring.coord[:0], ring.element[:0]), np.array([1]))


def test_starts_have_ideal_backbones_of_the_natural_hand() -> None:
    structure = make_structure()
    ring = structure.ligands[0]
    pocket = make_pocket(structure, LigandAtoms(ring.coord, ring.element), np.array([9, 10, 30]))
    x = start_pocket(pocket, np.random.default_rng(0)).astype(float)
    assert np.allclose(x[:, 1], pocket.start, atol=1e-5)
    assert np.allclose(np.linalg.norm(x[:, 0] - x[:, 1], axis=1), 1.461, atol=1e-3)
    assert np.allclose(np.linalg.norm(x[:, 2] - x[:, 1], axis=1), 1.526, atol=1e-3)
    again = start_pocket(pocket, np.random.default_rng(0))
    assert np.array_equal(again, x.astype(np.float32))
