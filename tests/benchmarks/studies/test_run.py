"""The command of the studies: a table that a broken-off run goes on from, and pairs found among real files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes.unseen import UnseenScores, write_unseen
from benchmarks.studies.rows import FIGURES, StudyRow
from benchmarks.studies.run import StudyTable, main, read_bare
from s2p.errors import S2PError
from s2p.evaluation.intervals import Summary

FACTS = {"dataset": "d", "split": "validation", "model": "m"}


def row(variant: str) -> StudyRow:
    figures = {key: Summary(0.5, 0.4, 0.6) for key in FIGURES}
    return StudyRow("features", variant, 1, 2, figures, {}, {"dca_n": (True, False), "dcc_n": (False, False)})


def test_a_run_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    said: list[str] = []
    StudyTable(tmp_path, "points", FACTS).add([row("a"), row("b")], said.append)
    again = StudyTable(tmp_path, "points", FACTS)
    assert list(again.done("features")) == ["a", "b"] and not again.done("classifiers")
    again.add([row("b"), row("c")], said.append)
    assert len(said) == 3
    stored = json.loads((tmp_path / "points.json").read_text())
    assert [entry["variant"] for entry in stored["rows"]] == ["a", "b", "c"] and "date" in stored
    assert len((tmp_path / "points.csv").read_text().splitlines()) == 4
    with pytest.raises(S2PError, match="of another split"):
        StudyTable(tmp_path, "points", FACTS | {"split": "test"})


def complexes(folder: Path, examples: Path) -> Path:
    """One complex cut out of a bundled structure; its ligand lies in the file of the crystal as well."""
    import gemmi

    structure = gemmi.make_structure_from_block(gemmi.cif.read_string((examples / "4CUP.cif").read_text()).sole_block())
    structure.setup_entities()
    ligand = structure.clone()
    for chain in ligand[0]:
        for k in reversed(range(len(chain))):
            if chain[k].name != "ZYB":
                del chain[k]
    structure.remove_ligands_and_waters()
    place = folder / "set" / "one"
    place.mkdir(parents=True)
    (place / "protein.pdb").write_text(structure.make_pdb_string())
    (place / "ligand_01.pdb").write_text(ligand.make_pdb_string())
    (folder / "index.csv").write_text("dataset,id,status,flag\nset,one,OK,\n")
    (folder / "chain_clusters.csv").write_text("chain,cluster30\nset|one|A,c1\n")
    (folder / "splits.csv").write_text("dataset,id,split\nset,one,validation\n")
    return folder


def shifted(line: str) -> str:
    """A line of a PDB file; side-chain atoms moved by 1 Å along x."""
    if not line.startswith("ATOM") or line[12:16].strip() in ("N", "CA", "C", "O"):
        return line
    return f"{line[:30]}{float(line[30:38]) + 1:8.3f}{line[38:]}"


def test_pairs_among_files(tmp_path: Path, examples: Path) -> None:
    data = complexes(tmp_path / "data", examples)
    others = tmp_path / "others"
    others.mkdir()
    (others / "crystal.cif").write_bytes((examples / "4CUP.cif").read_bytes())  # the ligand is in it: no pair
    lines = (data / "set/one/protein.pdb").read_text().splitlines()
    (others / "copy.pdb").write_text("\n".join(lines))
    (others / "bare.pdb").write_text("\n".join(shifted(line) for line in lines))
    (others / "broken.pdb").write_text("no structure")
    bare = read_bare(data, None, [others])
    assert set(bare) == {"set/one", "files/crystal.cif", "files/copy.pdb", "files/bare.pdb"}
    assert len(bare["files/crystal.cif"].occupied) > len(bare["set/one"].occupied) > 0
    table = ["--split-table", str(data / "splits.csv"), "--structures", str(others), "-o", str(tmp_path / "out"), "--quiet"]
    assert main(["robustness", str(data), *table, "--pairs-only"]) == 0
    (pair,) = csv.DictReader((tmp_path / "out" / "apo_pairs.csv").read_text().splitlines())
    assert (pair["chain"], pair["other"], pair["ligands"]) == ("set/one|A", "files/bare.pdb|A", "1")
    assert float(pair["fit_rmsd"]) == 0 and 0.3 < float(pair["site_rmsd"]) < 1
    assert main(["robustness", str(data), *table, "--predictor", "benchmarks.peers:RandomPatch"]) == 0
    stored = json.loads((tmp_path / "out" / "robustness.json").read_text())["rows"]
    assert [entry["study"] for entry in stored] == ["side chains"] * 2 + ["other structure, no ligand at the site"] * 2
    assert stored[2]["hits"] == stored[3]["hits"]  # the same CA atoms, so the same patches


def test_wrong_input_is_one_sentence(tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = complexes(tmp_path / "data", examples)
    unseen = write_unseen(
        {"x": UnseenScores(np.zeros(1, np.float32), np.zeros((1, 2), np.float32), np.zeros(1, bool))}, tmp_path / "u"
    )
    table = ["--split-table", str(data / "splits.csv"), "-o", str(tmp_path / "out"), "--unseen", str(unseen)]
    assert main(["points", str(data), *table, "--studies", "taste"]) == 1
    assert "there is no study 'taste'" in capsys.readouterr().err
    assert main(["points", str(data), *table]) == 1
    assert "there is no split 'train'" in capsys.readouterr().err
