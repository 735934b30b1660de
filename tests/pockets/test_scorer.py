"""The point scorer: arrays in, scores out, and the arrays and header that a checkpoint keeps of it."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from s2p.errors import WeightsError
from s2p.pockets.ranking import PocketModel, PointPocketConfig, PointScorer
from s2p.surface.features import PointConfig, PointEncoder, feature_names


@pytest.fixture
def scorer() -> PointScorer:
    rng = np.random.default_rng(0)
    names = feature_names(2)[3:40]
    sizes = (len(names), 16, 8, 1)
    weights = tuple(rng.normal(size=(3, a, b)).astype(np.float32) / a**0.5 for a, b in itertools.pairwise(sizes))
    biases = tuple(rng.normal(size=(3, 1, b)).astype(np.float32) for b in sizes[1:])
    encoder = PointEncoder(
        ("A:CB", "K:NZ"),
        np.array([0.1, 1.5], np.float32),
        rng.normal(size=6).astype(np.float32),
        rng.normal(size=(2, 6)).astype(np.float32),
    )
    mean, scale = rng.normal(size=len(names)).astype(np.float32), rng.uniform(0.5, 2, len(names)).astype(np.float32)
    model = PocketModel((0.0, 1.0), (1.0, 2.0), (0.5, -0.5), 0.25)
    settings = PointConfig(n_points=30), PointPocketConfig(sigma=2.0)
    return PointScorer(encoder, names, mean, scale, weights, biases, model, *settings, {"note": "é"})


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, len(feature_names(2)))).astype(np.float32) * 4


def test_scores_are_those_of_pytorch_layers(scorer: PointScorer) -> None:
    x = rows(50)
    z = torch.from_numpy(np.clip((x[:, 3:40] - scorer.mean) / scorer.scale, -5, 5))
    logits = []
    for member in range(3):
        h = z
        for k in range(3):
            h = h @ torch.from_numpy(scorer.weights[k][member]) + torch.from_numpy(scorer.biases[k][member])
            h = torch.nn.functional.silu(h) if k < 2 else h
        logits.append(h[:, 0])
    expected = torch.sigmoid(torch.stack(logits).mean(dim=0)).numpy()
    np.testing.assert_allclose(scorer.scores(x), expected, atol=1e-5)


def test_points_are_scored_on_their_own(scorer: PointScorer) -> None:
    x = rows(20_000)
    together = scorer.scores(x)
    np.testing.assert_allclose(together[19_990:], scorer.scores(x[19_990:]), atol=1e-5)
    assert scorer.scores(x[:0]).shape == (0,)


def test_arrays_and_header_hold_everything(scorer: PointScorer) -> None:
    loaded = PointScorer.from_parts(scorer.arrays(), json.loads(json.dumps(scorer.header())))
    assert json.loads(json.dumps(loaded.header())) == json.loads(json.dumps(scorer.header()))
    assert set(loaded.arrays()) == set(scorer.arrays())
    for key, value in scorer.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[key], value)
    np.testing.assert_array_equal(loaded.scores(rows(9)), scorer.scores(rows(9)))
    assert loaded.points == scorer.points and loaded.pockets == scorer.pockets and loaded.pocket_model == scorer.pocket_model


def test_damage_and_other_versions_are_named(scorer: PointScorer) -> None:
    arrays, header = scorer.arrays(), scorer.header()
    with pytest.raises(WeightsError, match="damaged or of another version: 'scale'"):
        PointScorer.from_parts({k: v for k, v in arrays.items() if k != "scale"}, header)
    with pytest.raises(WeightsError, match="damaged or of another version"):
        PointScorer.from_parts(arrays, header | {"points": {"n_rings": 3}})
    with pytest.raises(WeightsError, match="other features"):
        PointScorer.from_parts(arrays, header | {"features": ["taste", *header["features"][1:]]})
    with pytest.raises(WeightsError, match="other features"):
        PointScorer.from_parts(arrays, header | {"features": header["features"][1:]})
