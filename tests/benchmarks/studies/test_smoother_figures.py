"""Figures of the smoother against loops over residues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.studies.smoother_figures import candidate_figures, pair_figures
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid, matthews
from s2p.training.smoother import SmootherModule, SmoothingExample


def random_examples(n: int = 3, seed: int = 0) -> list[SmoothingExample]:
    draw = np.random.default_rng(seed)
    examples = []
    for _ in range(n):
        ca = draw.uniform(0, 35, (50, 3)).astype(np.float32)
        order = draw.permutation(50)
        e = draw.normal(size=(50, 4)).astype(np.float32)
        examples.append(SmoothingExample(e, ca, (order[:6], order[4:9]), draw.random(50) < 0.15))
    return examples


def smoother() -> SmootherModule:
    torch.manual_seed(3)
    return SmootherModule(4, 16, 0.5).train()


def by_loops(net: SmootherModule, example: SmoothingExample, members, rows, radius: float) -> list[float]:
    """Probability of each of ``rows`` in the context of the other ``members`` in reach; 0 without any."""
    net.eval()
    ca, e = example.ca_coord.astype(float), example.embeddings
    out = []
    for i in rows:
        near = [j for j in members if j != i and np.linalg.norm(ca[i] - ca[j]) < radius]
        if near:
            x = torch.from_numpy(np.concatenate([e[i], e[near].mean(axis=0)]))[None]
            out.append(float(torch.sigmoid(net(x).detach())[0]))
        else:
            out.append(0.0)
    return out


@pytest.mark.parametrize("context", [6.0, 15.0])
@pytest.mark.parametrize("negative", [8.0, 15.0])
def test_pair_figures_equal_a_loop(context: float, negative: float) -> None:
    net, labels, scores = smoother(), [], []
    for x in random_examples():
        binding = np.zeros(50, bool)
        binding[np.concatenate(x.sites)] = True
        distance = np.linalg.norm(x.ca_coord[:, None].astype(float) - x.ca_coord[None].astype(float), axis=-1)
        rows = np.flatnonzero(binding | (distance[:, binding] < negative).any(axis=1))
        labels += binding[rows].tolist()
        scores += by_loops(net, x, np.flatnonzero(binding), rows, context)
    found = pair_figures(net.learned(), random_examples(), context_radius=context, negative_radius=negative)
    assert found.n == len(labels)
    assert found.positive == pytest.approx(np.mean(labels))
    assert found.auprc == pytest.approx(auprc_trapezoid(labels, scores), abs=1e-6)
    assert found.mcc == pytest.approx(max(matthews(labels, np.array(scores) > t) for t in np.arange(1, 100) / 100), abs=1e-6)


def test_the_residues_judged_do_not_depend_on_the_context_radius() -> None:
    """Else a smaller radius would look better by leaving the difficult residues out."""
    net = smoother()
    a, b = (pair_figures(net.learned(), random_examples(), context_radius=r, negative_radius=10.0) for r in (4.0, 15.0))
    assert (a.n, a.positive) == (b.n, b.positive)


def test_candidate_figures_equal_a_loop() -> None:
    net, labels, scores = smoother(), [], []
    for x in random_examples():
        distance = np.linalg.norm(x.ca_coord[:, None].astype(float) - x.ca_coord[None].astype(float), axis=-1)
        rows = np.flatnonzero(~x.predicted & (distance[:, x.predicted] < 15).any(axis=1))
        labels += x.binding[rows].tolist()
        scores += by_loops(net, x, np.flatnonzero(x.predicted), rows, 9.0)
    found = candidate_figures(net.learned(), random_examples(), context_radius=9.0, candidate_radius=15.0)
    assert found.n == len(labels)
    assert found.auprc == pytest.approx(auprc_trapezoid(labels, scores), abs=1e-6)


def test_figures_without_a_binding_residue_are_nan() -> None:
    examples = random_examples()
    nothing = replace(examples[0], predicted=np.zeros(50, bool))
    for found in (
        pair_figures(smoother().learned(), [replace(examples[0], sites=())], context_radius=15, negative_radius=10),
        candidate_figures(smoother().learned(), [nothing], context_radius=15, candidate_radius=15),
        candidate_figures(smoother().learned(), [], context_radius=15, candidate_radius=15),
    ):
        assert (found.n, found.positive) == (0, 0.0) and np.isnan([found.auprc, found.mcc]).all()


def test_figures_in_use_need_predictions() -> None:
    with pytest.raises(S2PError, match="predicted residues"):
        candidate_figures(
            smoother().learned(), [replace(random_examples()[0], predicted=None)], context_radius=15, candidate_radius=15
        )
