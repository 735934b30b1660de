"""CrossBind's sequence branch: ESM-2 fine-tuned on chains that bind DNA or RNA, kept as an update of a shipped backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import Method, cluster, drawn
from s2p.errors import S2PError, WeightsError
from s2p.language.esm import DEFAULT_HEADS, ResidueModel
from s2p.models.crossbind.config import CrossBindSequenceConfig
from s2p.training.batches import ChainsByHead
from s2p.training.finetuning import EpochLog, finetune

__all__ = ["apply_update", "averaged", "encoder_weights", "low_rank_update", "split_chains", "train_sequence_branch"]

HEAD = "head."
DOWN, UP = ".down", ".up"
"""Endings of the two factors of an update in a file."""
UNUSED = ("lm_head.", "contact_head.")
"""Parts of the backbone that no prediction reads; a checkpoint has no weights for them."""


def encoder_weights(model: ResidueModel) -> dict[str, Tensor]:
    """The weights of the backbone that predictions read, by name in the backbone."""
    return {key: value for key, value in model.backbone.state_dict().items() if not key.startswith(UNUSED)}


def _like(base: ResidueModel, dropout: float = 0.0, heads: Sequence[str] = DEFAULT_HEADS) -> ResidueModel:
    """A model with the weights of the backbone of ``base`` and new heads."""
    model = ResidueModel(base.name, dropout, heads)
    model.backbone.load_state_dict(encoder_weights(base), strict=False)
    return model


def split_chains(
    chains: Sequence[LabelledChain], config: CrossBindSequenceConfig | None = None, *, method: Method = "auto"
) -> tuple[list[LabelledChain], list[LabelledChain]]:
    """Training and validation chains: whole clusters of homologues, by a hash of the cluster's smallest sequence.

    Parameters
    ----------
    chains
        Of the training set only.
    config
        Identity and coverage of the clusters, and the share of them that validates.

    Raises
    ------
    S2PError
        If either side would be empty.
    """
    config = config or CrossBindSequenceConfig()
    names = {str(k): c.sequence for k, c in enumerate(chains)}
    held: set[int] = set()
    for group in cluster(names, identity=config.identity, coverage=config.coverage, method=method):
        smallest = min(names[name] for name in group)
        draw = drawn(f"{config.salt}:{smallest}")
        if draw < config.validation:
            held.update(int(name) for name in group)
    training = [c for k, c in enumerate(chains) if k not in held]
    validation = [c for k, c in enumerate(chains) if k in held]
    if not training or not validation:
        raise S2PError(
            f"{len(chains)} chains make too few clusters to validate on {config.validation:.0%} of them; "
            "give more chains or a larger share"
        )
    return training, validation


def train_sequence_branch(
    base: ResidueModel,
    training: Sequence[LabelledChain] | ChainsByHead,
    validation: Sequence[LabelledChain] | ChainsByHead,
    config: CrossBindSequenceConfig | None = None,
    *,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> tuple[ResidueModel, list[EpochLog]]:
    """A copy of ``base`` with a new head and a low-rank update, and its log; ``base`` stays as it was.

    Chains by kind of site train one update with a head for each kind; the model's own head is that of the first.
    A run that finds its state in ``folder`` goes on from it (see :func:`s2p.training.finetuning.finetune`).

    Raises
    ------
    S2PError
        Without chains or binding residues.
    """
    config = config or CrossBindSequenceConfig()
    torch.manual_seed(config.finetune.seed)
    heads = tuple(training) if isinstance(training, Mapping) else DEFAULT_HEADS
    model = _like(base, config.finetune.dropout, heads)
    log = finetune(model, training, validation, config.finetune, folder=folder, quiet=quiet)
    return model.eval(), log


@torch.no_grad()
def averaged(base: ResidueModel, models: Sequence[ResidueModel]) -> ResidueModel:
    """The mean of the weights of models trained from ``base``, and of their own heads; the models stay as they were.

    Its update has at most the sum of their ranks.
    """
    model = _like(base)
    states = [encoder_weights(one) for one in models]
    mean = {
        key: torch.stack([state[key] for state in states]).mean(dim=0) for key in states[0] if states[0][key].is_floating_point()
    }
    model.backbone.load_state_dict(mean, strict=False)
    heads = [one.head.state_dict() for one in models]
    model.head.load_state_dict({key: torch.stack([head[key] for head in heads]).mean(dim=0) for key in heads[0]})
    return model.eval()


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
    model = _like(base)
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
