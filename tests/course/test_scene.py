"""Pictures of a site: the same orientation flat and in 3D, and marks for what is predicted, added and missing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
from builders import make_prediction
from scipy.spatial.transform import Rotation

from course.scene import beside, site_axes, site_picture
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
