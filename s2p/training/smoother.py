"""Training of the smoothing classifier: pairs from known sites, streamed block by block, and early stopping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from s2p.errors import S2PError
from s2p.evaluation.residues import auprc_trapezoid
from s2p.residues import CHUNK, Smoother, neighbours
from s2p.training.config import SmootherTrainConfig
from s2p.training.loop import Backward, EpochLog, Loop, Stage, StepLog
from s2p.training.state import fingerprint_of

__all__ = ["PairStream", "SmootherModule", "SmoothingExample", "train_smoother", "training_pairs"]

BLOCK = 1 << 29
"""Number of embedding values in memory at a time: 1 GB in half precision, 209,715 residues of ESM-2 3B."""
PIECE = 512
"""Number of pairs whose contexts are computed at a time."""


class SmootherModule(nn.Module):
    """A trainable :class:`s2p.residues.Smoother`, with dropout after each ReLU."""

    def __init__(self, dim: int, width: int = 2048, dropout: float = 0.5) -> None:
        super().__init__()
        between = nn.ReLU(), nn.Dropout(dropout)
        self.layers = nn.Sequential(nn.Linear(2 * dim, width), *between, nn.Linear(width, width), *between, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2d) -> (n,) logits."""
        return torch.squeeze(self.layers(x), -1)

    def learned(self) -> Smoother:
        """With the present weights, for predictions."""
        return Smoother({key: value.cpu().numpy() for key, value in self.state_dict().items()})


@dataclass(frozen=True, eq=False)
class SmoothingExample:
    """One chain (or complex) for training the smoother."""

    embeddings: NDArray[np.floating]
    """(N, d); may be memory-mapped, and in half precision."""
    ca_coord: NDArray[np.float32]
    """(N, 3) Å."""
    sites: tuple[NDArray[np.int64], ...]
    """Residue indices of each binding site."""
    predicted: NDArray[np.bool_] | None = None
    """(N,) residues that the residue model predicts; needed to evaluate smoothing, not to train it."""

    @property
    def binding(self) -> NDArray[np.bool_]:
        """(N,) residues of any site."""
        flags = np.zeros(len(self.embeddings), dtype=bool)
        for site in self.sites:
            flags[site] = True
        return flags


class PairStream:
    """Classifier inputs of many examples, computed on demand.

    Only an index is kept: the residue of every pair and, in compressed rows, the residues of its context. Embeddings are read in
    blocks of examples of about ``size`` numbers: a single block in the given order, several in an order drawn from the seed.
    """

    def __init__(
        self,
        examples: Sequence[SmoothingExample],
        config: SmootherTrainConfig,
        device: str | torch.device = "cpu",
        size: int | None = None,
    ) -> None:
        if not examples:
            raise S2PError("the smoother needs training and validation structures")
        self.device, self.dim = device, examples[0].embeddings.shape[1]
        room = max(1, (size or BLOCK) // self.dim)
        lengths = np.array([len(x.embeddings) for x in examples])
        if lengths.sum() > room:
            order = np.random.default_rng(config.seed).permutation(len(examples))
            examples, lengths = [examples[k] for k in order], lengths[order]
        first = np.cumsum(lengths) - lengths
        index = [_index(x, config) for x in examples]
        self.targets = np.concatenate([target for *_, target in index])
        self.rows = np.concatenate([rows + k for (rows, *_), k in zip(index, first, strict=True)])
        columns = np.concatenate([near.indices + k for (_, near, _), k in zip(index, first, strict=True)])
        ends = np.cumsum([0, *np.concatenate([np.diff(near.indptr) for _, near, _ in index])])
        self.near = sparse.csr_matrix((np.ones(len(columns), bool), columns, ends), shape=(len(self.rows), lengths.sum()))
        starts = np.flatnonzero(np.diff(first // room, prepend=-1))
        self.embeddings = [[x.embeddings for x in examples[i:j]] for i, j in pairwise([*starts, len(examples)])]
        self.first = first[starts]
        self.pairs = np.cumsum([0, *(len(rows) for rows, *_ in index)])[[*starts, len(examples)]]
        """Where the pairs of each block begin."""
        self.loaded: tuple[int, Tensor] | None = None

    def batches(self, size: int, draw: np.random.Generator | None = None) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Block and pairs of every batch: in order, or with ``draw`` blocks in random order, and the pairs of each."""
        shuffled = np.arange if draw is None else draw.permutation
        for block in shuffled(len(self.first)).tolist():
            order = self.pairs[block] + shuffled(self.pairs[block + 1] - self.pairs[block])
            yield from ((block, order[k : k + size]) for k in range(0, len(order), size))

    def inputs(self, block: int, chosen: NDArray[np.int64]) -> Tensor:
        """(n, 2d) float32 inputs of pairs of one block, on the device."""
        if self.loaded is None or self.loaded[0] != block:
            self.loaded = None  # or two would be in memory
            self.loaded = block, torch.from_numpy(np.concatenate(self.embeddings[block])).to(self.device)
        x = torch.empty(len(chosen), 2 * self.dim, device=self.device)
        for start in range(0, len(chosen), PIECE):
            part = chosen[start : start + PIECE]
            context = self.near[part]
            own, members = (
                self.loaded[1][torch.from_numpy(rows - self.first[block]).to(self.device)].float()
                for rows in (self.rows[part], context.indices)
            )
            ends = torch.from_numpy(context.indptr).to(self.device)
            every = torch.arange(len(members), dtype=ends.dtype, device=self.device)
            total = F.embedding_bag(every, members, ends[:-1], mode="sum")
            x[start : start + PIECE] = torch.cat([own, total / ends.diff()[:, None]], dim=1)
        return x

    @torch.no_grad()
    def logits(self, smoother: SmootherModule) -> NDArray[np.float32]:
        """(P,) of all pairs, in the order of ``targets``, without dropout."""
        smoother.eval()
        return np.concatenate([smoother(self.inputs(*batch)).cpu().numpy() for batch in self.batches(CHUNK)])

    def parts(self) -> Iterator[NDArray[Any]]:
        """All values that determine the pairs, for a hash."""
        yield from (self.targets, self.rows, self.near.indptr, self.near.indices)
        yield from (x for block in self.embeddings for x in block)


def _index(example: SmoothingExample, config: SmootherTrainConfig) -> tuple[NDArray[np.int64], Any, NDArray[np.float32]]:
    """Residues of the pairs of one example, (n, N) sparse flags of the residues in the context of each, and targets."""
    binding = example.binding
    members, others = np.flatnonzero(binding), np.flatnonzero(~binding)
    rows = members
    if len(members) and len(others):
        close = neighbours(others, example.ca_coord, members, config.negative_radius)
        rows = np.concatenate([members, others[np.diff(close.indptr) > 0]])
    if not len(rows):
        return rows, sparse.csr_matrix((0, len(binding))), np.zeros(0, np.float32)
    near = neighbours(rows, example.ca_coord, members, config.context_radius)
    has = np.flatnonzero(np.diff(near.indptr))
    near, rows = near[has], rows[has]
    if config.include_self:
        itself = np.flatnonzero(binding[rows])
        near = near + sparse.csr_matrix((np.ones(len(itself)), (itself, np.searchsorted(members, rows[itself]))), near.shape)
    whole = sparse.csr_matrix((near.data, members[near.indices], near.indptr), shape=(len(rows), len(binding)))
    return rows, whole, binding[rows].astype(np.float32)


def training_pairs(example: SmoothingExample, config: SmootherTrainConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Classifier inputs (n, 2d) and targets (n,) of one example (paper, smoothing).

    Positive: every binding residue with the mean of the binding residues around it. Negative: every residue that does
    not bind but lies within ``negative_radius`` of one that does, with the same kind of mean.
    """
    pairs = PairStream([example], config)
    x: NDArray[np.float32] = pairs.inputs(0, np.arange(len(pairs.targets))).numpy()
    return x, pairs.targets


def train_smoother(
    training: Sequence[SmoothingExample],
    validation: Sequence[SmoothingExample],
    config: SmootherTrainConfig | None = None,
    *,
    folder: str | Path | None = None,
    device: str | torch.device = "cpu",
    quiet: bool = True,
) -> tuple[Smoother, list[EpochLog]]:
    """Train the classifier with early stopping on validation AUPRC.

    Parameters
    ----------
    training, validation
        Chains or complexes with known sites. The validation pairs never see a residue in its own context, whatever
        ``config.include_self`` says of the training pairs.
    folder
        For the log (``log.csv``) and a state (``state.pt``), written after every epoch. An interrupted run with the same
        configuration and data resumes from the state and gives the same result.
    quiet
        No progress bar.

    Returns
    -------
    The classifier of the best epoch, and the log; its AUPRC is over the validation pairs.

    Raises
    ------
    S2PError
        Without examples or binding residues, or if ``folder`` holds the state of another run.
    """
    config = config or SmootherTrainConfig()
    device = torch.device(device)
    pairs = PairStream(training, config, device)
    held = PairStream(validation, replace(config, include_self=False), device)
    n, positive = len(pairs.targets), float(pairs.targets.sum())
    if not positive or not held.targets.any():
        raise S2PError("the smoother needs binding residues in the training and in the validation structures")
    weight = torch.tensor(config.pos_weight_factor * n / (2 * positive), device=device)
    per_epoch = len(list(pairs.batches(config.batch_size)))

    def batches(epoch: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        # Seeded by epoch, so that a resumed run draws the dropout it would have drawn.
        torch.manual_seed(config.seed * 1000 + epoch)
        return pairs.batches(config.batch_size, np.random.default_rng((config.seed, epoch)))

    def loss(batch: tuple[int, NDArray[np.int64]], backward: Backward) -> dict[str, float]:
        smoother.train()
        block, chosen = batch
        targets = torch.from_numpy(pairs.targets[chosen]).to(device)
        value = backward(F.binary_cross_entropy_with_logits(smoother(pairs.inputs(block, chosen)), targets, pos_weight=weight))
        return {"loss": value, "pairs": len(chosen)}

    def validate(epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, float], float]:
        auprc = auprc_trapezoid(held.targets, held.logits(smoother))
        loss = sum(s.loss * s.figures["pairs"] for s in steps) / n
        return {"epoch": epoch, "train_loss": loss, "validation_auprc": auprc}, auprc

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        smoother = SmootherModule(pairs.dim, config.width, config.dropout).to(device)
        stage = Stage(
            name="smoother",
            steps=config.max_epochs * per_epoch,
            per_epoch=per_epoch,
            optimizer=lambda: torch.optim.AdamW(smoother.parameters(), lr=config.lr, weight_decay=config.weight_decay),
            batches=batches,
            loss=loss,
            validate=validate,
            keep_best=True,
            patience=config.patience,
        )
        # Hashing takes a while, and is of no use without a folder.
        data = "" if folder is None else fingerprint_of(part for stream in (pairs, held) for part in stream.parts())
        identity = {"config": asdict(config), "data": data}
        rows = Loop(smoother, [stage], identity, None if folder is None else Path(folder), quiet=quiet).train()
    return smoother.learned(), [EpochLog(phase="smoother", **row) for row in rows]
