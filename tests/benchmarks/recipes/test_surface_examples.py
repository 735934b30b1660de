"""Examples of the surface network, made from toy complexes: all of them, in shares, and with moved atoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_complexes import write_complexes

from benchmarks.recipes.surface_examples import main, read_example


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("complexes")
    write_complexes(folder / "complexes")
    rows = ["set,id,split,clusters30", "toy,c00,train,x0", "toy,c01,train,x2", "toy,c11,validation,x1"]
    (folder / "surface.csv").write_text("\n".join([*rows, ""]))
    return [str(folder), "--table", str(folder / "surface.csv"), "--splits", "train,validation"]


def test_shares_are_parts_of_the_whole_and_finished_ones_stay(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "-o", str(tmp_path / "whole")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "parts"), "--share", "0/2"]) == 0
    first = sorted(path.name for path in (tmp_path / "parts").rglob("*.npz"))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.npz")}
    assert main([*arguments, "-o", str(tmp_path / "parts"), "--share", "1/2"]) == 0
    assert main([*arguments, "-o", str(tmp_path / "parts")]) == 0
    whole, parts = (
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.npz")) for name in ("whole", "parts")
    )
    assert whole == parts and 0 < len(first) < len(whole)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_copies_have_moved_atoms_and_the_truth_of_the_crystal(arguments: list[str], tmp_path: Path) -> None:
    for copy in ([], ["--copy", "0"], ["--copy", "1"]):
        assert main([*arguments, *copy, "-o", str(tmp_path)]) == 0
    for path in (tmp_path / "train").glob("*.npz"):
        x, *moved = (read_example(tmp_path / name / path.name) for name in ("train", "train_moved0", "train_moved1"))
        for y in moved:
            np.testing.assert_array_equal(y.label, x.label)
            np.testing.assert_array_equal(y.ligand, x.ligand)
            np.testing.assert_array_equal(y.language, x.language)
            assert (y.ca != x.ca).any() and (y.structure != x.structure).any()  # ProteinMPNN reads the moved backbone
        assert (moved[0].ca != moved[1].ca).any()
