"""Tables for scripts that read P2Rank's: read back by the reader of the comparison with P2Rank, and by pandas as its users do."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
import pytest
from builders import make_prediction

import s2p
from benchmarks.peers.formats import read_p2rank, read_p2rank_residues
from s2p.prediction import Prediction


@pytest.fixture(scope="module")
def predicted(examples: Path) -> Prediction:
    return s2p.predict(examples / "1pwc.pdb.gz", device="cpu")


@pytest.mark.parametrize("suffix", ["pdb", "cif"])
def test_pockets_and_atoms_are_those_of_the_scores_file(predicted: Prediction, tmp_path: Path, suffix: str) -> None:
    p = predicted
    if suffix == "cif":  # a chain name that a PDB file cannot hold
        r = p.structure.residues
        p = replace(p, structure=replace(p.structure, residues=replace(r, chain=np.full(len(r), "LONG"))))
    scores, predictions, residues = p.save(tmp_path, ["p2rank"])
    assert [x.name for x in (scores, predictions)] == [f"1pwc_scores.{suffix}", "1pwc_p2rank_predictions.csv"]
    found = read_p2rank(predictions)
    assert len(found) == len(p.pockets) > 1
    atoms = {cra.atom.serial: np.array(cra.atom.pos.tolist()) for cra in gemmi.read_structure(str(scores))[0].all()}
    numbers = p.structure.residues.number.tolist()
    for pocket, read in zip(p.pockets, found, strict=True):
        np.testing.assert_allclose(read.center, pocket.center, atol=1e-3)
        assert (read.score, read.probability) == pytest.approx((pocket.score, pocket.probability), abs=1e-3)
        own = np.stack([atoms[index + 1] for index in read.atoms])
        np.testing.assert_allclose(own, p.structure.atoms.coord[pocket.atoms], atol=2e-3)
        assert [number for _, number in read.residues] == [numbers[i] for i in pocket.residues.tolist()]
    chances = read_p2rank_residues(residues)
    np.testing.assert_allclose(list(chances.values()), p.probabilities, atol=1e-3)


def test_a_script_with_pandas_reads_them(predicted: Prediction, tmp_path: Path) -> None:
    _, predictions, residues = predicted.save(tmp_path, ["p2rank"])
    pockets = pd.read_csv(predictions, skipinitialspace=True)
    pockets.columns = pockets.columns.str.strip()
    assert pockets["name"].str.strip().tolist() == [f"pocket{p.rank}" for p in predicted.pockets]
    assert pockets["sas_points"].tolist() == [len(p.points) for p in predicted.pockets]
    table = pd.read_csv(residues, skipinitialspace=True)
    assert (
        table["zscore"].std(ddof=0) == pytest.approx(1, abs=1e-2)
        and table["pocket"].tolist() == predicted.pocket_of_residue.tolist()
    )


def test_insertion_codes_negative_numbers_and_earlier_files(tmp_path: Path) -> None:
    p = make_prediction()
    paths = p.save(tmp_path, ["p2rank"])
    table = pd.read_csv(StringIO(paths[2].read_text()), skipinitialspace=True, dtype=str)
    assert {"-3", "0", "0A"} <= set(table["residue_label"].str.strip())
    r = p.structure.residues  # a chain name with a comma, from mmCIF, moves no column
    odd = replace(p, structure=replace(p.structure, residues=replace(r, chain=np.where(r.chain == "A", "A,x", r.chain))))
    _, predictions, residues = odd.save(tmp_path / "odd", ["p2rank"])
    assert "A,x" in pd.read_csv(residues, skipinitialspace=True)["chain"].tolist()
    assert len(pd.read_csv(predictions)) == len(odd.pockets)
    make_prediction().save(tmp_path, ["csv"])  # another prediction of that name: no table of the earlier one stays
    assert not any(path.exists() for path in paths)
