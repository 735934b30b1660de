"""Prepared examples on disk."""

from dataclasses import replace

import pytest
from builders import make_structure

from benchmarks.recipes.kalasanty import load_examples, save_examples
from course.kalasanty_training import cavity_example
from s2p.errors import S2PError


def test_examples_are_read_again_as_they_were(tmp_path):
    structure = make_structure()
    example = cavity_example(structure, [ligand.coord for ligand in structure.ligands if ligand.kind == "molecule"])
    other = replace(example, name="none", sites=())
    found = load_examples(save_examples([example, other], tmp_path / "x.npz"))
    assert [x.name for x in found] == [example.name, "none"]
    for a, b in zip(found, (example, other), strict=True):
        assert (a.coord == b.coord).all() and (a.channels == b.channels).all()
        assert [s.tolist() for s in a.sites] == [s.tolist() for s in b.sites]
    (tmp_path / "x.npz").write_bytes(b"PK rubbish")
    with pytest.raises(S2PError, match="remove it"):
        load_examples(tmp_path / "x.npz")
