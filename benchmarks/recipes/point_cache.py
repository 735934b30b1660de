"""What the studies of the point scorer start from, in one file: residue scores of models that have not seen the protein.

Making them takes two language models and a search for homologues; reading them takes a second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.errors import S2PError, WeightsError
from s2p.io.files import write_bytes
from s2p.structure.reading import Structure

__all__ = ["UnseenScores", "check_unseen", "read_unseen", "write_unseen"]

FORMAT = "s2p-unseen-1"


@dataclass(frozen=True, eq=False)
class UnseenScores:
    """Of a training protein with N residues."""

    probability: NDArray[np.float32]
    """(N,) of binding, by a language model trained without its cluster."""
    embeddings: NDArray[np.float32]
    """(N, d) of that model."""
    known: NDArray[np.bool_]
    """(N,) residues that are known to bind something (:func:`benchmarks.recipes.points.known_sites`)."""


def write_unseen(scores: Mapping[str, UnseenScores], path: str | Path) -> Path:
    """Write ``path`` (``.safetensors``), whole or not at all; embeddings are stored in half precision."""
    from safetensors.numpy import save

    keys = list(scores)
    arrays: dict[str, NDArray[np.generic]] = {}
    for k, key in enumerate(keys):
        entry = scores[key]
        arrays |= {
            f"{k}.probability": np.ascontiguousarray(entry.probability, np.float32),
            f"{k}.embeddings": np.ascontiguousarray(entry.embeddings, np.float16),
            f"{k}.known": np.ascontiguousarray(entry.known, np.uint8),
        }
    return write_bytes(Path(path), save(arrays, metadata={"s2p": json.dumps({"format": FORMAT, "keys": keys})}))


def read_unseen(path: str | Path) -> dict[str, UnseenScores]:
    """The inverse of :func:`write_unseen`.

    Raises
    ------
    WeightsError
        If there is no such file or it is another one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(Path(path), framework="numpy") as handle:
            header = json.loads((handle.metadata() or {}).get("s2p", "null"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise WeightsError(
                    f"{path}: holds no scores of training proteins; `python -m benchmarks.recipes.unseen` writes them"
                )
            return {
                key: UnseenScores(
                    handle.get_tensor(f"{k}.probability"),
                    handle.get_tensor(f"{k}.embeddings").astype(np.float32),
                    handle.get_tensor(f"{k}.known").astype(np.bool_),
                )
                for k, key in enumerate(header["keys"])
            }
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as scores of training proteins ({error})") from None


def check_unseen(scores: Mapping[str, UnseenScores], structures: Sequence[tuple[str, Structure]]) -> None:
    """Say which protein has no scores, or scores of another length.

    Raises
    ------
    S2PError
        For the first such protein.
    """
    for key, structure in structures:
        if key not in scores:
            raise S2PError(
                f"{key}: the file of scores has no such protein; make it anew with `python -m benchmarks.recipes.unseen`"
            )
        if len(scores[key].probability) != len(structure.residues):
            raise S2PError(f"{key}: scores of another length than the structure; make the file anew")
