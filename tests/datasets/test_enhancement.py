"""Labels joined over the structures of a protein, with the origin of every residue."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2p.datasets.enhancement import (
    EnhanceConfig,
    EnhancedChain,
    enhance_structures,
    evidence_table,
    join_chains,
)
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.structure.ligands import ligand_labels
from s2p.structure.reading import read_structure

A = LabelledChain("a", "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", np.eye(33, dtype=np.uint8)[5])
B = LabelledChain("b", "TAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", np.eye(31, dtype=np.uint8)[8])


def joined(*chains: LabelledChain) -> EnhancedChain:
    return join_chains([(chain, [("", np.flatnonzero(chain.labels))]) for chain in chains])


def test_the_union_is_taken_and_the_input_left_alone() -> None:
    merged = joined(A, B)
    assert np.flatnonzero(merged.chain.labels).tolist() == [5, 10]
    assert A.labels.sum() == 1
    assert (joined(A).chain.id, joined(B, A).chain.id) == ("a", "b")


def test_every_binding_residue_has_its_origin() -> None:
    both = joined(A, B)
    assert [(e.index, e.source, e.source_index, e.source_letter) for e in both.evidence] == [
        (5, "a", 5, "I"),
        (10, "b", 8, "Q"),
    ]
    assert both.members == ("a", "b")
    back = joined(B, A)
    assert back.lost == 0
    short = joined(B, LabelledChain("c", A.sequence, np.eye(33, dtype=np.uint8)[0]))
    assert short.lost == 1  # the first residue is not observed in the representative
    assert np.flatnonzero(short.chain.labels).tolist() == [8]


def test_structures_of_one_protein_are_joined(examples: Path) -> None:
    structure = read_structure(examples / "1ake.cif.gz")
    apo = replace(structure, name="apo1", ligands=())
    (joined,) = enhance_structures([apo, structure])
    assert joined.members == ("apo1_A", "apo1_B", "1ake_A", "1ake_B")
    label = ligand_labels(structure)
    a, b = (label[structure.residues.chain == c] for c in "AB")
    assert structure.sequence("A") == structure.sequence("B")
    assert joined.chain.labels.astype(bool).tolist() == (a | b).tolist()
    assert {e.index for e in joined.evidence} == set(np.flatnonzero(joined.chain.labels).tolist())
    assert {(e.source, e.ligand) for e in joined.evidence} == {("1ake_A", "AP5 A:215"), ("1ake_B", "AP5 B:215")}
    (unlabelled,) = enhance_structures([apo])
    assert not unlabelled.chain.labels.any()
    rows = list(csv.DictReader(io.StringIO(evidence_table([joined]))))
    assert ",".join(rows[0]) == "chain,index,letter,source,source_index,source_letter,ligand"
    assert len(rows) == len(joined.evidence)
    assert all(joined.chain.sequence[int(row["index"])] == row["letter"] for row in rows)


def test_ions_are_an_option(examples: Path) -> None:
    structure = read_structure(examples / "1GBT.cif.gz")
    (without,) = enhance_structures([structure], config=EnhanceConfig(include_ions=False))
    (with_ions,) = enhance_structures([structure])
    assert {e.ligand for e in with_ions.evidence} - {e.ligand for e in without.evidence} == {"CA A:701"}
    assert with_ions.chain.labels.sum() > without.chain.labels.sum()


def test_two_structures_of_one_name_give_a_sentence(examples: Path) -> None:
    structure = read_structure(examples / "4CUP.cif")
    with pytest.raises(S2PError, match="two structures '4CUP'"):
        enhance_structures([structure, structure])
