"""Hours of training on named GPUs: counted work over stated throughput. Estimates: none of these was at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2p.config import WindowConfig
from s2p.language.sequences import BACKBONES, parameter_count
from s2p.training.config import FinetuneConfig, SmootherTrainConfig
from s2p.training.memory import training_passes

__all__ = ["GPUS", "UTILISATION", "Gpu", "embedding_hours", "finetuning_hours", "smoother_hours"]


@dataclass(frozen=True)
class Gpu:
    """What the maker states; throughput of dense half-precision products that are summed in fp32."""

    name: str
    memory: float
    """GB."""
    tflops: float
    bandwidth: float
    """GB a second."""


GPUS = (
    Gpu("T4", 16, 65, 320),
    Gpu("L4", 24, 121, 300),
    Gpu("A10", 24, 125, 600),
    Gpu("RTX 4090", 24, 165, 1008),
    Gpu("A100 40 GB", 40, 312, 1555),
    Gpu("L40S", 48, 362, 864),
    Gpu("A100 80 GB", 80, 312, 2039),
    Gpu("H100 80 GB", 80, 989, 3350),
    Gpu("H200", 141, 989, 4800),
)
"""Source: NVIDIA's data sheets of each (figures with sparsity halved), and the Ada architecture white paper for the RTX 4090."""
UTILISATION = 0.3
"""Share of the stated throughput that batches of one chain are assumed to reach."""
CAST, UPDATE = 8, 36
"""Bytes of GPU memory that move for each weight: in a pass (fp32 weights become half precision, which is read), and in a step of
the optimiser (gradients, clipping, weights and 8-bit states)."""


def _forward(backbone: str, lengths: Sequence[int]) -> float:
    """Floating-point operations of one pass over chains of these lengths."""
    layers, width, _ = BACKBONES[backbone]
    return float(sum(layers * (2 * 12 * width**2 * n + 4 * width * n**2) for n in lengths))


def _hours(gpu: Gpu, operations: float, moved: float) -> float:
    return (operations / (UTILISATION * gpu.tflops * 1e12) + moved / (gpu.bandwidth * 1e9)) / 3600


def finetuning_hours(
    gpu: Gpu, backbone: str, config: FinetuneConfig, training: Sequence[int], validation: Sequence[int], steps: int
) -> float:
    """Of chains of these lengths in so many steps an epoch, with a look at the validation chains after every epoch."""
    epochs, weights = config.head_epochs + config.full_epochs, parameter_count(backbone)
    cropped = [min(n, config.max_residues) for n in training]
    operations = training_passes(config) * _forward(backbone, cropped) + (epochs + 1) * _forward(backbone, validation)
    updated = 0 if config.lora_rank else config.full_epochs * UPDATE
    moved = steps * weights * (epochs * CAST + config.full_epochs * CAST * (1 + config.checkpointing) + updated)
    return _hours(gpu, operations, moved)


def embedding_hours(gpu: Gpu, backbone: str, lengths: Sequence[int]) -> float:
    """Of one pass over chains of these lengths, in batches as :func:`s2p.language.cache.embed_residues` makes them."""
    batches = sum(lengths) / WindowConfig.token_budget + 1
    return _hours(gpu, _forward(backbone, lengths), CAST * parameter_count(backbone) * batches)


def smoother_hours(
    gpu: Gpu, width: int, config: SmootherTrainConfig, pairs: float, members: float, epochs: int, stored: float
) -> float:
    """Of so many pairs with ``members`` residues in a context; ``stored`` bytes are read in every epoch, 1 GB a second."""
    weights = 2 * width * config.width + config.width**2
    moved = pairs * members * width * (2 + 4 + 4) + 36 * weights * pairs / config.batch_size
    return epochs * (_hours(gpu, 6 * weights * pairs, moved) + stored / 1e9 / 3600)
