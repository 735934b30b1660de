"""Designers compared on the same pockets: the table, and a backbone that is put into a structure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report.studies import study_sections
from benchmarks.studies.designers import MPNN, SHIPPED, summary, with_backbone
from s2p.models.pocketgen.design import Design, Measures
from s2p.structure.reading import read_structure


def test_the_table_is_paired(tmp_path: Path) -> None:
    native, placed = Measures(1.0, 0.0, 0, 30, 0, 0.0, peptides=8), Measures(0.5, 0.0, 2, 30, 0, 0.0, peptides=8, rotors=4)
    shares = [(0.1, 0.6), (0.3, 0.7), (0.2, 0.5)]
    rows = [(f"c{k}", {SHIPPED: a, MPNN: b}, placed, native, 6) for k, (a, b) in enumerate(shares)]
    found = summary(rows)
    assert (found["pockets"], found["clusters"]) == (3, 3)
    assert found["designers"][SHIPPED]["recovery"][0] == pytest.approx(0.2)
    assert found["designers"][MPNN]["difference"][0] == pytest.approx(0.4)
    assert found["geometry"][MPNN]["clashes a pocket"][0] == 2 and found["geometry"]["native"]["clashes a pocket"][0] == 0
    (tmp_path / "designers.json").write_text(json.dumps({"validation": found, "seed": 0}))
    (text,) = study_sections(tmp_path)
    assert f"| {SHIPPED} | validation: 3 pockets | 0.200 (0.100–0.300) | – |" in text
    assert f"| {MPNN} | validation: 3 pockets | 0.600 (0.500–0.700) | +0.400 (+0.300 to +0.500)" in text


def test_a_backbone_in_a_structure(examples: Path) -> None:
    structure = read_structure(examples / "4CUP.cif")
    index = np.array([3, 7])
    design = Design(np.array([1, 1]), np.full((2, 20), 0.05), np.arange(84, dtype=float).reshape(2, 14, 3), np.zeros((1, 3)))
    made = with_backbone(structure, index, design)
    assert np.array_equal(made.residues.ca_coord[index], design.coord[:, 1])
    moved = np.flatnonzero((made.atoms.coord != structure.atoms.coord).any(axis=1))
    assert set(made.atoms.residue_index[moved]) == {3, 7} and set(made.atoms.name[moved]) == {"N", "CA", "C", "O"}
