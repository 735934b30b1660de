"""Pictures of CrossBind show what they say."""

from __future__ import annotations

import numpy as np
import torch
from builders import make_prediction
from matplotlib.backends.backend_agg import FigureCanvasAgg

from course.crossbind import attention_picture, attention_view, propensity_chart, similarity_panels


def test_similarity_panels_count_what_is_found() -> None:
    eye = torch.eye(6)
    figure = similarity_panels({"same": (eye, eye), "shifted": (eye, eye.roll(1, 0))}, shown=4)
    titles = [ax.get_title() for ax in figure.axes[:2]]
    assert titles == ["same: 100% of 6 found", "shifted: 0% of 6 found"]
    assert (np.asarray(figure.axes[0].images[0].get_array()) == np.eye(4)).all()
    FigureCanvasAgg(figure).draw()


def test_attention_is_drawn_atom_by_atom() -> None:
    prediction = make_prediction()
    coord = prediction.structure.atoms.coord[:9]
    weights = np.linspace(0.2, 0.7, 9)
    figure = attention_picture(prediction, coord, weights, "weights")
    dots = figure.axes[0].collections[-1]
    assert sorted(np.asarray(dots.get_array()).tolist()) == weights.tolist()
    assert figure.axes[0].get_title(loc="left") == "weights"
    FigureCanvasAgg(figure).draw()
    scene = attention_view(prediction, coord, weights)
    assert scene.startjs.count("addSphere") == 9
    assert scene._repr_png_()
    assert '"color": "#f2f2f2"' in scene.startjs and '"color": "#b30000"' in scene.startjs
    assert attention_view(prediction, coord, np.full(9, 0.5)).startjs.count("#f2f2f2") == 9


def test_propensities_are_logarithms_in_order() -> None:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    table = dict.fromkeys(letters, 1.0) | {"R": 4.0, "L": 0.25}
    chart = propensity_chart({"DNA": table, "RNA": dict.fromkeys(letters, 2.0)}, cutoff=0.8)
    assert chart.x_ticks is not None and (chart.x_ticks[1][0], chart.x_ticks[1][-1]) == ("R", "L")
    first, second = chart.layers[:2]
    assert (first.y[0], first.y[-1]) == (2.0, -2.0) and (second.y == 1.0).all()
    assert chart.alt.startswith("DNA: beyond the cutoff are R, L; RNA: beyond the cutoff are R")
    FigureCanvasAgg(chart.static()).draw()
