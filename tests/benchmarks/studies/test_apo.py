"""Pairs of structures with and without a ligand: a rigid motion is undone, and what is no form of the site is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_structure

from benchmarks.studies.apo import Bare, Holo, RobustnessConfig, apo_pairs, place_ligand
from course.structures import moved
from s2p.structure.reading import Structure
from s2p.structure.transforms import random_rotation

LETTERS = "ACDEFGHIKLMNPQRSTVWYWHCMLG"
NONE = np.zeros((0, 3), np.float32)


def chain() -> tuple[Structure, np.ndarray]:
    """One helix with a varied sequence, and a ligand beside it."""
    structure = make_structure().select_chains(["A"])
    letters = np.array(list(LETTERS[: len(structure.residues)]))
    structure = replace(structure, residues=replace(structure.residues, one_letter=letters), ligands=())
    ligand = structure.residues.ca_coord[8:14].mean(axis=0) + np.float32([[4, 0, 0], [5, 0, 0], [5, 1, 1]])
    return structure, ligand.astype(np.float32)


def turned(structure: Structure) -> tuple[Structure, np.ndarray, np.ndarray]:
    rotation, shift = random_rotation(np.random.default_rng(3)), np.array([10.0, -5, 7])
    return moved(structure, rotation, shift), rotation, shift


def side_chains_shifted(structure: Structure, by: float) -> Structure:
    atoms = structure.atoms
    coord = np.where((atoms.name == "CB")[:, None], atoms.coord + by, atoms.coord).astype(np.float32)
    return replace(structure, atoms=replace(atoms, coord=coord))


def test_the_ligand_follows_the_protein() -> None:
    holo, ligand = chain()
    apo, rotation, shift = turned(holo)
    placed = place_ligand(ligand, holo, apo)
    assert placed is not None and placed.identity == 1 and placed.n_fitted == len(holo.residues)
    np.testing.assert_allclose(placed.coord, ligand @ rotation.T + shift, atol=0.01)
    assert placed.rmsd < 0.01 and placed.site_rmsd < 0.01


def test_moved_side_chains_show_in_the_rmsd_of_the_site_alone() -> None:
    holo, ligand = chain()
    placed = place_ligand(ligand, holo, side_chains_shifted(holo, 2.0))
    assert placed is not None and placed.rmsd < 0.01
    assert placed.site_rmsd == pytest.approx(np.sqrt(12 / 5), abs=0.01)  # one atom of five moved by sqrt(12) Å


def test_another_protein_or_one_without_the_site_is_no_pair() -> None:
    holo, ligand = chain()
    mutant = holo.residues.one_letter.copy()
    mutant[:4] = "P"
    assert place_ligand(ligand, holo, replace(holo, residues=replace(holo.residues, one_letter=mutant))) is None
    kept = np.ones(len(holo.residues), bool)
    kept[9:13] = False
    index = np.cumsum(kept) - 1
    inside = kept[holo.atoms.residue_index]
    short = replace(
        holo,
        atoms=replace(
            holo.atoms,
            **{name: getattr(holo.atoms, name)[inside] for name in ("coord", "element", "name", "b_factor")},
            residue_index=index[holo.atoms.residue_index[inside]].astype(np.int32),
        ),
        residues=replace(
            holo.residues, **{name: getattr(holo.residues, name)[kept] for name in holo.residues.__dataclass_fields__}
        ),
    )
    assert place_ligand(ligand, holo, short) is None
    assert place_ligand(ligand, holo, short, RobustnessConfig(site_observed=0.0, coverage=0.5)) is not None


def test_pairs_are_of_the_same_protein_with_an_empty_site() -> None:
    structure, ligand = chain()
    other, rotation, shift = turned(side_chains_shifted(structure, 0.5))
    there = (ligand @ rotation.T + shift).astype(np.float32)
    bare = {
        "empty": Bare("empty", other, there + 30, "no ligand"),
        "copy": Bare("copy", turned(structure)[0], NONE, "no ligand"),
        "full": Bare("full", other, there[:1] + 2, "no ligand"),
        "itself": Bare("itself", structure, NONE, "unknown"),
    }
    holo = Holo("itself", "c", structure, (ligand,))
    pairs = apo_pairs([holo], bare)
    assert [(p.holo.key, p.apo_key, p.state) for p in pairs] == [("itself|A", "empty|A", "no ligand")]
    np.testing.assert_allclose(pairs[0].placed[0].coord, there, atol=0.01)
    assert apo_pairs([], bare) == []
