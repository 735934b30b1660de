"""Pictures show what they say, the 3D view carries the density, and a cube file is read again as it was."""

import numpy as np
import pytest
from builders import make_prediction, make_structure
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from course.consensus import Agreement
from course.kalasanty import agreement_bars, density_projections, density_view, grid_slices, read_cube, write_cube
from course.kalasanty_training import site_mask
from s2p.errors import S2PError
from s2p.evaluation.intervals import McNemar
from s2p.models.kalasanty.grid import Box, atom_channels, central_box, fill_box
from s2p.output.maps import BOHR

BOX = Box((-3.5, 10.25, 0.125), (3, 4, 7), 2.0)


@pytest.fixture
def scene():
    structure = make_structure()
    box = central_box(structure.atoms.coord.mean(axis=0), 24)
    return structure, box, fill_box(atom_channels(structure), structure.atoms.coord, box)


def test_slices_are_of_the_layer_with_the_site(scene):
    structure, box, grid = scene
    mask = site_mask(structure.ligands[0].coord, box)
    figure = grid_slices(grid, mask, box)
    panels = [ax for ax in figure.axes if ax.images and ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["C", "O", "hydrophobic", "partialcharge"]
    layer = int(np.argmax(mask.sum(axis=(0, 1))))
    assert (panels[0].images[0].get_array() == grid[1, :, :, layer].T).all()
    low, high = panels[0].get_xlim()
    assert low == pytest.approx(box.origin[0] - 1) and high == pytest.approx(box.origin[0] + 47)
    FigureCanvasAgg(figure).draw()


def test_projections_take_the_highest_density_along_each_axis(scene):
    structure, box, _ = scene
    density = np.random.default_rng(0).random(box.shape).astype(np.float32)
    figure = density_projections(structure, density, box, [structure.ligands[0].coord], threshold=0.99)
    arrays = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.get_xlabel() and ax.images]
    assert [tuple(a.shape) for a in arrays] == [(24, 24)] * 3
    for found, axis in zip(arrays, (2, 1, 0), strict=True):
        assert (found == density.max(axis=axis).T).all()
    FigureCanvasAgg(figure).draw()
    assert density_projections(structure, density * 0, box, threshold=0.5)


def test_bars_add_up_to_the_sites():
    found = Agreement(5, ("a/0",), ("b/0", "b/1"), 3, McNemar(1, 2, 1.0))
    ax = agreement_bars(found, "x", "y").axes[0]
    assert [bar.get_width() for bar in ax.patches] == [1, 5, 2, 3]
    assert [text.get_text() for text in ax.texts] == ["1", "5", "2", "3"]


def test_the_view_carries_the_density_and_a_still_picture():
    prediction = make_prediction()
    box = Box((-4.0, -4.0, 0.0), (3, 4, 5), 2.0)
    density = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    scene = density_view(prediction, density, box, 0.4)
    page = scene._make_html()
    assert "addVolumetricData" in page and f"{-4 * BOHR:.8f}" in page
    assert "isoval" in page and "0.4" in page
    assert scene._repr_png_().startswith(b"\x89PNG")


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
