"""Embeddings kept on disk, so that every chain goes through the language model once per model.

One file a chain, ``FOLDER/MODEL/XX/SEQUENCE.safetensors``: MODEL is a hash of the weights and of what else changes the numbers,
SEQUENCE one of the sequence, XX its first two digits. Files appear whole or not at all, so that several processes may share a
folder; one that is damaged is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.config import WindowConfig
from s2p.io.downloads import cache_folder
from s2p.io.files import make_folder, write_bytes
from s2p.io.runtime import progress_bar
from s2p.language.esm import ResidueModel, predict_residues, token_batches

__all__ = ["EmbeddingCacheConfig", "default_folder", "embed_residues", "model_key"]


@dataclass(frozen=True)
class EmbeddingCacheConfig:
    """Embeddings of chains kept on disk."""

    half: bool = True
    """Store fp16, half the size; the embeddings of ESM-2 come out of a layer norm and fit it."""
    max_bytes: int = 8 << 30
    """The entries used least recently are deleted when the cache exceeds this (bytes)."""


LAYER = "last"
"""Which layer's output is stored: :func:`s2p.language.esm.encode` gives the last, after its norm."""
HEX = "[0-9a-f]"
STALE_SECONDS = 24 * 3600
"""Unfinished files older than this were left by a process that was killed."""


def default_folder() -> Path:
    """``embeddings`` in the cache folder: ``$S2P_CACHE``, or ``s2p`` where the platform keeps caches."""
    return cache_folder() / "embeddings"


def model_key(model: ResidueModel, config: EmbeddingCacheConfig | None = None, windows: WindowConfig | None = None) -> str:
    """32 hex digits that differ whenever the stored numbers would.

    They follow from all weights in use, the layer, the cutting of long chains, the precision of the store and the kind of device
    (on CUDA the model computes in bfloat16).
    """
    config, windows = config or EmbeddingCacheConfig(), windows or WindowConfig()
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith(("backbone.lm_head", "backbone.contact_head")):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(np.ascontiguousarray(value.detach().float().cpu().numpy()).data)
    device = next(model.parameters()).device.type
    digest.update(json.dumps([model.name, LAYER, windows.max_residues, windows.overlap, config.half, device]).encode())
    return digest.hexdigest()[:32]


def embed_residues(
    model: ResidueModel,
    sequences: Sequence[str],
    folder: str | Path | None = None,
    config: EmbeddingCacheConfig | None = None,
    windows: WindowConfig | None = None,
    *,
    note: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """:func:`s2p.language.esm.predict_residues` with a memory: chains that the same model has seen are read from disk.

    Parameters
    ----------
    sequences
        One-letter sequences; equal ones are computed once.
    folder
        Default: :func:`default_folder`. It is made where it does not exist.
    note
        Called with a sentence for every entry that was damaged and is computed again.
    quiet
        No progress bar.

    Returns
    -------
    Per chain (n,) logits and (n, d) embeddings, float32. With ``config.half`` the embeddings are those that fp16 can hold, also
    when they have just been computed, so that a second run gets the same numbers as the first.

    Raises
    ------
    S2PError
        If the folder cannot be written.
    """
    config = config or EmbeddingCacheConfig()
    windows = windows or WindowConfig()
    root = default_folder() if folder is None else Path(folder)
    home = root / model_key(model, config, windows)
    width = model.head.in_features
    found: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    missing = []
    for sequence in dict.fromkeys(sequences):
        path = _path(home, sequence)
        try:
            found[sequence] = _read(path, sequence, width)
        except FileNotFoundError:
            missing.append(sequence)
        except ValueError as error:
            missing.append(sequence)
            if note is not None:
                note(f"{path}: {error}; it is computed again")
    batches = list(token_batches([min(len(s), windows.max_residues) for s in missing], windows.token_budget))
    for batch in progress_bar(batches, "embeddings", quiet):
        chosen = [missing[k] for k in batch]
        for sequence, (logits, embeddings) in zip(chosen, predict_residues(model, chosen, windows), strict=True):
            stored = embeddings.astype(np.float16 if config.half else np.float32)
            _write(_path(home, sequence), sequence, logits, stored)
            found[sequence] = logits, stored.astype(np.float32)
    if missing:
        _trim(root, config.max_bytes)
    return [found[sequence] for sequence in sequences]


def _path(home: Path, sequence: str) -> Path:
    name = hashlib.sha256(sequence.encode()).hexdigest()
    return home / name[:2] / f"{name}.safetensors"


def _checksum(sequence: str, logits: NDArray[np.generic], embeddings: NDArray[np.generic]) -> str:
    digest = hashlib.sha256(f"{sequence} {embeddings.dtype} {embeddings.shape}".encode())
    digest.update(np.ascontiguousarray(logits).data)
    digest.update(np.ascontiguousarray(embeddings).data)
    return digest.hexdigest()


def _write(path: Path, sequence: str, logits: NDArray[np.float32], embeddings: NDArray[np.generic]) -> None:
    from safetensors.numpy import save

    make_folder(path.parent)
    arrays = {"logits": logits, "embeddings": embeddings}
    write_bytes(path, save(arrays, metadata={"sha256": _checksum(sequence, logits, embeddings)}))


def _read(path: Path, sequence: str, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """An entry; ``ValueError`` if it is damaged, and its file's time becomes now, which :func:`_trim` goes by."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as handle:
            checksum = (handle.metadata() or {}).get("sha256")
            logits, embeddings = handle.get_tensor("logits"), handle.get_tensor("embeddings")
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise ValueError(f"cannot be read ({error})") from None
    n = len(sequence)
    if logits.shape != (n,) or embeddings.shape != (n, width) or checksum != _checksum(sequence, logits, embeddings):
        raise ValueError("damaged")
    with suppress(OSError):  # a shared folder that this user may only read, or the entry has just been evicted
        os.utime(path)
    return logits, embeddings.astype(np.float32)


def _trim(root: Path, max_bytes: int) -> None:
    """Delete what was used least recently until ``max_bytes`` remain; other processes may be doing the same.

    Only files named as :func:`_path` names them are touched: a user may point to a folder with other things in it.
    """
    entries = []
    for path in root.glob(f"{HEX * 32}/{HEX * 2}/*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if path.match(f"{HEX * 64}.safetensors"):
            entries.append((status.st_mtime, status.st_size, path))
        elif path.match(".s2p-*.tmp") and time.time() - status.st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= max_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size
