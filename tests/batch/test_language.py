"""The language model in a batch: each sequence once, and less at once where memory ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from batch_stub import Stub

from s2p.batch.run import LanguageStage, out_of_memory
from s2p.config import PredictConfig, WindowConfig
from s2p.errors import S2PError
from s2p.language.sequences import LanguageOutput, token_batches

WORDS = ["A" * 30, "C" * 10, "D" * 10, "E" * 10, "F" * 40]


class Small(Stub):
    """Has memory for so many tokens, and says what it was asked for."""

    def __init__(self, memory: int, error: Exception | None = None) -> None:
        super().__init__()
        self.memory = memory
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.budgets: list[int] = []
        self.read: list[str] = []

    def read_sequences(self, sequences: Sequence[str], config: PredictConfig | None = None) -> list[LanguageOutput]:
        assert config is not None
        self.budgets.append(config.windows.token_budget)
        step = config.windows.max_residues
        lengths = [min(step, len(s) - start) for s in sequences for start in range(0, len(s), step)]
        for batch in token_batches(lengths, config.windows.token_budget):
            if len(batch) * (max(lengths[k] for k in batch) + 2) > self.memory:
                raise self.error
        self.read += sequences
        return super().read_sequences(sequences, config)


def stage(predictor: Small, budget: int = 1000, max_residues: int = 1022) -> LanguageStage:
    return LanguageStage(
        predictor, PredictConfig(windows=WindowConfig(token_budget=budget, max_residues=max_residues, overlap=0))
    )


def test_sequences_are_read_once() -> None:
    model = Small(10_000)
    outputs = stage(model).read([*WORDS, *WORDS])
    assert model.read == WORDS and list(outputs) == WORDS
    assert model.budgets == [1000]
    assert stage(model).read([]) == {}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_means_smaller_batches(error: Exception) -> None:
    model = Small(90, error)
    own = stage(model)
    outputs = own.read(WORDS)
    for word in WORDS:
        logits, _ = outputs[word]
        np.testing.assert_array_equal(logits, len(word))
    assert sorted(model.read) == sorted(WORDS)
    assert model.budgets == [1000, 500, 250, 125]
    own.read(["G" * 20])
    assert model.budgets[-1] == 125, "the size that fits is kept"


def test_what_does_not_fit_alone_is_the_only_one_lost() -> None:
    outputs = stage(Small(35)).read(WORDS)
    lost = {word for word, output in outputs.items() if isinstance(output, S2PError)}
    assert lost == {"F" * 40}
    assert "chain of 40 residues alone" in str(outputs["F" * 40])


def test_windows_of_a_long_chain_are_taken_one_by_one() -> None:
    model = Small(60)
    outputs = stage(model, budget=500, max_residues=50).read(["A" * 200])
    assert not isinstance(outputs["A" * 200], S2PError)
    assert model.budgets == [500, 250, 125, 62], "one window of 52 tokens at a time"


def test_another_error_costs_its_sequence_and_no_other() -> None:
    class Picky(Stub):
        def read_sequences(self, sequences: Sequence[str], config: PredictConfig | None = None) -> list[LanguageOutput]:
            if any("C" in s for s in sequences):
                raise ValueError("no C")
            return super().read_sequences(sequences, config)

    outputs = LanguageStage(Picky(), PredictConfig()).read(WORDS)
    assert [word for word, output in outputs.items() if isinstance(output, S2PError)] == ["C" * 10]
    assert "ValueError: no C" in str(outputs["C" * 10])


def test_interrupts_are_not_swallowed() -> None:
    class Stopped(Stub):
        def read_sequences(self, sequences: Sequence[str], config: PredictConfig | None = None) -> list[LanguageOutput]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LanguageStage(Stopped(), PredictConfig()).read(WORDS)


def test_other_errors_are_not_taken_for_it() -> None:
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(ValueError("out of memory"))
