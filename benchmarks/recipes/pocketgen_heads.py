"""Parts of PocketGen that are fitted first, on all places at once: heads that predict types from features, and the trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s2p.models.pocketgen.network import LanguageHead, PocketGen
from s2p.models.pocketgen.surroundings.heads import SurroundingsHead
from s2p.models.pocketgen.surroundings.trace import TraceNet
from s2p.training.loop import Backward, Loop, Stage, StepLog

__all__ = ["KINDS", "Places", "TraceRows", "fit_heads", "fit_language_head", "fit_surroundings_head", "fit_trace", "trace_error"]

KINDS = ("pockets", "decoys", "sites")
"""Of places: pockets of ligands, pockets around a stretch of the protein itself, residues that bind something not known."""


@dataclass(frozen=True, eq=False)
class Places:
    """Masked residues and their features."""

    language: NDArray[np.float16]
    """(n, d)."""
    environment: NDArray[np.float16]
    """(n, N_ENVIRONMENT)."""
    types: NDArray[np.int64]
    """(n,) 1 to 20."""
    owner: NDArray[np.int64]
    """(n,) index of the protein that each comes from."""
    kind: NDArray[np.int8]
    """(n,) index in :data:`KINDS`."""
    place: NDArray[np.int64]
    """(n,) place within that protein; residues of one place are masked together."""

    def __len__(self) -> int:
        return len(self.types)

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """All rows of ``parts``, of which there is at least one."""
        return cls(*(np.concatenate([getattr(part, x.name) for part in parts]) for x in fields(cls)))

    def of(self, rows: NDArray[np.bool_]) -> Places:
        """Those rows."""
        return Places(*(getattr(self, x.name)[rows] for x in fields(self)))


@dataclass(frozen=True, eq=False)
class TraceRows:
    """Places with a known CA atom, as training data."""

    inputs: NDArray[np.float16]
    """(n, N_TRACE)."""
    step: NDArray[np.float32]
    """(n, 3) Å from the line to the CA, in the frame of the neighbours."""
    owner: NDArray[np.int64]
    """(n,) index of the protein."""

    def of(self, rows: NDArray[np.bool_]) -> TraceRows:
        """Those rows."""
        return TraceRows(self.inputs[rows], self.step[rows], self.owner[rows])


def fit_heads(model: PocketGen, places: Places, seed: int) -> None:
    """Fit the language head, and on top of it each head of the surroundings, to ``places``."""
    language, around = torch.from_numpy(places.language), torch.from_numpy(places.environment)
    types = torch.from_numpy(places.types)
    told = torch.zeros(len(types), model.own_head[-1].out_features)  # type: ignore[call-overload]
    if model.language is not None:
        fit_language_head(model.language, language, types, seed=seed)
        with torch.no_grad():
            told = torch.cat([model.language(part.float()) for part in language.split(1 << 14)])
    last = torch.from_numpy(np.flatnonzero(places.kind != KINDS.index("decoys")))
    for k, head in enumerate(model.surroundings.heads):
        fit_surroundings_head(head, language, around, told, types, last, seed=seed + k)  # type: ignore[arg-type]


def fit_language_head(head: LanguageHead, features: Tensor, types: Tensor, *, epochs: int = 2, seed: int = 0) -> LanguageHead:
    """Fit the masked-language head on (n, d) features of masked residues whose types (n,) 1 to 20 are known; the encoder stays.

    It replaces the published head, which the shipped encoder does not contain. It sees no structure, so by itself it is the
    baseline that the network has to beat.

    Parameters
    ----------
    epochs
        Cross-entropy on validation pockets is 2.46 nat after 2, and after 4 without decoys (2.95 of the frequencies).
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    loss = _entropy(lambda rows: head(features[rows].float()), types)
    _fit(head, loss, torch.arange(len(types)), epochs, 256, 1e-3, generator=generator)
    return head


def fit_surroundings_head(
    head: SurroundingsHead,
    language: Tensor,
    around: Tensor,
    told: Tensor,
    types: Tensor,
    last: Tensor,
    *,
    epochs: int = 2,
    seed: int = 0,
) -> SurroundingsHead:
    """Fit the head of (n, d) language features and (n, N_ENVIRONMENT) surroundings, added to (n, 20) logits ``told``.

    Parameters
    ----------
    last
        Rows that it learns from once more at the end, at a lower rate: places where something binds.
    epochs
        On all rows before. Cross-entropy on validation pockets is 2.19 nat after 2 and the last rows.
    """

    def logits(rows: Tensor) -> Tensor:
        more: Tensor = head(language[rows].float(), around[rows].float())
        return told[rows] + more

    generator = torch.Generator().manual_seed(seed)
    loss = _entropy(logits, types)
    torch.manual_seed(seed)
    _fit(head, loss, torch.arange(len(types)), epochs, 512, 1e-3, generator=generator)
    torch.manual_seed(seed)
    _fit(head, loss, last, 1, 512, 3e-4, generator=generator)
    return head


def fit_trace(
    rows: TraceRows, *, width: int = 512, epochs: int = 6, batch: int = 512, rate: float = 1e-3, seed: int = 0
) -> TraceNet:
    """A network fitted to ``rows``: mean distance to the CA, Å, with a rate that falls to zero."""
    torch.manual_seed(seed)
    net = TraceNet(width)
    inputs, wanted = torch.from_numpy(rows.inputs), torch.from_numpy(rows.step)

    def loss(part: Tensor) -> Tensor:
        # A distance of zero has no gradient: rounded off below some 0.3 Å.
        distance: Tensor = ((net(inputs[part].float()) - wanted[part]).square().sum(dim=1) + 0.1).sqrt()
        return distance.mean()

    _fit(net, loss, torch.arange(len(wanted)), epochs, batch, rate, weight_decay=0.01)
    return net


def trace_error(net: TraceNet, rows: TraceRows) -> tuple[float, float]:
    """Median distance, Å, from the line and from where ``net`` says to the CA."""
    with torch.no_grad():
        said = torch.cat([net(part.float()) for part in torch.from_numpy(rows.inputs).split(1 << 14)]).numpy()
    line, placed = (float(np.median(np.linalg.norm(rows.step - step, axis=1))) for step in (np.zeros(3), said))
    return line, placed


def _entropy(logits: Callable[[Tensor], Tensor], types: Tensor) -> Callable[[Tensor], Tensor]:
    """Cross-entropy of the types of some rows."""

    def loss(part: Tensor) -> Tensor:
        # Half the digits are enough to learn from, and take two thirds of the time.
        with torch.autocast("cpu", torch.bfloat16):
            said = logits(part)
        return F.cross_entropy(said.float(), types[part] - 1)

    return loss


def _fit(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    rows: Tensor,
    epochs: int,
    batch: int,
    rate: float,
    *,
    weight_decay: float = 0.05,
    generator: torch.Generator | None = None,
) -> None:
    """Train on ``rows``, in the order that ``generator`` says, with a rate that falls to zero."""
    per_epoch = -(-len(rows) // batch)
    steps = epochs * per_epoch

    def batches(epoch: int) -> Iterator[Tensor]:
        yield from rows[torch.randperm(len(rows), generator=generator)].split(batch)

    def learn(part: Tensor, backward: Backward) -> dict[str, float]:
        module.train()
        return {"loss": backward(loss(part))}

    def last(epoch: int, entries: Sequence[StepLog]) -> tuple[dict[str, float], None]:
        return {"loss": entries[-1].loss}, None

    def falling(highest: float, step: int) -> float:
        return highest * (1 - step / steps)

    optimizer = partial(torch.optim.AdamW, list(module.parameters()), lr=rate, weight_decay=weight_decay)
    Loop(module, [Stage("fit", steps, per_epoch, optimizer, batches, learn, last, falling)], {}, quiet=True).train()
    module.eval()
