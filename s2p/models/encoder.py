"""The small ESM-2 before its fine-tuning for binding sites, restored from the fine-tuned weights and a stored difference.

Fine-tuning for sites makes an encoder a worse language model, so other tasks use the one from before (a head on the fine-tuned
encoder predicts 13 % of masked pocket residues correctly, on the original one 21 %). The weights of both differ by a few per
cent, so only the difference is stored, in four bits per weight; the fine-tuned weights are in their own checkpoint.
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
"""Levels of a stored difference on either side of zero: 15 values, four bits."""


def restore_encoder(tuned: nn.Module, table: Mapping[str, Tensor]) -> nn.Module:
    """A copy of ``tuned`` with the weights from before the fine-tuning, approximated by the table.

    ``table`` is written by ``benchmarks/recipes/encoder.py``: for each matrix ``NAME`` (n, m) its levels, (n, ceil(m / 2)) uint8,
    two per byte, and ``NAME.step`` (n,) fp16; vectors are stored as they were before.
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
    """Hash that identifies an encoder; that of no arrays for ``None``."""
    return digest(encoder.state_dict().values() if encoder is not None else ())


def start_encoder(model: str | Path = ENCODER) -> nn.Module:
    """The encoder before fine-tuning, restored from a shipped file (by name) or any (by path) and the checkpoint that it names.

    Raises
    ------
    WeightsError
        If the file is of another kind, or does not belong to the checkpoint.
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
    """A residue model on the encoder from before fine-tuning, with an untrained head."""
    model = ResidueModel(BACKBONE)
    model.backbone = start_encoder()
    return model.eval()
