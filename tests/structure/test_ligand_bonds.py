"""Bonds of ligands, from distances and from what the file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_structure

from s2p.structure.ligand_bonds import attachments, connected, file_bonds, is_sugar
from s2p.structure.ligands import ligand_sites
from s2p.structure.reading import Ligand, read_structure


def atom(element: str, where: np.ndarray, number: int = 1) -> Ligand:
    return Ligand("XXX", "L", number, "", np.asarray(where, np.float32).reshape(1, 3), np.array([element]), np.array(["X1"]))


@pytest.mark.parametrize(
    ("element", "distance", "bonded"),
    [("C", 1.45, True), ("C", 1.8, True), ("C", 2.0, False), ("ZN", 2.0, False), ("BR", 2.0, True)],
)
def test_a_bond_is_shorter_than_the_radii_and_no_metal(element: str, distance: float, bonded: bool) -> None:
    structure = make_structure()
    # Straight down from the first nitrogen, where nothing else is.
    ligand = atom(element, structure.atoms.coord[0] + np.float32([0, 0, -distance]))
    assert attachments(structure, ligand) == ([0] if bonded else [])


def test_what_the_file_says_counts_at_any_distance() -> None:
    structure = make_structure()
    r = structure.residues
    ligand = atom("C", [50, 50, 50])
    partner = (str(r.chain[30]), int(r.number[30]), str(r.insertion_code[30]))
    assert attachments(structure, ligand) == []
    assert attachments(structure, ligand, bonds=[(("L", 1, ""), partner)]) == [30]
    assert attachments(structure, ligand, bonds=[(("L", 2, ""), partner)]) == []


def test_groups_hang_together_by_distance_or_by_the_file() -> None:
    a, b, c = atom("C", [0, 0, 0], 1), atom("O", [0, 0, 1.4], 2), atom("C", [0, 0, 20], 3)
    assert [[x.number for x in g] for g in connected([a, b, c])] == [[1, 2], [3]]
    told = [(("L", 1, ""), ("L", 3, ""))]
    assert [[x.number for x in g] for g in connected([a, b, c], bonds=told)] == [[1, 2, 3]]
    assert connected([]) == []


def test_link_records_and_struct_conn_are_read(tmp_path: Path, examples: Path) -> None:
    import gemmi

    parsed = gemmi.read_structure(str(examples / "6WQA.cif"))
    (ligand,) = ligand_sites(read_structure(examples / "6WQA.cif")).sites
    assert ligand.kind == "molecule"
    connection = gemmi.Connection()
    connection.name, connection.type, connection.asu = "covale1", gemmi.ConnectionType.Covale, gemmi.Asu.Same
    residue = parsed[0]["A"][str(int(read_structure(examples / "6WQA.cif").residues.number[5]))][0]
    connection.partner1 = gemmi.AtomAddress("A", residue.seqid, residue.name, "CB")
    zma = next(r for r in parsed[0]["A"] if r.name == "ZMA")
    connection.partner2 = gemmi.AtomAddress("A", zma.seqid, "ZMA", zma[0].name)
    parsed.connections.append(connection)
    parsed.setup_entities()
    parsed.write_pdb(str(tmp_path / "x.pdb"))
    parsed.make_mmcif_document().write_file(str(tmp_path / "x.cif"))
    expected = {(("A", residue.seqid.num, ""), ("A", zma.seqid.num, ""))}
    for path in (tmp_path / "x.pdb", tmp_path / "x.cif"):
        bonds = file_bonds(path)
        assert bonds == expected | {(b, a) for a, b in expected}
        structure = read_structure(path)
        (site,) = ligand_sites(structure, bonds=bonds).sites
        assert site.kind == "covalent"
        assert site.bonded_to == (5,)
    assert file_bonds(examples / "6WQA.cif") == frozenset()


def test_sugars_are_known_by_name() -> None:
    assert all(map(is_sugar, ("NAG", "MAN", "BMA", "FUC", "GAL")))
    assert not any(map(is_sugar, ("ATP", "HEM", "ZZZ9")))


def test_numbering_of_the_ligand_matters() -> None:
    structure = make_structure()
    ligand = replace(atom("C", [50, 50, 50]), insertion_code="B")
    r = structure.residues
    partner = (str(r.chain[0]), int(r.number[0]), str(r.insertion_code[0]))
    assert attachments(structure, ligand, bonds=[(("L", 1, ""), partner)]) == []
    assert attachments(structure, ligand, bonds=[(("L", 1, "B"), partner)]) == [0]
