"""A few numbers of the published code, kept for good: 4CUP chain A with stand-in residue probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from s2p.config import PredictConfig
from s2p.pockets.published import find_clusters, positive_points
from s2p.structure.reading import read_structure
from s2p.surface.points import surface_points


def test_pockets_of_the_published_code(examples: Path) -> None:
    expected = json.loads((Path(__file__).parent / "data" / "4cup_parity.json").read_text())
    structure = read_structure(examples / "4CUP.cif", chains=["A"])
    positive = np.zeros(len(structure.residues), bool)
    positive[expected["positive"]] = True
    probabilities = np.zeros(len(positive), np.float32)
    probabilities[expected["positive"]] = expected["probabilities"]
    surface = PredictConfig.published().surface
    atoms = structure.atoms
    assert len(surface_points(atoms.coord, atoms.element, np.arange(len(atoms))).coord) == expected["n_points_chain"]
    cloud = positive_points(structure, positive, surface)
    assert len(cloud.coord) == expected["n_points_positive"]
    clusters = find_clusters(structure, positive, probabilities, surface, PredictConfig.published().cluster)
    assert [c.residues.tolist() for c in clusters] == [p["residues"] for p in expected["pockets"]]
    assert [c.score for c in clusters] == pytest.approx([p["score"] for p in expected["pockets"]], abs=1e-5)
    np.testing.assert_allclose([c.center for c in clusters], [p["center"] for p in expected["pockets"]], atol=1e-3)


def test_published_settings() -> None:
    config = PredictConfig.published()
    assert (config.threshold, config.smoothing_threshold, config.ranking) == (0.7, 0.4, "published")
    assert (config.smoothing.radius, config.cluster.bandwidth) == (15.0, 9.0)
    assert (config.surface.n_points, config.surface.probe_radius, config.surface.standard_only) == (50, 1.6, True)
    assert (config.windows.max_residues, config.windows.overlap) == (1022, 0)
