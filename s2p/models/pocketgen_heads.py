"""Heads of PocketGen that tell types from features that do not change in training: fitted first, on all residues at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2p.models.pocketgen import LanguageHead, PocketGen, SurroundingsHead
from s2p.models.pocketgen_data import Pocket

__all__ = ["fit_heads", "fit_language_head", "fit_surroundings_head"]

BATCH = 256
"""Residues."""


def fit_heads(model: PocketGen, pockets: Sequence[Pocket], seed: int) -> None:
    """Fit the language head, and on top of it the head of the surroundings, to the masked residues of ``pockets``."""
    language = torch.from_numpy(np.concatenate([p.language for p in pockets]))
    around = torch.from_numpy(np.concatenate([p.environment for p in pockets]))
    types = torch.from_numpy(np.concatenate([p.types[p.pocket] for p in pockets]))
    told = torch.zeros(len(types), model.own_head[-1].out_features)  # type: ignore[call-overload]
    if model.language is not None:
        fit_language_head(model.language, language, types, seed=seed)
        with torch.no_grad():
            told = model.language(language)
    fit_surroundings_head(model.surroundings, language, around, told, types, seed=seed)


def fit_language_head(head: LanguageHead, features: Tensor, types: Tensor, *, epochs: int = 2, seed: int = 0) -> LanguageHead:
    """Fit the masked-language head on (n, d) features of masked residues whose types (n,) 1 to 20 are known; the encoder stays.

    It stands in for the published head, which the encoder that is shipped has lost. It looks at no structure: by itself it is the
    baseline that the network has to beat.

    Parameters
    ----------
    epochs
        Cross-entropy on validation pockets is 2.483 nat after 2, 2.484 after 4, 2.648 after 8 (2.95 of the frequencies).
    """
    _fit(head, lambda rows: head(features[rows]), types, epochs, seed)
    return head


def fit_surroundings_head(
    head: SurroundingsHead, language: Tensor, around: Tensor, told: Tensor, types: Tensor, *, epochs: int = 3, seed: int = 0
) -> SurroundingsHead:
    """Fit the head of (n, d) language features and (n, N_ENVIRONMENT) surroundings, added to (n, 20) logits ``told``.

    Parameters
    ----------
    epochs
        Cross-entropy on validation pockets is 2.32 nat after 3. In trials, with counts in hard shells and the language head
        trained along, it was lowest after 3: 2.33; 2.35 after 4, 2.42 after 6.
    """
    _fit(head, lambda rows: told[rows] + head(language[rows], around[rows]), types, epochs, seed)
    return head


def _fit(head: nn.Module, logits: Callable[[Tensor], Tensor], types: Tensor, epochs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    steps = epochs * -(-len(types) // BATCH)
    step = 0
    head.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(types), generator=generator).split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (1 - step / steps)
            loss = F.cross_entropy(logits(rows), types[rows] - 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    head.eval()
