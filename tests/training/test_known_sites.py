"""Structures with known sites, from folders and label files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_complexes import helix, write_complexes, write_split

from s2p.checkpoint import load_checkpoint
from s2p.datasets.label_files import Annotation, format_annotations
from s2p.datasets.splits import split_complexes
from s2p.errors import S2PError
from s2p.predictor import Seq2Pocket
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import read_structure
from s2p.training.known_sites import embed_structures, read_known_sites, smoothing_examples

ROOT = Path(__file__).parents[2]


@pytest.fixture
def complexes(tmp_path: Path) -> Path:
    return write_complexes(tmp_path / "complexes")


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_split(tmp_path / "split.csv")


def test_complexes_are_read_by_their_split_and_the_test_is_not_opened(complexes: Path, split: Path) -> None:
    (complexes / "toy" / "c00" / "protein.pdb").write_text("no protein")
    found = read_known_sites(complexes, splits=split)
    assert [x.key for x in found["train"]] == [f"toy/c{k:02d}" for k in range(1, 9)]
    assert [x.key for x in found["validation"]] == ["toy/c09", "toy/c10", "toy/c11"]
    last = found["validation"][-1]
    assert len(last.sites) == 2 and last.structure.chains == ["A", "B"]
    for site, height in zip(last.sites, (12.0, 30.0), strict=True):
        ring = [(5.5 + 1.4 * np.cos(a), 1.4 * np.sin(a), height) for a in np.arange(6) * np.pi / 3]
        assert site.tolist() == binding_residues(last.structure, ring, 4.5).tolist()
        assert len(site)


def test_without_a_split_file_clusters_decide(complexes: Path) -> None:
    from s2p.datasets.labelled import read_complexes

    expected = split_complexes(read_complexes(complexes))
    names = {name: {key for key, value in expected.items() if value == name} for name in ("train", "validation")}
    if not names["validation"]:
        pytest.fail("the hash of these names gives no validation; change the names")
    found = read_known_sites(complexes)
    assert {name: {x.key for x in items} for name, items in found.items()} == names


def labels(complexes: Path, path: Path, form: str = "published", **changes: str) -> Path:
    """A label file for the complexes, their structures beside it as ``c00.pdb`` and so on."""
    lines = []
    for k in range(12):
        source = complexes / "toy" / f"c{k:02d}" / "protein.pdb"
        shutil.copy(source, path.parent / f"c{k:02d}.pdb")
        structure = read_structure(source)
        lines.append(Annotation(f"C{k:02d}", "A", "BNZ", np.array([6, 9, 10], np.int32), structure.sequence("A")))
    lines.append(Annotation("C11", "B", "X", np.array([2, 5], np.int32), structure.sequence("B")))
    path.write_text(format_annotations(lines, form))
    return path


@pytest.mark.parametrize("form", ["published", "csv"])
def test_label_files_give_one_site_a_line(complexes: Path, tmp_path: Path, split: Path, form: str) -> None:
    table = labels(complexes, tmp_path / "mine.txt", form)
    split.write_text(split.read_text().replace("toy,c", "mine,C"))
    found = read_known_sites(table, splits=split)
    assert [x.key for x in found["validation"]] == ["mine/C09", "mine/C10", "mine/C11"]
    assert [site.tolist() for site in found["validation"][0].sites] == [[6, 9, 10]]
    assert [site.tolist() for site in found["validation"][2].sites] == [[6, 9, 10], [32, 35]]


def test_chains_alike_in_a_label_file_stay_together(complexes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a split file the label file's chains are clustered, and clusters, not chains, are split."""
    table = labels(complexes, tmp_path / "mine.txt")
    asked = {}

    def pairs(sequences, *, identity, coverage):
        asked.update(sequences)
        names = list(sequences)
        return [names[k : k + 2] for k in range(0, len(names), 2)]

    monkeypatch.setattr("s2p.training.known_sites.cluster", pairs)
    found = read_known_sites(table)
    assert len(asked) == 13 and asked["mine/C11|B"] == asked["mine/C11|A"]
    where = {x.key: name for name, items in found.items() for x in items}
    for k in range(0, 12, 2):
        assert where.get(f"mine/C{k:02d}") == where.get(f"mine/C{k + 1:02d}")


def test_label_files_must_fit_their_structures(complexes: Path, tmp_path: Path, split: Path) -> None:
    table = labels(complexes, tmp_path / "mine.txt")
    split.write_text(split.read_text().replace("toy,c", "mine,C"))
    (tmp_path / "c09.pdb").write_text(helix(77))
    with pytest.raises(S2PError, match=r"mine.txt, line 10: the sequence of C09_A .30 residues. is not that"):
        read_known_sites(table, splits=split)
    (tmp_path / "c03.pdb").unlink()
    with pytest.raises(S2PError, match=r"mine.txt, line 4: no structure file of C03"):
        read_known_sites(table, splits=split)
    (tmp_path / "records.txt").write_text(">x\nACD\n010\n")
    with pytest.raises(S2PError, match=r"line 1: x has no chain"):
        read_known_sites(tmp_path / "records.txt")


def test_wrong_folders_and_splits_are_explained(complexes: Path, tmp_path: Path, split: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(S2PError, match="no such file, so .*empty is not a folder of complexes"):
        read_known_sites(tmp_path / "empty")
    with pytest.raises(S2PError, match="no such file"):
        read_known_sites(tmp_path / "missing.csv")
    with pytest.raises(S2PError, match="no such file"):
        read_known_sites(complexes, splits=tmp_path / "missing.csv")
    bad = tmp_path / "bad.csv"
    bad.write_text("name,split\nc01,train\n")
    with pytest.raises(S2PError, match="no column 'dataset'; it needs dataset, id, split"):
        read_known_sites(complexes, splits=bad)
    bad.write_text("dataset,id,split\ntoy,c01,train\n")
    with pytest.raises(S2PError, match="11 structures are not in this split file, the first is toy/c00"):
        read_known_sites(complexes, splits=bad)
    bad.write_text(split.read_text().replace("validation", "unused"))
    with pytest.raises(S2PError, match="none of its 12 structures is in the validation split with a site"):
        read_known_sites(complexes, splits=bad)


def test_embeddings_are_those_of_the_pipeline(complexes: Path, split: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint("s2p-esm2-8m")
    items = read_known_sites(complexes, splits=split)["validation"]
    found = embed_structures(checkpoint.model, items, tmp_path / "cache")
    examples = smoothing_examples(items, [e for _, e in found])
    for item, example, (logits, _) in zip(items, examples, found, strict=True):
        scores = Seq2Pocket(checkpoint).score(item.structure)
        np.testing.assert_allclose(example.embeddings, scores.embeddings, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(logits, scores.sequence_logits, rtol=1e-4, atol=1e-4)
        assert example.binding.sum() == len(set(np.concatenate(item.sites).tolist()))
