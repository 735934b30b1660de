"""Sequences as input of ESM-2: its sizes, tokens, windows over long chains, batches. This module does not need PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2p.config import WindowConfig
from s2p.errors import WeightsError

if TYPE_CHECKING:
    from s2p.language.esm import ResidueModel
    from s2p.language.numpy_esm import NumpyESM

__all__ = [
    "BACKBONES",
    "CLS",
    "DEFAULT_HEADS",
    "EOS",
    "PAD",
    "LanguageOutput",
    "backbone_size",
    "parameter_count",
    "predict_residues",
    "token_batches",
    "tokenize",
]

BACKBONES: dict[str, tuple[int, int, int]] = {
    "esm2_t6_8M_UR50D": (6, 320, 20),
    "esm2_t12_35M_UR50D": (12, 480, 20),
    "esm2_t30_150M_UR50D": (30, 640, 20),
    "esm2_t33_650M_UR50D": (33, 1280, 20),
    "esm2_t36_3B_UR50D": (36, 2560, 40),
    "esm2_t48_15B_UR50D": (48, 5120, 40),
}
"""Name -> (layers, embedding width, attention heads)."""
CLS, PAD, EOS = 0, 1, 2
FIRST_LETTER, LETTERS = 4, "LAGVSERTIDPKQNFYMHWCXBUZO"
"""The token of a letter is its position here plus the token of the first letter."""
LanguageOutput = tuple[NDArray[np.float32], ...]
"""For one chain: (n,) logits and (n, d) embeddings; for two models, followed by those of the second."""
DEFAULT_HEADS = ("general",)
"""Kinds of binding site that a model predicts by default."""

_TOKENS = np.full(256, FIRST_LETTER + LETTERS.index("X"), dtype=np.int64)
"""(256,) token of every byte; letters outside the alphabet become X."""
_TOKENS[np.frombuffer(LETTERS.encode(), dtype=np.uint8)] = np.arange(FIRST_LETTER, FIRST_LETTER + len(LETTERS))


def tokenize(sequence: str) -> NDArray[np.int64]:
    """(n + 2,) token ids with the begin and end tokens around the residues."""
    residues = _TOKENS[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]
    return np.concatenate([[CLS], residues, [EOS]])


def backbone_size(name: str) -> tuple[int, int, int]:
    """Entry of a name in :data:`BACKBONES`; :class:`WeightsError` for an unknown name."""
    if name not in BACKBONES:
        raise WeightsError(f"there is no ESM-2 called {name!r}; the names are {', '.join(BACKBONES)}")
    return BACKBONES[name]


def parameter_count(backbone: str) -> int:
    """Number of parameters of an ESM-2 without the heads of its pre-training."""
    layers, width, _ = backbone_size(backbone)
    # In a layer the attention has 4 (w² + w), the feed-forward part 8 w² + 5 w, the two norms 4 w; then the embedding of the
    # 33 tokens and the last norm.
    return layers * (12 * width**2 + 13 * width) + (33 + 2) * width


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of similar length whose padded size stays within ``budget`` tokens, longest first."""
    batch: list[int] = []
    for k in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        if batch and (len(batch) + 1) * (lengths[batch[0]] + 2) > budget:
            yield batch
            batch = []
        batch.append(k)
    if batch:
        yield batch


def predict_residues(
    model: ResidueModel | NumpyESM, sequences: Sequence[str], config: WindowConfig | None = None, *, head: str | None = None
) -> list[LanguageOutput]:
    """Logits and embeddings of every residue of every chain, in one pass of the language model.

    Chains longer than ``config.max_residues`` are cut into overlapping windows and each residue is taken from the
    window in which it is most central.

    Parameters
    ----------
    sequences
        One-letter sequences.
    head
        Kind of site, one of ``model.heads``; default the first.

    Returns
    -------
    Per chain (n,) logits and (n, d) embeddings, float32.
    """
    config, lengths = config or WindowConfig(), [len(s) for s in sequences]
    out: list[LanguageOutput] = [(np.zeros(n, np.float32), np.zeros((n, model.width), np.float32)) for n in lengths]
    windows = _windows(lengths, config)
    for batch in token_batches([end - start for _, start, end, *_ in windows], config.token_budget):
        parts = [windows[k] for k in batch]
        found = model.read([tokenize(sequences[chain][start:end]) for chain, start, end, *_ in parts], head or model.heads[0])
        for (logits, hidden), (chain, start, _, first, last) in zip(found, parts, strict=True):
            inside = slice(1 + first - start, 1 + last - start)
            out[chain][0][first:last], out[chain][1][first:last] = logits[inside], hidden[inside]
    return out


def _windows(lengths: Sequence[int], config: WindowConfig) -> list[tuple[int, int, int, int, int]]:
    """(chain, start, end, first, last) of windows that cover every chain, and the part of each window whose values are used.

    The overlap of neighbouring windows is divided at its middle.
    """
    size, overlap = config.max_residues, config.overlap
    windows = []
    for chain, n in enumerate(lengths):
        for start in range(0, max(n - overlap, 1), size - overlap):
            end = min(start + size, n)
            first = start + (overlap + 1) // 2 if start else 0
            windows.append((chain, start, end, first, n if end == n else end - overlap // 2))
    return windows
