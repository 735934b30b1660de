"""Reliability of probabilities: errors by hand, hits of copies, and which complexes count as unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_prediction

from benchmarks.studies import calibration
from benchmarks.studies.calibration import expected_error, main, reliability, site_hits, unseen_complexes

ATOM = "ATOM  {:5d}  CA  {:3s} A{:4d}    {:8.3f}   0.000   0.000  1.00  0.00           C\n"


def test_error_by_hand() -> None:
    probability = np.array([0.05, 0.05, 0.95, 0.95, 1.0])
    hit = np.array([False, True, True, True, True])
    assert expected_error(probability, hit) == pytest.approx((0.9 + 0.1) / 5)
    assert expected_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_right_probabilities_are_off_by_chance_alone() -> None:
    draw = np.random.default_rng(1)
    probability = draw.random(5000)
    right = reliability(probability, draw.random(5000) < probability)
    assert right["error"] < 2 * right["error by chance"]
    assert reliability(probability, draw.random(5000) < probability / 2)["error"] > 10 * right["error by chance"]
    assert sum(row[-1] for row in right["from, mean, share of hits, pockets"]) == 5000


def test_a_ligand_of_one_subunit_counts_for_its_copies() -> None:
    made = make_prediction()
    first, second = made.pockets
    ligand = [first.center[None]]
    assert site_hits(made, ligand).tolist() == [True, False]
    assert site_hits(replace(made, pockets=(first, replace(second, copy_of=1))), ligand).tolist() == [True, True]
    assert site_hits(replace(made, pockets=()), ligand).tolist() == []


def test_complexes_of_known_clusters_and_homologues_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains = ["chain,cluster30"]
    for name, cluster in (("1new", "c1"), ("1old", "c2"), ("1sim", "c3"), ("1bar", "c4")):
        folder = tmp_path / "complexes2/repo_pdbs" / name
        folder.mkdir(parents=True)
        text = "".join(ATOM.format(k + 1, "GLY" if name == "1sim" else "ALA", k + 1, 3.8 * k) for k in range(24))
        (folder / "protein.pdb").write_text(text)
        if name != "1bar":
            (folder / "ligand_00.pdb").write_text(ATOM.format(1, "LIG", 1, 0).replace("ATOM  ", "HETATM"))
        chains.append(f"repo_pdbs|{name}|A,{cluster}")
    (tmp_path / "complexes2/chain_clusters_all.csv").write_text("\n".join([*chains, "astex_rdock|1abc|A,c2", ""]))
    splits = tmp_path / "splits.csv"
    splits.write_text("dataset,id,split,clusters30\nastex_rdock,1abc,test,c2\n")
    (tmp_path / "sequences/small").mkdir(parents=True)
    (tmp_path / "sequences/small/scpdb.txt").write_text(f">x\n{'G' * 24}\n{'0' * 24}\n")
    (tmp_path / "ligysis").mkdir()
    (tmp_path / "ligysis/chains.csv").write_text("split,uniprot,uniprot_sequence\nvalidation,P1,AAAA\n")
    monkeypatch.setattr(calibration, "homologous", lambda training, queries: {k: {"0"} for k, q in queries.items() if "G" in q})
    assert [c.key for c in unseen_complexes(tmp_path, splits)] == ["repo_pdbs/1new"]


def test_another_folder_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "-o", str(tmp_path / "x.json")]) == 1
    assert "holds no folder complexes2" in capsys.readouterr().err
