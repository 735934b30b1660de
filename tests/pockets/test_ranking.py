"""What pockets are ranked by: ranks and symmetric copies of one site, and the calibrated probability."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure
from hypothesis import given
from hypothesis import strategies as st

from s2p.config import PredictConfig
from s2p.pockets.ranking import CALIBRATED, SMALLEST, joined, places, ranked
from s2p.prediction import Pocket, Prediction, Predictor
from s2p.predictor import load
from s2p.structure.reading import Structure, read_structure


def pocket(score: float, *residues: int) -> Pocket:
    nothing, center = np.zeros(0, np.int32), np.zeros(3, np.float32)
    return Pocket(0, score, score, np.array(residues, np.int32), nothing, np.zeros((0, 3), np.float32), center, 0.0)


def dimer(second: str = "") -> Structure:
    """Two chains of 24 residues, equal unless the second is spelled out."""
    structure = make_structure()
    letters = np.array(list("MKTAYIAKQRQISFVKSHFSRQLE") * 2)
    if second:
        letters[24:] = list(second)
    return replace(structure, residues=replace(structure.residues, one_letter=letters))


def found(structure: Structure, *pockets: Pocket) -> list[tuple[float, int, int]]:
    return [(p.score, p.rank, p.copy_of) for p in ranked(structure, pockets)]


def test_the_same_residues_in_another_chain_are_a_copy() -> None:
    pockets = (pocket(0.5, 10, 11, 12), pocket(0.8, 2, 3, 4), pocket(0.7, 26, 27, 28, 29))
    assert found(dimer(), *pockets) == [(0.8, 1, 0), (0.7, 2, 1), (0.5, 3, 0)]


def test_copies_that_differ_by_rounding_errors_stay_in_the_order_of_the_file() -> None:
    pockets = (pocket(0.8, 2, 3, 4), pocket(0.8 + 1e-8, 26, 27, 28), pocket(0.9, 10, 11, 12))
    assert [rank for *_, rank in found(dimer(), *pockets)] == [0, 0, 2]
    assert [p.residues[0] for p in ranked(dimer(), pockets)] == [10, 2, 26]


def of(structure: Structure, pockets: Sequence[Pocket]) -> Prediction:
    n = len(structure.residues)
    positive = np.isin(np.arange(n), [i for p in pockets for i in p.residues])
    return Prediction(
        structure, np.zeros(n, np.float32), np.zeros(n, bool), positive, tuple(pockets), "model", {"threshold": 0.5}
    )


POCKETS = st.lists(st.tuples(st.integers(1, 99), st.sets(st.integers(0, 47), min_size=1, max_size=9)), max_size=6)


@given(POCKETS, POCKETS, st.booleans())
def test_general_and_cryptic_pockets_become_one_list(general: list, cryptic: list, calibrated: bool) -> None:
    structure = dimer()
    first, second = (
        ranked(structure, [pocket(score / 100, *sorted(residues)) for score, residues in pockets])
        for pockets in (general, cryptic)
    )
    second = tuple(replace(p, site="cryptic") for p in second)
    whole = joined(of(structure, first), of(structure, second), calibrated=calibrated)
    assert [p.rank for p in whole.pockets] == list(range(1, len(whole.pockets) + 1))
    kept = [p for p in whole.pockets if p.site != "cryptic"]
    added = [p for p in whole.pockets if p.site == "cryptic"]

    def same(a: Pocket, b: Pocket) -> bool:
        return 2 * len(set(a.residues) & set(b.residues)) >= min(len(a.residues), len(b.residues))

    # General pockets are all there, in their order, and as they were; those that a cryptic one lies in are marked.
    assert [id(p.residues) for p in kept] == [id(p.residues) for p in first]
    assert [p.site for p in kept] == ["both" if any(same(p, other) for other in second) else "general" for p in first]
    # So are the cryptic pockets that lie in none of them.
    assert [id(p.residues) for p in added] == [id(p.residues) for p in second if not any(same(p, other) for other in first)]
    if not calibrated:
        assert whole.pockets[: len(first)] == tuple(kept)
    else:
        assert [p.probability for p in whole.pockets] == sorted((p.probability for p in whole.pockets), reverse=True)
    assert whole.positive.tolist() == [any(i in p.residues for p in (*first, *second)) for i in range(48)]


def test_neighbours_in_a_chain_and_sites_of_other_proteins_are_none() -> None:
    pockets = (pocket(0.8, 2, 3, 4), pocket(0.7, 3, 4, 5), pocket(0.6, 26, 27, 28))
    assert [copy for *_, copy in found(dimer("GGSPLDWWNVTCPEHGMDPWLAVN"), *pockets)] == [0, 0, 0]
    assert [copy for *_, copy in found(dimer(), *pockets)] == [0, 0, 1]


def test_both_interfaces_of_a_dimer_are_copies_and_one_across_the_axis_is_itself() -> None:
    assert [c for *_, c in found(dimer(), pocket(0.9, 2, 3, 30, 31), pocket(0.8, 6, 7, 26, 27), pocket(0.7, 2, 3, 26, 27))] == [
        0,
        1,
        0,
    ]


def test_chains_that_differ_by_missing_residues_are_aligned() -> None:
    shifted = dimer("GSMKTAYIAKQRQISFVKSHFSRQ")
    assert [copy for *_, copy in found(shifted, pocket(0.8, 5, 6, 7), pocket(0.7, 31, 32, 33))] == [0, 1]
    assert [copy for *_, copy in found(shifted, pocket(0.8, 5, 6, 7), pocket(0.7, 29, 30, 31))] == [0, 0]


def test_a_third_copy_names_the_first(examples: Path) -> None:
    structure = read_structure(examples / "1ake.cif.gz", chains=["A"])
    chains = np.array(["A", "B", "C"])
    residues, atoms, n = structure.residues, structure.atoms, len(structure.residues)
    columns = {k: np.concatenate([v] * 3) for k, v in vars(residues).items()}
    three = replace(structure, residues=replace(residues, **(columns | {"chain": np.repeat(chains, n)})), atoms=atoms)
    pockets = [pocket(0.9 - k / 10, *(k * n + np.arange(20, 40)).tolist()) for k in range(3)]
    assert found(three, *pockets) == [(0.9, 1, 0), (0.8, 2, 1), (0.9 - 0.2, 3, 1)]


def test_places_do_not_depend_on_the_order_of_chains() -> None:
    sequence = "MKTAYIAKQRQISFVKSHFSRQLEGGSWDPNYTRCLEEMKLAQ"
    chains = {"A": sequence[3:31] + sequence[36:41], "B": sequence[:16] + sequence[18:], "C": sequence[3:11] + sequence[17:38]}

    def distinct(order: str) -> int:
        letters = np.array(list("".join(chains[c] for c in order)))
        chain = np.repeat(list(order), [len(chains[c]) for c in order])
        one = make_structure().residues
        columns = {name: column[np.zeros(len(letters), int)] for name, column in vars(one).items()}
        number = np.arange(len(letters), dtype=np.int32)
        residues = replace(one, **columns | {"number": number, "one_letter": letters, "chain": chain})
        return len(np.unique(places(replace(make_structure(), residues=residues, ligands=()))))

    assert {distinct(order) for order in ("ABC", "CAB", "BCA", "CBA")} == {distinct("ABC")}


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
    assert alone.pockets[0].probability > 0.8
    for n in (2, 3):
        parts = [(kinase, name, (128.0 * k, 0, 0)) for k, name in enumerate("ABC"[:n])]
        found = model.predict(together(*parts))
        assert_equal_pockets(found, alone, "A")
        firsts = [p for p in found.pockets if not p.copy_of]
        assert len(firsts) == len(alone.pockets)
        for first in firsts:
            copies = [p.probability for p in found.pockets if p.copy_of == first.rank]
            assert copies == pytest.approx([first.probability] * (n - 1), abs=1e-4)
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
    assert found.notes == ()  # what is too small to be searched says nothing of the rest
    (note,) = model.predict(
        together(*((first_residues(kinase, 12), name, (256.0 * k, 0, 0)) for k, name in enumerate("AB")))
    ).notes
    assert note.startswith("groups of touching chains of 12 residues at most: too small for a pocket, which needs 20")
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
