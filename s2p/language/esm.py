"""ESM-2 backbones: weights, and one pass that gives embeddings and logits.

The network is fair-esm's; only its attention is computed by ``scaled_dot_product_attention``, which gives the same
numbers faster (see :func:`encode`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from s2p.errors import WeightsError
from s2p.language.sequences import BACKBONES, DEFAULT_HEADS, PAD, LanguageOutput, backbone_size

__all__ = ["ResidueModel", "build_backbone", "encode", "encode_layer", "find_weights", "load_backbone"]

WEIGHTS_URL = "https://dl.fbaipublicfiles.com/fair-esm/models/{name}.pt"
MAX_WEIGHTS_BYTES = 64 << 30


def build_backbone(name: str) -> nn.Module:
    """An ESM-2 of the given fair-esm name with random weights, without the heads of pre-training, which are not used here."""
    layers, width, heads = backbone_size(name)
    from esm.model.esm2 import ESM2

    model: nn.Module = ESM2(num_layers=layers, embed_dim=width, attention_heads=heads, alphabet="ESM-1b", token_dropout=True)
    model.lm_head = model.contact_head = nn.Identity()
    return model


def encode(backbone: nn.Module, tokens: Tensor, *, checkpointing: bool = False) -> Tensor:
    """Last hidden state of an ESM-2, equal to fair-esm's own forward pass.

    From (B, T) ids, padded with 1, to (B, T, d) after the final layer norm.
    With ``checkpointing`` only the input of each layer is kept, and the layer is computed again in the backward pass.
    """
    net: Any = backbone
    padding = tokens.eq(PAD)
    some_padding = bool(padding.any())
    # Without masked tokens ESM-2's token dropout is a constant: trained with 15 % masks of which 80 % are zeroed.
    x = net.embed_tokens(tokens) * (1 - 0.15 * 0.8)
    x = x.masked_fill(padding[..., None], 0)
    mask = ~padding[:, None, None, :] if some_padding else None
    for layer in net.layers:
        if checkpointing and torch.is_grad_enabled():
            # A layer has no randomness, so the state of the generator need not be restored.
            x = checkpoint(encode_layer, layer, x, mask, use_reentrant=False, preserve_rng_state=False)
        else:
            x = encode_layer(layer, x, mask)
    hidden: Tensor = net.emb_layer_norm_after(x)
    return hidden


def encode_layer(layer: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """One ESM-2 layer; x (B, T, d), mask (B, 1, 1, T) true where there is a token."""
    batch, length, width = x.shape
    attention = layer.self_attn
    h = layer.self_attn_layer_norm(x)
    heads = attention.num_heads
    q, k, v = (
        projection(h).view(batch, length, heads, width // heads).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    shape = (batch * heads, length, width // heads)
    q, k = rotated(attention.rot_emb.inv_freq, q.reshape(shape), k.reshape(shape))
    mixed = F.scaled_dot_product_attention(q.view(v.shape), k.view(v.shape), v, attn_mask=mask)
    x = x + attention.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
    out: Tensor = x + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(x))))
    return out


def rotated(frequencies: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
    """(…, T, d) vectors rotated by angles that grow with the position (rotary embedding); frequencies (d / 2,).

    The tables are computed each time: fair-esm stores them in the module, where threads that share a model would overwrite
    each other's tables.
    """
    place = torch.arange(vectors[0].shape[-2], device=vectors[0].device).type_as(frequencies)
    angle = place[:, None] * frequencies
    angle = torch.cat((angle, angle), dim=-1)
    cos, sin = angle.cos(), angle.sin()
    turned = []
    for x in vectors:
        first, second = x.chunk(2, dim=-1)
        turned.append(x * cos + torch.cat((-second, first), dim=-1) * sin)
    return tuple(turned)


class ResidueModel(nn.Module):
    """ESM-2 with one binding logit per residue (paper, residue model).

    Parameters
    ----------
    name
        fair-esm name of the backbone.
    dropout
        On the embeddings, in training only (published: declared, never applied).
    heads
        Kinds of site, each with its own head on the shared backbone, e.g. ``("general", "cryptic")``. The first is
        ``head``, which a prediction uses by default.
    """

    def __init__(self, name: str, dropout: float = 0.0, heads: Sequence[str] = DEFAULT_HEADS) -> None:
        super().__init__()
        self.name = name
        self.heads = tuple(heads)
        self.checkpointing = False
        """Whether layers are computed again in the backward pass (see :func:`encode`)."""
        self.base: str | None = name
        """Name of the backbone's weights without updates: fair-esm's, a checkpoint's or a file's; none once they are trained."""
        self.base_sha256 = ""
        """SHA-256 of those weights, if the updates are merged into them, or all of them were trained since."""
        self.backbone = build_backbone(name)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.width, 1)
        self.other_heads = nn.ModuleDict({head: nn.Linear(self.width, 1) for head in self.heads[1:]})

    @property
    def width(self) -> int:
        """Width of the embedding of a residue."""
        return BACKBONES[self.name][1]

    @property
    def device(self) -> str:
        """Device of the weights: ``cpu``, ``cuda:0``."""
        return str(self.head.weight.device)

    @torch.no_grad()
    def read(self, batch: Sequence[NDArray[np.int64]], head: str) -> Iterator[LanguageOutput]:
        """Logits of a head and embeddings of a batch of (n + 2,) tokens, padded to one length; on CUDA computed in bfloat16."""
        self.eval()
        tokens = pad_sequence([torch.from_numpy(x) for x in batch], True, PAD).to(self.device)
        with torch.autocast(tokens.device.type, dtype=torch.bfloat16, enabled=tokens.is_cuda):
            logits, hidden = (x.float().cpu().numpy() for x in self(tokens, head))
        return zip(logits, hidden, strict=True)

    def linear_head(self, head: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(d,) weights and (1,) bias of one head."""
        weight, bias = (x.detach().float().cpu().numpy() for x in self.named_head(head).parameters())
        return weight[0], bias

    def named_head(self, head: str) -> nn.Module:
        """The linear map of one kind of site; :class:`WeightsError` if the model has none."""
        if head not in self.heads:
            raise WeightsError(f"this model has no head {head!r} for sites of that kind; it has {', '.join(self.heads)}")
        return self.head if head == self.heads[0] else self.other_heads[head]

    def forward(self, tokens: Tensor, head: str | None = None) -> tuple[Tensor, Tensor]:
        """(B, T) tokens -> logits (B, T) of one head and embeddings (B, T, d), special tokens included."""
        hidden = encode(self.backbone, tokens, checkpointing=self.checkpointing)
        logits: Tensor = self.named_head(head or self.heads[0])(self.dropout(hidden)).squeeze(-1)
        return logits, hidden


def load_backbone(name: str, weights: str | Path | None = None, *, download: bool = True) -> nn.Module:
    """An ESM-2 with its published (or given) weights.

    They are searched in ``weights`` if given, else in the folder ``$S2P_WEIGHTS`` and the torch hub cache, and finally
    downloaded there, unless ``download`` is false.

    Raises
    ------
    WeightsError
        If they are not found, are damaged, or have another size than ``name``.
    """
    backbone = build_backbone(name)
    path = Path(weights) if weights is not None else find_weights(name, download)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    state = read_state(path)
    if any(".lora_" in key for key in state):
        raise WeightsError(f"{path} is an adapter, which has no backbone; give a whole model (s2p finetune --merge writes one)")
    own = backbone.state_dict()
    if unfit := [key for key, value in own.items() if key not in state or state[key].shape != value.shape]:
        raise WeightsError(f"{path}: does not fit {name}: {len(unfit)} arrays are missing or of another size, first {unfit[0]}")
    backbone.load_state_dict(state, strict=False)
    return backbone


def read_state(path: Path) -> dict[str, Tensor]:
    """Arrays of a fair-esm ``.pt``, a ``.safetensors`` or the backbone of our checkpoints, under fair-esm's current names.

    Pickled files are loaded with ``weights_only``.
    """
    import argparse

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
            state = loaded.get("model", loaded)
        return {re.sub(r"^(encoder\.(sentence_encoder\.)?|residue\.backbone\.)", "", key): value for key, value in state.items()}
    except Exception as error:
        raise WeightsError(f"{path}: cannot be read as ESM-2 weights ({' '.join(str(error).split())[:200]})") from None


def find_weights(name: str, download: bool = True) -> Path:
    """File with the weights of a backbone: in ``$S2P_WEIGHTS``, the torch hub cache, or downloaded there if allowed."""

    hub = Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.pt"
    places = [hub]
    if folder := os.environ.get("S2P_WEIGHTS"):
        places = [Path(folder) / f"{name}.safetensors", Path(folder) / f"{name}.pt", hub]
    for path in places:
        if path.is_file():
            return path
    if not download:
        raise WeightsError(f"the weights of {name} were not found; put {name}.pt into {hub.parent} or into $S2P_WEIGHTS")
    from s2p.io.downloads import download as fetch  # imported here, because most checkpoints contain their weights

    return fetch(WEIGHTS_URL.format(name=name), hub, timeout=60.0, max_bytes=MAX_WEIGHTS_BYTES)
