"""Embeddings kept on disk, so that every chain goes through the language model once per model.

One file a chain, ``FOLDER/MODEL/XX/SEQUENCE.safetensors``: MODEL is a hash of the weights and of what else changes the numbers,
SEQUENCE one of the sequence, XX its first two digits. Files appear whole or not at all, so that several processes may share a
folder; one that cannot be read is computed again. Nothing is ever deleted: remove the folder of a model to free its space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from s2p.config import WindowConfig
from s2p.io.downloads import cache_folder
from s2p.io.files import make_folder, sha256_of, write_bytes
from s2p.io.runtime import progress_bar
from s2p.io.weights import digest
from s2p.language.esm import LanguageOutput, ResidueModel, predict_residues, token_batches

__all__ = ["embed_residues", "model_key"]


def model_key(model: ResidueModel, windows: WindowConfig | None = None) -> str:
    """32 hex digits that differ whenever the stored numbers would.

    They follow from the first numbers of each array of the model, which any training changes, the layer, the cutting of long
    chains, the precision of the store and the kind of device (on CUDA the model computes in bfloat16).
    """
    windows = windows or WindowConfig()
    unused = ("backbone.lm_head", "backbone.contact_head")
    weights = digest((value for name, value in sorted(model.state_dict().items()) if not name.startswith(unused)), half=False)
    device = next(model.parameters()).device.type
    # The last layer, after its norm; stored in half precision.
    facts = [weights, model.name, model.heads, "last", windows.max_residues, windows.overlap, True, device]
    return sha256_of([json.dumps(facts).encode()])[:32]


def embed_residues(
    model: ResidueModel,
    sequences: Sequence[str],
    folder: str | Path | None = None,
    windows: WindowConfig | None = None,
    *,
    note: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> list[LanguageOutput]:
    """:func:`s2p.language.esm.predict_residues` with a memory: chains that the same model has seen are read from disk.

    ``folder`` is by default ``embeddings`` in :func:`s2p.io.downloads.cache_folder`, and made if need be; ``note`` is
    called with a sentence for every entry that cannot be read and is computed again.

    Returns
    -------
    Per chain (n,) logits and (n, d) embeddings, float32. Embeddings come out of a layer norm, so they fit fp16 and are stored in
    it; those that have just been computed are rounded too, so that a second run gets the same numbers as the first.
    """
    windows = windows or WindowConfig()
    root = cache_folder() / "embeddings" if folder is None else Path(folder)
    home = root / model_key(model, windows)
    width = model.head.in_features
    found: dict[str, LanguageOutput] = {}
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
            stored, path = embeddings.astype(np.float16), _path(home, sequence)
            make_folder(path.parent)
            write_bytes(path, save({"logits": logits, "embeddings": stored}))
            found[sequence] = logits, stored.astype(np.float32)
    return [found[sequence] for sequence in sequences]


def _path(home: Path, sequence: str) -> Path:
    name = sha256_of([sequence.encode()])
    return home / name[:2] / f"{name}.safetensors"


def _read(path: Path, sequence: str, width: int) -> LanguageOutput:
    """An entry; ``FileNotFoundError`` without one, ``ValueError`` if it is damaged."""
    try:
        arrays = load(path.read_bytes())
        logits, embeddings = arrays["logits"], arrays["embeddings"]
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(f"cannot be read ({error})") from None
    if logits.shape != (len(sequence),) or embeddings.shape != (len(sequence), width):
        raise ValueError("holds arrays of another shape")
    return logits, embeddings.astype(np.float32)
