"""Figures of true sites: their numbers against loops and hand counts, and that they can be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from course.sites import (
    contact_picture,
    cutoff_chart,
    enrichment,
    enrichment_chart,
    residue_distances,
    share_chart,
    sites_as_prediction,
    union_chart,
)
from s2p.datasets.enhancement import EnhancedChain, enhance_structures
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.output.pictures import static_png
from s2p.structure.arrays import binding_residues
from s2p.structure.ligands import ligand_sites
from s2p.structure.reading import Structure, read_structure

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def dhfr(examples: Path) -> Structure:
    return read_structure(examples / "1ia1.pdb.gz")


def test_distances_against_all_pairs_and_labels(dhfr: Structure) -> None:
    ligand = dhfr.ligands[0].coord
    found = residue_distances(dhfr, ligand)
    pairs = np.linalg.norm(dhfr.atoms.coord[:, None].astype(float) - ligand[None].astype(float), axis=-1).min(axis=1)
    for i in (0, 10, 100, len(dhfr.residues) - 1):
        assert found[i] == pytest.approx(pairs[dhfr.atoms.residue_index == i].min())
    assert np.flatnonzero(found <= 4.5).tolist() == binding_residues(dhfr, ligand, 4.5).tolist()


def test_true_sites_look_like_a_prediction(dhfr: Structure) -> None:
    sites = ligand_sites(dhfr).sites
    prediction = sites_as_prediction(dhfr, sites)
    assert [p.rank for p in prediction.pockets] == [1, 2, 3]
    assert set(np.flatnonzero(prediction.positive)) == set().union(*(s.residues.tolist() for s in sites))
    assert static_png(prediction, dpi=40).startswith(PNG)


def test_contact_picture_names_the_closest(dhfr: Structure) -> None:
    site = ligand_sites(dhfr).sites[0]
    picture = contact_picture(dhfr, site)
    nearest = residue_distances(dhfr, site.ligand.coord)
    assert dhfr.residues.ids()[int(nearest.argmin())] in picture.alt
    assert f"{nearest.min():.1f} Å" in picture.alt
    assert picture.png().startswith(PNG)


def test_cutoff_chart_counts(dhfr: Structure) -> None:
    chart = cutoff_chart({"x": [1.0, 2.0, 3.0, 9.0]}, 3.0, [0.0, 2.0, 5.0])
    assert chart.layers[0].y.tolist() == [0, 2, 3]
    assert "x: 3" in chart.alt


def test_union_chart_has_a_row_for_each_chain_and_ligand(dhfr: Structure) -> None:
    (joined,) = enhance_structures([dhfr])
    chart = union_chart(joined)
    assert chart.y_ticks is not None
    assert chart.y_ticks[1] == ["1ia1_A, NDP A:193", "1ia1_A, TQ3 A:194", "1ia1_B, NDP B:195", "union"]
    assert len(chart.layers[-1].x) == int(joined.chain.labels.sum())
    assert chart.png(dpi=40).startswith(PNG)


def test_union_of_nothing_is_an_error() -> None:
    empty = EnhancedChain(LabelledChain("a", "MK", np.zeros(2, np.uint8), "a"))
    with pytest.raises(S2PError, match="nothing to join"):
        union_chart(empty)


def test_shares_are_sorted() -> None:
    chart = share_chart({"a_A": 0.1, "b_B": 0.3})
    assert chart.layers[0].y.tolist() == [0.3, 0.1]
    assert chart.layers[1].y.tolist() == pytest.approx([0.2, 0.2])


def test_enrichment_by_hand() -> None:
    found = enrichment("WWAA" + "AAAAWGGG", [1, 1, 1, 1] + [0] * 8)
    w, g = found.letters.index("W"), found.letters.index("G")
    # Half a residue is added to each of the twenty counts: 4 + 10 inside and 8 + 10 outside.
    assert found.log2[w] == pytest.approx(np.log2((2.5 / 14) / (1.5 / 18)))
    assert found.log2[g] == pytest.approx(np.log2((0.5 / 14) / (3.5 / 18)))
    assert (found.low < found.log2).all()
    assert (found.log2 < found.high).all()
    assert enrichment_chart(found).png(dpi=40).startswith(PNG)
