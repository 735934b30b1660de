"""Cube and CCP4 files by hand and as gemmi reads them."""

import gemmi
import numpy as np
import pytest

from s2p.output.maps import BOHR, ccp4_bytes, cube_text

ORIGIN, STEP = (-3.5, 10.25, 0.125), 2.0


@pytest.fixture
def density() -> np.ndarray:
    """Asymmetric, so that no two axes can be taken for each other."""
    return np.random.default_rng(1).random((3, 4, 7)).astype(np.float32)


def test_a_cube_file_by_hand(density):
    lines = cube_text(density, ORIGIN, STEP).split("\n")
    assert lines[0] == "density of binding cavities"
    assert int(lines[2].split()[0]) == 1
    assert np.allclose(np.array(lines[2].split()[1:], float), np.array(ORIGIN) * BOHR)
    for axis, size in enumerate(density.shape):
        words = lines[3 + axis].split()
        assert int(words[0]) == size
        assert np.allclose(np.array(words[1:], float), 2 * BOHR * np.eye(3)[axis])
    assert lines[6].split()[0] == "1"
    # Seven values along z: a line of six and one of one, then the next y.
    assert [len(line.split()) for line in lines[7:11]] == [6, 1, 6, 1]
    values = np.array(" ".join(lines[7:]).split(), float)
    assert np.allclose(values[:7], density[0, 0]) and np.allclose(values[7:14], density[0, 1])
    assert np.allclose(values[28:35], density[1, 0])


def test_a_36_cube_has_6_values_a_line():
    lines = cube_text(np.zeros((2, 2, 36)), (0.0, 0.0, 0.0), 2.0).splitlines()[7:]
    assert {len(line.split()) for line in lines} == {6} and len(lines) == 24


def test_a_ccp4_map_by_hand(density):
    content = ccp4_bytes(density, ORIGIN, STEP)
    words = np.frombuffer(content[:1024], "<i4")
    assert words[:10].tolist() == [
        3,
        4,
        7,
        2,
        0,
        0,
        0,
        3,
        4,
        7,
    ]  # columns, rows, sections; float32; first; cells of the unit cell
    assert np.frombuffer(content[40:64], "<f4").tolist() == [6, 8, 14, 90, 90, 90]
    assert words[16:19].tolist() == [1, 2, 3]  # x runs fastest
    assert np.frombuffer(content[196:208], "<f4").tolist() == list(ORIGIN)
    assert content[208:212] == b"MAP "
    values = np.frombuffer(content[-4 * density.size :], "<f4")
    assert np.array_equal(values.reshape(7, 4, 3).transpose(2, 1, 0), density)


def test_gemmi_reads_a_ccp4_map_where_the_cube_file_has_it(tmp_path, density):
    path = tmp_path / "a.ccp4"
    path.write_bytes(ccp4_bytes(density, ORIGIN, STEP))
    ccp4 = gemmi.read_ccp4_map(str(path))
    assert np.array_equal(ccp4.grid.array, density)
    origin = np.array([ccp4.header_float(word) for word in (50, 51, 52)])
    text = cube_text(density, ORIGIN, STEP).splitlines()
    numbers = np.array(" ".join(text[7:]).split(), float).reshape(density.shape)
    start = np.array(text[2].split()[1:], float) / BOHR
    steps = np.array([line.split()[1:] for line in text[3:6]], float) / BOHR
    for cell in np.ndindex(*density.shape):
        here = origin + ccp4.grid.point_to_position(ccp4.grid.get_point(*cell)).tolist()
        assert np.allclose(here, start + np.array(cell) @ steps, atol=1e-6)
        inside = here - origin
        assert ccp4.grid.interpolate_value(gemmi.Position(*inside)) == pytest.approx(numbers[cell], abs=1e-6)
