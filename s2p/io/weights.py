"""Weights in a file: arrays and a header in one ``.safetensors``, and beside it a ``.json`` card for people to read."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.errors import WeightsError
from s2p.io.files import replacing, sha256_of, write_text, writing_error

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["SHIPPED", "SURFACE", "checksum", "digest", "fill", "find_weights", "read_weights", "weights_path", "write_weights"]

SHIPPED = Path(__file__).parents[1] / "checkpoints"
SURFACE = SHIPPED / "surface.safetensors"
"""The surface network, which goes with the checkpoints of one language model."""
SUMS = SHIPPED / "SHA256SUMS"
"""A line for each shipped checkpoint without a checksum of its own: SHA-256 of header and arrays, of the header, and the file."""


def digest(arrays: Iterable[Tensor], *, half: bool = True) -> str:
    """A hash of the first 64 numbers of each array, at no cost: tells the weights that a model builds on from others.

    In fp16 by default, so that weights are known again after they were stored so; without ``half`` in fp32, which any training
    changes.
    """
    kept = (value.flatten()[:64] for value in arrays)
    return sha256_of((x.half() if half else x.float()).cpu().numpy().tobytes() for x in kept)


def write_weights(path: Path, arrays: Mapping[str, Tensor], header: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Write ``path`` and the card beside it; each is either the whole new file or as it was before, with a :class:`S2PError`.

    Parameters
    ----------
    header
        What a program needs to make the model; ``format`` says of which kind it is.
    card
        Where the model is from; stored under ``card`` of the header, and together with it in the file beside.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    text = json.dumps({**header, "card": dict(card)})
    own = {key: value.detach().cpu().contiguous().clone() for key, value in arrays.items()}  # no two may share memory
    try:
        with replacing(path) as partial:
            save_file(own, partial, metadata={"s2p": text, "sha256": checksum(text, own)})
            partial.chmod(0o644)  # safetensors makes files only their owner can read
    except (OSError, SafetensorError) as error:
        number = re.search(r"\(os error (\d+)\)", str(error))  # safetensors writes it into a sentence of its own
        known = OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))
        raise writing_error(path, error if isinstance(error, OSError) else known) from None
    write_text(path.with_suffix(".json"), json.dumps({**header, **card}, indent=1, ensure_ascii=False) + "\n")


def weights_path(model: str | Path) -> Path:
    """Where the weights of a shipped model are, by its name, or of any other, by path; there may be none."""
    shipped = SHIPPED / f"{model}.safetensors"
    return shipped if shipped.is_file() else Path(model)


def find_weights(model: str | Path, missing: str) -> Path:
    """The file of a shipped model by its name, or any by path.

    :class:`WeightsError` if there is no such file; ``missing`` says what to do.
    """
    path = weights_path(model)
    if not path.is_file():
        raise WeightsError(f"there is no model {str(model)!r}: {missing}")
    return path


def checksum(header: str, arrays: Mapping[str, Tensor]) -> str:
    """SHA-256 of the text of a header and of name, type, shape and bytes of every array."""
    import torch

    def parts() -> Iterator[bytes | memoryview]:
        yield header.encode()
        for key in sorted(arrays):
            value = arrays[key].detach().cpu().contiguous()  # one at a time
            yield f"{key} {value.dtype} {tuple(value.shape)}".encode()
            yield value.flatten().view(torch.uint8).numpy().data

    return sha256_of(parts())


def read_weights(path: Path, kind: str, foreign: str, *, gaps: tuple[str, ...] = ()) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, with its card, and the arrays as they are stored, their checksum compared where there is one.

    ``gaps``: starts of the names of arrays that are no weights and may hold NaN. :class:`WeightsError` if the file cannot be read
    or is damaged, or its format is not ``kind``; ``foreign`` says what it is not and where such come from.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            text = metadata.get("s2p", "null")
            header = json.loads(text)
            arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({error})") from None
    if not isinstance(header, dict) or header.get("format") != kind:
        raise WeightsError(f"{path}: {foreign}")
    weights = (value for key, value in arrays.items() if value.is_floating_point() and not key.startswith(gaps))
    if not all(math.isfinite(value.sum(dtype=torch.float64)) for value in weights):
        raise WeightsError(f"{path}: the checkpoint's weights are damaged (not a number); download it again")
    expected = metadata.get("sha256") or _shipped_checksum(text)
    # Those of a user may be older than checksums; a shipped one whose header is in no table has a damaged header.
    if checksum(text, arrays) != expected if expected else path.parent == SHIPPED:
        raise WeightsError(f"{path}: the checkpoint's weights are damaged (their checksum is another); download it again")
    return header, arrays


def _shipped_checksum(header: str) -> str | None:
    """What the table says of the shipped checkpoint with this header, whatever the file is called."""
    rows = (line.split() for line in SUMS.read_text(encoding="utf-8").splitlines())
    own = sha256_of([header.encode()])
    return next((whole for whole, of_header, _ in rows if of_header == own), None)


def fill(module: nn.Module, arrays: Mapping[str, Tensor], path: Path) -> None:
    """Give a module the weights that were read from ``path``, in fp32.

    :class:`WeightsError` if they are not those of such a module.
    """
    try:
        module.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in arrays.items()})
    except RuntimeError as error:
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None
