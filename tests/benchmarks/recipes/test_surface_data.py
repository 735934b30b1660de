"""The table of complexes for the surface network: whole clusters, no relatives on both sides, what is left out."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import gemmi
import numpy as np
import pytest
from builders import write_chains

from benchmarks.recipes.surface_data import HELD_OUT, TEST_SHARE, VALIDATION_SHARE, main
from s2p.datasets import splits
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import drawn
from s2p.io.files import read_csv, write_csv

needs_mmseqs = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="mmseqs2 is not installed")
TABLE = Path(__file__).resolve().parents[3] / "data" / "splits" / "surface.csv"


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def random_sequence(draw: np.random.Generator, length: int = 120) -> str:
    return "".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))


def relative(draw: np.random.Generator, sequence: str) -> str:
    """About 70 % identical to it."""
    return "".join(str(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"))) if draw.random() < 0.3 else x for x in sequence)


def write_protein(path: Path, sequence: str) -> None:
    """Backbone atoms of a helix."""
    chain = gemmi.Chain("A")
    for k, letter in enumerate(sequence):
        residue = gemmi.Residue()
        residue.name, residue.seqid = gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA), gemmi.SeqId(str(k + 1))
        for j, name in enumerate(("N", "CA", "C", "O")):
            atom, angle = gemmi.Atom(), np.radians(100 * k + 30 * j)
            atom.name, atom.element = name, gemmi.Element(name[0])
            atom.pos = gemmi.Position(2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * k + 0.4 * j)
            residue.add_atom(atom)
        chain.add_residue(residue)
    model, structure = gemmi.Model(1), gemmi.Structure()
    model.add_chain(chain)
    structure.add_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    structure.write_pdb(str(path))


def write_complex(folder: Path, sequence: str, atoms: int = 8, distance: float = 5.0) -> None:
    """With a ligand of so many atoms along the helix, at this distance from its axis."""
    write_protein(folder / "protein.pdb", sequence)
    lines = [
        f"HETATM{k + 1:5d}  C{k + 1:<2d} LIG A 900    {distance:8.3f}{0:8.3f}{20 + 1.5 * k:8.3f}  1.00  0.00           C"
        for k in range(atoms)
    ]
    (folder / "ligand_00.pdb").write_text("\n".join([*lines, "END", ""]))


@pytest.mark.parametrize("method", [pytest.param("mmseqs2", marks=needs_mmseqs), "kmer"])
def test_splits_of_a_small_folder(
    method: str, tmp_path: Path, draw: np.random.Generator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: method)
    data, tables = tmp_path / "data", tmp_path / "splits"
    held, kept = random_sequence(draw), random_sequence(draw)
    bundled, labelled, far = (random_sequence(draw) for _ in range(3))
    old = {"train": kept, "validation": random_sequence(draw), "test": held, "unused": relative(draw, held)}
    fresh = {f"f{k:02d}": random_sequence(draw) for k in range(8)}
    place = {name: "test2" if x < TEST_SHARE else "validation2" if x < TEST_SHARE + VALIDATION_SHARE else "train"
             for name in fresh for x in [drawn(f"s2p-surface-1:{name}")]}  # fmt: skip
    assert set(place.values()) == {"test2", "validation2", "train"}
    # Fresh sets may have relatives in ligysis_far, but what is trained on may not: this one's cluster is drawn for training.
    near_far = next(name for k in range(99) if drawn(f"s2p-surface-1:{(name := f'g{k}')}") >= TEST_SHARE + VALIDATION_SHARE)
    new = fresh | {
        "near_test": relative(draw, held),
        "near_training": relative(draw, kept),
        "near_labelled": relative(draw, labelled),
        "near_bundled": relative(draw, bundled),
        near_far: relative(draw, far),
        "in_cluster": random_sequence(draw),
        "short": random_sequence(draw, 49),
        "small_ligand": random_sequence(draw),
        "far_ligand": random_sequence(draw),
    }
    cluster_of = {name: name for name in new} | {"in_cluster": "old_validation"}
    for name, sequence in old.items():
        write_complex(data / "complexes" / "s" / name, sequence)
    for name, sequence in new.items():
        write_complex(
            data / "complexes2" / "n" / name,
            sequence,
            atoms=5 if name == "small_ligand" else 8,
            distance=30.0 if name == "far_ligand" else 5.0,
        )
    write_protein(tmp_path / "examples" / "x.pdb", bundled)
    chains = {"near_test_too": relative(draw, held), "free": random_sequence(draw), "far": far, "seen": random_sequence(draw)}
    for name, sequence in chains.items():
        write_protein(data / "ligysis" / "chains" / f"{name}.pdb", sequence)
    (data / "sequences" / "small").mkdir(parents=True)
    write_chains(data / "sequences" / "small" / "scpdb.txt", [LabelledChain("a", labelled, np.ones(len(labelled), np.uint8))])
    tables.mkdir()
    write_csv(data / "complexes" / "index.csv", [("s", name, "OK", "") for name in old], ("dataset", "id", "status", "flag"))
    present = [(f"s|{name}|A", f"old_{name}") for name in old]
    write_csv(data / "complexes" / "chain_clusters.csv", present, ("chain", "cluster30"))
    write_csv(tables / "complexes.csv", [("s", name, name) for name in old], ("dataset", "id", "split"))
    write_csv(data / "complexes2" / "index.csv", [("n", name, cluster_of[name]) for name in new], ("set", "id", "clusters30"))
    every = [*present, *((f"n|{name}|A", cluster_of[name]) for name in new), *((f"LIGYSIS|{c}|train", f"l_{c}") for c in chains)]
    write_csv(data / "complexes2" / "chain_clusters_all.csv", every, ("chain", "cluster30"))
    rows = [
        ("train" if c in ("near_test_too", "free") else "validation", f"{c}.pdb", " ".join(f"{q[k]}{k}" for k in range(9)), q, c)
        for c, q in chains.items()
    ]
    columns = ("split", "chain_file", "binding_residues_0based_uniprot", "uniprot_sequence", "uniprot")
    write_csv(data / "ligysis" / "chains.csv", rows, columns)
    write_csv(tables / "ligysis.csv", [("far",)], ("uniprot",))

    command = [str(data), "--examples", str(tmp_path / "examples"), "--splits", str(tables), "-o", str(tmp_path / "surface.csv")]
    assert main(command) == 0
    table = read_csv(tmp_path / "surface.csv", ("set", "id", "split", "clusters30"))
    found = {row["id"]: row["split"] for row in table}
    assert {name: found.pop(name) for name in old} == {name: name for name in old}
    assert {name: found.pop(name) for name in fresh} == place
    assert found == {
        "near_test": "unused",
        "near_training": "train",
        "near_labelled": "train",
        "near_bundled": "unused",
        near_far: "unused",
        "in_cluster": "unused",
        "near_test_too": "unused",
        "free": "ligysis_train",
        "far": "ligysis_far",
    }
    assert {row["id"]: row["clusters30"] for row in table}["in_cluster"] == "old_validation"
    assert "ligysis_far: 1 in 1 clusters" in capsys.readouterr().out


def test_no_cluster_of_the_committed_table_is_on_both_sides() -> None:
    rows = read_csv(TABLE, ("set", "id", "split", "clusters30"))
    assert [(row["set"], row["id"]) for row in rows] == sorted({(row["set"], row["id"]) for row in rows})
    clusters = defaultdict(set)
    for row in rows:
        clusters[row["split"]].update(row["clusters30"].split())
    training = clusters["train"] | clusters["ligysis_train"]
    assert set(clusters) == {"train", "ligysis_train", "unused", *HELD_OUT}
    assert not any(training & clusters[split] for split in HELD_OUT)
    for fresh in ("test2", "validation2"):
        assert not clusters[fresh] & set().union(*(clusters[s] for s in HELD_OUT if s not in (fresh, "ligysis_far")))
    assert len(clusters["test2"]) >= 120
    assert len(clusters["validation2"]) >= 50


def test_the_committed_table_keeps_what_was_held_out() -> None:
    now = {(row["set"], row["id"]): row["split"] for row in read_csv(TABLE, ("set", "id", "split"))}
    for row in read_csv(TABLE.parent / "complexes.csv", ("dataset", "id", "split")):
        kept = now.get((row["dataset"], row["id"]))
        assert kept == row["split"] or (row["split"] == "train" and kept in (None, "unused"))
    far = {row["uniprot"] for row in read_csv(TABLE.parent / "ligysis.csv", ("uniprot",))}
    assert far == {name for (dataset, name), split in now.items() if (dataset, split) == ("ligysis", "ligysis_far")}
