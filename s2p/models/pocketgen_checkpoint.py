"""PocketGen on disk: its own weights and geometry; the language model is that of the shipped checkpoint, by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.errors import WeightsError
from s2p.models.pocketgen import PocketGen
from s2p.models.pocketgen_config import PocketConfig, PocketGenConfig
from s2p.models.pocketgen_geometry import Geometry
from s2p.weights_file import digest, find_weights, read_weights, write_weights

__all__ = ["PocketGenCheckpoint", "language_model", "load_pocketgen", "save_pocketgen"]

FORMAT = "s2p-pocketgen-1"
TABLES = ("distance", "peptide", "volume")


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


def save_pocketgen(checkpoint: PocketGenCheckpoint, path: str | Path, *, base: str = DEFAULT_MODEL) -> None:
    """Write ``path`` (``.safetensors``, weights fp16) and its card beside it; the language model is named, not copied."""
    arrays = {f"model.{key}": value.detach().half().cpu().contiguous() for key, value in checkpoint.model.state_dict().items()}
    arrays |= {f"geometry.{key}": torch.from_numpy(getattr(checkpoint.geometry, key)).contiguous() for key in TABLES}
    header = {
        "format": FORMAT,
        "name": checkpoint.name,
        "base": base,
        "base_weights": _hash(checkpoint.backbone),
        "config": asdict(checkpoint.model.config),
        "pocket": asdict(checkpoint.pocket),
    }
    write_weights(Path(path), arrays, header, checkpoint.card)


def load_pocketgen(model: str | Path = "pocketgen") -> PocketGenCheckpoint:
    """Load a shipped PocketGen by name or any by path, with the language model it reads.

    Raises
    ------
    WeightsError
        If there is none, it cannot be used, or its language model is not the one it was trained with.
    """
    path = find_weights(model, "`python -m s2p.recipe.pocketgen` trains one; give its path")
    header, stored = read_weights(path, FORMAT, "not a PocketGen checkpoint; `python -m s2p.recipe.pocketgen` writes them")
    arrays = {key: value.float() for key, value in stored.items()}
    network = PocketGen(PocketGenConfig(**header["config"]))
    try:
        network.load_state_dict({k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")})
        geometry = Geometry(*(arrays[f"geometry.{key}"].numpy().astype(np.float32) for key in TABLES))
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None
    backbone = language_model(header["base"]) if network.config.language_width else None
    if _hash(backbone) != header["base_weights"]:
        raise WeightsError(f"{path} was trained with another version of {header['base']}; train it again or use the older one")
    return PocketGenCheckpoint(
        header["name"], network.eval(), geometry, backbone, PocketConfig(**header["pocket"]), header["card"]
    )


def language_model(name: str = DEFAULT_MODEL) -> nn.Module:
    """The encoder of a checkpoint of Seq2Pocket, frozen, for a PocketGen to read."""
    return load_checkpoint(name).model.backbone


def _hash(backbone: nn.Module | None) -> str:
    """Of the first numbers of every array that is in use: the heads that the shipped encoder lacks are random."""
    state = backbone.state_dict() if backbone is not None else {}
    return digest(value for key, value in state.items() if not key.startswith(("lm_head", "contact_head")))
