"""Fine-tune ESM-2 to score binding residues: first the head on a frozen backbone, then everything, or low-rank updates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from operator import ge
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.datasets.labelled import LabelledChain
from s2p.errors import DISTRIBUTION, S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.language.esm import ResidueModel
from s2p.language.lora import add_lora, base_checksum, lora_parameters, lora_updates, merge_lora, remove_lora
from s2p.language.sequences import predict_residues
from s2p.training.batches import ChainsByHead, balanced_weight, by_head, fingerprint, padded, parts, plan
from s2p.training.config import FinetuneConfig
from s2p.training.curves import learning_curves
from s2p.training.loop import Backward, EpochLog, Loop, Stage, StepLog, constant, memory_decay, warm_up_and_decay
from s2p.training.processes import Processes, join
from s2p.training.state import load_state, settings_of

__all__ = ["adamw", "evaluate", "finetune", "make_optimizer", "predict_logits", "training_dtype"]

PIECE = 512
"""Chains that are predicted at once where only logits are wanted."""
FREE = ("checkpointing", "micro_tokens", "save_minutes")
"""Settings that may change between a run and its continuation: they say how the same sums are computed."""


def finetune(
    model: ResidueModel,
    training: Sequence[LabelledChain] | ChainsByHead,
    validation: Sequence[LabelledChain] | ChainsByHead,
    config: FinetuneConfig | None = None,
    *,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> list[EpochLog]:
    """Train ``model`` in place; it ends with the weights of the best validation AUPRC.

    Low-rank updates stay beside the weights, which are as they were: ``save_checkpoint`` stores such a model as an adapter, and
    ``merge_lora`` makes it a plain one. They are merged here if the weights have no name, being trained in this process, and
    taken away if the training fails.

    Parameters
    ----------
    training, validation
        Chains with labels: of the model's first head, or a mapping with those of every head. A batch holds chains of one
        head, and the others are not trained by it; all share the backbone.
    folder
        Where the logs (``log.csv``, ``steps.csv``), learning curves (``curves.png``) and a state to go on from are written,
        after every epoch and every ``config.save_minutes``. A run that finds there a state of the same configuration and data
        resumes from it, with the same result as without the interruption; a finished one returns at once.

    Returns
    -------
    The log, one entry an epoch.

    Raises
    ------
    S2PError
        Without chains or binding residues, or if ``folder`` holds the state of another run.
    """
    config = config or FinetuneConfig()
    processes, device = join(next(model.parameters()).device)
    model.to(device)
    quiet = quiet or not processes.first
    task = Task(model, training, validation, config, processes)
    identity: dict[str, Any] = {"config": settings_of(config, FREE), "data": fingerprint(task.training, task.validation)}
    place = None if folder is None else Path(folder)
    if config.lora_rank:
        _begin_lora(model, config, identity, place)
    else:
        merge_lora(model.backbone)
        if model.base is not None:  # else they are trained already, and a repeated call needs what it began with
            model.base, model.base_sha256 = None, base_checksum(model.backbone)
        identity["backbone"] = model.base_sha256
    model.checkpointing = config.checkpointing
    loop = Loop(
        model,
        task.stages(),
        identity,
        place,
        config.save_minutes,
        clip_norm=config.clip_norm,
        decay=partial(memory_decay, config.ema_decay) if config.ema_decay else None,
        kept=_is_trained if config.lora_rank else None,
        scaler=torch.amp.GradScaler(task.device.type, enabled=task.dtype == torch.float16),
        processes=processes,
        quiet=quiet,
    )
    try:
        for row in loop:
            if not quiet:
                print(
                    f"epoch {row['epoch']} ({row['phase']}): training loss {row['train_loss']:.4f}, "
                    f"validation AUPRC {row['validation_auprc']:.4f}",
                    flush=True,
                )
            if loop.folder and processes.first:
                learning_curves([_entry(row) for row in loop.rows], loop.steps, loop.folder / "curves.png")
    except BaseException:
        remove_lora(model.backbone)
        raise
    if model.base is None:
        merge_lora(model.backbone)
    model.checkpointing = False
    return [_entry(row) for row in loop.rows]


def _begin_lora(model: ResidueModel, config: FinetuneConfig, identity: dict[str, Any], folder: Path | None) -> None:
    """Put fresh updates beside the weights, and their SHA-256 into ``identity``: a state has updates only, and needs the same.

    Updates that are there already are those of the run in ``folder``, if the call is repeated, or part of what is trained on.
    """
    updates = lora_updates(model.backbone)
    identity["backbone"] = base_checksum(model.backbone)
    if updates and folder and not updates[0][-1].folded and load_state(folder, identity):
        remove_lora(model.backbone)
    elif updates:
        merge_lora(model.backbone)
        identity["backbone"], model.base = base_checksum(model.backbone), None
    add_lora(model.backbone, config.lora_rank, config.lora_alpha, config.lora_targets, seed=config.seed)


def predict_logits(model: ResidueModel, sequences: Sequence[str], head: str | None = None) -> list[NDArray[np.float32]]:
    """(n,) logits of every chain; of the embeddings no more than those of some hundred chains are in memory."""
    pieces = (sequences[k : k + PIECE] for k in range(0, len(sequences), PIECE))
    return [logits for piece in pieces for logits, _ in predict_residues(model, piece, head=head)]


def evaluate(
    model: ResidueModel, chains: Sequence[LabelledChain], *, head: str | None = None, processes: Processes | None = None
) -> float:
    """AUPRC (trapezoid) over all residues of ``chains``; of several processes each predicts its share."""
    processes = processes or Processes()
    own = processes.share(chains)
    pairs = list(zip((c.labels for c in own), predict_logits(model, [c.sequence for c in own], head), strict=True))
    labels, logits = zip(*(pair for part in processes.everyones(pairs) for pair in part), strict=True)
    return auprc_trapezoid(np.concatenate(labels), np.concatenate(logits))


class Task:
    """What fine-tuning gives to the loop: stages, batches, loss and validation."""

    def __init__(
        self,
        model: ResidueModel,
        training: Sequence[LabelledChain] | ChainsByHead,
        validation: Sequence[LabelledChain] | ChainsByHead,
        config: FinetuneConfig,
        processes: Processes | None = None,
    ) -> None:
        if not 0 <= config.label_smoothing < 0.5 or not 0 <= config.ema_decay < 1:
            given = f"label smoothing {config.label_smoothing:g} and a decay of the average of {config.ema_decay:g}"
            raise S2PError(f"{given} were asked for: they must be below 0.5 and below 1, and not negative")
        if config.head_epochs + config.full_epochs < 1:
            raise S2PError("fine-tuning needs at least one epoch")
        self.model, self.config, self.processes = model, config, processes or Processes()
        self.validation = by_head(model.heads, validation, "validation")
        self.training = by_head(model.heads, training, "training")
        self.device = next(model.parameters()).device
        weights = {head: config.pos_weight or balanced_weight(chains) for head, chains in self.training.items()}
        self.pos_weight = {head: torch.tensor(value, device=self.device) for head, value in weights.items()}
        self.planned = plan(self.training, config)
        self.dtype = training_dtype(config, self.device)
        self.micro_tokens = config.micro_tokens

    def stages(self) -> list[Stage[tuple[str, Tensor, Tensor]]]:
        """The head alone, then everything; either may have no epochs."""
        config, stages = self.config, []
        for full, epochs, first in ((False, config.head_epochs, 0), (True, config.full_epochs, config.head_epochs)):
            if epochs:
                total = epochs * len(self.planned)
                warmup = max(1, round(config.warmup_fraction * total))
                stage = Stage(
                    name="all" if full else "head",
                    steps=total,
                    per_epoch=len(self.planned),
                    optimizer=partial(make_optimizer, self.model, config, full),
                    batches=partial(self.batches, first),
                    loss=partial(self.loss, full),
                    validate=partial(self.validate, full, first),
                    rate=partial(warm_up_and_decay, total=total, warmup=warmup) if config.warmup_fraction else constant,
                    keep_best=full or not config.full_epochs,
                    # The later of two equal epochs.
                    better=ge,
                    patience=config.patience if full else None,
                )
                stages.append(stage)
        return stages

    def batches(self, first: int, epoch: int) -> Iterator[tuple[str, Tensor, Tensor]]:
        """In an order, and with dropout, that follow from seed and epoch."""
        rng = np.random.default_rng((self.config.seed, first + epoch))
        torch.manual_seed(self.config.seed * 1000 + first + epoch)
        for k in rng.permutation(len(self.planned)).tolist():
            head, chains = self.planned[k]
            yield head, *padded(chains, self.config.max_residues, rng)

    def loss(self, full: bool, batch: tuple[str, Tensor, Tensor], backward: Backward) -> dict[str, float]:
        """Mean loss of the known residues of one batch, in parts if need be."""
        self.model.train()
        if not full:
            self.model.backbone.eval()
        head, tokens, labels = batch[0], batch[1].to(self.device), batch[2].to(self.device)
        known = int((labels >= 0).sum())
        # A process for which a small batch has no row computes one that counts nothing, to have gradients of the same parameters.
        one = slice(self.processes.index, None, self.processes.count)
        counts = len(tokens[one]) > 0
        tokens, labels = (tokens[one], labels[one]) if counts else (tokens[:1], labels[:1])
        while True:
            try:
                pieces = parts(tokens, labels, self.micro_tokens)
                losses = (self._part(head, *piece, known if counts else math.inf, backward) for piece in pieces)
                return {"loss": sum(losses), "known": known}
            except torch.OutOfMemoryError:
                size = tokens.numel() if self.micro_tokens is None else min(tokens.numel(), self.micro_tokens)
                if size <= tokens.shape[1]:
                    raise S2PError(
                        f"one chain of {tokens.shape[1] - 2} residues does not fit the memory of the GPU; try checkpointing, "
                        "LoRA, shorter pieces (max_residues) or a smaller backbone"
                    ) from None
                self.micro_tokens = max(tokens.shape[1], size // 2)
            self.model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()

    def _part(self, head: str, tokens: Tensor, labels: Tensor, n: float, backward: Backward) -> float:
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            logits, _ = self.model(tokens, head)
        known = labels >= 0
        targets = labels[known]
        if self.config.label_smoothing:
            targets = targets * (1 - 2 * self.config.label_smoothing) + self.config.label_smoothing
        loss = F.binary_cross_entropy_with_logits(logits[known].float(), targets, pos_weight=self.pos_weight[head])
        # The share of the batch's residues makes the sum over the parts the mean over the batch; 1 for a whole batch.
        share = int(known.sum()) / n
        backward(loss * share)
        return loss.item() * share

    def validate(self, full: bool, first: int, epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, Any], float]:
        """Loss per residue, and the AUPRC, the mean over the heads."""
        total = sum(step.loss * step.figures["known"] for step in steps)
        count = sum(step.figures["known"] for step in steps)
        figures = {
            head: evaluate(self.model, chains, head=head, processes=self.processes) for head, chains in self.validation.items()
        }
        auprc = float(np.mean(list(figures.values())))
        row = {"epoch": first + epoch, "phase": "all" if full else "head", "train_loss": total / count, "validation_auprc": auprc}
        return row | ({f"auprc_{head}": value for head, value in figures.items()} if len(figures) > 1 else {}), auprc


def _entry(row: dict[str, Any]) -> EpochLog:
    heads = {key.removeprefix("auprc_"): value for key, value in row.items() if key.startswith("auprc_")}
    return EpochLog(row["epoch"], row["phase"], row["train_loss"], row["validation_auprc"], heads)


def _is_trained(key: str) -> bool:
    """Whether an array of a model with low-rank updates changes in training."""
    return not key.startswith("backbone.") or ".lora_" in key


def make_optimizer(model: ResidueModel, config: FinetuneConfig, full: bool) -> torch.optim.Optimizer:
    """AdamW over the heads alone or, with rates falling towards the input, over everything."""
    backbone: Any = model.backbone
    for parameter in lora_parameters(backbone) if config.lora_rank else backbone.parameters():
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
    optimizer: torch.optim.Optimizer = kind(groups, eps=config.adam_eps, weight_decay=config.weight_decay)
    return optimizer


def adamw(config: FinetuneConfig, device: torch.device) -> Any:
    """The class of the optimiser; :class:`S2PError` if 8-bit states need bitsandbytes, which is not installed."""
    if not config.eight_bit or device.type != "cuda":
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        how = f"pip install '{DISTRIBUTION}[gpu]', or train with --no-eight-bit"
        raise S2PError(f"AdamW with 8-bit states needs the package bitsandbytes: {how}") from None
    return AdamW8bit


def training_dtype(config: FinetuneConfig, device: torch.device) -> torch.dtype:
    """Type of the products in training; sums, losses and weights are fp32 always."""
    if config.precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
