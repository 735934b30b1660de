"""Low-rank adaptation (LoRA) of an ESM-2: small trainable updates added to frozen weights, and how they are stored separately.

Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685), section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2p.errors import S2PError
from s2p.io.weights import checksum

__all__ = [
    "ATTENTION",
    "FEED_FORWARD",
    "LoraLinear",
    "add_lora",
    "base_checksum",
    "lora_parameters",
    "lora_updates",
    "merge_lora",
    "remove_lora",
]

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
FEED_FORWARD = ("fc1", "fc2")


class LoraLinear(nn.Module):
    """``base(x) + (alpha / rank) · B A x`` with ``base`` frozen; equal to ``base`` before the first step, because B is zero.

    ``base`` is the linear map (out, in) that is adapted, A is (rank, in), B (out, rank).
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.folded = False
        """Whether ``base`` already contains the update (see :meth:`fold`)."""
        self.lora_a = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        out: Tensor = self.base(x)
        return out if self.folded else out + self.scale * F.linear(F.linear(x, self.lora_a), self.lora_b)

    @torch.no_grad()
    def fold(self) -> nn.Linear:
        """Add the update to ``base`` and return it; alone, it then computes the same."""
        if not self.folded:
            # The product is summed in fp64: merging should cost no more than the rounding of the sum.
            update = self.scale * (self.lora_b.double() @ self.lora_a.double())
            self.base.weight.copy_(self.base.weight.double() + update)
            self.folded = True
        return self.base


def add_lora(backbone: nn.Module, rank: int, alpha: float, targets: Sequence[str] = ATTENTION, *, seed: int = 0) -> None:
    """Freeze ``backbone`` (a fair-esm ``ESM2``) and replace the ``targets`` of every layer by a :class:`LoraLinear`.

    The states of torch's random generators are not changed.

    Raises
    ------
    S2PError
        For a rank below 1, an unknown target, or a backbone that already has updates.
    """
    unknown = set(targets) - {*ATTENTION, *FEED_FORWARD}
    if rank < 1 or unknown or not targets:
        choices = ", ".join((*ATTENTION, *FEED_FORWARD))
        raise S2PError(
            f"LoRA needs a rank of 1 or more and targets of {choices}; got rank {rank}, {', '.join(targets) or 'none'}"
        )
    if lora_updates(backbone):
        raise S2PError("this backbone has low-rank updates already; merge them before adding others")
    backbone.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for owner, name in list(_places(backbone, targets)):
            setattr(owner, name, LoraLinear(getattr(owner, name), rank, alpha))


def merge_lora(backbone: nn.Module) -> None:
    """Add the updates to the weights, so that ``backbone`` is a plain ESM-2 again, every parameter trainable."""
    for owner, name, module in lora_updates(backbone):
        setattr(owner, name, module.fold())
    backbone.requires_grad_(True)


def remove_lora(backbone: nn.Module) -> None:
    """Remove updates that were not merged: ``backbone`` is as before :func:`add_lora`, with every parameter trainable."""
    for owner, name, module in lora_updates(backbone):
        setattr(owner, name, module.base)
    backbone.requires_grad_(True)


def lora_updates(backbone: nn.Module) -> list[tuple[nn.Module, str, LoraLinear]]:
    """The updates, layer by layer, each with its parent module and its name there."""
    places = _places(backbone, (*ATTENTION, *FEED_FORWARD))
    found = ((owner, name, getattr(owner, name)) for owner, name in places)
    return [(owner, name, module) for owner, name, module in found if isinstance(module, LoraLinear)]


def lora_parameters(backbone: nn.Module) -> list[nn.Parameter]:
    """The parameters of the updates, layer by layer."""
    return [p for *_, module in lora_updates(backbone) for p in (module.lora_a, module.lora_b)]


def base_checksum(backbone: nn.Module) -> str:
    """SHA-256 of a backbone's weights, without updates that are not merged."""
    state = backbone.state_dict().items()
    return checksum("", {key.replace(".base.", "."): value for key, value in state if ".lora_" not in key})


def _places(backbone: nn.Module, targets: Sequence[str]) -> Iterator[tuple[nn.Module, str]]:
    net: Any = backbone
    for layer in net.layers:
        for name in targets:
            yield (layer.self_attn if name in ATTENTION else layer), name
