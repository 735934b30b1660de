"""Training without labels: views, the loss against its formula, and that residues become recognisable."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course.contrast import (
    ContrastConfig,
    ProjectionHead,
    contrast_views,
    nt_xent,
    other_view,
    pretrain_crossbind,
    top1_retrieval,
)
from course.crossbind_training import CrossBindExample
from s2p.errors import S2PError
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.network import CrossBind
from s2p.structure.reading import read_structure
from tests.course.test_crossbind_training import MODEL, pieces


@pytest.fixture(scope="module")
def proteins(examples: Path) -> list[CrossBindExample]:
    return pieces(examples)


def test_projection_averages_the_atoms_that_are_there() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(3).eval()
    stacked, there = torch.zeros(2, 14, 3), torch.zeros(2, 14, dtype=torch.bool)
    stacked[0, 0], stacked[0, 1], there[0, :2] = torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 2, 1]), True
    out = head(stacked, there)
    torch.testing.assert_close(out[0], head.layers(torch.full((1, 3), 2.0))[0])
    assert torch.isfinite(out).all()


def test_contrast_makes_residues_recognisable(proteins: list[CrossBindExample]) -> None:
    config = ContrastConfig(steps=40, batch=1, max_residues=96, max_pairs=48, lr=3e-3)
    score = []
    for steps in (1, 40):
        torch.manual_seed(0)
        model, head = CrossBind(MODEL), ProjectionHead(MODEL.width)
        rows = pretrain_crossbind(model, head, proteins[:2], replace(config, steps=steps), quiet=True)
        assert len(rows) == 1 and np.isfinite(rows[0]["train_loss"])
        with torch.no_grad():
            rng = np.random.default_rng(5)
            views = contrast_views(model, head, [proteins[2].cloud], replace(config, max_pairs=1000), rng)
        assert len(views[0]) == 60
        score.append((nt_xent(*views).item(), top1_retrieval(*views)))
    assert score[1][0] < score[0][0]
    assert score[1][1] > 5 / 60


def test_nothing_to_compare(proteins: list[CrossBindExample]) -> None:
    head = ProjectionHead(MODEL.width)
    with pytest.raises(S2PError, match="no proteins were given"):
        pretrain_crossbind(CrossBind(MODEL), head, [])
    with pytest.raises(S2PError, match="no point cloud"):
        pretrain_crossbind(CrossBind(replace(MODEL, structure=False)), head, proteins)


def test_views_by_parts(examples: Path) -> None:
    cloud = cloud_of(read_structure(examples / "1ubi.pdb.gz"))
    rigid = ContrastConfig(scale=0.0, shift=0.0, jitter=0.0, elastic=0.0)

    def changed(config: ContrastConfig) -> np.ndarray:
        return other_view(cloud, config, np.random.default_rng(1)).coord

    def distances(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    own, turned = distances(cloud.coord), changed(replace(rigid, shift=1.0))
    assert not np.allclose(turned[:, 2] - turned[0, 2], cloud.coord[:, 2] - cloud.coord[0, 2])
    np.testing.assert_allclose(distances(turned), own, atol=1e-9)
    a, b, c, d = (0, 40, 200, 400)
    # No mirror image: it would be made of D amino acids.
    volumes = [np.linalg.det(np.stack([y[b] - y[a], y[c] - y[a], y[d] - y[a]])) for y in (turned, cloud.coord)]
    assert math.isclose(*volumes, rel_tol=1e-9)
    ratio = distances(changed(replace(rigid, scale=0.1)))[own > 0] / own[own > 0]
    assert np.ptp(ratio) < 1e-9 and 0.9 <= ratio[0] <= 1.1 and ratio[0] != 1
    bent = distances(changed(replace(rigid, elastic=1.0))) - own
    near, far = (np.abs(bent[which]).mean() for which in ((own < 1.6) & (own > 0), own > 25))
    assert 0 < near < 0.5 * far  # neighbours move together
    before = cloud.coord.copy()
    assert not np.allclose(changed(ContrastConfig()), before) and np.array_equal(cloud.coord, before)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.05, 2.0))
def test_nt_xent_against_its_formula(seed: int, n: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    value = nt_xent(a, b, temperature).item()
    assert math.isclose(value, nt_xent(b, a, temperature).item(), rel_tol=1e-9)
    # The usual form: 2N views, each looks for its partner among all others.
    z = F.normalize(torch.cat([a, b]), dim=1)
    s = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    partner = torch.arange(2 * n).roll(n)
    assert math.isclose(value, F.cross_entropy(s, partner).item(), rel_tol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 17])
def test_nt_xent_of_known_embeddings(n: int) -> None:
    same = torch.ones(n, 5, dtype=torch.float64)
    for temperature in (0.05, 0.1, 3.0):
        assert math.isclose(nt_xent(same, same, temperature).item(), math.log(2 * n - 1), abs_tol=1e-9)
    z = torch.eye(n, dtype=torch.float64)
    assert math.isclose(nt_xent(z, z, 0.1).item(), math.log(1 + (2 * n - 2) * math.exp(-10)), abs_tol=1e-12)


def test_retrieval() -> None:
    z = torch.eye(4)
    assert top1_retrieval(z, 3 * z) == 1.0
    assert top1_retrieval(z, z.roll(1, 0)) == 0.0
    assert top1_retrieval(z, z[[0, 1, 3, 2]]) == 0.5
