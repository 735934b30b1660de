"""Helices and strands of real structures and of built ones."""

from __future__ import annotations

from pathlib import Path

from builders import make_structure

from s2p.structure.reading import read_structure
from s2p.structure.secondary import secondary_structure


def test_secondary_structure(examples: Path) -> None:
    assert set(secondary_structure(make_structure())) == {"a", "c"}  # two helices
    assert set(secondary_structure(make_structure(n=3))) == {"c"}  # too short for any
    # Human ubiquitin: strand at 1-7, helix at 23-34 (its paper), strand at 40-45.
    structure = read_structure(examples / "1ubi.pdb.gz")
    found = dict(zip(structure.residues.number.tolist(), secondary_structure(structure).tolist(), strict=True))
    assert {found[n] for n in range(25, 33)} == {"a"} and {found[n] for n in range(3, 6)} == {"b"} == {found[n] for n in (42, 43)}
