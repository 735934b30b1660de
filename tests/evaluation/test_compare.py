"""Pockets against the ligands of the structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_prediction

from s2p.evaluation.compare import HIT, LigandHit, evaluate_complex, ligand_hits, ligand_table
from s2p.prediction import Prediction
from s2p.structure.reading import Ligand


def ligand(name: str, x: float, n: int = 8, kind: str = "molecule") -> Ligand:
    coord = np.array([[x + 1.5 * i, 0, 0] for i in range(n)], np.float32)
    return Ligand(name, "A", 9, "", coord, np.array(["C"] * n), np.array([f"C{i}" for i in range(n)]), kind)


def prediction(*centers: float, ligands: tuple[Ligand, ...]) -> Prediction:
    """Pockets, best first, at these places of the x axis."""
    base = make_prediction()
    first = base.pockets[0]
    pockets = [replace(first, rank=k, center=np.array([x, 0, 0], np.float32)) for k, x in enumerate(centers, 1)]
    return replace(base, pockets=tuple(pockets), structure=replace(base.structure, ligands=ligands))


def test_best_ranked_pocket_that_finds_the_ligand():
    # the third is nearer, but the second finds it too and is ranked higher
    (hit,) = ligand_hits(prediction(50, -3, -1, ligands=(ligand("LIG", 0),)))
    assert (hit.ligand, hit.n_atoms, hit.found, hit.pocket) == ("LIG A:9", 8, True, 2)
    assert hit.dca == pytest.approx(3)
    assert hit.dcc == pytest.approx(3 + 1.5 * 3.5)


@pytest.mark.parametrize(("x", "found"), [(-HIT + 0.01, True), (-HIT, False)])
def test_finding_is_strict(x, found):
    assert ligand_hits(prediction(x, ligands=(ligand("LIG", 0),)))[0].found is found


def test_missed_ligand_has_the_nearest_pocket():
    (hit,) = ligand_hits(prediction(90, -20, ligands=(ligand("LIG", 0),)))
    assert (hit.found, hit.pocket, hit.dca) == (False, 2, pytest.approx(20))


def test_covered_is_the_share_of_the_site():
    p = make_prediction()
    molecule = replace(p.structure.ligands[0], coord=p.structure.atoms.coord[np.isin(p.structure.atoms.residue_index, [0, 1])])
    near = replace(p.pockets[0], center=molecule.coord[0], residues=np.array([0], np.int32))
    (hit,) = ligand_hits(replace(p, pockets=(near,)), [molecule])
    assert hit.n_residues >= 2
    assert hit.covered == pytest.approx(1 / hit.n_residues)


def test_which_ligands_count():
    ligands = (ligand("LIG", 0), ligand("GOL", 0), ligand("ZN", 0, 1, "ion"), ligand("DA", 0, 20, "nucleic"))
    p = prediction(0, ligands=ligands)
    assert [hit.ligand for hit in ligand_hits(p)] == ["LIG A:9"]
    assert [hit.ligand for hit in ligand_hits(p, ligands[:2])] == ["LIG A:9", "GOL A:9"]


def test_without_pockets():
    (hit,) = ligand_hits(prediction(ligands=(ligand("LIG", 0),)))
    assert (hit.found, hit.pocket) == (False, 0)
    assert np.isnan([hit.dca, hit.dcc]).all()


def test_table():
    table = ligand_table(prediction(-3, ligands=(ligand("LIG", 0),)))
    assert list(table.columns) == list(LigandHit.__dataclass_fields__)
    assert table.pocket.tolist() == [1]
    assert ligand_table(prediction(-3, ligands=())).empty


def test_a_protein_without_ligands_has_pockets_but_no_sites():
    result = evaluate_complex(make_prediction(), [])
    assert result.sites == () and result.protein.n_sites == 0
    assert result.protein.n_pockets == len(make_prediction().pockets) > 0
    nothing = evaluate_complex(replace(make_prediction(), pockets=()), [])
    assert nothing.sites == () and nothing.protein.n_pockets == 0
