"""Cube, cmap and mol2 files, read again by hand and by other programs' conventions."""

import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from builders import make_prediction, make_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.errors import S2PError
from s2p.models.kalasanty.export import BOHR, pocket_mol2, read_cmap, read_cube, write_cmap, write_cube
from s2p.models.kalasanty.grid import Box
from s2p.structure.reading import read_structure

BOX = Box((-3.5, 10.25, 0.125), (3, 4, 7), 2.0)


@pytest.fixture
def density() -> np.ndarray:
    """Asymmetric, so that no two axes can be taken for each other."""
    return np.random.default_rng(1).random(BOX.shape).astype(np.float32)


def test_a_cube_file_by_hand(tmp_path, density):
    lines = write_cube(tmp_path / "a.cube", density, BOX, "two\nlines").read_text().split("\n")
    assert lines[0] == "two lines"
    assert int(lines[2].split()[0]) == 1
    assert np.allclose(np.array(lines[2].split()[1:], float), np.array(BOX.origin) * BOHR)
    for axis, size in enumerate(BOX.shape):
        words = lines[3 + axis].split()
        assert int(words[0]) == size
        assert np.allclose(np.array(words[1:], float), 2 * BOHR * np.eye(3)[axis])
    assert lines[6].split()[0] == "1"
    # Seven values along z: a line of six and one of one, then the next y.
    assert [len(line.split()) for line in lines[7:11]] == [6, 1, 6, 1]
    values = np.array(" ".join(lines[7:]).split(), float)
    assert np.allclose(values[:7], density[0, 0]) and np.allclose(values[7:14], density[0, 1])
    assert np.allclose(values[28:35], density[1, 0])


def test_a_36_cube_has_6_values_a_line(tmp_path):
    box = Box((0.0, 0.0, 0.0), (2, 2, 36), 2.0)
    lines = write_cube(tmp_path / "a.cube", np.zeros(box.shape), box).read_text().splitlines()[7:]
    assert {len(line.split()) for line in lines} == {6} and len(lines) == 24


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_cube_and_cmap_are_read_again_as_they_were(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    a, b, c = rng.integers(1, 9, 3).tolist()
    x, y, z = rng.uniform(-300, 300, 3).round(4).tolist()
    box = Box((x, y, z), (a, b, c), float(rng.choice([1.0, 2.0, 0.5])))
    grid = rng.random((a, b, c)).astype(np.float32)
    folder = tmp_path_factory.mktemp("maps")
    for write, read in ((write_cube, read_cube), (write_cmap, read_cmap)):
        again, found = read(write(folder / "x", grid, box))
        assert (again == grid).all()
        assert found.shape == box.shape
        assert np.allclose(found.origin, box.origin, atol=1e-5) and found.step == pytest.approx(box.step, abs=1e-6)


def test_a_map_of_chimera_by_hand(tmp_path, density):
    with h5py.File(write_cmap(tmp_path / "a.cmap", density, BOX, "sites"), "r") as handle:
        image = handle["Chimera/image1"]
        assert list(handle["Chimera"]) == ["image1"]
        assert image.attrs["chimera_map_version"] == 1
        assert image.attrs["name"] == b"sites"
        assert image.attrs["origin"].tolist() == list(BOX.origin)
        assert image.attrs["step"].tolist() == [2, 2, 2]
        assert image["data_zyx"].dtype == np.float32 and image["data_zyx"].shape == (7, 4, 3)
        assert image["data_zyx"][6, 1, 2] == density[2, 1, 6]


def test_wrong_files_and_shapes_are_refused(tmp_path, density):
    wrong = tmp_path / "wrong"
    wrong.write_text("nothing\nof\nthe 1 2 kind")
    with pytest.raises(S2PError, match="cube file"):
        read_cube(wrong)
    with pytest.raises(S2PError, match="map of Chimera"):
        read_cmap(wrong)
    with pytest.raises(S2PError, match="cube file"):
        read_cube(tmp_path / "absent")
    for write in (write_cube, write_cmap):
        with pytest.raises(ValueError, match="cells for a box"):
            write(wrong, density.T, BOX)
    text = write_cube(tmp_path / "a.cube", density, BOX).read_text().splitlines()
    text[4] = text[4].replace(f"{2 * BOHR:14.8f}", f"{3 * BOHR:14.8f}")
    wrong.write_text("\n".join(text))
    with pytest.raises(S2PError, match="no cubes"):
        read_cube(wrong)
    assert wrong.read_text()


def test_maps_without_h5py_say_what_to_install(tmp_path, density, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(S2PError, match=r"s2p\[maps\]"):
        write_cmap(tmp_path / "a.cmap", density, BOX)


def sections(text: str) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("@<TRIPOS>"):
            rows = found.setdefault(line[9:], [])
        elif line.strip():
            rows.append(line.split())
    return found


def test_a_mol2_file_holds_whole_residues_with_their_bonds(examples):
    structure = read_structure(examples / "1s3v.pdb.gz")
    pocket = replace(make_prediction().pockets[0], residues=np.array([4, 5, 9], np.int32))
    parts = sections(pocket_mol2(structure, pocket))
    atoms = np.flatnonzero(np.isin(structure.atoms.residue_index, [4, 5, 9]))
    assert parts["MOLECULE"][1][:3] == [str(len(atoms)), str(len(parts["BOND"])), "3"]
    assert [row[1] for row in parts["ATOM"]] == structure.atoms.name[atoms].tolist()
    xyz = np.array([row[2:5] for row in parts["ATOM"]], float)
    assert np.allclose(xyz, structure.atoms.coord[atoms], atol=1e-3)
    # Every bond is one in space, and every pair close enough to be bonded is one.
    pairs = {(int(row[1]) - 1, int(row[2]) - 1) for row in parts["BOND"]}
    gap = np.linalg.norm(xyz[:, None] - xyz[None], axis=2)
    close = {(i, j) for i, j in zip(*np.nonzero((gap < 1.95) & (gap > 0)), strict=True) if i < j}
    assert pairs == close
    assert sum(row[3] == "am" for row in parts["BOND"]) >= 1  # residues 4 and 5 are neighbours, 9 is not
    assert [row[1] for row in parts["SUBSTRUCTURE"]] == [
        f"{structure.residues.name[r]}{structure.residues.number[r]}" for r in (4, 5, 9)
    ]
    roots = [int(row[2]) - 1 for row in parts["SUBSTRUCTURE"]]
    assert [structure.atoms.residue_index[atoms[k]] for k in roots] == [4, 5, 9]


def test_types_of_a_mol2_file():
    structure = make_structure()
    pocket = make_prediction().pockets[0]
    kinds = {row[1]: row[5] for row in sections(pocket_mol2(structure, pocket))["ATOM"]}
    assert kinds == {"N": "N.am", "CA": "C.3", "C": "C.2", "O": "O.2", "CB": "C.3"}


def test_voxels_are_dummy_atoms_of_their_own():
    structure, pocket = make_structure(), make_prediction().pockets[0]
    plain, dotted = (sections(pocket_mol2(structure, pocket, voxels=flag)) for flag in (False, True))
    extra = dotted["ATOM"][len(plain["ATOM"]) :]
    assert {row[5] for row in extra} == {"Du"} and {row[7] for row in extra} == {"POC"}
    assert np.allclose(np.array([row[2:5] for row in extra], float), pocket.points, atol=1e-3)
    assert dotted["BOND"] == plain["BOND"]
    assert int(dotted["MOLECULE"][1][0]) == len(dotted["ATOM"])
