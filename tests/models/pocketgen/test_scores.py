"""Scores by other programs: folds laid on designs, and the files they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pocketgen_reference import complex_of
from scipy.spatial.transform import Rotation

from course.structures import moved
from s2p.errors import S2PError
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.design import Design
from s2p.models.pocketgen.scores import Scores, add_folded, designability, folded_file, self_consistency
from s2p.structure.reading import Structure
from s2p.structure.transforms import random_rotation


def designed(pocket: Pocket, seed: int = 0) -> Design:
    """Drawn types on the native backbone, displaced by some tenths of an ångström."""
    draw = np.random.default_rng(seed)
    types = draw.integers(1, 21, len(pocket.pocket))
    coord = pocket.coord[pocket.pocket] + draw.normal(0, 0.3, (len(types), 14, 3))
    return Design(types, np.full((len(types), 20), 0.05), coord, pocket.ligand)


def fold_of(structure: Structure, pocket: Pocket, design: Design) -> Structure:
    """The structure with the designed letters and backbone: what a perfect predictor would give."""
    residues, atoms = structure.residues, structure.atoms
    index = pocket.residues[pocket.pocket]
    letters, coord = residues.one_letter.copy(), atoms.coord.copy()
    letters[index] = list(design.sequence)
    for place, k in enumerate(index.tolist()):
        for slot, name in enumerate(("N", "CA", "C", "O")):
            coord[(atoms.residue_index == k) & (atoms.name == name)] = design.coord[place, slot]
    return replace(
        structure, name="fold", residues=replace(residues, one_letter=letters), atoms=replace(atoms, coord=coord), ligands=()
    )


@pytest.fixture(scope="module")
def case() -> tuple[Structure, Pocket, Design]:
    structure, _, pocket = complex_of("1a28.pdb.gz")
    return structure, pocket, designed(pocket)


def test_a_perfect_fold_has_no_error_wherever_it_lies(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    assert self_consistency(structure, pocket, design, fold) < 1e-5
    draw = np.random.default_rng(1)
    assert self_consistency(structure, pocket, design, moved(fold, random_rotation(draw), draw.normal(0, 50, 3))) < 2e-3


def test_error_of_a_pocket_that_moved(case: tuple[Structure, Pocket, Design]) -> None:
    """The rest stays: the superposition sees nothing of it."""
    structure, pocket, design = case
    shift = np.array([1.0, 2.0, 2.0])
    away = replace(design, coord=design.coord + shift)
    assert self_consistency(structure, pocket, design, fold_of(structure, pocket, away)) == pytest.approx(3.0, abs=1e-4)


def test_against_another_superposition(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    draw = np.random.default_rng(2)
    noisy = replace(fold, atoms=replace(fold.atoms, coord=fold.atoms.coord + draw.normal(0, 0.8, fold.atoms.coord.shape)))
    ca = noisy.atoms.name == "CA"
    place = noisy.residues.ca_coord.copy()
    place[noisy.atoms.residue_index[ca]] = noisy.atoms.coord[ca]
    noisy = moved(
        replace(noisy, residues=replace(noisy.residues, ca_coord=place)), random_rotation(draw), np.array([5.0, 6.0, 7.0])
    )
    index = pocket.residues[pocket.pocket]
    chain = structure.residues.chain
    around = np.setdiff1d(np.flatnonzero(np.isin(chain, chain[index])), index)
    target, source = structure.residues.ca_coord[around].astype(float), noisy.residues.ca_coord[around].astype(float)
    rotation, _ = Rotation.align_vectors(target - target.mean(axis=0), source - source.mean(axis=0))
    error = []
    for k, row in enumerate(index.tolist()):
        for slot, name in enumerate(("N", "CA", "C", "O")):
            own = noisy.atoms.coord[(noisy.atoms.residue_index == row) & (noisy.atoms.name == name)]
            error.append(rotation.apply(own[0] - source.mean(axis=0)) + target.mean(axis=0) - design.coord[k, slot])
    expected = np.sqrt(np.square(error).sum(axis=1).mean())
    assert expected > 0.5
    assert self_consistency(structure, pocket, design, noisy) == pytest.approx(expected, abs=2e-3)


def test_chains_are_found_by_sequence_and_gaps_may_be_filled(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    renamed = np.where(fold.residues.chain == "A", "X", np.where(fold.residues.chain == "B", "A", fold.residues.chain))
    assert self_consistency(structure, pocket, design, replace(fold, residues=replace(fold.residues, chain=renamed))) < 1e-5
    # The structure lacks some residues that the fold has.
    gone = np.setdiff1d(np.arange(20, 26), pocket.residues[pocket.pocket])
    kept = ~np.isin(np.arange(len(structure.residues)), gone)
    number = np.cumsum(kept) - 1
    r = structure.residues
    cut = replace(
        structure,
        atoms=replace(
            structure.atoms,
            **{
                name: getattr(structure.atoms, name)[kept[structure.atoms.residue_index]]
                for name in ("coord", "element", "name", "b_factor")
            },
            residue_index=number[structure.atoms.residue_index[kept[structure.atoms.residue_index]]].astype(np.int32),
        ),
        residues=type(r)(*(getattr(r, name)[kept] for name in r.__dataclass_fields__)),
    )
    there = replace(pocket, residues=number[pocket.residues])
    assert self_consistency(cut, there, design, fold) < 1e-5


def test_what_does_not_fit_is_said(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    other = designed(pocket, 1)
    with pytest.raises(S2PError, match="no chain of it has the sequence of the design's chain A"):
        self_consistency(structure, pocket, other, fold)
    with pytest.raises(S2PError, match="no chain of it has the sequence"):
        self_consistency(structure, pocket, design, complex_of("4CUP.cif")[0])


def test_files_are_named_like_designs(tmp_path: Path, case: tuple[Structure, Pocket, Design]) -> None:
    with pytest.raises(S2PError, match=r"there is no structure x_design_1\.pdb"):
        folded_file(tmp_path, "x_design_1")
    (tmp_path / "x_design_1.cif.gz").touch()
    assert folded_file(tmp_path, "x_design_1").name == "x_design_1.cif.gz"
    structure, pocket, _ = case
    scores = add_folded(structure, pocket, [], [Scores(-5.0)], tmp_path, "x")
    assert scores == [Scores(-5.0)]
    assert np.isnan(designability(scores))
    assert designability([Scores(), Scores(sc_rmsd=1.9), Scores(sc_rmsd=2.1)]) == 0.5
