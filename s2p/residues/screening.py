"""Logits of smoothing in bfloat16, and how far off they may be: most candidates need no more to be decided.

Processors with bfloat16 instructions multiply matrices more than twice as fast in that format as in float32. The few candidates
whose logit comes too near to the threshold are left to :mod:`s2p.residues.smoothing`, which computes them again in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

__all__ = ["Screen", "native_bfloat16", "screen_of", "worth_screening"]

CHUNK = 1024
SAFETY = 4.0
"""Margin in estimated standard deviations, which are four times those observed (root mean square): see :meth:`Screen.logits`."""
VARIANCE = 2.0**-16 / 3
"""Of the relative error of rounding to bfloat16: at most uniform within its unit roundoff, 2^-8."""
LEAST_WIDTH = 1024
LEAST_WORK = 2**28
"""Multiplications per call of the two large layers; below either, float32 takes about as long."""


@lru_cache(maxsize=1)
def native_bfloat16() -> bool:
    """Does the processor multiply bfloat16 matrices by instructions of its own (AVX512-BF16), and torch use them?

    Versions of torch that cannot say count as no.
    """
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.backends.mkldnn.is_available() and bool(capabilities.get("avx512_bf16"))


def worth_screening(layers: nn.Sequential, n: int) -> bool:
    """Would ``n`` candidates take less time by way of :func:`screen_of` (classifier in float32 on such a processor)?"""
    weights = list(layers.parameters())
    wide, square = weights[0], weights[2]
    return (
        len(square) >= LEAST_WIDTH
        and n * (wide.numel() // 2 + square.numel()) >= LEAST_WORK
        and native_bfloat16()
        # tensors made in inference mode keep no version, so that a change could not be seen
        and all(w.device.type == "cpu" and w.dtype == torch.float32 and not w.is_inference() for w in weights)
    )


@dataclass(frozen=True, eq=False)
class Screen:
    """A classifier's weights in bfloat16, and what its logits' errors add up to.

    ``spread_…`` holds, for what enters the sum of squares behind the margin, the factor of each squared value.
    """

    own: Tensor
    """(w, d) half of the first layer for the candidate's own embedding."""
    context: Tensor
    """(w, d) half for the mean of its neighbours."""
    bias: Tensor
    """(w,) of the first layer, float32."""
    second: Tensor
    """(w, w)."""
    second_bias: Tensor
    """(w,)."""
    last: Tensor
    """(w,) float32."""
    last_bias: Tensor
    """(1,) float32."""
    spread_own: Tensor
    """(d,)."""
    spread_context: Tensor
    """(d,)."""
    spread_first: Tensor
    """(w,) of the first layer's result before ReLU."""
    spread_hidden: Tensor
    """(w,) of what the second layer is given."""
    spread_second: Tensor
    """(w,) of the second layer's result."""
    spread_bias: Tensor
    """() of the second layer's bias, already squared."""

    @classmethod
    def of(cls, layers: nn.Sequential) -> Screen:
        """Convert the three linear layers of a :class:`~s2p.residues.smoothing.Smoother`."""
        first, bias, second, second_bias, last, last_bias = (p.detach() for p in layers.parameters())
        dim = first.shape[1] // 2
        votes = last.square()[0]
        unrelated = votes @ second.square()
        paths = _paths(last, second)
        spread_first = unrelated + paths.square().amax(0)
        spread = 2 * (spread_first @ first.square()) + _paths(paths, first).square().amax(0)
        return cls(
            own=first[:, :dim].to(torch.bfloat16).contiguous(),
            context=first[:, dim:].to(torch.bfloat16).contiguous(),
            bias=bias.clone(),
            second=second.to(torch.bfloat16),
            second_bias=second_bias.to(torch.bfloat16),
            last=last[0].clone(),
            last_bias=last_bias.clone(),
            spread_own=spread[:dim].clone(),
            spread_context=spread[dim:].clone(),
            spread_first=spread_first,
            spread_hidden=spread_first + unrelated,
            spread_second=votes,
            spread_bias=votes @ second_bias.square(),
        )

    def logits(
        self,
        own: NDArray[np.float32],
        members: NDArray[np.float32],
        near: sparse.csr_matrix,
        count: NDArray[np.int64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits of candidates, and the margin within which those of float32 lie.

        Each number that is rounded to bfloat16 is off by a relative error of variance <= u²/3 (u = 2^-8). To first order the
        logit is off by the sum of value × error × sensitivity. Writing v, W, U for the weights of the last, second and first
        layer, the sensitivities are v_k for unit k of the second layer, s_j = sum_k v_k W_kj for unit j of the first and
        t_i = sum_j s_j U_ji for input i, each sum over the units that ReLU lets through. Which those are differs from row to
        row, and to follow it would take another matrix product. Taken instead is the largest of three sums: over all units,
        over those that raise the logit and over those that lower it (what a trained classifier comes near to for its clear
        cases), and to its square the sum of the squared terms is added, which is what units at random give. Rounded weights
        count alike: their errors, unrelated to each other, add up as squares. The error of a mean over neighbours is at
        most the root mean square of theirs.

        The square root of the whole, times :data:`SAFETY`, is the margin. With random and with trained weights, errors were 0.13
        to 0.25 estimated standard deviations in root mean square and 1.0 at most. An estimate it is nonetheless, which weights
        all of one value would break; so callers compare with float32 wherever they have both.

        Parameters
        ----------
        own
            (C, d) embeddings of the candidates.
        members
            (P, d) embeddings of the predicted residues.
        near
            (C, P) 0/1: which of these are a candidate's neighbours.
        count
            (C,) how many they are, at least one.

        Returns
        -------
        (C,) logits, (C,) margins.
        """
        logits, variance = np.zeros(len(own), np.float32), np.zeros(len(own), np.float32)
        with torch.inference_mode():
            embedding = torch.from_numpy(members)
            projected = F.linear(embedding.to(torch.bfloat16), self.context).float()
            uncertain = (embedding.square() @ self.spread_context + projected.square() @ self.spread_first).numpy()
            for k in range(0, len(own), CHUNK):
                part = slice(k, k + CHUNK)
                links, number = near[part], count[part].astype(np.float32)
                mean = torch.from_numpy((links @ projected.numpy()) / number[:, None])
                x = torch.from_numpy(own[part])
                first = F.linear(x.to(torch.bfloat16), self.own).float()
                squares = torch.from_numpy((links @ uncertain) / number) + self.spread_bias
                squares += x.square() @ self.spread_own
                squares += first.square() @ self.spread_first
                hidden = mean.add_(first).add_(self.bias).relu_().to(torch.bfloat16)
                squares += hidden.float().square_() @ self.spread_hidden
                second = F.linear(hidden, self.second, self.second_bias).relu_().float()
                squares += second.square() @ self.spread_second
                logits[part] = (second @ self.last + self.last_bias).numpy()
                variance[part] = squares.numpy()
        return logits, SAFETY * np.sqrt(VARIANCE * variance)


def _paths(sensitivity: Tensor, weight: Tensor) -> Tensor:
    """(3 g, b) sensitivities (g, a) carried through weights (a, b): of all units, of the positive ones, of the negative ones."""
    positive = sensitivity.clamp(min=0)
    return torch.cat([sensitivity, positive, sensitivity - positive]) @ weight


@dataclass(frozen=True, eq=False)
class _Entry:
    """A screen and the state of the weights it was made from.

    The weights are held so that nothing else can come to lie at their addresses.
    """

    weights: tuple[Tensor, ...]
    versions: tuple[int, ...]
    screen: Screen

    def fits(self, layers: nn.Sequential) -> bool:
        """Are these still the same weights, and unchanged?"""
        now = list(layers.parameters())
        return self.versions == tuple(w._version for w in now) and all(
            a.data_ptr() == b.data_ptr() for a, b in zip(self.weights, now, strict=True)
        )


_ENTRIES: WeakKeyDictionary[nn.Module, _Entry] = WeakKeyDictionary()


def screen_of(layers: nn.Sequential) -> Screen:
    """The :class:`Screen` of these layers, made on first use and again after any of their weights was written or replaced.

    It is kept beside the module, not in it: it is not part of the state dict, of copies or of pickles, and goes when the
    module goes. Unseen remain only writes that go past torch's own record, such as through ``weight.data``.
    """
    entry = _ENTRIES.get(layers)
    if entry is None or not entry.fits(layers):
        weights = list(layers.parameters())
        versions = tuple(w._version for w in weights)
        entry = _Entry(tuple(w.detach() for w in weights), versions, Screen.of(layers))
        _ENTRIES[layers] = entry
    return entry.screen
