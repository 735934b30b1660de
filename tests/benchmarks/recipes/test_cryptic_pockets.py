"""Cryptic sites on structures: labels carried over, residues that are one site, and the pocket nearest to it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.recipes.cryptic_pockets import carried_over, separate_sites, site_rows
from s2p.datasets.labelled import LabelledChain
from s2p.structure.reading import read_structure


def test_labels_go_to_structures_of_the_same_protein_only() -> None:
    structure = read_structure("data/examples/1ubi.pdb.gz")
    sequence = structure.sequence()
    labels = np.zeros(len(sequence) + 3, np.uint8)
    labels[[10, 47, 73]] = 1
    assert carried_over(LabelledChain("x", "GSH" + sequence, labels), structure).tolist() == [7, 44, 70]  # type: ignore[union-attr]
    assert carried_over(LabelledChain("x", sequence[::-1], labels[3:]), structure) is None


def test_sites_are_linked_by_short_steps_and_found_by_the_nearest_pocket() -> None:
    ca = np.array([[0, 0, 0], [9, 0, 0], [18, 0, 0], [40, 0, 0]], np.float32)
    sites = separate_sites(ca, np.array([0, 1, 2, 3]))
    assert [site.tolist() for site in sites] == [[0, 1, 2], [3]]
    found = (((0,), 0.0), ((3,), 40.0), ((1, 2), 13.0))
    pockets = [SimpleNamespace(residues=r, center=np.array([x, 0, 0])) for r, x in found]
    rows = site_rows(pockets, sites, ca)
    assert rows["N"].tolist() == [9, 0]
    assert rows["all"].tolist() == [4, 0]
    assert rows["overlap"].tolist() == [pytest.approx(2 / 3), 1]
