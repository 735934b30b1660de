"""How much memory and time a fine-tuning run will take, before it is started: estimates, by counting.

The CUDA context (about 0.5 GB), the allocator and libraries are left out. Checked on the CPU only, with the 8M model: a measured
peak was within a fifth of the estimate where freed blocks go back to the system. As glibc comes, it keeps many of them, and the
process grew to 1.3 times the estimate, with checkpointing to 5 times; ``MALLOC_MMAP_THRESHOLD_=65536`` in the environment
prevents that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from s2p.language.esm import BACKBONES, build_backbone, encode_layer
from s2p.language.lora import FEED_FORWARD
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import training_dtype

__all__ = ["MemoryEstimate", "estimate_memory", "estimate_seconds", "parameter_count"]

TIMED_TOKENS = 512


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the device at the worst moment of a run, estimated."""

    weights: float
    """fp32 weights, with the copies that half-precision products make of them, and their moving average."""
    gradients: float
    optimizer: float
    activations: float
    """What the largest batch keeps for its backward pass."""

    @property
    def total(self) -> float:
        """Bytes."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        return f"{self.total / 1e9:.1f} GB ({', '.join(f'{name} {value / 1e9:.1f}' for name, value in vars(self).items())})"


def parameter_count(backbone: str) -> int:
    """Parameters of an ESM-2 as fair-esm builds it, its unused language-model and contact heads included."""
    with torch.device("meta"):
        return sum(p.numel() for p in build_backbone(backbone).parameters())


def estimate_memory(backbone: str, config: FinetuneConfig, tokens: int | None = None, *, device: str = "cuda") -> MemoryEstimate:
    """Memory of training with ``config``, in its most demanding phase.

    Parameters
    ----------
    backbone
        fair-esm name.
    tokens
        That go through the model at once, padding included. Default: what ``config`` allows, one full-length chain at least.
    device
        ``cuda`` (half precision where the configuration leaves it open, 8-bit states where asked) or ``cpu``.

    Notes
    -----
    A layer of width d keeps, per token: its input and the one of its second norm (fp32), the normed inputs of the linear
    maps, queries, keys, values, and the attention's result twice (in the precision of the products), and 8 d of the
    feed-forward part. In half precision the three projections each keep a copy of their input. Inputs of frozen linear maps
    are not kept. With checkpointing only the inputs of the layers and the insides of one layer are.
    """
    weights = 4.0 * parameter_count(backbone)
    layers, width, _ = BACKBONES[backbone]
    full = config.full_epochs > 0
    half = config.precision in ("bf16", "fp16") or (config.precision == "auto" and device == "cuda")
    size = 2 if half else 4
    rank = config.lora_rank
    trained = width + 1
    if rank and full:
        trained += layers * rank * sum((5 if name in FEED_FORWARD else 2) * width for name in config.lora_targets)
    elif full:
        # In a layer the attention has 4 (w² + w), the feed-forward part 8 w² + 5 w, the two norms 4 w; then the embedding of the
        # 33 tokens and the last norm. The unused heads get no gradient, and so no state.
        trained += layers * (12 * width**2 + 13 * width) + (33 + 2) * width
    if half:
        # Autocast keeps copies of trainable weights until the batch is done, of frozen ones a matrix at a time.
        weights += size * (trained if not rank else trained + 4 * width**2)
    if config.ema_decay:
        weights += 4.0 * trained
    states = 2 if config.eight_bit and device == "cuda" else 8
    if tokens is None:
        tokens = max(min(config.token_budget, config.micro_tokens or config.token_budget), config.max_residues + 2)
    inside = 2 * 4 + size * (3 if half else 1) + size * (3 + 2 + 1 + 4 + 4)
    if rank:
        inside -= size * (("fc1" not in config.lora_targets) + 4 * ("fc2" not in config.lora_targets))
    per_token = float(width * inside)
    if not full:
        activations = per_token  # nothing is kept, but a layer is computed
    elif config.checkpointing:
        activations = 4.0 * width * layers + per_token
    else:
        activations = per_token * layers
    # The backward pass of the feed-forward part holds the gradients of both its wide arrays.
    activations += width * 8 * size if full else 0
    return MemoryEstimate(weights, 4.0 * trained, float(states * trained), activations * tokens)


def estimate_seconds(backbone: str, config: FinetuneConfig, lengths: Sequence[int], device: torch.device) -> float:
    """Seconds of training on chains of these lengths, validation left out: one layer is timed here, and the rest is counted."""
    tokens = sum(min(n, config.max_residues) + 2 for n in lengths)
    forward = _layer_seconds(backbone, config, device, False)
    both = _layer_seconds(backbone, config, device, True) + (forward if config.checkpointing else 0)
    return tokens * BACKBONES[backbone][0] / TIMED_TOKENS * (config.head_epochs * forward + config.full_epochs * both)


def _layer_seconds(backbone: str, config: FinetuneConfig, device: torch.device, backward: bool) -> float:
    """Shortest of three times of one layer with random weights on :data:`TIMED_TOKENS` tokens."""
    from esm.modules import TransformerLayer

    _, width, heads = BACKBONES[backbone]
    dtype = training_dtype(config, device)
    layer = TransformerLayer(width, 4 * width, heads, add_bias_kv=False, use_esm1b_layer_norm=True, use_rotary_embeddings=True)
    layer = layer.to(device).requires_grad_(backward)
    x = torch.randn(1, TIMED_TOKENS, width, device=device, requires_grad=backward)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.set_grad_enabled(backward), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            y = encode_layer(layer, x, None)
        if backward:
            y.float().sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
