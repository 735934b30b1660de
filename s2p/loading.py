"""Which class a checkpoint is for: what ``--model`` names may be any of the models of this package."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from s2p.io.weights import SHIPPED

__all__ = ["checkpoint_format", "load_model"]

CLASSES = {
    "s2p-1": "s2p.predictor:Seq2Pocket",
    "s2p-crossbind-1": "s2p.models.crossbind.predictor:CrossBindPredictor",
    "s2p-kalasanty-1": "s2p.models.kalasanty.predictor:KalasantyPredictor",
    "s2p-vabsnet-1": "s2p.models.vabsnet.predictor:VabsNetPredictor",
}
"""Format of a checkpoint -> where the class is; its ``load`` takes the model, ``backbone`` and ``device``."""


def checkpoint_format(model: str | Path) -> str | None:
    """The format that the header of a checkpoint names; ``None`` if there is no such file or it cannot be read."""
    from safetensors import SafetensorError, safe_open

    path = SHIPPED / f"{model}.safetensors"
    if not path.is_file():
        path = Path(model)
    try:
        with safe_open(path, framework="np") as handle:
            header = json.loads((handle.metadata() or {}).get("s2p", "null"))
    except (SafetensorError, OSError, json.JSONDecodeError):
        return None
    return header.get("format") if isinstance(header, dict) else None


def load_model(model: str | Path, *, backbone: str | None = None, device: str = "auto") -> Any:
    """The predictor that a checkpoint is for, by its shipped name or path.

    Raises
    ------
    WeightsError
        If there is no such checkpoint or it cannot be used; what Seq2Pocket says of it where nothing else knows it.
    """
    module, _, name = CLASSES.get(checkpoint_format(model) or "", CLASSES["s2p-1"]).partition(":")
    return getattr(importlib.import_module(module), name).load(model, backbone=backbone, device=device)
