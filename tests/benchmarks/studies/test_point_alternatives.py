"""Trees and groupings that the point scorer is compared with: against scikit-learn, brute force and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from benchmarks.recipes.points import PointSet, PointTrainConfig
from benchmarks.studies.point_alternatives import PointStudyConfig, linked, shifted, tree_builders
from s2p.pockets.ranking import PointPocketConfig
from s2p.surface.features import PointConfig, PointEncoder, feature_names


def cloud(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    points = np.concatenate([draw.normal(scale=2.5, size=(40, 3)) + shift for shift in ([0, 0, 0], [25, 0, 0], [0, 30, 0])])
    return points, draw.uniform(0.05, 1, len(points))


def test_linked_groups_are_those_of_single_linkage() -> None:
    points, scores = cloud()
    config = PointPocketConfig()
    found = linked(0.3, 3.0)(points, scores, config)
    kept = scores > 0.3
    assert (found.basin[~kept] == -1).all() and (found.basin[kept] >= 0).all()
    expected = fcluster(linkage(points[kept], "single"), 3.0, "distance")
    same = found.basin[kept][:, None] == found.basin[kept][None]
    np.testing.assert_array_equal(same, expected[:, None] == expected[None])
    for k in range(len(found.height)):
        own = found.basin == k
        assert found.height[k] == pytest.approx((scores[own] ** config.power).sum())
        weight = scores[own] ** config.center_power
        np.testing.assert_allclose(found.center[k], weight @ points[own] / weight.sum())
    assert (np.diff(found.height) <= 0).all()


def test_shifted_groups_are_the_three_heaps() -> None:
    points, scores = cloud()
    found = shifted(0.0, 9.0)(points, scores, PointPocketConfig())
    assert len(found.height) == 3
    heaps = np.repeat(np.arange(3), 40)
    assert len({(a, b) for a, b in zip(heaps.tolist(), found.basin.tolist(), strict=True)}) == 3


def test_low_scores_still_give_the_best_group_and_no_points_none() -> None:
    points, scores = cloud()
    low = linked(0.9, 3.0)(points, scores / 100, PointPocketConfig())
    assert len(low.height) and (low.basin >= 0).sum() == (scores > scores.max() / 2).sum()
    none = linked(0.3, 3.0)(np.zeros((0, 3)), np.zeros(0), PointPocketConfig())
    assert not len(none.height) and none.center.shape == (0, 3)


@pytest.mark.parametrize("name", ["gradient-boosted trees", "random forest"])
def test_trees_read_their_columns_only(name: str) -> None:
    encoder = PointEncoder((), np.zeros(0, np.float32), np.zeros(3, np.float32), np.zeros((0, 3), np.float32))
    names = feature_names(0)
    draw = np.random.default_rng(0)
    features = draw.normal(size=(400, len(names))).astype(np.float32)
    labels = (features[:, names.index("depth")] > 0).astype(np.float32)
    data = PointSet(encoder, PointConfig(), (), ())
    builder = tree_builders(PointStudyConfig(trees=10, boosting_iterations=20))[name]
    chosen = ("enclosure", "depth")
    columns = [names.index(x) for x in chosen]
    scorer = builder(data, chosen, features[:, columns], labels, np.ones(400, np.float32), PointTrainConfig())
    scores = scorer.scores(features)
    assert scores.dtype == np.float32 and ((scores > 0.5) == (labels > 0)).mean() > 0.9
    other = features.copy()
    other[:, [k for k in range(len(names)) if k not in columns]] = 9
    np.testing.assert_array_equal(scorer.scores(other), scores)
