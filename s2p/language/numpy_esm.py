"""ESM-2 in NumPy: the arithmetic of :mod:`s2p.language.esm` from the arrays of a checkpoint, without PyTorch.

A column is a residue: arrays in the network are (d, n), so that a linear map is ``W @ x`` and all other steps run along rows of
neighbouring residues, which are contiguous in memory. Chains are read one at a time, so there is no padding.

Sources: Lin et al. 2023, "Evolutionary-scale prediction of atomic-level protein structure with a language model" (ESM-2);
Su et al. 2021, "RoFormer" (arXiv 2104.09864; rotary embedding); Hendrycks and Gimpel 2016 (arXiv 1606.08415; GELU).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p.errors import WeightsError
from s2p.language.sequences import BACKBONES, DEFAULT_HEADS, LanguageOutput, backbone_size

__all__ = ["NumpyESM", "attend", "encode_layer", "fold_updates", "gelu", "rotation"]

Array = NDArray[np.float32]
NORM_EPSILON = np.float32(1e-5)
TOKEN_SCALE = np.float32(1 - 0.15 * 0.8)
"""Without masked tokens ESM-2's token dropout is a constant: trained with 15 % masks of which 80 % are zeroed."""
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
ERF_SLOPE = np.float32(0.3275911)
"""Abramowitz and Stegun 1964, equation 7.1.26: erfc(z) = exp(-z²) · P(1 / (1 + 0.3275911 z)) for z >= 0 to 1.5e-7."""
LAYER = {
    **{f"self_attn.{name}_proj": (1, 1) for name in ("k", "v", "q", "out")},
    "self_attn.rot_emb": (),
    "self_attn_layer_norm": (1,),
    "fc1": (4, 1),
    "fc2": (1, 4),
    "final_layer_norm": (1,),
}
"""Shapes of the weights of a layer, in widths of the embedding, in the order of the arrays in fair-esm."""
GELU_ROWS, QUERIES = 32, 128
"""Size of a block that stays in a processor's cache; twice as fast as whole arrays."""


@dataclass(frozen=True, eq=False)
class NumpyESM:
    """ESM-2 with one binding logit per residue, for inference on a CPU.

    Parameters
    ----------
    name
        fair-esm name of the backbone, a key of :data:`BACKBONES`.
    arrays
        Weights under their names in :class:`s2p.language.esm.ResidueModel`, with merged updates; float32 ones are not copied.
    heads
        Kinds of site, each with its own head; the first is the default.

    Raises
    ------
    WeightsError
        If an array is missing or has another size.
    """

    name: str
    arrays: Mapping[str, NDArray[Any]]
    heads: tuple[str, ...] = DEFAULT_HEADS

    def __post_init__(self) -> None:
        shapes = _shapes(self.name, self.heads)
        unfit = [key for key, shape in shapes.items() if key not in self.arrays or self.arrays[key].shape != shape]
        if unfit:
            found = f"{len(unfit)} arrays are missing or of another size, first {unfit[0]}"
            raise WeightsError(f"these are not the weights of {self.name}: {found}; give another file")
        object.__setattr__(self, "arrays", {key: np.asarray(self.arrays[key], np.float32) for key in shapes})

    device = "cpu"

    @property
    def width(self) -> int:
        """Width of the embedding of a residue."""
        return BACKBONES[self.name][1]

    def read(self, batch: Iterable[NDArray[np.int64]], head: str) -> Iterator[LanguageOutput]:
        """(n + 2,) logits of a head and (n + 2, d) embeddings of (n + 2,) tokens, one sequence after the other."""
        weight, bias = self.linear_head(head)
        for hidden in map(self.encode, batch):
            yield hidden @ weight + bias, hidden

    def linear_head(self, head: str) -> tuple[Array, Array]:
        """(d,) weights and (1,) bias of one head."""
        if head not in self.heads:
            raise WeightsError(f"this model has no head {head!r} for sites of that kind; it has {', '.join(self.heads)}")
        own = "head" if head == self.heads[0] else f"other_heads.{head}"
        return self.arrays[f"{own}.weight"][0], self.arrays[f"{own}.bias"]

    def state_dict(self) -> dict[str, Array]:
        """The arrays, in the order in which :class:`s2p.language.esm.ResidueModel` has them."""
        return dict(self.arrays)

    def encode(self, tokens: NDArray[np.int64]) -> Array:
        """(n, d) last hidden state, after the final layer norm, from the (n,) token ids of one sequence."""
        x = self.embed(tokens)
        for layer in self.layers:
            x = encode_layer(layer, x, BACKBONES[self.name][2])
        return np.ascontiguousarray(_norm(self.arrays, "backbone.emb_layer_norm_after", x).T)

    def embed(self, tokens: NDArray[np.int64]) -> Array:
        """(d, n) input of the first layer."""
        return np.ascontiguousarray(self.arrays["backbone.embed_tokens.weight"][tokens].T * TOKEN_SCALE)

    @cached_property
    def layers(self) -> list[dict[str, Array]]:
        """Arrays of each layer, under their names in it."""
        prefixes = [f"backbone.layers.{k}." for k in range(BACKBONES[self.name][0])]
        return [{key.removeprefix(p): x for key, x in self.arrays.items() if key.startswith(p)} for p in prefixes]


def _shapes(name: str, heads: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shape of every array."""
    layers, width, attention_heads = backbone_size(name)
    maps = {f"backbone.layers.{k}.{key}": tuple(n * width for n in sizes) for k in range(layers) for key, sizes in LAYER.items()}
    maps |= {"backbone.emb_layer_norm_after": (width,)}
    maps |= {"head" if head == heads[0] else f"other_heads.{head}": (1, width) for head in heads}
    shapes: dict[str, tuple[int, ...]] = {"backbone.embed_tokens.weight": (33, width)}  # letters, and tokens of pre-training
    for key, shape in maps.items():
        if shape:
            shapes |= {f"{key}.weight": shape, f"{key}.bias": shape[:1]}
        else:
            shapes[f"{key}.inv_freq"] = (width // attention_heads // 2,)
    return shapes


def fold_updates(
    arrays: Mapping[str, NDArray[Any]], updates: Mapping[str, NDArray[Any]], scale: float
) -> dict[str, NDArray[np.float32]]:
    """Each ``NAME.weight`` with its low-rank update (:mod:`s2p.language.lora`), scale · ``NAME.lora_b`` ``NAME.lora_a``."""
    names = {key.removesuffix(".lora_a") for key in updates if key.endswith(".lora_a")}
    products = {f"{x}.weight": updates[f"{x}.lora_b"].astype(float) @ updates[f"{x}.lora_a"].astype(float) for x in names}
    return {**arrays, **{key: (arrays[key] + scale * change).astype(np.float32) for key, change in products.items()}}


def encode_layer(layer: Mapping[str, Array], x: Array, heads: int) -> Array:
    """One layer of ESM-2; ``layer`` contains its arrays, x is (d, n)."""
    h = _norm(layer, "self_attn_layer_norm", x)
    q, k, v = (_linear(layer, f"self_attn.{part}_proj", h).reshape(heads, -1, h.shape[1]) for part in "qkv")
    turn = rotation(layer["self_attn.rot_emb.inv_freq"], h.shape[1])
    x = x + _linear(layer, "self_attn.out_proj", attend(turn(q), turn(k), v).reshape(x.shape))
    x += _linear(layer, "fc2", gelu(_linear(layer, "fc1", _norm(layer, "final_layer_norm", x))))
    return x


def rotation(frequencies: Array, length: int) -> Callable[[Array], Array]:
    """A function that rotates (…, 2 p, length) vectors by their positions (rotary embedding); frequencies (p,)."""
    angle = frequencies[:, None] * np.arange(length, dtype=np.float32)
    cos, sin = np.cos(angle), np.sin(angle)

    def turn(x: Array) -> Array:
        first, second = np.split(x, 2, axis=-2)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-2)

    return turn


def attend(q: Array, k: Array, v: Array) -> Array:
    """Softmax attention; queries, keys and values (heads, p, n) to (heads, p, n)."""
    heads, size, n = v.shape
    out = np.empty_like(v)
    q = q * np.float32(size**-0.5)
    # A row of ones below the values sums the weights in the same product.
    v = np.concatenate([v, np.ones((heads, 1, n), np.float32)], axis=1)
    for head in range(heads):
        for some in (slice(start, start + QUERIES) for start in range(0, n, QUERIES)):
            weights = k[head].T @ q[head, :, some]  # (keys, queries)
            weights -= weights.max(axis=0)
            mixed = v[head] @ np.exp(weights, out=weights)
            np.divide(mixed[:-1], mixed[-1], out=out[head, :, some])
    return out


def gelu(x: Array) -> Array:
    """x · Φ(x), the exact GELU, in place; x (m, n)."""
    for start in range(0, len(x), GELU_ROWS):
        part = x[start : start + GELU_ROWS]
        size = np.abs(part)
        z = size * np.float32(0.5**0.5)
        t = 1 / (1 + ERF_SLOPE * z)
        tail = t * ERF[0]
        for factor in ERF[1:]:
            tail += factor
            tail *= t
        z *= z
        tail *= np.exp(np.negative(z, out=z), out=z)  # erfc(|x| / √2) = 2 (1 - Φ(|x|))
        np.maximum(part, 0, out=part)
        tail *= size
        part -= np.float32(0.5) * tail
    return x


def _linear(arrays: Mapping[str, Array], name: str, x: Array) -> Array:
    """(in, n) -> (out, n)."""
    out = arrays[f"{name}.weight"] @ x
    out += arrays[f"{name}.bias"][:, None]
    return out


def _norm(arrays: Mapping[str, Array], name: str, x: Array) -> Array:
    """Layer norm of every column."""
    x = x - x.mean(axis=0)
    x /= np.sqrt(np.square(x).mean(axis=0) + NORM_EPSILON)
    x *= arrays[f"{name}.weight"][:, None]
    x += arrays[f"{name}.bias"][:, None]
    return x
