"""What a training run leaves on disk: a state to resume from, bound to its settings and data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.errors import S2PError
from s2p.io.files import make_folder, replacing, sha256_of

__all__ = ["STATE", "fingerprint_of", "load_state", "save_state", "settings_of"]

STATE = "state.pt"


def settings_of(config: Any, free: Sequence[str] = ("save_minutes",)) -> dict[str, Any]:
    """The fields of a configuration that have to be equal for a run to resume; ``free`` may change."""
    return {key: value for key, value in asdict(config).items() if key not in free}


def fingerprint_of(arrays: Iterable[NDArray[Any] | str]) -> str:
    """SHA-256 of arrays and names, in order."""
    return sha256_of(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes() for part in arrays)


def save_state(folder: Path, identity: Mapping[str, Any], log: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Write a state so that it is there whole or not at all.

    ``identity`` is what a run has to share to resume from it, and like ``log`` ready for JSON; ``tensors`` is what ``torch.load``
    reads without unpickling anything else: tensors, numbers, and dicts and lists of them.
    """
    make_folder(folder)
    try:
        with replacing(folder / STATE) as partial:
            torch.save({"identity": json.dumps(identity), "log": json.dumps(log), "tensors": dict(tensors)}, partial)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise S2PError(f"the training state could not be written to {folder} ({reason}); is the disk full?") from None


def load_state(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Log and tensors of the state in ``folder``, those on the CPU, or ``None`` without one.

    :class:`S2PError` if it cannot be read or belongs to a run whose identity is not ``wanted``.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found, log, tensors = json.loads(state["identity"]), json.loads(state["log"]), state["tensors"]
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise S2PError(f"{path}: cannot be read as the state of a training run ({reason}); delete it to start again") from None
    asked = json.loads(json.dumps(wanted))
    for key in sorted(asked, key=lambda key: key != "config"):
        if found.get(key) != asked[key]:
            word = {"config": "another configuration", "data": "other data"}.get(key, f"another {key}")
            if key == "config" and (before := found.get(key)):
                word += f" ({', '.join(name for name, value in asked[key].items() if before.get(name) != value)})"
            raise S2PError(f"{path} was written by a run with {word}; delete it or choose another folder")
    return {**log, **tensors}
