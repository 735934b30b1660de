"""Inputs of a batch, and their order."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import pytest
from batch_stub import pdb
from hypothesis import given
from hypothesis import strategies as st

from s2p.batch.inputs import Item, estimate_residues, expand_inputs, groups, longest_first
from s2p.structure.reading import read_structure

SIZES = st.lists(st.integers(1, 50), max_size=40)


@given(SIZES, st.integers(1, 120))
def test_groups_hold_everything_once_and_keep_the_budget(sizes: list[int], budget: int) -> None:
    entries = [(k, Item(str(k), str(k), size=size)) for k, size in enumerate(sizes)]
    found = list(groups(entries, budget))
    assert [entry for group in found for entry in group] == entries
    held = [[item.size for _, item in group] for group in found]
    for own in held:
        assert len(own) == 1 or sum(own) <= budget
    for own, following in pairwise(held):
        assert sum(own) + following[0] > budget, "there was room for more"


def test_the_largest_come_first_and_equals_stay_in_order(tmp_path: Path) -> None:
    for name, n in (("a", 30), ("b", 50), ("c", 30), ("d", 50)):
        (tmp_path / f"{name}.pdb").write_text(pdb(n))
    entries = longest_first(expand_inputs([str(tmp_path)]))
    assert [(index, item.stem) for index, item in entries] == [(1, "b"), (3, "d"), (0, "a"), (2, "c")]
    assert [item.size for _, item in entries] == [estimate_residues(item) for _, item in entries]


def test_sizes_are_guessed_from_files(tmp_path: Path, examples: Path) -> None:
    (tmp_path / "a.pdb").write_text(pdb(100))
    with gzip.open(tmp_path / "a.pdb.gz", "wt") as handle:
        handle.write(pdb(100))
    sizes = [estimate_residues(Item("", "", path=tmp_path / name)) for name in ("a.pdb", "a.pdb.gz", "none.pdb")]
    assert sizes[0] > sizes[1] > sizes[2] == 1
    assert estimate_residues(Item("1ake", "1ake", identifier="1ake")) > 1
    assert estimate_residues(Item("x", "x", error="wrong")) == 1
    for name in ("4CUP.cif", "1pwc.pdb.gz", "7CFN.cif.gz"):
        n = len(read_structure(examples / name).residues)
        assert n / 3 < estimate_residues(Item("", "", path=examples / name)) < 3 * n, name


def test_what_a_list_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("p#2.pdb", "data/x.pdb", "lists/y.pdb", "both.pdb", "lists/both.pdb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(pdb(5))
    lines = [
        "p#2.pdb",
        "#p#2.pdb",
        "data/x.pdb\t# from here",
        "y.pdb #z",
        "both.pdb",
        "1ake",
        "none.pdb",
        f"{tmp_path}/no.pdb",
        "n" * 5000,
    ]
    (tmp_path / "lists/l.txt").write_text("\n".join(lines))
    items = expand_inputs(["lists/l.txt"])
    assert [item.input for item in items[:-2]] == ["p#2.pdb", "data/x.pdb", "lists/y.pdb", "lists/both.pdb", "1ake", "none.pdb"]
    assert [item.error for item in items[:5]] == [""] * 5 and items[4].identifier == "1ake"
    assert items[5].error == "none.pdb: no such file, neither from the folder of lists/l.txt nor from the current one"
    assert items[6].path == tmp_path / "no.pdb"
    assert "no such file" in items[7].error
