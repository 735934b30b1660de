"""Training of the structure-context head."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recipes.context import ContextExample, ContextTrainConfig, train_context_head
from s2p.errors import S2PError
from s2p.residues import context_logits


def _examples(n: int, seed: int) -> list[ContextExample]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 300, 10)).astype(np.float32) * 5 + 3
    # Neither column alone says anything of the label.
    y = ((x[..., 0] - 3) * (x[..., 1] - 3) > 0).astype(np.uint8)
    return [ContextExample(a, b) for a, b in zip(x, y, strict=True)]


def test_learns_what_is_not_linear():
    config = ContextTrainConfig(width=32, members=2, lr=5e-3, batch_size=256, max_epochs=15)
    head, history = train_context_head(_examples(10, 0), _examples(3, 1), config)
    assert max(history) > 0.95
    again, _ = train_context_head(_examples(10, 0), _examples(3, 1), config)
    x = _examples(1, 2)[0].features
    np.testing.assert_array_equal(context_logits(head, x), context_logits(again, x))
    with_dropout = head.train()(__import__("torch").from_numpy(x)).mean(dim=0)
    assert not np.allclose(with_dropout.detach().numpy(), context_logits(head, x))  # and context_logits has it off


def test_errors():
    with pytest.raises(S2PError, match="training and validation"):
        train_context_head([], _examples(1, 0))
    empty = [ContextExample(e.features, np.zeros_like(e.labels)) for e in _examples(1, 0)]
    with pytest.raises(S2PError, match="binding residues"):
        train_context_head(empty, _examples(1, 0))
