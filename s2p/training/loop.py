"""The training loop of all models: stages of steps, validation after every epoch, and a state to resume from.

A model provides each :class:`Stage` (optimiser, batches, loss, validation) as plain functions. This module does the rest:
learning rates, clipping, the moving average of the weights, the best epoch, patience, logs, Ctrl-C, and the state on disk.
"""

from __future__ import annotations

import math
import operator
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from s2p.errors import S2PError
from s2p.io.files import write_csv
from s2p.io.runtime import progress_bar
from s2p.training.processes import Processes
from s2p.training.state import load_state, save_state

__all__ = ["Backward", "EpochLog", "Loop", "Stage", "StepLog", "constant", "memory_decay", "warm_up_and_decay"]

B = TypeVar("B")
Backward = Callable[[Tensor], float]
"""Adds the gradients of a loss and returns its value."""


@dataclass(frozen=True)
class EpochLog:
    """One line of the log of a training on labelled residues."""

    epoch: int
    phase: str
    """Name of the stage, such as ``head`` or ``all``."""
    train_loss: float
    validation_auprc: float
    """Mean over the heads."""
    auprc_by_head: dict[str, float] = field(default_factory=dict)
    """Of each head, where there are several."""


@dataclass(frozen=True)
class StepLog:
    """One step of the optimiser."""

    epoch: int
    """Of the run, from 0."""
    step: int
    """Within the epoch, from 0."""
    loss: float
    lr: float
    """Of the first group of parameters."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Further values that the loss function reports for the step; numbers, strings and lists of them."""


def constant(highest: float, step: int) -> float:
    """Learning rate without a schedule."""
    return highest


@dataclass(frozen=True)
class Stage(Generic[B]):
    """What is trained with one optimiser. Epochs are counted from 0 within the stage."""

    name: str
    steps: int
    """In all."""
    per_epoch: int
    """Steps between two validations."""
    optimizer: Callable[[], torch.optim.Optimizer]
    """Called when the stage begins; the place to freeze parameters."""
    batches: Callable[[int], Iterable[B]]
    """The batches of an epoch. Random numbers must depend on a seed and the epoch only, to be the same after an interruption."""
    loss: Callable[[B, Backward], Mapping[str, Any]]
    """Passes the loss of a batch, or of each of its parts, to the second argument; returns ``loss`` and other values."""
    validate: Callable[[int, Sequence[StepLog]], tuple[dict[str, Any], float | None]]
    """From an epoch and its steps to a line of the log and, if the best epoch is chosen, its score."""
    rate: Callable[[float, int], float] = constant
    """Learning rate of a group of parameters at a step, from the rate that the optimiser was made with."""
    keep_best: bool = False
    """End the stage with the weights of the best score, and reset the best score."""
    better: Callable[[float, float], bool] = operator.gt
    """Whether the first score is to replace the second, the best so far."""
    patience: int | None = None
    """Epochs without a better score before the stage ends."""


@dataclass
class Loop:
    """A training run; iterating over it trains, and yields the line of the log after every epoch.

    A run that finds in ``folder`` the state of an equal one resumes from it, with the same result as without the interruption.
    """

    module: nn.Module
    stages: Sequence[Stage[Any]]
    identity: Mapping[str, Any]
    """Settings (``config``), data hash (``data``) and other values that a stored state must share for the run to resume."""
    folder: Path | None = None
    """Where state, ``log.csv`` and ``steps.csv`` are written: after every epoch, every ``save_minutes``, and on Ctrl-C."""
    save_minutes: float = 5.0
    clip_norm: float | None = None
    decay: Callable[[int], float] | None = None
    """Of the moving average of the trained weights, by the number of steps before; the average is what is validated and kept."""
    kept: Callable[[str], bool] | None = None
    """Which entries of the module's state change and belong to the run; ``None``: all."""
    scaler: Any = None
    """A ``GradScaler`` for products in fp16."""
    processes: Processes = field(default_factory=Processes)
    """That train the module together; the loss function gives each its share of the sum over the batch."""
    quiet: bool = False
    rows: list[dict[str, Any]] = field(init=False, default_factory=list)
    """The log, a line an epoch."""
    steps: list[StepLog] = field(init=False, default_factory=list)
    best: dict[str, Tensor] = field(init=False, default_factory=dict)
    average: dict[str, Tensor] = field(init=False, default_factory=dict)
    scores: list[float] = field(init=False, default_factory=list)
    """Of the epochs that the best is chosen from."""
    done: int = field(init=False, default=0)
    """Steps of the stage."""
    closed: int = field(init=False, default=0)
    """Steps of the run in the lines of the log."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.device = next(self.module.parameters()).device
        self.scaler = self.scaler or torch.amp.GradScaler(self.device.type, enabled=False)
        self.saved = time.monotonic()
        state = load_state(self.folder, self.identity) if self.folder else None
        first = 0
        if state:
            self.rows, self.scores, self.best, self.closed = state["rows"], state["scores"], state["best"], state["closed"]
            self.steps = [StepLog(*entry) for entry in state["steps"]]
            self.module.load_state_dict(state["weights"], strict=self.kept is None)
            first = state["stage"]
            if not self.quiet:
                print(f"resuming the run in {self.folder}: {len(self.rows)} epochs, {len(self.steps)} steps are done", flush=True)
        with _interrupts_wait(self.folder is not None) as asked:
            for k, stage in enumerate(self.stages[first:], start=first):
                yield from self._run(k, stage, state, asked)
                state = None
        if self.average and not self.stages[-1].keep_best:
            self._exchange()

    def train(self) -> list[dict[str, Any]]:
        """Run to the end; the log, a line an epoch."""
        for _ in self:
            pass
        return self.rows

    def _run(self, k: int, stage: Stage[Any], state: dict[str, Any] | None, asked: list[bool]) -> Iterator[dict[str, Any]]:
        self._begin(stage, state)
        # A process that was not there when the state was written takes those of another.
        generators = state["generators"][self.processes.index % len(state["generators"])] if state else None
        feed: Iterator[Any] | None = None
        over = self.done > 0 and self._patience_is_over(stage)
        for step in progress_bar(range(stage.steps if over else self.done, stage.steps), stage.name, self.quiet):
            epoch, place = divmod(step, stage.per_epoch)
            if feed is None:
                feed = self._feed(stage, epoch, place, generators)
                generators = None
            self._step(stage, step, next(feed))
            self.done = step + 1
            ends = place + 1 == stage.per_epoch or self.done == stage.steps
            if ends:
                feed = None
                self._close(stage, epoch)
            wishes = self.processes.everyones((bool(asked), time.monotonic() - self.saved >= 60 * self.save_minutes))
            stop = any(wish for wish, _ in wishes)
            if self.folder and (ends or stop or wishes[0][1]):
                self.save(k)
            if stop:
                raise KeyboardInterrupt(f"training was interrupted; the same run resumes from its state in {self.folder}")
            if ends:
                yield self.rows[-1]
                if self._patience_is_over(stage):
                    break
        if stage.keep_best:
            if self.best:
                self.module.load_state_dict(self.best, strict=self.kept is None)
            self.best, self.scores = {}, []

    def _begin(self, stage: Stage[Any], state: dict[str, Any] | None) -> None:
        self.optimizer = stage.optimizer()
        self.highest = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.done, self.average = 0, {}
        if self.decay:
            self.average = {key: p.detach().clone() for key, p in self.module.named_parameters() if p.requires_grad}
        if state:
            self.done = state["step"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.average = {key: state["average"][key].to(self.device) for key in self.average}

    def _feed(self, stage: Stage[Any], epoch: int, place: int, generators: dict[str, Tensor] | None) -> Iterator[Any]:
        """Batches of the epoch from ``place`` on; the random generators of torch are restored from the state."""
        # Batches may seed torch when they begin: at the start of an epoch that comes after the state, within one before it.
        if generators and not place:
            self._put_back(generators)
        feed = iter(stage.batches(epoch))
        for _ in range(place):
            next(feed)
        if generators and place:
            self._put_back(generators)
        return feed

    def _put_back(self, generators: dict[str, Tensor]) -> None:
        torch.set_rng_state(generators["torch"])
        if self.device.type == "cuda" and "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], self.device)

    def _step(self, stage: Stage[Any], step: int, batch: Any) -> None:
        for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
            group["lr"] = stage.rate(highest, step)
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.optimizer.zero_grad(set_to_none=True)
        figures = dict(stage.loss(batch, self._backward))
        self.processes.add_gradients(self.module.parameters())
        figures["loss"] = sum(self.processes.everyones(float(figures["loss"])))
        finite = True
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            finite = bool(torch.isfinite(nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)))
        # A gradient that is not finite would spoil every weight; in fp16 the scaler sees to it itself.
        if finite or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.decay:
            keep, trained = self.decay(len(self.steps)), dict(self.module.named_parameters())
            for key, value in self.average.items():
                value.lerp_(trained[key].detach(), 1 - keep)
        self.steps.append(StepLog(len(self.rows), step % stage.per_epoch, figures.pop("loss"), rate, figures))

    def _backward(self, loss: Tensor) -> float:
        value = float(loss.item())
        if not math.isfinite(value):
            raise S2PError(
                f"the training loss became {value} in step {len(self.steps) + 1}: the rate is too high, or a number in the data "
                "is not finite; try a lower rate, or fp32 in place of half precision"
            )
        self.scaler.scale(loss).backward()
        return value

    def _close(self, stage: Stage[Any], epoch: int) -> None:
        """Validate, with the averaged weights if there are any, and write a line of the log."""
        self._exchange()
        # All processes use the first one's values: rounding differences would make them diverge.
        row, score = self.processes.everyones(stage.validate(epoch, self.steps[self.closed :]))[0]
        self.rows.append(row)
        self.closed = len(self.steps)
        if score is not None:
            if not self.scores or stage.better(score, max(self.scores)):
                self.best = {key: value.detach().cpu().clone() for key, value in self._weights().items()}
            self.scores.append(score)
        self._exchange()

    def _patience_is_over(self, stage: Stage[Any]) -> bool:
        if stage.patience is None or not self.scores:
            return False
        return len(self.scores) - 1 - int(np.argmax(self.scores)) >= stage.patience

    @torch.no_grad()
    def _exchange(self) -> None:
        """Exchange the averaged and the trained weights."""
        trained = dict(self.module.named_parameters())
        for key, value in self.average.items():
            own = trained[key].detach().clone()
            trained[key].copy_(value)
            self.average[key] = own

    def _weights(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.module.state_dict()
        return state if self.kept is None else {key: value for key, value in state.items() if self.kept(key)}

    def save(self, stage: int) -> None:
        """Write the state to resume from, and the tables."""
        assert self.folder is not None
        generators = {"torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        every = self.processes.everyones(generators)
        log = {
            "stage": stage,
            "step": self.done,
            "closed": self.closed,
            "rows": self.rows,
            "steps": [list(vars(entry).values()) for entry in self.steps],
            "scores": self.scores,
        }
        tensors = {
            "weights": self._weights(),
            "best": self.best,
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "generators": every,
        }
        if self.processes.first:
            save_state(self.folder, self.identity, log, tensors)
            columns = ("epoch", "step", "loss", "lr")
            if self.rows:
                write_csv(self.folder / "log.csv", self.rows)
            write_csv(self.folder / "steps.csv", [[getattr(entry, name) for name in columns] for entry in self.steps], columns)
        self.processes.everyones(None)  # nobody ends before all is written
        self.saved = time.monotonic()


def warm_up_and_decay(highest: float, step: int, *, total: int, warmup: int, decay: bool = True) -> float:
    """Learning rate that rises linearly over ``warmup`` steps and then, if wanted, falls linearly to 0 at step ``total``."""
    down = max(total - step, 0) / max(total - warmup, 1) if decay else 1.0
    return highest * min((step + 1) / max(warmup, 1), down, 1.0)


def memory_decay(decay: float, step: int) -> float:
    """``decay`` of a moving average, smaller at first, so that the start of training does not stay in the average for long."""
    return min(decay, (1 + step) / (10 + step))


@contextmanager
def _interrupts_wait(can_save: bool) -> Iterator[list[bool]]:
    """The first Ctrl-C, or SIGTERM, is stored in the list, so that the step is finished; a second one interrupts at once."""
    asked: list[bool] = []
    if not can_save or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, _: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(True)
        print("stopping after this step; Ctrl-C again stops at once", file=sys.stderr, flush=True)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
