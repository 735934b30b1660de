"""Input of a training step: cropped and padded batches of chains of similar length, each batch for one head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError
from s2p.language.sequences import PAD, token_batches, tokenize
from s2p.training.config import FinetuneConfig
from s2p.training.state import fingerprint_of

__all__ = ["Batch", "ChainsByHead", "balanced_weight", "by_head", "fingerprint", "padded", "parts", "plan"]

ChainsByHead = Mapping[str, Sequence[LabelledChain]]
"""Head (kind of site) -> chains labelled with sites of that kind."""


Batch = tuple[str, list[LabelledChain]]
"""Chains that go through the model together, and the head that is trained on them; other heads are not."""


def by_head(heads: Sequence[str], chains: Sequence[LabelledChain] | ChainsByHead, what: str) -> dict[str, list[LabelledChain]]:
    """Chains of every head, in the order of ``heads``; a plain sequence belongs to the first.

    :class:`S2PError` if a head has no chains, or chains are for a head that is not there; ``what`` says which chains they are.
    """
    table = chains if isinstance(chains, Mapping) else {heads[0]: chains}
    if unknown := set(table) - set(heads):
        raise S2PError(f"there are {what} chains for {sorted(unknown)[0]!r} sites; the model has heads for {', '.join(heads)}")
    for head in heads:
        if not table.get(head):
            raise S2PError(
                f"fine-tuning needs {what} chains with {head} sites"
                + (": the best epoch and the threshold are chosen on them" if what == "validation" else "")
            )
    return {head: list(table[head]) for head in heads}


def balanced_weight(chains: Sequence[LabelledChain]) -> float:
    """Weight of the positive class, n / (2 n_pos) over all chains (published: of the last batch); n_neg / n_pos would balance."""
    positive = sum(int(c.labels.sum()) for c in chains)
    if positive == 0:
        raise S2PError("no chain of the training set has a binding residue; there is nothing to learn")
    return sum(len(c.labels) for c in chains) / (2 * positive)


def plan(training: ChainsByHead, config: FinetuneConfig) -> list[Batch]:
    """The batches of an epoch, before they are shuffled; the same in every epoch."""
    return [
        (head, [chains[k] for k in members])
        for head, chains in training.items()
        for members in token_batches([min(len(c.sequence), config.max_residues) for c in chains], config.token_budget)
    ]


def padded(chains: Sequence[LabelledChain], longest: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (B, T) and labels (B, T), -1 where there is no residue; chains over ``longest`` are cropped at random places."""
    tokens, labels = [], []
    for c in chains:
        start = int(rng.integers(0, max(1, len(c.sequence) - longest + 1)))
        flags = torch.tensor(c.labels[start : start + longest], dtype=torch.float32)
        tokens.append(torch.from_numpy(tokenize(c.sequence[start : start + longest])))
        labels.append(F.pad(flags, (1, 1), value=-1.0))
    return pad_sequence(tokens, True, PAD), pad_sequence(labels, True, -1.0)


def parts(tokens: Tensor, labels: Tensor, micro_tokens: int | None) -> list[tuple[Tensor, Tensor]]:
    """A batch in parts of at most ``micro_tokens`` tokens (at least one row), without columns that no row needs."""
    rows = len(tokens) if micro_tokens is None else max(1, micro_tokens // tokens.shape[1])
    if rows >= len(tokens):
        return [(tokens, labels)]
    pieces = []
    for start in range(0, len(tokens), rows):
        width = int(tokens[start : start + rows].ne(PAD).sum(dim=1).max())
        pieces.append((tokens[start : start + rows, :width], labels[start : start + rows, :width]))
    return pieces


def fingerprint(*sets: ChainsByHead) -> str:
    """SHA-256 of the sequences, labels and heads, in order."""
    parts: list[str | NDArray[np.uint8]] = []
    for head, members in (pair for chains in sets for pair in chains.items()):
        parts.append(f"[{head}]")
        for c in members:
            parts += [f">{c.sequence}\n", c.labels.astype(np.uint8)]
    return fingerprint_of(parts)
