"""The density of Kalasanty as files: cube, read again as it was, and maps that ``s2p predict`` writes."""

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.commands import main
from s2p.errors import S2PError
from s2p.models.kalasanty.export import read_cube, write_cube
from s2p.models.kalasanty.grid import Box
from s2p.models.kalasanty.predictor import KalasantyPredictor
from s2p.output.maps import BOHR
from s2p.structure.reading import read_structure

BOX = Box((-3.5, 10.25, 0.125), (3, 4, 7), 2.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_cube_file_is_read_again_as_it_was(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    a, b, c = rng.integers(1, 9, 3).tolist()
    x, y, z = rng.uniform(-300, 300, 3).round(4).tolist()
    box = Box((x, y, z), (a, b, c), float(rng.choice([1.0, 2.0, 0.5])))
    grid = rng.random((a, b, c)).astype(np.float32)
    again, found = read_cube(write_cube(tmp_path_factory.mktemp("maps") / "x", grid, box))
    assert (again == grid).all()
    assert found.shape == box.shape
    assert np.allclose(found.origin, box.origin, atol=1e-5) and found.step == pytest.approx(box.step, abs=1e-6)


def test_wrong_files_and_shapes_are_refused(tmp_path):
    density = np.random.default_rng(1).random(BOX.shape).astype(np.float32)
    wrong = tmp_path / "wrong"
    wrong.write_text("nothing\nof\nthe 1 2 kind")
    with pytest.raises(S2PError, match="cube file"):
        read_cube(wrong)
    with pytest.raises(S2PError, match="cube file"):
        read_cube(tmp_path / "absent")
    with pytest.raises(ValueError, match="cells for a box"):
        write_cube(wrong, density.T, BOX)
    text = write_cube(tmp_path / "a.cube", density, BOX).read_text().splitlines()
    text[4] = text[4].replace(f"{2 * BOHR:14.8f}", f"{3 * BOHR:14.8f}")
    wrong.write_text("\n".join(text))
    with pytest.raises(S2PError, match="no cubes"):
        read_cube(wrong)


def test_the_command_writes_the_density_and_its_files_agree(tmp_path, examples, capsys):
    file = examples / "4CUP.cif"
    assert main(["predict", str(file), "--model", "kalasanty", "--format", "ccp4,cube", "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    density, box = KalasantyPredictor.load(device="cpu").density(read_structure(file))
    again, found = read_cube(tmp_path / "4CUP_density.cube")
    assert np.allclose(again, density, rtol=1e-6, atol=1e-9) and np.allclose(found.origin, box.origin, atol=1e-6)
    assert f"wrote {tmp_path / '4CUP_density.ccp4'}" in said
    ccp4 = gemmi.read_ccp4_map(str(tmp_path / "4CUP_density.ccp4"))
    assert np.array_equal(ccp4.grid.array, density)
    origin = np.array([ccp4.header_float(word) for word in (50, 51, 52)])
    for cell in np.argwhere(density > density.max() / 2)[:20].tolist():
        place = origin + ccp4.grid.point_to_position(ccp4.grid.get_point(*cell)).tolist()
        assert np.allclose(place, box.coordinates([cell])[0], atol=1e-3)


def test_models_without_a_density_say_so(tmp_path, examples, capsys):
    assert main(["predict", str(examples / "4CUP.cif"), "--format", "cube", "-o", str(tmp_path)]) == 1
    assert "s2p-esm2-8m predicts no density to write as cube; a model that does is kalasanty" in capsys.readouterr().err
    assert not list(tmp_path.glob("4CUP*"))
