"""Sets that the recipes read: LIGYSIS chains and archives of labelled sequences."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from builders import write_chains

from benchmarks.recipes.data import read_chains, read_ligysis
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.structure.reading import read_structure


def test_ligysis_layout(tmp_path: Path, examples: Path) -> None:
    import gemmi

    (tmp_path / "chains").mkdir()
    parsed = gemmi.read_structure(str(examples / "4CUP.cif"))
    parsed.write_pdb(str(tmp_path / "chains" / "x.pdb"))
    sequence = read_structure(examples / "4CUP.cif").sequence()
    row = ["validation", "P1", "x.pdb", f"{sequence[3]}6 {sequence[50]}53", "MMM" + sequence]
    with open(tmp_path / "chains.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["split", "uniprot", "chain_file", "binding_residues_0based_uniprot", "uniprot_sequence"])
        writer.writerow(row)
    chain, structure = next(read_ligysis(tmp_path, "validation"))
    assert chain.sequence == structure.sequence() == sequence
    assert np.flatnonzero(chain.labels).tolist() == [3, 50]
    assert list(read_ligysis(tmp_path, "train")) == []


def test_archives_may_hold_what_is_not_trained_on(tmp_path: Path) -> None:
    chains = [LabelledChain("a", "ACDE", np.array([0, 1, 1, 0], np.uint8)), LabelledChain("b c", "G", np.array([0], np.uint8))]
    write_chains(tmp_path / "x.txt", [*chains, chains[0]])
    back = read_chains(tmp_path / "x.txt")
    assert [(c.id, c.sequence, c.labels.tolist(), c.source) for c in back] == [
        ("a", "ACDE", [0, 1, 1, 0], "x"),
        ("b c", "G", [0], "x"),
        ("a", "ACDE", [0, 1, 1, 0], "x"),
    ]
    (tmp_path / "y.txt").write_text(">a\nACD\n010\n>b\n")
    with pytest.raises(S2PError, match="three lines a record"):
        read_chains(tmp_path / "y.txt")
