"""Ranks, and pockets that are symmetric copies of one site."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from builders import make_structure

from s2p.pockets.ranking import places, ranked
from s2p.prediction import Pocket
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
