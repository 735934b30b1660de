"""Scores of the training complexes by models that have not seen them, for studies: ``python -m benchmarks.recipes.unseen``.

``python -m benchmarks.recipes.unseen DATA --work DIR -o unseen.safetensors`` after the recipe has trained its halves in DIR.
Making them takes two language models and a search for homologues; reading the file takes a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from benchmarks.command import reported
from benchmarks.recipes.data import MIN_CHAIN, N_FOLDS, Data, Site, prepare
from benchmarks.recipes.points import known_sites
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import homologous
from s2p.errors import S2PError, WeightsError
from s2p.io.files import write_bytes
from s2p.io.runtime import progress_bar
from s2p.language.esm import ResidueModel, predict_residues
from s2p.models.encoder import BACKBONE
from s2p.prediction import sigmoid
from s2p.structure.reading import Structure
from s2p.training.config import FinetuneConfig

__all__ = [
    "BACKBONE",
    "Unseen",
    "UnseenScores",
    "check_unseen",
    "known_by_key",
    "out_of_fold",
    "read_unseen",
    "score_complexes",
    "unseen_scores",
    "write_unseen",
]

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


def out_of_fold(
    models: Sequence[ResidueModel], folds: Mapping[str, int], structure: Structure, key: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N,) logits and (N, d) embeddings of every chain by the model that was trained without its cluster."""
    logits = np.zeros(len(structure.residues), np.float32)
    embeddings = np.zeros((len(logits), models[0].head.in_features), np.float32)
    for chain in structure.chains:
        fold = folds.get(f"{key}|{chain}" if key.startswith("c|") else key, 0)
        mask = structure.residues.chain == chain
        logits[mask], embeddings[mask] = predict_residues(models[fold], [structure.sequence(chain)])[0]
    return logits, embeddings


Unseen = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Key of a structure -> :func:`out_of_fold`."""


def score_complexes(
    models: Sequence[ResidueModel], folds: Mapping[str, int], sites: Sequence[Site], quiet: bool = True
) -> Unseen:
    """:func:`out_of_fold` of training complexes, by their keys."""
    progress = progress_bar(sites, "unseen scores", quiet)
    return {s.source.key: out_of_fold(models, folds, s.structure, f"c|{s.source.key}") for s in progress}


def known_by_key(data: Data) -> dict[str, NDArray[np.bool_]]:
    """(N,) residues of every training complex that are labelled on a chain of 90 % identity, by key."""
    sites = data.complexes["train"]
    sequences = {s.structure.sequence(c) for s in sites for c in s.structure.chains if len(s.structure.sequence(c)) >= MIN_CHAIN}
    close = homologous({q: q for q in sequences}, {str(k): c.sequence for k, c in enumerate(data.training)}, identity=0.9)
    relatives: dict[str, list[LabelledChain]] = {}
    for k, queries in close.items():
        for sequence in queries:
            relatives.setdefault(sequence, []).append(data.training[int(k)])
    return {s.source.key: known_sites(s.structure, relatives) for s in sites}


def unseen_scores(unseen: Unseen, data: Data) -> dict[str, UnseenScores]:
    """What the point scorer is trained on, of every training complex."""
    known = known_by_key(data)
    return {
        key: UnseenScores(sigmoid(unseen[key][0].astype(float)).astype(np.float32), unseen[key][1], known[key]) for key in known
    }


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.unseen", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/recipe"), help="of the recipe (default: %(default)s)")
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    halves = [options.work / f"fold{k}" / "model.safetensors" for k in range(N_FOLDS)]
    missing = [path for path in (options.work / "folds.json", *halves) if not path.is_file()]
    if missing:
        raise S2PError(f"{missing[0]} is missing: run `python -m benchmarks.recipes.seq2pocket` with this --work first")
    models = []
    for path in halves:
        model = ResidueModel(BACKBONE, FinetuneConfig.dropout)
        model.load_state_dict(load_file(path))
        models.append(model.eval())
    folds: dict[str, int] = json.loads((options.work / "folds.json").read_text(encoding="utf-8"))
    data = prepare(options.data, options.examples, options.work / "splits")
    scores = unseen_scores(score_complexes(models, folds, data.complexes["train"], quiet=False), data)
    print(f"wrote {write_unseen(scores, options.out)}: {len(scores)} proteins")


if __name__ == "__main__":
    sys.exit(main())
