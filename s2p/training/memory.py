"""How much memory, disk and time a fine-tuning run will take, before it is started: estimates, by counting.

The CUDA context (about 0.5 GB), the allocator and libraries are left out. Checked on the CPU only, with the 8M model: a measured
peak was within a fifth of the estimate. By default glibc keeps many freed blocks, and the process grew to 1.3 times the estimate
(5 times with checkpointing); ``MALLOC_MMAP_THRESHOLD_=65536`` in the environment prevents that.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from s2p.errors import S2PError
from s2p.language.esm import encode_layer
from s2p.language.lora import FEED_FORWARD
from s2p.language.sequences import BACKBONES, parameter_count
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import training_dtype

__all__ = ["MemoryEstimate", "Needs", "estimate_memory", "estimate_needs", "estimate_seconds", "training_passes"]

TIMED_TOKENS = 512
CONTEXT = 1e9
"""Bytes of a GPU's or computer's memory that are reserved for CUDA and the libraries."""


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


def estimate_memory(backbone: str, config: FinetuneConfig, tokens: int | None = None, *, device: str = "cuda") -> MemoryEstimate:
    """Memory of training with ``config``, in its most demanding phase.

    Parameters
    ----------
    backbone
        fair-esm name.
    tokens
        Number of tokens in one pass, padding included. Default: what ``config`` allows, at least one full-length chain.
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
    rank, trained = config.lora_rank, _trained(backbone, config)
    if half:
        # Autocast keeps copies of trainable weights until the batch is done, of frozen ones a matrix at a time.
        weights += size * (trained if not rank else trained + 4 * width**2)
    if config.ema_decay:
        weights += 4.0 * trained
    states = _optimizer_bytes(config, device)
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


def _trained(backbone: str, config: FinetuneConfig) -> int:
    """Number of trained parameters in the most demanding phase."""
    layers, width, _ = BACKBONES[backbone]
    if config.full_epochs and config.lora_rank:
        sizes = ((5 if name in FEED_FORWARD else 2) * width for name in config.lora_targets)
        return width + 1 + layers * config.lora_rank * sum(sizes)
    # The unused heads get no gradient, and so no state.
    return width + 1 + (parameter_count(backbone) if config.full_epochs else 0)


def _optimizer_bytes(config: FinetuneConfig, device: str) -> int:
    return 2 if config.eight_bit and device == "cuda" else 8


@dataclass(frozen=True)
class Needs:
    """Estimated memory and disk space of a whole fine-tuning run, in bytes."""

    device: MemoryEstimate
    host: float
    """Memory of the computer, if the device is a GPU."""
    state: float
    """The largest state to resume from; a new one is written beside the old one."""
    checkpoint: float

    @property
    def disk(self) -> float:
        """Bytes in the work folder, at most."""
        return 2 * self.state + self.checkpoint

    def check(self, work: Path, gpu_memory: float | None, advice: str = "", more: float = 0.0) -> None:
        """Refuse what does not fit the GPU (bytes), this computer's memory, or the disk of ``work``, which has to take ``more``.

        :class:`S2PError` with what is needed, what there is, and ``advice`` on a smaller need.
        """
        if gpu_memory is not None and self.device.total + CONTEXT > gpu_memory:
            needed, room = (self.device.total + CONTEXT) / 1e9, gpu_memory / 1e9
            raise S2PError(
                f"this needs about {needed:.1f} GB of GPU memory and {room:.1f} are there; {advice or 'choose a larger one'}"
            )
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else float("inf")
        if self.host > memory:
            needed, room = self.host / 1e9, memory / 1e9
            raise S2PError(f"this needs about {needed:.0f} GB of the computer's memory, which has {room:.0f}")
        place = next(path for path in (work.absolute(), *work.absolute().parents) if path.exists())
        if self.disk + more > (free := shutil.disk_usage(place).free):
            needed, room = (self.disk + more) / 1e9, free / 1e9
            raise S2PError(
                f"this needs about {needed:.0f} GB of disk and {room:.0f} are free at {place}; choose another folder (--work)"
            )


def estimate_needs(backbone: str, config: FinetuneConfig, *, device: str = "cuda") -> Needs:
    """Memory of the device and beside it, and disk; half-precision weights are read whole before they become fp32.

    A state holds what is trained, its best values and the moving average, and the optimiser's; without LoRA it holds all weights.
    """
    weights, trained = parameter_count(backbone), _trained(backbone, config)
    kept = trained if config.lora_rank else weights
    average = trained if config.ema_decay else 0
    state = 4.0 * (2 * kept + average) + _optimizer_bytes(config, device) * trained
    memory = estimate_memory(backbone, config, device=device)
    # Beside a GPU lie all weights and a half-precision copy when they are read and written, and a state when it is resumed from.
    host = CONTEXT + (max(6.0 * weights, state) if device == "cuda" else memory.total + 4.0 * kept)
    return Needs(memory, host, state, 2.0 * kept)


def smaller(backbone: str, config: FinetuneConfig, gpu_memory: float) -> str:
    """The first change of settings with which a run fits a GPU (bytes), as advice."""
    ways: dict[str, dict[str, Any]] = {
        "--eight-bit": {"eight_bit": True},
        "--checkpointing": {"checkpointing": True},
        "--eight-bit --checkpointing": {"eight_bit": True, "checkpointing": True},
        "--lora 8": {"lora_rank": 8},
        "--lora 8 --checkpointing": {"lora_rank": 8, "checkpointing": True},
    }
    for name, change in ways.items():
        total = estimate_memory(backbone, replace(config, **change)).total + CONTEXT
        if total <= gpu_memory:
            return f"with {name} it is {total / 1e9:.1f}"
    return "choose a smaller backbone"


def training_passes(config: FinetuneConfig) -> int:
    """Forward passes over the training chains that take as long as training.

    A backward pass counts as two, and as one where frozen weights need no gradient; checkpointing adds one.
    """
    return config.head_epochs + config.full_epochs * ((2 if config.lora_rank else 3) + config.checkpointing)


def estimate_seconds(backbone: str, config: FinetuneConfig, lengths: Sequence[int], device: torch.device) -> float:
    """Seconds of training on chains of these lengths, validation left out: one layer is timed here, and the rest is counted."""
    from esm.modules import TransformerLayer

    layers, width, heads = BACKBONES[backbone]
    dtype = training_dtype(config, device)
    layer = TransformerLayer(width, 4 * width, heads, add_bias_kv=False, use_esm1b_layer_norm=True, use_rotary_embeddings=True)
    layer = layer.to(device)
    x = torch.randn(1, TIMED_TOKENS, width, device=device)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            encode_layer(layer, x, None)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    tokens = sum(min(n, config.max_residues) + 2 for n in lengths)
    return tokens * layers / TIMED_TOKENS * training_passes(config) * min(times[1:])
