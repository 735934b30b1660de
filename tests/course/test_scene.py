"""Pictures of a site: the same orientation flat and in 3D, and marks for what is predicted, added and missing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import make_prediction
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

from course.charts import Picture
from course.scene import Beside, beside, look, motion_picture, site_axes, site_picture, sticks_picture
from s2p.prediction import Prediction


def example() -> tuple[Prediction, Any]:
    prediction = make_prediction()
    return prediction, prediction.pockets[0].residues


def test_axes_are_a_rotation_with_the_site_in_front() -> None:
    prediction, site = example()
    axes = site_axes(prediction.structure, site)
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-9) and np.linalg.det(axes) > 0.99
    ca = prediction.structure.residues.ca_coord.astype(float)
    offset = axes @ (ca[site].mean(axis=0) - ca.mean(axis=0))
    assert offset[2] > 0 and np.allclose(offset[:2], 0, atol=1e-6)


def test_one_residue_at_the_centre_has_axes_too() -> None:
    prediction, _ = example()
    structure = prediction.structure
    alone = replace(structure, residues=replace(structure.residues, ca_coord=structure.residues.ca_coord * 0))
    assert np.allclose(site_axes(alone, [0]) @ site_axes(alone, [0]).T, np.eye(3))


def test_panels_show_what_is_predicted_and_what_is_missing() -> None:
    prediction, site = example()
    nothing = replace(prediction, positive=prediction.positive & False, smoothed=prediction.smoothed & False)
    picture = site_picture({"all": prediction, "none": nothing}, site, "words")
    assert picture.alt == "words" and picture.png().startswith(b"\x89PNG")
    first, second = picture.figure.axes
    assert [ax.get_title(loc="left") for ax in (first, second)] == ["all", "none"]
    missing = second.collections[-1].get_offsets()
    assert len(missing) == len(site) > len(first.collections[-1].get_offsets())


def test_view_and_still_are_turned_alike_and_zoomed() -> None:
    prediction, site = example()
    shown = beside(prediction, site, "title", "words")
    script = shown.scene.startjs
    turns = re.findall(r"\.setView\((\[.*?\])\)", script)
    assert np.allclose(
        Rotation.from_quat(json.loads(turns[-1])[4:]).as_matrix(), site_axes(prediction.structure, site), atol=1e-6
    )
    assert script.rindex('zoomTo({"index": [') > script.rindex("setView")
    data, about = shown._repr_mimebundle_()
    assert "<iframe" in data["text/html"] and 'alt="words"' in data["text/html"] and about["image/png"]["alt"] == "words"


def test_sticks_lie_where_the_axes_put_them_in_the_colours_of_their_elements() -> None:
    prediction, site = example()
    structure, axes3 = prediction.structure, site_axes(prediction.structure, site)
    picture = sticks_picture(prediction, site, "title", "words", axes3=axes3, named=site[:1])
    (ax,) = picture.figure.axes
    assert picture.alt == "words" and ax.get_title(loc="left") == "title"
    assert f"{structure.residues.name[site[0]].title()} A{structure.residues.number[site[0]]}" in [x.get_text() for x in ax.texts]
    drawn = np.concatenate([lines for c in ax.collections if hasattr(c, "get_segments") for lines in c.get_segments()])
    own = np.isin(structure.atoms.residue_index, site) & ~np.isin(structure.atoms.name, ("N", "C", "O"))
    atoms = (structure.atoms.coord[own] - structure.residues.ca_coord[site].mean(axis=0)) @ axes3[:2].T
    gaps = np.linalg.norm(drawn[:, None] - atoms[None], axis=2).min(axis=0)
    bonded = np.linalg.norm(structure.atoms.coord[own][:, None] - structure.atoms.coord[own][None], axis=2) < 1.9
    assert (bonded.sum(axis=1) > 1).any() and gaps[bonded.sum(axis=1) > 1].max() < 1e-3


def test_a_motion_is_broken_where_the_chain_is() -> None:
    chain = np.array([[0, 0, 0], [3.8, 0, 0], [30, 0, 0], [33.8, 0, 0.0]])
    picture = motion_picture({"still": chain, "moved": chain + np.array([0, 1, 0])}, "words", axes3=np.eye(3))
    lines = picture.figure.axes[0].lines
    assert [line.get_label() for line in lines] == ["still", "moved"]
    assert np.isnan(lines[0].get_xdata()).sum() == 1 and lines[1].get_ydata()[0] - lines[0].get_ydata()[0] == pytest.approx(1)


def test_a_widget_is_shown_beside_its_picture_and_the_picture_alone_without() -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    picture = Picture(Figure((1, 1)), "words & more")
    data, about = Beside(None, picture)._repr_mimebundle_()
    assert sorted(data) == ["image/png", "text/plain"] and about["image/png"]["alt"] == "words & more"
    scene = ipywidgets.HTML("scene")
    data, _ = Beside(scene, picture)._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] != scene.model_id
    assert data["text/plain"] == "words & more" and "image/png" in data


def test_nglview_is_turned_to_the_side_that_the_axes_name() -> None:
    nglview = pytest.importorskip("nglview")
    view = nglview.NGLWidget()
    axes3 = np.array([[0.6, 0.8, 0], [0, 0, 1], [0.8, -0.6, 0]])
    look(view, axes3, ":A", zoom=0.3)
    calls = {m["methodName"]: m["args"] for m in view._ngl_msg_archive}
    turn = Rotation.from_quat(calls["rotate"][0]).as_matrix()
    assert np.allclose(turn @ axes3[0], [-1, 0, 0]) and np.allclose(turn @ axes3[1], [0, 1, 0])  # its camera looks along +z
    assert list(calls["zoom"]) == [0.3] and view.layout.width == "430px"
