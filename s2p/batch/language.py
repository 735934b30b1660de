"""The language model's share of a batch: sequences of many structures in one go, and less at once where memory ends."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from s2p.config import PredictConfig
from s2p.errors import S2PError
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

if TYPE_CHECKING:
    from s2p.language.esm import LanguageOutput

__all__ = ["LanguageStage", "StagedPredictor", "out_of_memory"]


@runtime_checkable
class StagedPredictor(Protocol):
    """A predictor whose language model can work on many structures at once."""

    def read_sequences(self, sequences: Sequence[str], config: PredictConfig | None = None) -> list[LanguageOutput]:
        """Of each sequence (n,) logits and (n, d) embeddings."""
        ...

    def finish(
        self, structure: Structure, outputs: Mapping[str, LanguageOutput], config: PredictConfig | None = None
    ) -> Prediction:
        """The prediction, from what the language model said of each sequence of the structure."""
        ...


class LanguageStage:
    """Runs the language model, each sequence once, within the memory there is.

    What does not fit is tried again in batches of half the size, down to one window at a time; the size that worked is kept.
    """

    def __init__(self, predictor: StagedPredictor, config: PredictConfig) -> None:
        self._predictor = predictor
        self._config = config
        self._budget = config.windows.token_budget

    def read(self, sequences: Iterable[str]) -> dict[str, LanguageOutput | S2PError]:
        """What the model says of each sequence, or why it could not."""
        outputs: dict[str, LanguageOutput | S2PError] = {}
        todo = [(list(dict.fromkeys(sequences)), self._budget)]
        while todo:
            part, budget = todo.pop()
            if not part:
                continue
            windows = replace(self._config.windows, token_budget=budget)
            failure: tuple[bool, str] | None = None
            try:
                found = self._predictor.read_sequences(part, replace(self._config, windows=windows))
                outputs.update(zip(part, found, strict=True))
            except Exception as error:
                failure = out_of_memory(error), f"{type(error).__name__}: {error}"
            if failure is None:
                self._budget = min(self._budget, budget)
                continue
            # Not in the except block: until that ends, the traceback keeps the arrays of the failed attempt alive.
            full, text = failure
            _free_memory()
            longest = max(map(len, part))
            window = min(longest, windows.max_residues) + 2
            if full and budget > window and (len(part) > 1 or longest > windows.max_residues):
                todo.append((part, max(budget // 2, window)))
            elif len(part) > 1:
                half = len(part) // 2
                todo += [(part[half:], budget), (part[:half], budget)]
            elif full:
                outputs[part[0]] = S2PError(
                    f"not enough memory for the language model, even for one chain of {len(part[0])} residues alone; "
                    "try --device cpu, or a machine with more memory"
                )
            else:
                outputs[part[0]] = S2PError(f"the language model failed on a chain of {len(part[0])} residues ({text})")
        _return_memory()
        return outputs


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the computer's or the GPU's, did not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch's allocator for the CPU has no class of its own for it.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in text for part in ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    )


def _return_memory() -> None:
    """Give freed memory back to the system.

    The C library keeps it, and batches of ever new shapes do not fit into what was kept: a process that needs 370 MB grew to
    790 MB over a thousand structures.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
