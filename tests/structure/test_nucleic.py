"""Residues that touch a nucleic acid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2p.errors import StructureError
from s2p.structure.nucleic import GAP, nucleic_contacts, nucleic_kind
from s2p.structure.reading import Ligand, Structure, read_structure
from tests.models.crossbind.test_cloud import small


def two_atoms(distance: float, element: str = "C", nucleotide: str = "DA", sugar: str = "O5'") -> Structure:
    structure = small(("ALA", [("CA", element, (0, 0, 0))]), ("GLY", [("CA", "C", (50, 0, 0))]))
    base = Ligand(nucleotide, "B", 1, "", np.array([[distance, 0, 0]], np.float32), np.array(["P"]), np.array(["P"]), "nucleic")
    ribose = Ligand(nucleotide, "B", 2, "", np.array([[99, 9, 9]], np.float32), np.array(["O"]), np.array([sugar]), "nucleic")
    return replace(structure, ligands=(base, ribose))


@pytest.mark.parametrize(("element", "radius"), [("C", 1.70), ("N", 1.55), ("O", 1.52), ("S", 1.80)])
def test_label_boundary(element: str, radius: float) -> None:
    reach = radius + 1.80 + GAP
    assert nucleic_contacts(two_atoms(reach - 0.01, element)).tolist() == [1, 0]
    assert nucleic_contacts(two_atoms(reach + 0.01, element)).tolist() == [0, 0]


def test_kind_of_a_chain() -> None:
    assert nucleic_kind(["DA", "DT", "U"], ["C2'", "O2'"]) == "dna"  # most are called so
    assert nucleic_kind(["A", "DU", "G"], ["C2'", "O2'"]) == "rna"
    assert nucleic_kind(["A", "T"], ["P", "C2*"]) == "dna"  # old names, and no ribose
    assert nucleic_kind(["A", "G"], ["C2*", "O2*"]) == "rna"
    assert nucleic_kind(["A", "U"], ["P"]) == "rna"  # no sugars


def test_kinds_are_counted_apart() -> None:
    structure = two_atoms(3.0, nucleotide="A", sugar="O2'")  # the touching nucleotide has no O2', the far one has
    assert nucleic_contacts(structure, "rna").tolist() == [1, 0]
    with pytest.raises(StructureError, match="no DNA in it"):
        nucleic_contacts(structure, "dna")
    assert nucleic_contacts(two_atoms(3.0), "dna").tolist() == [1, 0]
    both = replace(structure, ligands=(*structure.ligands, *(replace(x, name="DG", chain="C") for x in two_atoms(3.0).ligands)))
    assert nucleic_contacts(both, "dna").tolist() == nucleic_contacts(both).tolist() == [1, 0]
    with pytest.raises(StructureError, match="no DNA or RNA"):
        nucleic_contacts(replace(structure, ligands=()))


def test_labels_of_a_dna_methyltransferase(examples: Path) -> None:
    hhai = read_structure(examples / "3mht.pdb.gz")
    labels = nucleic_contacts(hhai, "dna")
    radius = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80, "P": 1.80}
    expected = np.zeros(len(hhai.residues), bool)
    for ligand in hhai.ligands:
        if ligand.kind == "nucleic":
            for xyz, symbol in zip(ligand.coord, ligand.element.tolist(), strict=True):
                gap = np.linalg.norm(hhai.atoms.coord - xyz, axis=1) - radius[symbol]
                gap -= np.array([radius[e] for e in hhai.atoms.element.tolist()])
                expected[hhai.atoms.residue_index[gap < 0.5]] = True
    assert np.array_equal(labels, expected)
    bound = {int(hhai.residues.number[k]) for k in np.flatnonzero(labels)}
    # What the crystallographers describe: the catalytic Cys81, Gln237 in the place of the flipped cytosine, Ser87 and Arg240.
    assert {81, 87, 237, 240} <= bound
    assert 30 <= labels.sum() <= 60


def test_labels_of_a_large_complex(examples: Path) -> None:
    motor = read_structure(examples / "7pbl.pdb.gz")
    labels = nucleic_contacts(motor)
    assert labels.shape == motor.residues.chain.shape and np.array_equal(labels, nucleic_contacts(motor, "dna"))
    assert 0 < len(set(motor.residues.chain[labels == 1].tolist())) <= len(motor.chains)
