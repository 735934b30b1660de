"""Kalasanty's network: a U-Net that turns the atoms in a cube into the density of binding cavities.

Stepniewska-Dziubinska, Zielenkiewicz & Siedlecki, Sci. Rep. 10, 5035 (2020). Defaults are a small network for a CPU, which needs
batch normalisation, scaled inputs and a cross-entropy in addition to the Dice loss to learn in hundreds of steps; ``published()``
of :class:`~s2p.models.kalasanty.config.KalasantyConfig` is the paper's. Arrays are (batch, channel, x, y, z).
"""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2p.errors import S2PError
from s2p.models.kalasanty.config import KalasantyConfig

__all__ = ["Kalasanty", "scale_channels"]

N_CHANNELS = 18


def scale_channels(x: Tensor, floor: float) -> Tensor:
    """Divide every channel by its root mean square over the cells that contain an atom, at least ``floor``.

    ``x``: (B, C, n, n, n) sums of atom features.
    """
    occupied = (x != 0).any(dim=1, keepdim=True)
    count = occupied.sum(dim=(2, 3, 4), keepdim=True).clamp(min=1)
    rms = (x.square().sum(dim=(2, 3, 4), keepdim=True) / count).sqrt()
    return x / rms.clamp(min=floor)


class Block(nn.Sequential):
    """Twice a 3×3×3 convolution of the same size, optional batch normalisation, and ReLU."""

    def __init__(self, inputs: int, outputs: int, normalise: bool) -> None:
        layers: list[nn.Module] = []
        for width in (inputs, outputs):
            layers.append(nn.Conv3d(width, outputs, 3, padding=1))
            if normalise:
                layers.append(nn.BatchNorm3d(outputs))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Kalasanty(nn.Module):
    """The U-Net: four blocks down, one at the bottom, four up, each concatenated with its counterpart from before the pooling.

    Parameters
    ----------
    config
        Size of the box, width of the first block (each next one is twice as wide) and pooling factors.

    Raises
    ------
    S2PError
        If the box is not divisible by the product of the pooling factors.
    """

    def __init__(self, config: KalasantyConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or KalasantyConfig()
        if config.box % prod(config.pools):
            raise S2PError(f"a box of {config.box} cells cannot be pooled by {config.pools}: their product must divide it")
        widths = [config.base * 2**k for k in range(len(config.pools))]
        bottom = 2 * widths[-1]
        self.down = nn.ModuleList(Block(a, b, config.normalise) for a, b in zip([N_CHANNELS, *widths[:-1]], widths, strict=True))
        self.bottom = Block(widths[-1], bottom, config.normalise)
        self.up = nn.ModuleList(
            Block(below + own, own, config.normalise) for below, own in zip([bottom, *widths[:0:-1]], widths[::-1], strict=True)
        )
        self.out = nn.Conv3d(widths[0], 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every convolution here has one
        nn.init.constant_(self.out.bias, config.output_bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 18, n, n, n) sums of atom features -> (B, 1, n, n, n) logits; their sigmoid is the density.

        :class:`ValueError` if n is not the box of the configuration.
        """
        if x.shape[2:] != (self.config.box,) * 3:
            raise ValueError(f"the network reads boxes of {self.config.box} cells, not {tuple(x.shape[2:])}")
        if self.config.scale_floor is not None:
            x = scale_channels(x, self.config.scale_floor)
        skipped = []
        for block, pool in zip(self.down, self.config.pools, strict=True):
            x = block(x)
            skipped.append(x)
            x = F.max_pool3d(x, pool)
        x = self.bottom(x)
        for block, pool, skip in zip(self.up, self.config.pools[::-1], skipped[::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=pool, mode="nearest"), skip], dim=1))
        logits: Tensor = self.out(x)
        return logits
