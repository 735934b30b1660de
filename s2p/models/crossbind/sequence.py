"""CrossBind's sequence branch: ESM-2 fine-tuned on chains that bind DNA or RNA, stored as an update of a shipped backbone.

``benchmarks/recipes/nucleic.py`` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from s2p.errors import WeightsError
from s2p.language.esm import ResidueModel
from s2p.language.sequences import DEFAULT_HEADS

__all__ = ["DOWN", "HEAD", "UP", "apply_update", "fresh_model"]

HEAD = "head."
DOWN, UP = ".down", ".up"
"""Suffixes of the names of the two factors of an update in a file."""


def fresh_model(base: ResidueModel, dropout: float = 0.0, heads: Sequence[str] = DEFAULT_HEADS) -> ResidueModel:
    """A model with the weights of the backbone of ``base`` and new heads."""
    model = ResidueModel(base.name, dropout, heads)
    model.backbone.load_state_dict(base.backbone.state_dict())
    return model


@torch.no_grad()
def apply_update(base: ResidueModel, arrays: Mapping[str, Tensor]) -> ResidueModel:
    """A copy of ``base`` with other heads, and ``W + up · down`` for each updated matrix W; ``base`` is not changed.

    ``arrays``: ``head.weight`` and ``head.bias``, and the factors ``backbone.….up`` (out, rank) and ``backbone.….down`` (rank,
    in). :class:`WeightsError` if the arrays are not those of an update of this backbone.
    """
    model = fresh_model(base)
    weights: dict[str, nn.Parameter] = dict(model.named_parameters())
    try:
        model.head.load_state_dict({key.removeprefix(HEAD): arrays[key].float() for key in arrays if key.startswith(HEAD)})
        for key in arrays:
            if key.endswith(UP):
                stem = key.removesuffix(UP)
                weights[stem].add_(arrays[key].float() @ arrays[stem + DOWN].float())
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"the update of the language model is damaged or of another backbone ({error})") from None
    return model.eval()
