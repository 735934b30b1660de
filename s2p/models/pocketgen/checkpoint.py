"""PocketGen's checkpoint: its own weights, the geometry, and how its language model is found.

The language model is the shipped small ESM-2, see :mod:`s2p.models.encoder`, or any published encoder by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from s2p.errors import WeightsError
from s2p.io.weights import find_weights, read_weights
from s2p.language.esm import load_backbone
from s2p.models.encoder import ENCODER, encoder_digest, start_encoder
from s2p.models.pocketgen.config import PocketConfig, PocketGenConfig
from s2p.models.pocketgen.geometry import Geometry
from s2p.models.pocketgen.network import PocketGen

__all__ = ["PocketGenCheckpoint", "load_pocketgen"]

FORMAT = "s2p-pocketgen-1"
TABLES = ("distance", "peptide", "volume", "turns")


@dataclass(frozen=True, eq=False)
class PocketGenCheckpoint:
    """A trained PocketGen."""

    name: str
    model: PocketGen
    geometry: Geometry
    backbone: nn.Module | None
    """The frozen language model; ``None`` if the network reads none."""
    pocket: PocketConfig = field(default_factory=PocketConfig)
    card: dict[str, Any] = field(default_factory=dict)
    published: str | None = None
    """Name of the published encoder, which is searched or downloaded; ``None``: the shipped one."""


def load_pocketgen(model: str | Path = "pocketgen", *, encoder: str | Path | None = None) -> PocketGenCheckpoint:
    """Load a shipped PocketGen by name or any by path, with the language model it reads.

    Parameters
    ----------
    encoder
        Weights of a published encoder, if the checkpoint reads one that is not stored in it; default: see
        :func:`s2p.language.esm.load_backbone`.

    Raises
    ------
    WeightsError
        If there is none, it cannot be used, or its language model is not the one it was trained with.
    """
    path = find_weights(model, "`python -m benchmarks.recipes.pocketgen` trains one; give its path")
    foreign = "not a PocketGen checkpoint; `python -m benchmarks.recipes.pocketgen` writes them"
    header, stored = read_weights(path, FORMAT, foreign, gaps=("geometry.",))
    arrays = {key: value.float() for key, value in stored.items()}
    network = PocketGen(PocketGenConfig(**header["config"]))
    try:
        network.load_state_dict({k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")})
        geometry = Geometry(*(arrays[f"geometry.{key}"].numpy().astype(np.float32) for key in TABLES))
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None
    named, backbone = header["published"], None
    if network.config.language_width:
        backbone = start_encoder() if named is None else load_backbone(named, encoder).eval()
    if encoder_digest(backbone) != header["base_weights"]:
        raise WeightsError(f"{path} was trained with another version of {named or ENCODER}; train it again or use the older one")
    pocket = PocketConfig(**header["pocket"])
    card = header["card"]
    return PocketGenCheckpoint(header["name"], network.eval(), geometry, backbone, pocket, card, named)
