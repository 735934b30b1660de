"""What a frozen protein language model says of a pocket whose residues it is not told."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from s2p.language.esm import encode_layer, tokenize
from s2p.structure.reading import Structure

__all__ = ["masked_features"]

MASK = 32
"""Token of ESM-2 for a residue that is not told."""
TRAINED_MASKS = 0.15 * 0.8
"""Share of embeddings that were zero when ESM-2 was trained."""


def masked_features(backbone: nn.Module, structure: Structure, pocket: NDArray[np.int64]) -> NDArray[np.float32]:
    """(P, d) last hidden states at the residues ``pocket``, all of them masked; each chain is read by itself."""
    net: Any = backbone
    chain = structure.residues.chain
    out: dict[int, NDArray[np.float32]] = {}
    for name in dict.fromkeys(chain[pocket].tolist()):
        own = np.flatnonzero(chain == name)
        tokens = tokenize(structure.sequence(name))
        masked = np.flatnonzero(np.isin(own, pocket))
        tokens[masked + 1] = MASK
        ids = torch.from_numpy(tokens)[None].to(net.embed_tokens.weight.device)
        with torch.no_grad():
            share = len(masked) / len(tokens)
            x = net.embed_tokens(ids).masked_fill((ids == MASK)[..., None], 0) * ((1 - TRAINED_MASKS) / (1 - share))
            for layer in net.layers:
                x = encode_layer(layer, x, None)
            states = net.emb_layer_norm_after(x)[0, masked + 1].float().cpu().numpy()
        out |= dict(zip(own[masked].tolist(), states, strict=True))
    return np.stack([out[k] for k in pocket.tolist()])
