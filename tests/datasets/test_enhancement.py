"""Labels joined over the structures of a protein, with the origin of every residue."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_complexes import helix, ligand

from s2p.datasets.enhancement import (
    EnhanceConfig,
    EnhancedChain,
    enhance_structures,
    evidence_table,
    join_chains,
    protein_table,
    totals,
)
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.structure.ligands import ligand_labels
from s2p.structure.reading import Structure, read_structure

A = LabelledChain("a", "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", np.eye(33, dtype=np.uint8)[5])
B = LabelledChain("b", "TAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", np.eye(31, dtype=np.uint8)[8])


def joined(*chains: LabelledChain) -> EnhancedChain:
    return join_chains([(chain, [("", np.flatnonzero(chain.labels))]) for chain in chains])


def dbref(accession: str, chain: str = "A") -> str:
    return f"DBREF  1ABC {chain}    1    30  UNP    {accession:<8s} X_HUMAN          1     30\n"


def entry(folder: Path, name: str, seed: int, *accessions: str, at: float | None = 12.0, first: int = 0) -> Structure:
    """A helix, maybe without its first residues, with a benzene at a height (Å), and what its file says of UniProt."""
    atoms = [x for x in helix(seed).splitlines(True) if x.startswith("ATOM") and int(x[22:26]) > first]
    text = "".join([*map(dbref, accessions), *atoms, "TER\n", "END\n" if at is None else ligand(at)])
    (folder / f"{name}.pdb").write_text(text)
    return read_structure(folder / f"{name}.pdb")


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


def test_chains_of_one_uniprot_entry_are_joined_though_much_is_missing(tmp_path: Path) -> None:
    whole, part = entry(tmp_path, "whole", 0, "P11111", at=8.0), entry(tmp_path, "part", 0, "P11111", at=38.0, first=12)
    (protein,) = enhance_structures(iter([part, whole]))  # 18 of 30 residues: too few by identity alone
    assert (protein.members, protein.accessions, protein.notes) == (("whole_A", "part_A"), ("P11111",), ())
    own, other = (ligand_labels(x) for x in (whole, part))
    union = own | np.concatenate([np.zeros(12, bool), other])
    assert protein.own == (own.sum(), other.sum()) and not (own[12:] & other).any()
    assert protein.chain.labels.astype(bool).tolist() == union.tolist()
    assert protein.siblings[0].labels.astype(bool).tolist() == union[12:].tolist()
    nameless = [replace(x, uniprot={}) for x in (part, whole)]
    assert len(enhance_structures(nameless)) == 2


def test_the_report_equals_a_count_by_hand(tmp_path: Path) -> None:
    proteins = enhance_structures(
        [entry(tmp_path, "x", 0, "P1", at=8.0), entry(tmp_path, "y", 0, "P1", at=38.0), entry(tmp_path, "z", 1, at=None)]
    )
    x, y, z = csv.DictReader(io.StringIO(protein_table(proteins))), *proteins
    first, second = x
    n, m = y.own
    assert (first["chain"], first["uniprot"], first["members"], first["residues"]) == ("x_A", "P1", "x_A y_A", "30")
    assert [int(first[key]) for key in ("alone", "enhanced", "lost")] == [n, n + m, 0]
    assert first["ligands"] == "x_A BNZ L:1; y_A BNZ L:1"
    assert (second["chain"], second["uniprot"], second["enhanced"]) == ("z_A", "", "0") and z.evidence == ()
    assert n == m == 3  # so 6 of the 60 residues of both chains; with the union 6 in each
    assert totals(proteins[:1]) == (
        "1 proteins, 2 chains, 60 residues: 6 (10.00%) bind in their own structure, 12 (20.00%) enhanced"
    )


def test_what_the_accessions_leave_open_is_said(tmp_path: Path) -> None:
    structures = [
        entry(tmp_path, "a", 0, "P1"),
        entry(tmp_path, "wrong", 1, "P1"),
        entry(tmp_path, "fused", 0, "P2", "P1"),
        entry(tmp_path, "fused2", 0, "P1", "P2"),
        entry(tmp_path, "nameless", 1),
        entry(tmp_path, "between", 0),
    ]
    proteins = enhance_structures(structures)
    assert [x.members for x in proteins] == [("a_A", "between_A"), ("wrong_A", "nameless_A"), ("fused_A", "fused2_A")]
    assert [x.accessions for x in proteins] == [("P1",), ("P1",), ("P1", "P2")]
    (apart, between), (wrong,), (fused,) = (x.notes for x in proteins)
    assert apart == "also of P1 but not alike, so kept apart: wrong_A" and "kept apart: a_A" in wrong
    assert "a chimera of P1 and P2" in fused
    assert between == "no accession for between_A, which may also be fused_A"
