"""The shipped probability: one number for one site whatever else is in the file, and a note where it was not calibrated."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2p.config import PredictConfig
from s2p.pockets.ranking import CALIBRATED, SMALLEST
from s2p.prediction import Prediction, Predictor
from s2p.predictor import load
from s2p.structure.reading import Structure, read_structure


@pytest.fixture(scope="module")
def model() -> Predictor:
    return load(device="cpu")


@pytest.fixture(scope="module")
def kinase(examples: Path) -> Structure:
    """One chain of the dimer 1AKE, whose two chains hold a ligand each."""
    return read_structure(examples / "1ake.cif.gz", chains=["A"])


@pytest.fixture(scope="module")
def alone(model: Predictor, kinase: Structure) -> Prediction:
    return model.predict(kinase)


def together(*parts: tuple[Structure, str, Sequence[float]]) -> Structure:
    """Structures of one chain as chains of one, each with its new name and shift in Å."""
    residues, atoms, start = [], [], 0
    for structure, name, shift in parts:
        n = len(structure.residues)
        move = np.array(shift, np.float32)
        ca = structure.residues.ca_coord + move
        residues.append(vars(replace(structure.residues, chain=np.full(n, name), ca_coord=ca)))
        own = structure.atoms
        atoms.append(vars(replace(own, coord=own.coord + move, residue_index=own.residue_index + np.int32(start))))
        start += n
    tables = [{key: np.concatenate([part[key] for part in table]) for key in table[0]} for table in (residues, atoms)]
    first = parts[0][0]
    return replace(first, residues=replace(first.residues, **tables[0]), atoms=replace(first.atoms, **tables[1]))


def with_atoms(structure: Structure, kept: np.ndarray) -> Structure:
    return replace(structure, atoms=type(structure.atoms)(**{key: value[kept] for key, value in vars(structure.atoms).items()}))


def first_residues(structure: Structure, n: int) -> Structure:
    residues = type(structure.residues)(**{key: value[:n] for key, value in vars(structure.residues).items()})
    return replace(with_atoms(structure, structure.atoms.residue_index < n), residues=residues)


def assert_equal_pockets(found: Prediction, alone: Prediction, chain: str) -> None:
    """The pockets of the chain are those of the same chain in a file of its own."""
    chains = found.structure.residues.chain
    own = [p for p in found.pockets if chains[p.residues[0]] == chain]
    start = int(np.flatnonzero(chains == chain)[0])
    assert len(own) == len(alone.pockets)
    for p, expected in zip(own, alone.pockets, strict=True):
        assert p.probability == pytest.approx(expected.probability, abs=1e-6)
        np.testing.assert_array_equal(p.residues - start, expected.residues)
        assert p.volume == pytest.approx(expected.volume)
    np.testing.assert_allclose(found.probabilities[chains == chain], alone.probabilities, atol=1e-5)


def test_copies_far_away_change_nothing_and_are_marked(model: Predictor, kinase: Structure, alone: Prediction) -> None:
    assert alone.pockets[0].probability > 0.85
    for n in (2, 3):
        parts = [(kinase, name, (128.0 * k, 0, 0)) for k, name in enumerate("ABC"[:n])]
        found = model.predict(together(*parts))
        assert_equal_pockets(found, alone, "A")
        assert [p.copy_of for p in found.pockets if p.probability > 0.5] == [0] + [1] * (n - 1)
        assert [p.probability for p in found.pockets[:n]] == pytest.approx([alone.pockets[0].probability] * n, abs=1e-4)


def test_another_protein_far_away_changes_nothing(model: Predictor, kinase: Structure, alone: Prediction, examples: Path) -> None:
    other = read_structure(examples / "1pwc.pdb.gz")
    assert len(other.chains) == 1
    for order in (1, -1):
        found = model.predict(together(*[(kinase, "A", (0, 0, 0)), (other, "Z", (0, 256.0, 0))][::order]))
        assert_equal_pockets(found, alone, "A")
        assert all(p.copy_of == 0 for p in found.pockets)


def test_published_pockets_do_not_depend_on_a_copy_either(model: Predictor, kinase: Structure) -> None:
    config = PredictConfig(ranking="published")
    scores = model.score(kinase)
    pair = together((kinase, "A", (0, 0, 0)), (kinase, "B", (0, 0, 128.0)))
    assert_equal_pockets(model.pockets(pair, model.score(pair), config), model.pockets(kinase, scores, config), "A")


def test_both_sites_of_a_true_dimer_keep_their_probability(model: Predictor, alone: Prediction, examples: Path) -> None:
    found = model.predict(read_structure(examples / "1ake.cif.gz"))
    first, second = found.pockets[:2]
    assert (first.copy_of, second.copy_of) == (0, 1)
    assert min(first.probability, second.probability) > 0.95 * alone.pockets[0].probability


@pytest.mark.parametrize("n", [1, 2, 3, 10, SMALLEST - 1])
def test_a_few_residues_have_no_pocket(model: Predictor, kinase: Structure, n: int) -> None:
    for config in (PredictConfig(), PredictConfig(ranking="published", threshold=0.0)):
        found = model.pockets(first_residues(kinase, n), model.score(first_residues(kinase, n)), config)
        assert found.pockets == ()
        (note,) = found.notes
        assert note.startswith(f"{n} residue{'s' if n > 1 else ''}: too small for a pocket")


def test_a_short_chain_is_said_to_be_beyond_the_calibration(model: Predictor, kinase: Structure) -> None:
    (note,) = model.predict(first_residues(kinase, CALIBRATED - 1)).notes
    assert note.startswith(f"the longest chain has {CALIBRATED - 1} residues")
    assert model.predict(first_residues(kinase, CALIBRATED)).notes == ()
    peptide = together((kinase, "A", (0, 0, 0)), (first_residues(kinase, 12), "P", (256.0, 0, 0)))
    found = model.predict(peptide)
    assert found.notes[0].startswith("the longest chain of one of the assemblies has 12 residues")
    assert found.pockets and max(int(p.residues.max()) for p in found.pockets) < len(kinase.residues)


def test_missing_side_chains_are_said(model: Predictor, kinase: Structure) -> None:
    bare = np.isin(kinase.atoms.name, ("N", "CA", "C", "O", "CB"))
    (note,) = model.predict(with_atoms(kinase, bare)).notes
    assert note.startswith("214 of 214 residues have no side chain")
    alanine = replace(kinase.residues, one_letter=np.full(214, "A"), name=np.full(214, "ALA"))
    assert model.predict(replace(with_atoms(kinase, bare), residues=alanine)).notes == (note,)
    assert model.predict(with_atoms(kinase, bare | (kinase.atoms.residue_index > 40))).notes == ()


def test_a_model_of_ca_atoms_has_one_note(model: Predictor, examples: Path, tmp_path: Path) -> None:
    with gzip.open(examples / "1ubi.pdb.gz", "rt") as handle:
        lines = [line for line in handle if line.startswith("ATOM") and line[12:16] == " CA "]
    path = tmp_path / "ca.pdb"
    path.write_text("".join(lines))
    found = model.predict(read_structure(path))
    (note,) = (*found.structure.notes, *found.notes)
    assert "one atom per residue" in note
