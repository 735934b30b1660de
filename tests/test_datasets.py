"""Label files, alignment of labels, complexes on disk, enhancement and splits."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from s2p.datasets import (
    Complex,
    LabelledChain,
    enhance,
    labels_on_chain,
    read_complexes,
    read_ligysis,
    read_three_line,
    write_three_line,
)
from s2p.errors import S2PError
from s2p.splits import cluster, homologous, split_complexes
from s2p.structure import read_structure

needs_mmseqs = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="mmseqs2 is not installed")


def test_three_line_round_trip(tmp_path: Path) -> None:
    chains = [LabelledChain("a", "ACDE", np.array([0, 1, 1, 0], np.uint8)), LabelledChain("b c", "G", np.array([1], np.uint8))]
    write_three_line(tmp_path / "x.txt", chains)
    back = read_three_line(tmp_path / "x.txt")
    assert [(c.id, c.sequence, c.labels.tolist(), c.source) for c in back] == [
        ("a", "ACDE", [0, 1, 1, 0], "x"),
        ("b c", "G", [1], "x"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a\nACD\n0101\n", "record 1 .line 1., a: 3 letters but 4 labels"),
        (">a\nACD\n010\n>b\nACD\n0x0\n", "record 2 .line 4., b: labels must be 0 or 1, found 'x'"),
        (">a\nAC1\n010\n", "'1' is no amino-acid letter"),
        (">a\nACD\n", "three lines a record"),
        ("a\nACD\n010\n", "three lines a record"),
        ("", "no records"),
    ],
)
def test_bad_label_files_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(S2PError, match=message):
        read_three_line(tmp_path / "x.txt")


def test_labels_follow_the_alignment() -> None:
    """The structure lacks the first three and two inner residues, and one residue is mutated."""
    reference = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"
    binding = [4, 12, 20, 32]
    observed = "AYIAKQRQISFVKSHASRQLERLGLIEVQ"
    labels = labels_on_chain(observed, reference, binding)
    assert [observed[i] for i in np.flatnonzero(labels)] == [reference[i] for i in binding]
    assert len(labels) == len(observed)


def test_enhancement_takes_the_union_of_one_protein() -> None:
    a = LabelledChain("a", "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", np.eye(33, dtype=np.uint8)[5])
    b = LabelledChain("b", "TAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", np.eye(31, dtype=np.uint8)[8])
    merged = enhance([a, b], [[0, 1]])
    assert len(merged) == 1
    assert np.flatnonzero(merged[0].labels).tolist() == [5, 10]
    assert a.labels.sum() == 1  # the input is left alone


def make_complexes(folder: Path, examples: Path) -> Path:
    place = folder / "set" / "one"
    place.mkdir(parents=True)
    import gemmi

    parsed = gemmi.read_structure(str(examples / "4CUP.cif"))
    parsed.write_pdb(str(place / "protein.pdb"))
    ligand = next(x for x in read_structure(examples / "4CUP.cif").ligands if x.name == "ZYB")
    lines = [
        f"HETATM{k:5d} {name:<4s} ZYB A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2s}\n"
        for k, (name, element, (x, y, z)) in enumerate(
            zip(ligand.atom_name, ligand.element, ligand.coord.tolist(), strict=True), 1
        )
    ]
    (place / "ligand_00.pdb").write_text("".join(lines) + "END\n")
    (folder / "index.csv").write_text("dataset,id,status,flag\nset,one,OK,\nset,two,OK,exclude\nset,three,SKIP,\n")
    (folder / "chain_clusters.csv").write_text("chain,cluster30,cluster90\nset|one|A,k,k\nset|two|A,k,k\n")
    return folder


def test_complexes_are_read_and_excluded_ones_left_out(tmp_path: Path, examples: Path) -> None:
    found = read_complexes(make_complexes(tmp_path, examples))
    assert [x.key for x in found] == ["set/one"]
    assert found[0].clusters == ("k",)
    ligand = next(x for x in read_structure(examples / "4CUP.cif").ligands if x.name == "ZYB")
    np.testing.assert_allclose(found[0].ligand_coords()[0], ligand.coord, atol=1e-3)
    assert len(found[0].read().residues) == 115


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


def entry(name: str, *clusters: str) -> Complex:
    return Complex("s", name, Path("p"), (Path("l"),), clusters)


def test_split_never_shares_a_cluster() -> None:
    draw = np.random.default_rng(0)
    complexes = [entry(str(k), *{f"c{draw.integers(80)}", f"c{draw.integers(80)}"}) for k in range(300)]
    split = split_complexes(complexes, always_test=["c7"])
    groups = {
        name: {c for x in complexes if split[x.key] == name for c in x.clusters} for name in ("train", "validation", "test")
    }
    assert all(groups.values())
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    assert all(split[x.key] == "test" for x in complexes if "c7" in x.clusters)


def test_split_does_not_change_when_data_are_added() -> None:
    first = [entry(str(k), f"c{k}") for k in range(50)]
    more = first + [entry(f"n{k}", f"d{k}") for k in range(50)]
    a, b = split_complexes(first), split_complexes(more)
    assert all(a[key] == b[key] for key in a)


@needs_mmseqs
def test_homologues_are_found_and_strangers_not() -> None:
    draw = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    a = "".join(draw.choice(letters, 150))
    mutated = "".join(draw.choice(letters) if draw.random() < 0.4 else x for x in a)
    stranger = "".join(draw.choice(letters, 150))
    assert homologous({"q": a}, {"near": mutated, "far": stranger}) == {"near": {"q"}}
    groups = cluster({"a": a, "copy": a[:-5], "far": stranger})
    assert sorted(sorted(g) for g in groups) == [["a", "copy"], ["far"]]


def test_without_mmseqs_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(S2PError, match="apt install mmseqs2"):
        homologous({"a": "ACD"}, {"b": "ACD"})
