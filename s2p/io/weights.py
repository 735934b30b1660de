"""Weights in a file: arrays and a header in one ``.safetensors``, and next to it a ``.json`` card for people to read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2p.errors import WeightsError
from s2p.io.files import replacing, sha256_of, write_text, writing_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    Values = Tensor | NDArray[Any]

__all__ = [
    "SHIPPED",
    "SURFACE",
    "TOGETHER",
    "checksum",
    "digest",
    "fill",
    "find_weights",
    "read_arrays",
    "read_weights",
    "weights_path",
    "write_weights",
]

SHIPPED = Path(__file__).parents[1] / "checkpoints"
SURFACE = SHIPPED / "surface.safetensors"
"""The surface network, which reads the embeddings of one language model."""
TOGETHER = {"crossbind": ("crossbind-dna", "crossbind-rna")}
"""Name of a model -> the shipped checkpoints that it consists of."""
SUMS = SHIPPED / "SHA256SUMS"
"""A line for each shipped checkpoint without a checksum of its own: SHA-256 of header and arrays, of the header, and the file."""


def digest(arrays: Iterable[Values], *, half: bool = True) -> str:
    """A fast hash of the first 64 numbers of each array, to check that a model is used with the weights it was trained on.

    In fp16 by default, so that the hash is the same after weights were stored in fp16; without ``half`` in fp32, which differs
    after any training.
    """
    return sha256_of(_array(value.flatten()[:64]).astype(np.float16 if half else np.float32).tobytes() for value in arrays)


def _array(value: Values) -> NDArray[Any]:
    """An array, or that of a tensor, without a copy if it is in main memory; bfloat16, which NumPy lacks, as fp32."""
    known = value.float() if str(value.dtype) == "torch.bfloat16" else value  # type: ignore[union-attr]
    return known if isinstance(known, np.ndarray) else known.detach().cpu().numpy()


def write_weights(
    path: Path, arrays: Mapping[str, Values], header: Mapping[str, Any], card: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write ``path`` and its card next to it; if writing fails with a :class:`S2PError`, the old file is unchanged.

    Parameters
    ----------
    header
        Settings needed to create the model; ``format`` is its kind.
    card
        Origin of the model; stored under ``card`` in the header, and together with the header in the card file.
    half
        Store floating-point numbers in fp16.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    text = json.dumps({**header, "card": dict(card)})
    own = {key: np.ascontiguousarray(_array(value)) for key, value in arrays.items()}
    if half:
        own = {key: value.astype(np.float16) if value.dtype.kind == "f" else value for key, value in own.items()}
    try:
        with replacing(path) as partial:
            save_file(own, partial, metadata={"s2p": text, "sha256": checksum(text, own)})
            partial.chmod(0o644)  # safetensors makes files that only their owner can read
    except (OSError, SafetensorError) as error:
        number = re.search(r"\(os error (\d+)\)", str(error))  # safetensors writes it into a sentence of its own
        known = OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))
        raise writing_error(path, error if isinstance(error, OSError) else known) from None
    write_text(path.with_suffix(".json"), json.dumps({**header, **card}, indent=1, ensure_ascii=False) + "\n")


def weights_path(model: str | Path) -> Path:
    """Path of the weights of a shipped model, by name, or of any other, by path; the file may not exist."""
    shipped = SHIPPED / f"{model}.safetensors"
    return shipped if shipped.is_file() else Path(model)


def find_weights(model: str | Path, missing: str) -> Path:
    """The file of a shipped model by its name, or any by path.

    :class:`WeightsError` if there is no such file; ``missing``: advice for its message.
    """
    path = weights_path(model)
    if not path.is_file():
        raise WeightsError(f"there is no model {str(model)!r}: {missing}")
    return path


def checksum(header: str, arrays: Mapping[str, Values]) -> str:
    """SHA-256 of the text of a header and of name, type, shape and bytes of every array."""

    def parts() -> Iterator[bytes | memoryview]:
        yield header.encode()
        for key in sorted(arrays):
            value = _array(arrays[key])  # one at a time
            yield f"{key} torch.{value.dtype} {value.shape}".encode()  # as PyTorch names types: files hold such checksums
            yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data

    return sha256_of(parts())


def read_arrays(
    path: Path, kind: str, foreign: str, *, gaps: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header, with its card, and the arrays as they are stored, after a check of their checksum, if there is one.

    ``gaps``: prefixes of the names of arrays that are not weights and may contain NaN. :class:`WeightsError` if the file cannot
    be read or is damaged, or its format is not ``kind``; ``foreign``: message for a file of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as handle:
            metadata = handle.metadata() or {}
            text = metadata.get("s2p", "null")
            header = json.loads(text)
            arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    except TypeError as error:  # bfloat16 and the 8-bit types, which NumPy lacks
        raise WeightsError(f"{path}: arrays in a type that NumPy lacks ({error}); store them in fp16 or fp32") from None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({error})") from None
    if not isinstance(header, dict) or header.get("format") != kind:
        raise WeightsError(f"{path}: {foreign}")
    weights = (value for key, value in arrays.items() if value.dtype.kind == "f" and not key.startswith(gaps))
    if not all(np.isfinite(value.sum(dtype=np.float64)) for value in weights):
        raise WeightsError(f"{path}: the checkpoint's weights are damaged (not a number); download it again")
    expected = metadata.get("sha256") or _shipped_checksum(text)
    # A user's checkpoint may be older than checksums; a shipped one whose header is not in the table has a damaged header.
    if checksum(text, arrays) != expected if expected else path.parent == SHIPPED:
        raise WeightsError(f"{path}: the checkpoint's weights are damaged (their checksum differs); download it again")
    return header, arrays


def read_weights(path: Path, kind: str, foreign: str, *, gaps: tuple[str, ...] = ()) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """:func:`read_arrays` with tensors, for a model in PyTorch."""
    import torch

    header, arrays = read_arrays(path, kind, foreign, gaps=gaps)
    return header, {key: torch.from_numpy(value) for key, value in arrays.items()}


def _shipped_checksum(header: str) -> str | None:
    """Checksum in the table for the shipped checkpoint with this header, independent of the file's name."""
    rows = (line.split() for line in SUMS.read_text(encoding="utf-8").splitlines())
    own = sha256_of([header.encode()])
    return next((whole for whole, of_header, _ in rows if of_header == own), None)


def fill(module: nn.Module, arrays: Mapping[str, Tensor], path: Path) -> None:
    """Load the weights that were read from ``path`` into a module, in fp32.

    :class:`WeightsError` if they do not fit the module.
    """
    try:
        module.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in arrays.items()})
    except RuntimeError as error:
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None
