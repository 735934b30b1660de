"""How models are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from s2p.config import Checked, Count, Natural, NonNegative, Positive, Range, Share

__all__ = ["FinetuneConfig", "SmootherTrainConfig"]


@dataclass(frozen=True)
class FinetuneConfig(Checked):
    """Fine-tuning of the residue model. Defaults are ours for the 8M encoder; :meth:`published` holds the paper's."""

    head_epochs: Natural = 3
    """Epochs with the backbone frozen."""
    full_epochs: Natural = 3
    """Epochs with everything trainable."""
    head_lr: Positive = 1e-3
    backbone_lr: Positive = 1e-4
    layer_decay: Share = 0.9
    """Learning-rate factor per layer away from the head."""
    weight_decay: NonNegative = 0.01
    adam_eps: NonNegative = 1e-8
    dropout: Share = 0.1
    warmup_fraction: Share = 0.05
    clip_norm: Annotated[float, Range(0, strict=True, finite=False)] = 1.0
    token_budget: Count = 4096
    max_residues: Count = 1022
    """Longer training chains are cropped at random to this length."""
    pos_weight: Positive | None = None
    """Weight of the positive class; ``None``: n / (2 n_pos) over the training set."""
    patience: Natural = 3
    """Epochs of unfrozen training without a better validation AUPRC before stopping."""
    label_smoothing: Share = 0.0
    """Share of each label moved to the other class: 1 becomes 1 - share, 0 becomes share (noisy negatives)."""
    ema_decay: Share = 0.0
    """Decay a step of the moving average of the weights that is validated and kept; 0: the weights themselves."""
    lora_rank: Natural = 0
    """Rank of the low-rank updates that are trained in place of the backbone's weights; 0: the weights themselves."""
    lora_alpha: Positive = 16.0
    """The update is scaled by this over the rank."""
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    """Linear maps of each layer that get an update: of the attention, and ``fc1`` and ``fc2``."""
    eight_bit: bool = False
    """AdamW with 8-bit states (bitsandbytes) on CUDA; elsewhere the states stay fp32."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of matrix products in training. ``auto``: fp32 on the CPU; on CUDA bf16, or fp16 with scaled losses before Ampere."""
    checkpointing: bool = False
    """Recompute the layers in the backward pass instead of storing them: a third slower, far less memory."""
    micro_tokens: Count | None = None
    """Batches larger than this (tokens, padding included) go through in parts whose gradients add up; ``None``: whole, and
    halved when CUDA runs out of memory."""
    save_minutes: NonNegative = 5.0
    """A state to go on from is written this often within an epoch, and after each."""
    seed: Natural = 0

    @classmethod
    def published(cls) -> FinetuneConfig:
        """Two epochs of the head, one of everything, one chain a batch, 8-bit AdamW lr 1e-4 eps 1e-4, no dropout."""
        return cls(
            head_epochs=2,
            full_epochs=1,
            head_lr=1e-4,
            backbone_lr=1e-4,
            layer_decay=1.0,
            adam_eps=1e-4,
            dropout=0.0,
            warmup_fraction=0.0,
            clip_norm=float("inf"),
            token_budget=1,
            eight_bit=True,
        )


@dataclass(frozen=True)
class SmootherTrainConfig(Checked):
    """Training of the smoothing classifier (spec of the paper; width searched there over 256..2048)."""

    width: Count = 256
    dropout: Share = 0.3
    lr: Positive = 3e-4
    weight_decay: NonNegative = 0.01
    batch_size: Count = 1024
    max_epochs: Count = 150
    patience: Natural = 10
    context_radius: Positive = 15.0
    """Binding residues this close (Å, CA, strict) form the context mean."""
    negative_radius: Positive = 10.0
    """Non-binding residues this close (Å, CA, strict) to a binding one are the negatives."""
    include_self: bool = False
    """Let a positive's own embedding into its context mean, as published (a leak: absent at inference)."""
    pos_weight_factor: Positive = 2.0
    """Times the balanced weight n / (2 n_pos)."""
    seed: Natural = 0
