"""Low-rank adaptation (LoRA) of an ESM-2: small trainable updates beside frozen weights, merged when training is over.

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

__all__ = ["ATTENTION", "FEED_FORWARD", "LoraLinear", "add_lora", "lora_parameters", "merge_lora"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
FEED_FORWARD = ("fc1", "fc2")


class LoraLinear(nn.Module):
    """``base(x) + (alpha / rank) · B A x`` with ``base`` frozen; equal to ``base`` before the first step, as B starts at zero.

    ``base`` is the linear map (out, in) that is adapted, A is (rank, in), B (out, rank).
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.lora_a = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        update = F.linear(F.linear(x, self.lora_a), self.lora_b)
        out: Tensor = self.base(x) + self.scale * update
        return out

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain linear map that does the same; takes over ``base``."""
        # The product is summed in fp64: merging should cost no more than the rounding of the sum.
        update = self.scale * (self.lora_b.double() @ self.lora_a.double())
        self.base.weight.copy_(self.base.weight.double() + update)
        return self.base.requires_grad_(True)


def add_lora(backbone: nn.Module, rank: int, alpha: float, targets: Sequence[str] = ATTENTION, *, seed: int = 0) -> None:
    """Freeze ``backbone`` (a fair-esm ``ESM2``) and put a :class:`LoraLinear` in place of the ``targets`` of every layer.

    The generators of torch are left as they were.

    Raises
    ------
    S2PError
        For a rank below 1, an unknown target, or a backbone that has updates already.
    """
    unknown = set(targets) - {*ATTENTION, *FEED_FORWARD}
    if rank < 1 or unknown or not targets:
        choices = ", ".join((*ATTENTION, *FEED_FORWARD))
        raise S2PError(
            f"LoRA needs a rank of 1 or more and targets of {choices}; got rank {rank}, {', '.join(targets) or 'none'}"
        )
    if any(isinstance(module, LoraLinear) for module in backbone.modules()):
        raise S2PError("this backbone has low-rank updates already; merge them before adding others")
    backbone.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for owner, name in list(_places(backbone, targets)):
            setattr(owner, name, LoraLinear(getattr(owner, name), rank, alpha))


def merge_lora(backbone: nn.Module) -> None:
    """Add the updates to the weights, so that ``backbone`` is a plain ESM-2 again, every parameter trainable."""
    for owner, name in list(_places(backbone, (*ATTENTION, *FEED_FORWARD))):
        module = getattr(owner, name)
        if isinstance(module, LoraLinear):
            setattr(owner, name, module.merged())
    backbone.requires_grad_(True)


def lora_parameters(backbone: nn.Module) -> list[nn.Parameter]:
    """The updates' own parameters, layer by layer."""
    return [p for module in backbone.modules() if isinstance(module, LoraLinear) for p in (module.lora_a, module.lora_b)]


def _places(backbone: nn.Module, targets: Sequence[str]) -> Iterator[tuple[nn.Module, str]]:
    net: Any = backbone
    for layer in net.layers:
        for name in targets:
            yield (layer.self_attn if name in ATTENTION else layer), name
