"""CrossBind's sequence branch: ESM-2 fine-tuned on chains that bind DNA or RNA, kept as an update of a shipped backbone.

``benchmarks/recipes/nucleic.py`` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from s2p.errors import S2PError, WeightsError
from s2p.language.esm import DEFAULT_HEADS, ResidueModel
from s2p.models.encoder import UNUSED

__all__ = ["apply_update", "encoder_weights", "fresh_model", "low_rank_update"]

HEAD = "head."
DOWN, UP = ".down", ".up"
"""Endings of the two factors of an update in a file."""


def encoder_weights(model: ResidueModel) -> dict[str, Tensor]:
    """The weights of the backbone that predictions read, by name in the backbone."""
    return {key: value for key, value in model.backbone.state_dict().items() if not key.startswith(UNUSED)}


def fresh_model(base: ResidueModel, dropout: float = 0.0, heads: Sequence[str] = DEFAULT_HEADS) -> ResidueModel:
    """A model with the weights of the backbone of ``base`` and new heads."""
    model = ResidueModel(base.name, dropout, heads)
    model.backbone.load_state_dict(encoder_weights(base), strict=False)
    return model


def low_rank_update(base: ResidueModel, tuned: ResidueModel, rank: int) -> dict[str, Tensor]:
    """The head of ``tuned``, and per changed matrix W of its backbone two factors with ``W ≈ W_base + up · down``.

    After training with LoRA of the same rank the factors are exact up to rounding; the best of that rank otherwise.

    Returns
    -------
    ``head.weight``, ``head.bias``, and ``backbone.….down`` (rank, in) and ``….up`` (out, rank), fp32, the singular values
    shared evenly between the two so that both fit fp16.

    Raises
    ------
    S2PError
        If the models differ in anything but matrices, say in a bias.
    """
    own, other = encoder_weights(base), encoder_weights(tuned)
    arrays = {HEAD + key: value.detach().clone() for key, value in tuned.head.state_dict().items()}
    for key, value in own.items():
        difference = other[key].double() - value.double()
        if not difference.any():
            continue
        if difference.ndim != 2:
            raise S2PError(f"{key} was changed, and it is no matrix: a low-rank update cannot hold it")
        u, s, v = torch.linalg.svd(difference, full_matrices=False)
        root = s[:rank].sqrt()
        arrays[f"backbone.{key}{UP}"] = (u[:, :rank] * root).float().contiguous()
        arrays[f"backbone.{key}{DOWN}"] = (root[:, None] * v[:rank]).float().contiguous()
    return arrays


@torch.no_grad()
def apply_update(base: ResidueModel, arrays: Mapping[str, Tensor]) -> ResidueModel:
    """A copy of ``base`` with what :func:`low_rank_update` gave; ``base`` stays as it was.

    Raises
    ------
    WeightsError
        If the arrays are not those of an update of this backbone.
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
