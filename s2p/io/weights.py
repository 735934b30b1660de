"""Weights in a file: arrays and a header in one ``.safetensors``, and beside it a ``.json`` card for people to read."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.errors import WeightsError
from s2p.io.files import sha256_of, write_text

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["SHIPPED", "digest", "fill", "find_weights", "read_weights", "weights_path", "write_weights"]

SHIPPED = Path(__file__).parents[1] / "checkpoints"


def digest(arrays: Iterable[Tensor], *, half: bool = True) -> str:
    """A hash of the first 64 numbers of each array, at no cost: tells the weights that a model builds on from others.

    In fp16 by default, so that weights are known again after they were stored so; without ``half`` in fp32, which any training
    changes.
    """
    kept = (value.flatten()[:64] for value in arrays)
    return sha256_of((x.half() if half else x.float()).cpu().numpy().tobytes() for x in kept)


def write_weights(path: Path, arrays: Mapping[str, Tensor], header: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Write ``path`` and the card beside it; each is either the whole new file or as it was before.

    Parameters
    ----------
    header
        What a program needs to make the model; ``format`` says of which kind it is.
    card
        Where the model is from; stored under ``card`` of the header, and together with it in the file beside.
    """
    from safetensors.torch import save_file

    # Of this call alone: two runs may write the same checkpoint at once.
    partial = path.with_name(f".s2p-{secrets.token_hex(8)}.tmp")
    try:
        own = {key: value.detach().cpu().contiguous().clone() for key, value in arrays.items()}  # no two may share memory
        save_file(own, partial, metadata={"s2p": json.dumps({**header, "card": dict(card)})})
        partial.chmod(0o644)  # safetensors makes files only their owner can read
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    write_text(path.with_suffix(".json"), json.dumps({**header, **card}, indent=1, ensure_ascii=False) + "\n")


def weights_path(model: str | Path) -> Path:
    """Where the weights of a shipped model are, by its name, or of any other, by path; there may be none."""
    shipped = SHIPPED / f"{model}.safetensors"
    return shipped if shipped.is_file() else Path(model)


def find_weights(model: str | Path, missing: str) -> Path:
    """The file of a shipped model by its name, or any by path.

    Raises
    ------
    WeightsError
        If there is no such file; ``missing`` says what to do.
    """
    path = weights_path(model)
    if not path.is_file():
        raise WeightsError(f"there is no model {str(model)!r}: {missing}")
    return path


def read_weights(path: Path, kind: str, foreign: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, with its card, and the arrays as they are stored.

    Raises
    ------
    WeightsError
        If the file cannot be read, or its format is not ``kind``; ``foreign`` says what it is not and where such come from.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads((handle.metadata() or {}).get("s2p", "null"))
            arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({error})") from None
    if not isinstance(header, dict) or header.get("format") != kind:
        raise WeightsError(f"{path}: {foreign}")
    return header, arrays


def fill(module: nn.Module, arrays: Mapping[str, Tensor], path: Path) -> None:
    """Give a module the weights that were read from ``path``, in fp32.

    Raises
    ------
    WeightsError
        If they are not those of such a module.
    """
    try:
        module.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in arrays.items()})
    except RuntimeError as error:
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None
