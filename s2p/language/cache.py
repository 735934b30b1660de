"""Embeddings cached on disk, so that each model reads every chain only once; they are read without filling memory.

Each run that computes embeddings writes one file ``FOLDER/MODEL/NAME.npy``, with a row for every residue (its logit and, in half
precision, its embedding), and an index ``NAME.json`` with the position of the rows by the hash of each sequence. MODEL is a hash
of the weights and of all else that changes the values. Rows are memory-mapped: only those that are used are read. The index is
updated during a run and contains only rows that are written, so that an interrupted run loses little, and several
processes may share a folder. Nothing is ever deleted: remove the folder of a model to free its space.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2p.config import WindowConfig
from s2p.errors import S2PError
from s2p.io.downloads import cache_folder
from s2p.io.files import make_folder, sha256_of, write_text, writing_error
from s2p.io.runtime import progress_bar
from s2p.io.weights import digest
from s2p.language.sequences import LanguageOutput, predict_residues, token_batches

if TYPE_CHECKING:
    from s2p.language.esm import ResidueModel
    from s2p.language.numpy_esm import NumpyESM

__all__ = ["embed_residues", "model_key"]

INDEX_SECONDS = 30.0
"""Seconds between two updates of the index."""


def model_key(model: ResidueModel | NumpyESM, windows: WindowConfig | None = None) -> str:
    """32 hex digits that differ if the stored values would differ.

    They are computed from the first numbers of each array of the model, which any training changes, the layer, the windows of
    long chains, the precision of the store and the kind of device (on CUDA the model computes in bfloat16).
    """
    windows = windows or WindowConfig()
    weights = digest((value for _, value in sorted(model.state_dict().items())), half=False)
    device = model.device.partition(":")[0]
    # The last layer, after its norm; stored in half precision.
    facts = [weights, model.name, model.heads, "last", windows.max_residues, windows.overlap, True, device]
    return sha256_of([json.dumps(facts).encode()])[:32]


def embed_residues(
    model: ResidueModel | NumpyESM,
    sequences: Sequence[str],
    folder: str | Path | None = None,
    windows: WindowConfig | None = None,
    *,
    note: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> list[LanguageOutput]:
    """:func:`s2p.language.sequences.predict_residues` with a cache: chains that the same model has read are read from disk.

    ``folder`` is by default ``embeddings`` in :func:`s2p.io.downloads.cache_folder`, and created if necessary; ``note`` is
    called with a sentence for every unreadable file; its chains are computed again.

    Returns
    -------
    Per chain (n,) logits, float32, and (n, d) embeddings, float16: views of memory-mapped files, which cannot be written to.
    Embeddings come out of a layer norm, so they fit fp16.

    Raises
    ------
    S2PError
        If the folder cannot be written to, or has too little room.
    """
    windows = windows or WindowConfig()
    home = (cache_folder() / "embeddings" if folder is None else Path(folder)) / model_key(model, windows)
    row = np.dtype([("logit", "<f4"), ("embedding", "<f2", (model.width,))])
    names = {sequence: sha256_of([sequence.encode()]) for sequence in dict.fromkeys(sequences)}
    found = _read(home, row, set(names.values()), note)
    missing = [sequence for sequence, name in names.items() if len(found.get(name, ())) != len(sequence)]
    if missing:
        make_folder(home)
        found |= _compute(model, missing, [names[sequence] for sequence in missing], home, row, windows, quiet)
    return [(found[names[sequence]]["logit"], found[names[sequence]]["embedding"]) for sequence in sequences]


def _read(home: Path, row: np.dtype[Any], wanted: set[str], note: Callable[[str], None] | None) -> dict[str, NDArray[Any]]:
    """Rows of each sequence that is wanted and stored, by the hash of the sequence."""
    found: dict[str, NDArray[Any]] = {}
    for path in sorted(home.glob("*.json")):
        try:
            index: dict[str, tuple[int, int]] = json.loads(path.read_text("utf-8"))
            if here := wanted & index.keys():
                stored = np.asarray(np.lib.format.open_memmap(path.with_suffix(".npy"), "r"))
                if stored.dtype != row or max(start + n for start, n in index.values()) > len(stored):
                    raise ValueError("contains arrays of another shape")
                found |= {name: stored[slice(index[name][0], sum(index[name]))] for name in here}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            if note is not None:
                note(f"{path}: cannot be read ({error}); its chains are computed again")
    return found


def _compute(
    model: ResidueModel | NumpyESM,
    sequences: Sequence[str],
    names: Sequence[str],
    home: Path,
    row: np.dtype[Any],
    windows: WindowConfig,
    quiet: bool,
) -> dict[str, NDArray[Any]]:
    """Rows of sequences that are not stored yet, in a file of their own, longest first."""
    path, total = home / f"{secrets.token_hex(8)}.npy", sum(map(len, sequences))
    needed, free = total * row.itemsize, shutil.disk_usage(home).free
    # A mapped file that outgrows the disk would end the process without a message.
    if needed > free:
        raise S2PError(
            f"{home}: the embeddings need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; choose another folder"
        )
    try:
        rows = np.lib.format.open_memmap(path, "w+", row, (total,))
    except OSError as error:
        raise writing_error(path, error) from None
    index: dict[str, tuple[int, int]] = {}
    done, saved = 0, time.monotonic()
    batches = list(token_batches([min(len(s), windows.max_residues) for s in sequences], windows.token_budget))
    try:
        for batch in progress_bar(batches, "embeddings", quiet):
            for k, (logits, embeddings) in zip(
                batch, predict_residues(model, [sequences[k] for k in batch], windows), strict=True
            ):
                rows["logit"][done : done + len(logits)], rows["embedding"][done : done + len(logits)] = logits, embeddings
                index[names[k]] = done, len(logits)
                done += len(logits)
            if time.monotonic() - saved > INDEX_SECONDS:
                saved = _save(path, rows, index)
    finally:
        _save(path, rows, index)
    stored = np.asarray(np.lib.format.open_memmap(path, "r"))
    return {name: stored[start : start + n] for name, (start, n) in index.items()}


def _save(path: Path, rows: Any, index: dict[str, tuple[int, int]]) -> float:
    """Write the rows to disk, then their index."""
    rows.flush()
    write_text(path.with_suffix(".json"), json.dumps(index))
    return time.monotonic()
