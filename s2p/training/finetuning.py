"""Fine-tune ESM-2 to score binding residues: first the head on a frozen backbone, then everything, or low-rank updates."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2p.config import WindowConfig
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.runtime import progress_bar
from s2p.language.esm import ResidueModel, predict_residues
from s2p.training.batches import Batch, ChainsByHead, balanced_weight, batches, by_head, fingerprint, parts, plan
from s2p.training.config import FinetuneConfig
from s2p.training.curves import learning_curves
from s2p.training.loop import EpochLog, StepLog, identity, load_state, save_state, weights_hash, write_logs
from s2p.training.lora import add_lora, merge_lora
from s2p.training.optimizer import make_optimizer, training_dtype

__all__ = ["EpochLog", "balanced_weight", "evaluate", "finetune"]


def finetune(
    model: ResidueModel,
    training: Sequence[LabelledChain] | ChainsByHead,
    validation: Sequence[LabelledChain] | ChainsByHead,
    config: FinetuneConfig | None = None,
    *,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> list[EpochLog]:
    """Train ``model`` in place; it ends with the weights of the best validation AUPRC, low-rank updates merged.

    Parameters
    ----------
    training, validation
        Chains with labels: of the model's first head, or a mapping with those of every head. A batch holds chains of one
        head, and the others are not trained by it; all share the backbone.
    folder
        Where the logs (``log.csv``, ``steps.csv``), learning curves (``curves.png``) and a state to go on from are written,
        after every epoch and every ``config.save_minutes``. A run that finds there a state of the same configuration and data
        goes on from it, with the same result as without the break.

    Returns
    -------
    The log, one entry an epoch.

    Raises
    ------
    S2PError
        Without chains or binding residues, or if ``folder`` holds the state of another run.
    """
    return _Run(model, training, validation, config or FinetuneConfig(), folder, quiet).go()


def evaluate(
    model: ResidueModel, chains: Sequence[LabelledChain], windows: WindowConfig | None = None, *, head: str | None = None
) -> float:
    """AUPRC (trapezoid) over all residues of ``chains``."""
    predicted = predict_residues(model, [c.sequence for c in chains], windows, head=head)
    return auprc_trapezoid(np.concatenate([c.labels for c in chains]), np.concatenate([logits for logits, _ in predicted]))


class _Run:
    """A training run: what has to survive a break is in :meth:`_state`."""

    def __init__(
        self,
        model: ResidueModel,
        training: Sequence[LabelledChain] | ChainsByHead,
        validation: Sequence[LabelledChain] | ChainsByHead,
        config: FinetuneConfig,
        folder: str | Path | None,
        quiet: bool,
    ) -> None:
        if not 0 <= config.label_smoothing < 0.5 or not 0 <= config.ema_decay < 1:
            given = f"{config.label_smoothing:g} and {config.ema_decay:g}"
            raise S2PError(
                f"label smoothing must be below 0.5 and the decay of the average below 1, neither below 0; got {given}"
            )
        if config.head_epochs + config.full_epochs < 1:
            raise S2PError("fine-tuning needs at least one epoch")
        self.model, self.config, self.quiet = model, config, quiet
        self.folder = None if folder is None else Path(folder)
        self.validation = by_head(model.heads, validation, "validation")
        self.training = by_head(model.heads, training, "training")
        self.device = next(model.parameters()).device
        weights = {head: config.pos_weight or balanced_weight(chains) for head, chains in self.training.items()}
        self.pos_weight = {head: torch.tensor(value, device=self.device) for head, value in weights.items()}
        self.planned: list[Batch] = plan(self.training, config)
        self.dtype = training_dtype(config, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.micro_tokens = config.micro_tokens
        self.epochs: list[EpochLog] = []
        self.steps: list[StepLog] = []
        self.best: dict[str, Tensor] = {}
        self.average: dict[str, Tensor] = {}
        self.optimizer: torch.optim.Optimizer | None = None
        self.scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        self.resumed: dict[str, Any] | None = None
        self.saved = time.monotonic()

    def go(self) -> list[EpochLog]:
        config, model = self.config, self.model
        self.identity = identity(config, fingerprint(self.training, self.validation))
        if config.lora_rank:
            # The state of such a run does not hold the frozen weights, so it has to meet the same ones again.
            self.identity["backbone"] = weights_hash(model.backbone)
            add_lora(model.backbone, config.lora_rank, config.lora_alpha, config.lora_targets, seed=config.seed)
        model.checkpointing = config.checkpointing
        first = self._resume()
        for epoch in range(first, config.head_epochs + config.full_epochs):
            if self._finished():
                break
            full = epoch >= config.head_epochs
            if self.optimizer is None or epoch in (0, config.head_epochs):
                self._start_phase(full)
            loss = self._train_epoch(epoch, full)
            with self._averaged():
                figures = {head: evaluate(model, chains, head=head) for head, chains in self.validation.items()}
                auprc = float(np.mean(list(figures.values())))
                self.epochs.append(EpochLog(epoch, _phase(full), loss, auprc, figures if len(figures) > 1 else {}))
                if auprc >= max(entry.validation_auprc for entry in self.epochs):
                    self.best = {key: value.detach().cpu().clone() for key, value in self._weights().items()}
            if not self.quiet:
                print(f"epoch {epoch} ({_phase(full)}): training loss {loss:.4f}, validation AUPRC {auprc:.4f}", flush=True)
            if self.folder:
                self._save(epoch + 1, 0, 0.0, 0.0, None)
                learning_curves(self.epochs, self.steps, self.folder / "curves.png")
        model.load_state_dict(self.best, strict=not config.lora_rank)
        merge_lora(model.backbone)
        model.checkpointing = False
        return self.epochs

    def _finished(self) -> bool:
        """Whether unfrozen training has gone on for long enough without a better epoch."""
        scores = [entry.validation_auprc for entry in self.epochs]
        late = bool(scores) and self.epochs[-1].phase == _phase(True)
        return late and len(scores) - 1 - int(np.argmax(scores)) >= self.config.patience

    def _start_phase(self, full: bool) -> None:
        self.optimizer, self.scheduler = make_optimizer(self.model, len(self.planned), self.config, full)
        self.average = {}
        if self.config.ema_decay:
            self.average = {key: p.detach().clone() for key, p in self.model.named_parameters() if p.requires_grad}
        if self.resumed:
            self.optimizer.load_state_dict(self.resumed["optimizer"])
            self.scheduler.load_state_dict(self.resumed["scheduler"])
            self.scaler.load_state_dict(self.resumed["scaler"])
            self.average = {key: self.resumed["average"][key].to(self.device) for key in self.average}

    def _train_epoch(self, epoch: int, full: bool) -> float:
        """One pass over the training chains in an order that follows from seed and epoch; mean loss per residue."""
        config, model = self.config, self.model
        assert self.optimizer is not None and self.scheduler is not None
        rng = np.random.default_rng((config.seed, epoch))
        torch.manual_seed(config.seed * 1000 + epoch)
        order = rng.permutation(len(self.planned)).tolist()
        done, total, count = 0, 0.0, 0.0
        if self.resumed and self.resumed["step"]:
            done, total, count = self.resumed["step"], self.resumed["total"], self.resumed["count"]
            rng.bit_generator.state = json.loads(self.resumed["numpy"])
            torch.set_rng_state(self.resumed["torch"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self.resumed["cuda"], self.device)
        self.resumed = None
        model.train()
        if not full:
            model.backbone.eval()
        bar = progress_bar(order[done:], f"epoch {epoch}", self.quiet)
        feed = batches(self.training, self.planned, config.max_residues, rng, order[done:])
        for _, (head, tokens, labels) in zip(bar, feed, strict=True):
            tokens, labels = tokens.to(self.device), labels.to(self.device)
            rate = float(self.scheduler.get_last_lr()[0])
            loss = self._gradients(head, tokens, labels)
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.scheduler.step()
            self._update_average()
            known = int((labels >= 0).sum())
            total, count = total + loss * known, count + known
            self.steps.append(StepLog(epoch, done, loss, rate))
            done += 1
            if self.folder and done < len(order) and time.monotonic() - self.saved >= 60 * config.save_minutes:
                self._save(epoch, done, total, count, rng)
        return total / count

    def _gradients(self, head: str, tokens: Tensor, labels: Tensor) -> float:
        """Gradients of one batch, in parts if need be; its mean loss."""
        assert self.optimizer is not None
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                n = int((labels >= 0).sum())
                return sum(self._part(head, *part, n) for part in parts(tokens, labels, self.micro_tokens))
            except torch.OutOfMemoryError:
                size = tokens.numel() if self.micro_tokens is None else min(tokens.numel(), self.micro_tokens)
                if size <= tokens.shape[1]:
                    raise S2PError(
                        f"one chain of {tokens.shape[1] - 2} residues does not fit the memory of the GPU; try checkpointing, "
                        "LoRA, shorter pieces (max_residues) or a smaller backbone"
                    ) from None
                self.micro_tokens = max(tokens.shape[1], size // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _part(self, head: str, tokens: Tensor, labels: Tensor, n: int) -> float:
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            logits, _ = self.model(tokens, head)
        known = labels >= 0
        targets = labels[known]
        if self.config.label_smoothing:
            targets = targets * (1 - 2 * self.config.label_smoothing) + self.config.label_smoothing
        loss = F.binary_cross_entropy_with_logits(logits[known].float(), targets, pos_weight=self.pos_weight[head])
        # The share of the batch's residues makes the sum over the parts the mean over the batch; 1 for a whole batch.
        share = int(known.sum()) / n
        self.scaler.scale(loss * share).backward()
        return loss.item() * share

    @torch.no_grad()
    def _update_average(self) -> None:
        if not self.average:
            return
        step = len(self.steps)
        # Early on the average follows more closely, so that it forgets where training began.
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        parameters = dict(self.model.named_parameters())
        for key, value in self.average.items():
            value.lerp_(parameters[key], 1 - decay)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, if there is an average."""
        parameters = dict(self.model.named_parameters())
        own = {key: parameters[key].detach().clone() for key in self.average}
        with torch.no_grad():
            for key, value in self.average.items():
                parameters[key].copy_(value)
            yield
            for key, value in own.items():
                parameters[key].copy_(value)

    def _weights(self) -> dict[str, Tensor]:
        """All weights that this run can change."""
        state: dict[str, Tensor] = self.model.state_dict()
        if not self.config.lora_rank:
            return state
        return {key: value for key, value in state.items() if not key.startswith("backbone.") or ".lora_" in key}

    def _save(self, epoch: int, step: int, total: float, count: float, rng: np.random.Generator | None) -> None:
        """Keep everything needed to go on with step ``step`` of ``epoch``."""
        assert self.folder is not None and self.optimizer is not None and self.scheduler is not None
        state = {
            "identity": self.identity,
            "epoch": epoch,
            "step": step,
            "total": total,
            "count": count,
            "log": [vars(entry) for entry in self.epochs],
            "steps": [(s.epoch, s.step, s.loss, s.lr) for s in self.steps],
            "best": self.best,
            "weights": self._weights(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "micro_tokens": self.micro_tokens,
            "numpy": json.dumps(rng.bit_generator.state) if rng else "",
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        save_state(self.folder, state)
        write_logs(self.folder, self.epochs, self.steps)
        self.saved = time.monotonic()

    def _resume(self) -> int:
        """Take up the state in the folder, if there is one; the epoch to go on with."""
        state = load_state(self.folder, self.identity) if self.folder else None
        if state is None:
            return 0
        self.epochs = [EpochLog(**entry) for entry in state["log"]]
        self.steps = [StepLog(*entry) for entry in state["steps"]]
        self.best = state["best"]
        self.micro_tokens = self.config.micro_tokens or state["micro_tokens"]
        self.model.load_state_dict(state["weights"], strict=not self.config.lora_rank)
        epoch: int = state["epoch"]
        # A phase that is only just to begin makes its own optimiser and average.
        if state["step"] or epoch not in (0, self.config.head_epochs):
            self.resumed = state
            self._start_phase(epoch >= self.config.head_epochs)
        return epoch


def _phase(full: bool) -> str:
    return "all" if full else "head"
