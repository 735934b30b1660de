"""Labels of complexes with nucleic acids, and their split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes import crossbind_complexes
from benchmarks.recipes.crossbind_complexes import (
    COLUMNS,
    NucleicComplex,
    nucleotides,
    read_nucleic,
    split_nucleic,
    without_relatives,
)
from s2p.datasets import splits
from s2p.io.files import read_csv
from s2p.structure.nucleic import GAP, touching
from s2p.structure.reading import Structure, read_structure

TABLE = Path(__file__).resolve().parents[3] / "data" / "splits" / "nucleic.csv"


@pytest.fixture(scope="module")
def ubiquitin(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")


def pdb_line(record: str, name: str, residue: str, chain: str, number: int, xyz: tuple[float, float, float], element: str) -> str:
    x, y, z = xyz
    return (
        f"{record:<6}{1:>5} {name:<4} {residue:>3} {chain}{number:>4}    {x:8.3f}{y:8.3f}{z:8.3f}{1:6.2f}{0:6.2f}{element:>12}\n"
    )


def test_a_residue_binds_below_the_radii_and_half_an_angstrom(ubiquitin: Structure) -> None:
    carbon = np.flatnonzero(ubiquitin.atoms.element == "C")
    far = ubiquitin.atoms.coord.astype(float).mean(axis=0) + np.array([200.0, 0, 0])
    moved = ubiquitin.atoms.coord.copy()
    moved[carbon[0]] = far  # an atom alone, so that nothing else is near
    lone = replace(ubiquitin, atoms=replace(ubiquitin.atoms, coord=moved))
    where = ubiquitin.atoms.residue_index[carbon[0]]
    for element, radius in (("N", 1.55), ("P", 1.80)):
        for step, binds in ((-0.01, 1), (0.01, 0)):
            at = moved[carbon[0]].astype(float) + np.array([1.70 + radius + GAP + step, 0, 0])
            labels = touching(lone, at[None], np.array([element]))
            assert labels.sum() == binds and labels[where] == binds
    # The nearest atom need not be the one that touches: a phosphorus farther off than a nitrogen may.
    at = moved[carbon[0]].astype(float) + np.array([[3.80, 0, 0], [0, 3.95, 0]])
    assert touching(lone, at, np.array(["N", "P"]))[where] == 1
    assert touching(lone, at[:1], np.array(["N"]))[where] == 0


def test_kinds_are_of_chains(tmp_path: Path) -> None:
    path = tmp_path / "ligand_00.pdb"
    rows = [("A", "DA"), ("A", "DT"), ("B", "A"), ("B", "DU"), ("B", "G"), ("C", "DG"), ("C", "PSU")]
    text = "".join(pdb_line("ATOM", "P", name, c, k, (5.0 * k, 0, 0), "P") for k, (c, name) in enumerate(rows))
    path.write_text(
        text + pdb_line("ATOM", "H5", "DT", "A", 1, (1, 1, 1), "H") + pdb_line("ATOM", "N1", "A", "B", 2, (9, 9, 9), "N")
    )
    found = nucleotides([path])
    assert sorted(found) == ["dna", "rna"]
    assert found["dna"][0][:, 0].tolist() == [0, 5, 25, 30] and set(found["dna"][1]) == {"P"}
    assert sorted(found["rna"][1]) == ["N", "P", "P", "P"]


def test_complexes_are_read_with_the_chains_that_touch(tmp_path: Path, examples: Path) -> None:
    import gemmi

    whole = gemmi.read_structure(str(examples / "3mht.pdb.gz"))
    whole.setup_entities()
    place = tmp_path / "nucleic" / "own" / "3MHT"
    place.mkdir(parents=True)
    for name, nucleic in (("protein.pdb", False), ("ligand_00.pdb", True)):
        part = gemmi.Structure()
        model = gemmi.Model(1)
        for chain in whole[0]:
            own = chain.clone()
            for k in reversed(range(len(own))):
                kind = gemmi.find_tabulated_residue(own[k].name)
                if not (kind.is_nucleic_acid() if nucleic else kind.is_amino_acid()):
                    del own[k]
            if len(own):
                model.add_chain(own)
        if not nucleic:
            copy = model[0].clone()
            copy.name = "Z"
            for residue in copy:
                for atom in residue:
                    atom.pos += gemmi.Position(500, 0, 0)
            model.add_chain(copy)
        part.add_model(model)
        part.write_pdb(str(place / name))
    (tmp_path / "nucleic" / "index.csv").write_text("set,id\nown,3MHT\n")
    (tmp_path / "nucleic" / "chain_clusters_all.csv").write_text("chain,cluster30\nown|3MHT|A,x1\nown|3MHT|Z,x1\n")
    (found,) = read_nucleic(tmp_path)
    assert found.key == "own/3MHT" and found.clusters == ("x1",) and found.structure.chains == ["A"]
    assert list(found.labels) == ["dna"] and 30 < found.labels["dna"].sum() < 80


def made(name: str, sequence: str, kinds: tuple[str, ...], cluster: str, structure: Structure) -> NucleicComplex:
    labels = dict.fromkeys(kinds, np.ones(len(structure.residues), np.uint8))
    return NucleicComplex("own", name, structure, labels, (cluster,), (sequence,))


def test_groups_stay_together_and_away_from_what_was_learned(ubiquitin: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 80)) for _ in range(64)]
    kinds = [("dna",), ("rna",), ("rna",), ("dna", "rna")]
    complexes = []
    for k, text in enumerate(texts):
        complexes.append(made(f"{k}", text, kinds[k % 4], f"c{k}", ubiquitin))
        complexes.append(made(f"{k}b", "M" + text[1:], kinds[k % 4], f"d{k}", ubiquitin))  # a relative in another cluster
    learned, public = texts[2::4], [*texts[0:16:4], *texts[1:17:4], *texts[2:10:4]]
    split, group = split_nucleic(complexes, learned, public)
    for k in range(64):
        assert group[f"own/{k}"] == group[f"own/{k}b"] and split[f"own/{k}"] == split[f"own/{k}b"]
    assert {split[f"own/{k}"] for k in range(3, 64, 4)} == {"train"}  # both kinds
    assert {split[f"own/{k}"] for k in range(2, 10, 4)} == {"unused"} and {split[f"own/{k}"] for k in range(10, 64, 4)} == {
        "train"
    }
    assert {split[f"own/{k}"] for k in (*range(0, 16, 4), *range(1, 17, 4))} == {"test"}
    assert {split[f"own/{k}"] for k in range(17, 64, 4)} == {"test", "validation"}
    assert {split[f"own/{k}"] for k in range(16, 64, 4)} == {"test", "validation", "train"}
    again, _ = split_nucleic(complexes[::-1], learned, public)
    assert again == split


def test_relatives_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 80)) for _ in range(3)]
    assert without_relatives({"a": texts[0], "b": texts[1]}, ["M" + texts[0][1:], texts[2]]) == {"b"}


def test_the_table_of_splits() -> None:
    rows = read_csv(TABLE, COLUMNS)
    assert len({(row["set"], row["id"]) for row in rows}) == len(rows) > 300
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["group"], set()).add(row["split"])
        assert row["split"] in {"train", "validation", "test", "unused"} and set(row["kinds"].split()) <= set(
            crossbind_complexes.KINDS
        )
    assert all(len(found - {"unused"}) <= 1 for found in sides.values())
    held = {kind: {row["group"] for row in rows if row["kinds"] == kind and row["split"] == "test"} for kind in ("dna", "rna")}
    assert len(held["dna"]) >= 15 and len(held["rna"]) >= 50
