"""Fine-tune ESM-2 to score binding residues: first the head on a frozen backbone, then everything."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.config import FinetuneConfig, WindowConfig
from s2p.datasets import LabelledChain
from s2p.errors import S2PError
from s2p.metrics import average_precision
from s2p.plm import PAD, ResidueModel, predict_residues, token_batches, tokenize
from s2p.runtime import progress_bar

__all__ = ["EpochLog", "balanced_weight", "evaluate", "finetune"]


@dataclass(frozen=True)
class EpochLog:
    """One line of the training log."""

    epoch: int
    phase: str
    train_loss: float
    validation_auprc: float


def balanced_weight(chains: Sequence[LabelledChain]) -> float:
    """Weight of the positive class, n / (2 n_pos) over all chains (published: over the last batch only)."""
    n = sum(len(c.labels) for c in chains)
    positive = sum(int(c.labels.sum()) for c in chains)
    if positive == 0:
        raise S2PError("no chain of the training set has a binding residue; there is nothing to learn")
    return n / (2 * positive)


def finetune(
    model: ResidueModel,
    training: Sequence[LabelledChain],
    validation: Sequence[LabelledChain],
    config: FinetuneConfig | None = None,
    *,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> list[EpochLog]:
    """Train ``model`` in place; it ends with the weights of the best validation AUPRC.

    Parameters
    ----------
    training, validation
        Chains with labels.
    folder
        Where the log (``log.csv``) and a resumable state (``state.pt``) are written after every epoch. A run that finds
        a state of the same configuration there goes on after its last epoch, with the same result as without the break.

    Returns
    -------
    The log, one entry an epoch.
    """
    config = config or FinetuneConfig()
    if not validation:
        raise S2PError("fine-tuning needs validation chains: the best epoch and the threshold are chosen on them")
    device = next(model.parameters()).device
    weight = torch.tensor(config.pos_weight or balanced_weight(training), device=device)
    state_path = None if folder is None else Path(folder) / "state.pt"
    log: list[EpochLog] = []
    best: dict[str, Tensor] = {}
    optimizer: torch.optim.Optimizer | None = None
    epochs = config.head_epochs + config.full_epochs
    resumed = _load_state(state_path, config) if state_path else None
    first = 0
    if resumed:
        first, log, best = resumed["epoch"] + 1, [EpochLog(**entry) for entry in resumed["log"]], resumed["best"]
        model.load_state_dict(resumed["model"])
    for epoch in range(first, epochs):
        full = epoch >= config.head_epochs
        starts_phase = epoch in (0, config.head_epochs)
        if optimizer is None or starts_phase:
            optimizer, scheduler = _optimizer(model, training, config, full)
            if resumed and not starts_phase:
                optimizer.load_state_dict(resumed["optimizer"])
                scheduler.load_state_dict(resumed["scheduler"])
        loss = _train_epoch(model, training, weight, optimizer, scheduler, config, epoch, full, quiet)
        auprc = evaluate(model, validation)
        log.append(EpochLog(epoch, "all" if full else "head", loss, auprc))
        if not quiet:
            print(f"epoch {epoch} ({log[-1].phase}): training loss {loss:.4f}, validation AUPRC {auprc:.4f}", flush=True)
        scores = [entry.validation_auprc for entry in log]
        if auprc >= max(scores):
            best = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        if state_path:
            _save_state(state_path, config, epoch, log, best, model, optimizer, scheduler)
        if full and len(scores) - 1 - int(np.argmax(scores)) >= config.patience:
            break
    model.load_state_dict(best)
    return log


def evaluate(model: ResidueModel, chains: Sequence[LabelledChain], windows: WindowConfig | None = None) -> float:
    """AUPRC over all residues of ``chains``."""
    predicted = predict_residues(model, [c.sequence for c in chains], windows)
    return average_precision(np.concatenate([c.labels for c in chains]), np.concatenate([logits for logits, _ in predicted]))


def _optimizer(
    model: ResidueModel, training: Sequence[LabelledChain], config: FinetuneConfig, full: bool
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over the head alone or, with rates falling towards the input, over everything; linear warm-up and decay."""
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(full)
    groups: list[dict[str, Any]] = [{"params": list(model.head.parameters()), "lr": config.head_lr}]
    if full:
        backbone: Any = model.backbone
        groups[0]["lr"] = config.backbone_lr
        depth = len(backbone.layers)
        parts: list[tuple[nn.Module, int]] = [(backbone.emb_layer_norm_after, 0), (backbone.embed_tokens, depth + 1)]
        parts += [(layer, depth - k) for k, layer in enumerate(backbone.layers)]
        groups += [{"params": list(m.parameters()), "lr": config.backbone_lr * config.layer_decay**d} for m, d in parts]
    optimizer = torch.optim.AdamW(groups, eps=config.adam_eps, weight_decay=config.weight_decay)
    n_epochs = config.full_epochs if full else config.head_epochs
    steps = n_epochs * sum(
        1 for _ in token_batches([min(len(c.sequence), config.max_residues) for c in training], config.token_budget)
    )
    warmup = max(1, round(config.warmup_fraction * steps))

    def factor(step: int) -> float:
        if config.warmup_fraction == 0:
            return 1.0
        return min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _train_epoch(
    model: ResidueModel,
    training: Sequence[LabelledChain],
    weight: Tensor,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    config: FinetuneConfig,
    epoch: int,
    full: bool,
    quiet: bool,
) -> float:
    """One pass over the training chains in an order that follows from seed and epoch; mean loss per residue."""
    rng = np.random.default_rng((config.seed, epoch))
    torch.manual_seed(config.seed * 1000 + epoch)
    device = weight.device
    lengths = [min(len(c.sequence), config.max_residues) for c in training]
    batches = list(token_batches(lengths, config.token_budget))
    total = count = 0.0
    model.train()
    if not full:
        model.backbone.eval()
    # bfloat16 products where the device has them, fp32 sums and losses.
    half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
    for k in progress_bar(rng.permutation(len(batches)).tolist(), f"epoch {epoch}", quiet):
        tokens, labels = _batch([training[i] for i in batches[k]], config.max_residues, rng)
        tokens, labels = tokens.to(device), labels.to(device)
        with half:
            logits, _ = model(tokens)
        known = labels >= 0
        loss = F.binary_cross_entropy_with_logits(logits[known].float(), labels[known], pos_weight=weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        scheduler.step()
        total, count = total + loss.item() * int(known.sum()), count + int(known.sum())
    return total / count


def _batch(chains: Sequence[LabelledChain], longest: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(B, T) tokens and labels, -1 where there is no residue; chains over ``longest`` are cropped at random."""
    pieces: list[tuple[str, NDArray[np.uint8]]] = []
    for c in chains:
        start = int(rng.integers(0, max(1, len(c.sequence) - longest + 1)))
        pieces.append((c.sequence[start : start + longest], c.labels[start : start + longest]))
    size = max(len(s) for s, _ in pieces) + 2
    tokens = np.full((len(pieces), size), PAD, dtype=np.int64)
    labels = np.full((len(pieces), size), -1, dtype=np.float32)
    for row, (sequence, flags) in enumerate(pieces):
        tokens[row, : len(sequence) + 2] = tokenize(sequence)
        labels[row, 1 : len(sequence) + 1] = flags
    return torch.from_numpy(tokens), torch.from_numpy(labels)


def _save_state(
    path: Path,
    config: FinetuneConfig,
    epoch: int,
    log: list[EpochLog],
    best: dict[str, Tensor],
    model: ResidueModel,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [asdict(entry) for entry in log]
    state = {
        "config": asdict(config),
        "epoch": epoch,
        "log": entries,
        "best": best,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, path)
    with open(path.with_name("log.csv"), "w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(entries[0]))
        writer.writeheader()
        writer.writerows(entries)


def _load_state(path: Path, config: FinetuneConfig) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if state["config"] != asdict(config):
        raise S2PError(f"{path} was written by a run with another configuration; remove it or choose another folder")
    return state
