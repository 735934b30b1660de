"""Residues that touch a nucleic acid, and pictures of CrossBind that show what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_prediction
from matplotlib.backends.backend_agg import FigureCanvasAgg

from course.crossbind import (
    GAP,
    attention_picture,
    attention_view,
    nucleic_contacts,
    propensity_chart,
    similarity_panels,
)
from s2p.errors import StructureError
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


def test_kind_is_told_by_the_sugar() -> None:
    structure = two_atoms(3.0, sugar="O2'")  # the touching nucleotide has no O2', the far one has
    assert nucleic_contacts(structure, "dna").tolist() == [1, 0]
    assert nucleic_contacts(structure, "rna").tolist() == [0, 0]
    with pytest.raises(StructureError, match="no RNA in it"):
        nucleic_contacts(two_atoms(3.0), "rna")
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


def test_similarity_panels_count_what_is_found() -> None:
    eye = torch.eye(6)
    figure = similarity_panels({"same": (eye, eye), "shifted": (eye, eye.roll(1, 0))}, shown=4)
    titles = [ax.get_title() for ax in figure.axes[:2]]
    assert titles == ["same: 100% of 6 found", "shifted: 0% of 6 found"]
    assert (np.asarray(figure.axes[0].images[0].get_array()) == np.eye(4)).all()
    FigureCanvasAgg(figure).draw()


def test_attention_is_drawn_atom_by_atom() -> None:
    prediction = make_prediction()
    coord = prediction.structure.atoms.coord[:9]
    weights = np.linspace(0.2, 0.7, 9)
    figure = attention_picture(prediction, coord, weights, "weights")
    dots = figure.axes[0].collections[-1]
    assert sorted(np.asarray(dots.get_array()).tolist()) == weights.tolist()
    assert figure.axes[0].get_title(loc="left") == "weights"
    FigureCanvasAgg(figure).draw()
    scene = attention_view(prediction, coord, weights)
    assert scene.startjs.count("addSphere") == 9
    assert scene._repr_png_()
    assert '"color": "#f2f2f2"' in scene.startjs and '"color": "#b30000"' in scene.startjs
    assert attention_view(prediction, coord, np.full(9, 0.5)).startjs.count("#f2f2f2") == 9


def test_propensities_are_logarithms_in_order() -> None:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    table = dict.fromkeys(letters, 1.0) | {"R": 4.0, "L": 0.25}
    chart = propensity_chart({"DNA": table, "RNA": dict.fromkeys(letters, 2.0)}, cutoff=0.8)
    assert chart.x_ticks is not None and (chart.x_ticks[1][0], chart.x_ticks[1][-1]) == ("R", "L")
    first, second = chart.layers[:2]
    assert (first.y[0], first.y[-1]) == (2.0, -2.0) and (second.y == 1.0).all()
    assert chart.alt.startswith("DNA: beyond the cutoff are R, L; RNA: beyond the cutoff are R")
    FigureCanvasAgg(chart.static()).draw()
