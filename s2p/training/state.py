"""What a training run leaves on disk: a state to go on from, bound to its settings and data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2p.errors import S2PError
from s2p.io.files import make_folder, sha256_of

__all__ = ["STATE", "fingerprint_of", "load_state", "save_state", "settings_of"]

STATE = "state.safetensors"


def settings_of(config: Any, free: Sequence[str] = ("save_minutes",)) -> dict[str, Any]:
    """The fields of a configuration that have to be equal for a run to go on; ``free`` may change."""
    return {key: value for key, value in asdict(config).items() if key not in free}


def fingerprint_of(arrays: Iterable[NDArray[Any] | str]) -> str:
    """SHA-256 of arrays and names, in order."""
    return sha256_of(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes() for part in arrays)


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` (numbers, strings, tensors, and dicts and lists of them) so that it is there whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    make_folder(folder)
    arrays: dict[str, Tensor] = {}
    text = json.dumps(_without_arrays(state, arrays)).encode()
    arrays["json"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    seen: set[int] = set()
    for key, value in arrays.items():
        # Weights that are tied share their memory, which the format does not allow.
        where = value.untyped_storage().data_ptr()
        arrays[key] = value.clone() if where in seen else value
        seen.add(where)
    partial = folder / f"{STATE}.part"
    try:
        save_file(arrays, partial)
        os.replace(partial, folder / STATE)
    except (OSError, RuntimeError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        reason = " ".join(str(error).split())[:200]
        raise S2PError(f"the training state could not be written to {folder} ({reason}); is the disk full?") from None


def load_state(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state in ``folder``, or ``None`` without one.

    Raises
    ------
    S2PError
        If it cannot be read or belongs to a run whose identity is not ``wanted``.
    """
    from safetensors import safe_open

    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            # A copy, for the file is to be replaced while the arrays are in use.
            arrays = {key: handle.get_tensor(key).clone() for key in handle.keys()}  # noqa: SIM118 - not a dict
        state: dict[str, Any] = _with_arrays(json.loads(arrays["json"].numpy().tobytes()), arrays)
        found = state["identity"]
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise S2PError(f"{path}: cannot be read as the state of a training run ({reason}); remove it to start anew") from None
    asked = json.loads(json.dumps(dict(wanted)))
    for key in sorted(asked, key=lambda key: key != "config"):
        if found.get(key) != asked[key]:
            word = {"config": "another configuration", "data": "other data"}.get(key, f"another {key}")
            raise S2PError(f"{path} was written by a run with {word}; remove it or choose another folder")
    return state


def _without_arrays(value: Any, arrays: dict[str, Tensor]) -> Any:
    """``value`` as JSON, its tensors moved to ``arrays``; dicts as lists of pairs, since their keys may be numbers."""
    if isinstance(value, Tensor):
        key = str(len(arrays))
        arrays[key] = value.detach().cpu().contiguous()
        return {"array": key}
    if isinstance(value, Mapping):
        return {"pairs": [[key, _without_arrays(inner, arrays)] for key, inner in value.items()]}
    return [_without_arrays(inner, arrays) for inner in value] if isinstance(value, (list, tuple)) else value


def _with_arrays(value: Any, arrays: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        return arrays[value["array"]] if "array" in value else {key: _with_arrays(inner, arrays) for key, inner in value["pairs"]}
    return [_with_arrays(inner, arrays) for inner in value] if isinstance(value, list) else value
