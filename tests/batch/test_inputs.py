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
    order = longest_first(sizes)
    assert sorted(order) == list(range(len(sizes)))
    assert [sizes[k] for k in order] == sorted(sizes, reverse=True)
    found = list(groups(order, sizes, budget))
    assert [k for group in found for k in group] == order
    for group in found:
        assert len(group) == 1 or sum(sizes[k] for k in group) <= budget
    for group, following in pairwise(found):
        assert sum(sizes[k] for k in group) + sizes[following[0]] > budget, "there was room for more"


def test_equals_stay_in_order() -> None:
    assert longest_first([3, 5, 3, 5]) == [1, 3, 0, 2]


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
