"""Less exact structures: which atoms move, how far, and what stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.moved import BACKBONE, cut_side_chains, less_exact, noisy, turned
from s2p.structure.arrays import Structure
from s2p.structure.reading import read_structure


@pytest.fixture(scope="module")
def ubiquitin(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")


def test_noise_has_its_width_and_the_ca_atoms_of_the_residues_follow(ubiquitin: Structure) -> None:
    found = noisy(ubiquitin, np.random.default_rng(0), sd=0.5)
    moved = found.atoms.coord - ubiquitin.atoms.coord
    assert moved.std(axis=0) == pytest.approx([0.5] * 3, rel=0.1)
    np.testing.assert_array_equal(found.residues.ca_coord, found.atoms.coord[found.atoms.name == "CA"])
    assert (ubiquitin.residues.ca_coord != found.residues.ca_coord).all()


def test_a_residue_without_ca_keeps_its_first_atom_as_its_place(ubiquitin: Structure) -> None:
    rows = np.flatnonzero((ubiquitin.atoms.name != "CA") | (ubiquitin.atoms.residue_index != 3))
    lacking = ubiquitin.part(np.arange(len(ubiquitin.residues)), rows)
    found = noisy(lacking, np.random.default_rng(0), sd=0.0)
    np.testing.assert_array_equal(found.residues.ca_coord[3], lacking.atoms.coord[lacking.atoms.residue_index == 3][0])


def test_side_chains_turn_about_their_bond(ubiquitin: Structure) -> None:
    found, atoms = turned(ubiquitin, np.random.default_rng(0), most=30.0), ubiquitin.atoms
    moved = np.linalg.norm(found.atoms.coord - atoms.coord, axis=1) > 1e-3
    proline = (ubiquitin.residues.name == "PRO")[atoms.residue_index]
    assert not moved[np.isin(atoms.name, BACKBONE) | proline].any()
    assert moved[~np.isin(atoms.name, BACKBONE) & ~proline].mean() > 0.9
    for k in np.unique(atoms.residue_index[moved])[:10]:  # distances within a side chain, and to CA and CB, are those of before
        own = np.flatnonzero((atoms.residue_index == k) & ~np.isin(atoms.name, ("N", "C", "O", "OXT")))
        before, after = (np.linalg.norm(x[own][:, None] - x[own], axis=-1) for x in (atoms.coord, found.atoms.coord))
        np.testing.assert_allclose(after, before, atol=1e-3)


def test_cut_side_chains_end_at_cb_and_no_residue_is_lost(ubiquitin: Structure) -> None:
    found = cut_side_chains(ubiquitin, np.random.default_rng(0))
    assert set(found.atoms.name) <= set(BACKBONE) and found.sequence() == ubiquitin.sequence()
    odd = np.where(ubiquitin.atoms.residue_index == 5, "Q1", ubiquitin.atoms.name)
    strange = replace(ubiquitin, atoms=replace(ubiquitin.atoms, name=odd))
    kept = cut_side_chains(strange, np.random.default_rng(0)).atoms.residue_index
    assert (kept == 5).sum() == (ubiquitin.atoms.residue_index == 5).sum()


def test_training_sees_noise_turned_and_cut_side_chains(ubiquitin: Structure) -> None:
    found = [less_exact(ubiquitin, np.random.default_rng(k)) for k in range(60)]
    whole = [x for x in found if len(x.atoms.coord) == len(ubiquitin.atoms.coord)]
    assert 0.02 < 1 - len(whole) / len(found) < 0.25
    moved = np.array([(x.atoms.coord - ubiquitin.atoms.coord).std() for x in whole])
    backbone = np.isin(ubiquitin.atoms.name, BACKBONE)
    still = np.array([(x.atoms.coord - ubiquitin.atoms.coord)[backbone].std() for x in whole])
    assert still.max() < 0.65 and (still > 0.3).any() and (still < 0.2).any()
    assert (moved > 1.2 * still).any()  # side chains turned
    assert all(x.sequence() == ubiquitin.sequence() for x in found)
    np.testing.assert_array_equal(found[0].atoms.coord, less_exact(ubiquitin, np.random.default_rng(0)).atoms.coord)
