"""AdamW for fine-tuning: what is trained in a phase, at which rate, with states and products of which size."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from s2p.errors import S2PError
from s2p.language.esm import ResidueModel
from s2p.training.config import FinetuneConfig
from s2p.training.lora import lora_parameters

__all__ = ["adamw", "make_optimizer", "training_dtype"]


def make_optimizer(
    model: ResidueModel, n_batches: int, config: FinetuneConfig, full: bool
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over the heads alone or, with rates falling towards the input, over everything; linear warm-up and decay."""
    backbone: Any = model.backbone
    trained = lora_parameters(backbone) if config.lora_rank else list(backbone.parameters())
    for parameter in trained:
        parameter.requires_grad_(full)
    heads = [*model.head.parameters(), *model.other_heads.parameters()]
    groups: list[dict[str, Any]] = [{"params": heads, "lr": config.backbone_lr if full else config.head_lr}]
    if full:
        depth = len(backbone.layers)
        pieces: list[tuple[nn.Module, int]] = [(backbone.emb_layer_norm_after, 0), (backbone.embed_tokens, depth + 1)]
        pieces += [(layer, depth - k) for k, layer in enumerate(backbone.layers)]
        for module, distance in pieces:
            members = [p for p in module.parameters() if p.requires_grad]
            if members:
                groups.append({"params": members, "lr": config.backbone_lr * config.layer_decay**distance})
    kind = adamw(config, next(model.parameters()).device)
    optimizer = kind(groups, eps=config.adam_eps, weight_decay=config.weight_decay)
    steps = n_batches * (config.full_epochs if full else config.head_epochs)
    warmup = max(1, round(config.warmup_fraction * steps))

    def factor(step: int) -> float:
        if config.warmup_fraction == 0:
            return 1.0
        return min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def adamw(config: FinetuneConfig, device: torch.device) -> Any:
    """The class of the optimiser.

    Raises
    ------
    S2PError
        If 8-bit states are asked for on CUDA and bitsandbytes is not installed.
    """
    if not config.eight_bit or device.type != "cuda":
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise S2PError(
            "AdamW with 8-bit states needs the package bitsandbytes: pip install 's2p[gpu]', or train with --no-eight-bit"
        ) from None
    return AdamW8bit


def training_dtype(config: FinetuneConfig, device: torch.device) -> torch.dtype:
    """Type of the products in training; sums, losses and weights are fp32 always."""
    if config.precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
