"""The small ESM-2 that the fine-tuning for binding sites started from, brought back from what it became.

An encoder that has learned to find sites has forgotten much of what stands where in proteins: other tasks go better from where it
started (of masked pocket residues a head on the tuned encoder names 13 % right, on that at the start 21 %). Both are alike to
some per cent of each weight, so the difference is stored, in four bits a weight, beside the checkpoint that holds the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from s2p.checkpoint import load_checkpoint
from s2p.errors import WeightsError
from s2p.io.weights import digest, find_weights, read_weights
from s2p.language.esm import ResidueModel

__all__ = ["BACKBONE", "ENCODER", "encoder_digest", "restore_encoder", "start_encoder", "start_model"]

ENCODER = "esm2-8m"
"""Name of the shipped file."""
FORMAT = "s2p-encoder-difference-1"
BACKBONE = "esm2_t6_8M_UR50D"
LEVELS = 7
"""Steps of a stored difference on either side of zero: 15 values, four bits."""


def restore_encoder(tuned: nn.Module, table: Mapping[str, Tensor]) -> nn.Module:
    """A copy of ``tuned`` with the weights at the start, as nearly as the table says.

    ``table`` is that of ``benchmarks/recipes/encoder.py``: for each matrix ``NAME`` (n, m) its steps, (n, ceil(m / 2)) uint8,
    two to a byte, and ``NAME.step`` (n,) fp16; each vector as it was at the start.
    """
    restored = deepcopy(tuned)
    for name, value in restored.state_dict().items():
        if not value.is_floating_point():
            continue
        stored = table[name]
        if value.ndim < 2:
            value.copy_(stored)
            continue
        codes = torch.stack([stored & 15, stored >> 4], dim=-1).flatten(1)[:, : value.shape[1]]
        value.add_((codes.float() - (LEVELS + 1)) * table[f"{name}.step"].float()[:, None])
    return restored.eval()


def encoder_digest(encoder: nn.Module | None) -> str:
    """Hash that tells an encoder from others; that of no arrays for ``None``."""
    return digest(encoder.state_dict().values() if encoder is not None else ())


def start_encoder(model: str | Path = ENCODER) -> nn.Module:
    """The encoder at the start, restored from a shipped file (by name) or any (by path) and the checkpoint that it names.

    Raises
    ------
    WeightsError
        If the file is none, or the checkpoint is not the one it belongs to.
    """
    path = find_weights(model, "`python -m benchmarks.recipes.encoder` writes one")
    header, table = read_weights(
        path, FORMAT, "not the difference of an encoder; `python -m benchmarks.recipes.encoder` writes them"
    )
    tuned = load_checkpoint(header["base"]).model.backbone
    if encoder_digest(tuned) != header["base_weights"]:
        raise WeightsError(f"{path} belongs to another version of {header['base']}; write it again or use the older one")
    try:
        return restore_encoder(tuned, table)
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None


def start_model() -> ResidueModel:
    """A residue model on the encoder at the start, with a head that has learned nothing yet."""
    model = ResidueModel(BACKBONE)
    model.backbone = start_encoder()
    return model.eval()
