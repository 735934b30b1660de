"""Pictures of Vabs-Net's graphs show the edges that are there."""

import re

import numpy as np
import pytest

from course.vabsnet import graph_picture, graph_view
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import build_graph, nodes_of
from s2p.prediction import Prediction
from s2p.structure.reading import read_structure


@pytest.fixture(scope="module")
def structure(examples):
    return read_structure(examples / "1ubi.pdb.gz")


@pytest.fixture(scope="module")
def graph(structure):
    return build_graph(nodes_of(structure, surface=False), VabsNetConfig.fast())


def test_picture_draws_a_line_for_every_neighbour_but_the_node_itself(graph):
    figure = graph_picture(graph, 10, "title")
    for ax, name in zip(figure.axes, ("graph of atoms", "graph of CA atoms"), strict=True):
        lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
        assert ax.get_title() == name and len(lines) == 9
        low, high = ax.get_xlim()
        ends = np.array([line.get_xydata() for line in lines])
        assert (ends > low).all() and (ends < high).all() and np.allclose(ends[:, 0], 0)  # all begin at the node


def test_view_holds_the_edges_at_the_places_of_the_file(structure, graph):
    pytest.importorskip("py3Dmol")
    n = len(structure.residues)
    nothing = np.zeros(n, bool)
    scene = graph_view(Prediction(structure, np.zeros(n, np.float32), nothing, nothing, (), "none"), graph, 10)
    text = scene.startjs  # py3Dmol's script, without the library
    assert text.count("addCylinder(") == 18
    x = structure.atoms.coord[graph.nodes.ca[10], 0]
    starts = [float(value) for value in re.findall(r'"start": {"x": (-?[\d.]+)', text)]
    assert len(starts) == 18 and np.allclose(starts, x, atol=1e-3)
