"""Processes that train one model together, one on each GPU, as ``accelerate launch`` or ``torchrun`` start them.

Each has the whole model and takes its share of the rows of every batch. The gradients are added, so that all take the step that
a single process would take; only dropout differs. The first process writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from s2p.errors import DISTRIBUTION, S2PError

__all__ = ["Processes", "join"]

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; by default there is only one."""

    count: int = 1
    index: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.index == 0

    def everyones(self, value: T) -> list[T]:
        """The values of all processes, in their order; every process has to ask."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        found: list[T] = gather_object([value])
        return found

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The part of a list that this process works on."""
        return items[self.index :: self.count]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes, which all have gradients of the same parameters."""
        if self.count > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)


def join(device: torch.device) -> tuple[Processes, torch.device]:
    """The processes that were started together, and the device of this one: ``device``, or of several GPUs its own.

    :class:`S2PError` if there are several, and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "LOCAL_RANK" not in os.environ:
        return Processes(), device
    try:
        from accelerate import PartialState
    except ImportError:
        how = f"pip install '{DISTRIBUTION}[train]', or start a single one"
        raise S2PError(f"several processes need the package accelerate: {how}") from None
    state = PartialState(cpu=device.type == "cpu")
    return Processes(state.num_processes, state.process_index), state.device
